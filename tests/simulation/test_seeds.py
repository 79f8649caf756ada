"""The first seeds of the simulation. `make check` runs ten, `make test` these and those of the next file."""

from __future__ import annotations

import pytest

from leasehold.testing.simulation import counts, sentence, simulate

EACH = 10


def hold(first: int) -> None:
    """Run ten seeds; say of the first that fails what was found, and how to see it again."""
    verdicts = [simulate(seed) for seed in range(first, first + EACH)]
    for verdict in verdicts:
        assert not verdict.broken, sentence(verdict)
        assert sum(verdict.met.values()) >= 5, f"seed {verdict.seed} met too few faults: {verdict.met}"
    print(counts(verdicts))


@pytest.mark.requirement("PROVE-2")
@pytest.mark.requirement("PROVE-3")
@pytest.mark.requirement("INV-1")
@pytest.mark.requirement("INV-2")
@pytest.mark.requirement("INV-3")
@pytest.mark.requirement("INV-4")
@pytest.mark.requirement("INV-5")
@pytest.mark.requirement("INV-7")
@pytest.mark.requirement("INV-9")
def test_ten_seeds_hold() -> None:
    """Under faults of every kind the ledger keeps its invariants, and everyone is served in the end."""
    hold(1)


@pytest.mark.slow
@pytest.mark.requirement("PROVE-3")
@pytest.mark.requirement("LEASE-7")
@pytest.mark.requirement("LEASE-8")
@pytest.mark.requirement("LEASE-10")
@pytest.mark.requirement("LEASE-12")
@pytest.mark.requirement("LEASE-13")
@pytest.mark.requirement("LEASE-21")
@pytest.mark.requirement("LEASE-22")
@pytest.mark.parametrize("first", range(11, 101, EACH))
def test_a_hundred_seeds_hold(first: int) -> None:
    """The same, for more seeds: offers, renewals, ends, revokes, locks and bound work under faults."""
    hold(first)
