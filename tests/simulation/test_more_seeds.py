"""The second hundred of seeds, in a file of its own, so that two workers share them; and what they met."""

from __future__ import annotations

from collections import Counter

import pytest

from leasehold.testing.faults import Kind
from leasehold.testing.simulation import counts, sentence, simulate

EACH = 10
MET: Counter[str] = Counter()


@pytest.mark.slow
@pytest.mark.requirement("PROVE-3")
@pytest.mark.requirement("INV-8")
@pytest.mark.parametrize("first", range(101, 201, EACH))
def test_more_seeds_hold(first: int) -> None:
    """They hold, and nothing is left over after any of them: no lease, place, timer, watch or call."""
    for seed in range(first, first + EACH):
        verdict = simulate(seed)
        assert not verdict.broken, sentence(verdict)
        MET.update(counts([verdict]))


@pytest.mark.slow
@pytest.mark.requirement("PROVE-3")
def test_every_kind_of_fault_was_met(capsys: pytest.CaptureFixture[str]) -> None:
    """A kind that no seed meets proves nothing: together they meet each, and say how often."""
    if not MET:
        pytest.skip("the seeds of this file were not run")
    with capsys.disabled():
        print("\nfaults met:", ", ".join(f"{number} {kind}" for kind, number in MET.items()))
    assert [kind for kind in Kind if not MET[kind]] == []
