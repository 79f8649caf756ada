"""Estimates in words: what is known, how far it may be trusted, and what is not known."""

from __future__ import annotations

import pytest

from leasehold.cli.estimate_words import brief, kept, sentence
from leasehold.wire.estimate import EstimateOut, EstimateStats, HitsOut

pytestmark = pytest.mark.requirement("QUEUE-12")

WEEK = HitsOut(604_800, 212, 52.0, 91.2)


def test_a_known_start_is_told_with_its_worth() -> None:
    """P50, P90, and the share that was kept; with too few scored, that instead."""
    known = EstimateOut(600.0, 1_500.0, "a", "b", hit_rate=WEEK)
    assert sentence(known) == (
        "expected to start in ~10 min; ~25 min at the latest, nine times in ten "
        "(of the last 212 such estimates 91 % were kept)"
    )
    assert "too few" in sentence(EstimateOut(600.0, 1_500.0, hit_rate=HitsOut(604_800, 3, 100.0, 100.0)))
    assert brief(known) == "in ~10 min (P50), ~25 min (P90)"
    assert sentence(EstimateOut(0.0, 0.4)) == "it should start at once"


def test_what_is_not_known_says_why() -> None:
    """No time is made up; what waits for quiet is told from then on."""
    unknown = EstimateOut(note="no worker is there that does it")
    assert sentence(unknown) == "when it will start is not known: no worker is there that does it"
    assert brief(unknown) == "not known: no worker is there that does it"
    later = EstimateOut(0.0, 30.0, after_quiet=True, note="System is BUSY")
    assert sentence(later).startswith("once the machine is quiet expected to start in ~1 s; ~30 s")
    assert brief(later).endswith("once the machine is quiet")


def test_the_hit_rate_is_of_the_shortest_window_with_enough() -> None:
    """A day with three is passed over for a week with many; without any nothing is said."""
    day, month = HitsOut(86_400, 3, 100.0, 100.0), HitsOut(2_592_000, 300, 50.0, 90.0)
    assert kept(EstimateStats(1, [day, WEEK, month], {})) == "52 % kept by P50, 91.2 % by P90, 212 in 7 d"
    assert kept(EstimateStats(1, [HitsOut(86_400, 0), HitsOut(2_592_000, 0)], {})) is None
    assert kept(None) is None
