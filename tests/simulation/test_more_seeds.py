"""The second hundred of seeds, in a file of its own, so that two workers share them; and what they met."""

from __future__ import annotations

from collections import Counter

import pytest

from leasehold.testing.faults import Kind
from leasehold.testing.simulation import counts, sentence, simulate


@pytest.mark.slow
@pytest.mark.requirement("PROVE-3")
@pytest.mark.requirement("INV-8")
def test_a_second_hundred_of_seeds_holds(capsys: pytest.CaptureFixture[str]) -> None:
    """They hold, nothing is left over after any of them, and together they have met every kind of fault."""
    met: Counter[str] = Counter()
    for seed in range(101, 201):
        verdict = simulate(seed)
        assert not verdict.broken, sentence(verdict)
        met.update(counts([verdict]))
    with capsys.disabled():
        print("\nfaults met by seeds 101-200:", ", ".join(f"{number} {kind}" for kind, number in met.items()))
    assert [kind for kind in Kind if not met[kind]] == []
