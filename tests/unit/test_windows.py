"""Figures over true windows of time: what is older counts no more (OPS-12)."""

from __future__ import annotations

import random

import pytest

from leasehold.runtime.windows import Counts, Durations, Follower

HOUR, MINUTE = 3_600_000, 60_000

pytestmark = pytest.mark.requirement("OPS-12")


def test_counts_forget_what_is_older_than_the_window() -> None:
    """Ten now, ten half an hour later: an hour after the first ten only the others are left."""
    counts = Counts(HOUR, MINUTE)
    counts.add(0, 10)
    counts.add(HOUR // 2, 10)
    assert counts.within(HOUR - 1) == 20
    assert counts.within(HOUR + 2 * MINUTE) == 10
    assert counts.within(10 * HOUR) == 0


def test_a_total_is_followed_from_the_first_look_on() -> None:
    """What there was before counts not; one that falls has begun anew."""
    follower = Follower(HOUR, MINUTE)
    follower.saw(0, 1_000)
    assert follower.within(0) == 0
    follower.saw(MINUTE, 1_003)
    follower.saw(2 * MINUTE, 1_003)
    follower.saw(3 * MINUTE, 2)
    assert follower.within(3 * MINUTE) == 5
    assert follower.within(HOUR + 2 * MINUTE) == 2


def test_quantiles_are_near_those_of_the_real_durations() -> None:
    """Of ten thousand that are drawn each is at most a fifth off, from tenths of a millisecond to days."""
    draw = random.Random(7)
    for scale in (1.0, 1_000.0, 3_600_000.0):
        durations = Durations(HOUR, MINUTE)
        drawn = sorted(draw.lognormvariate(0, 1) * scale for _ in range(10_000))
        for one in drawn:
            durations.add(0, one)
        found = durations.quantiles(0)
        assert found.count == 10_000
        for percent, seen in ((50, found.p50_ms), (90, found.p90_ms), (99, found.p99_ms)):
            real = drawn[len(drawn) * percent // 100]
            assert seen is not None
            assert abs(seen - real) / real < 0.2, (scale, percent, seen, real)


def test_a_window_without_anything_has_no_quantiles() -> None:
    """Nothing is no zero; and what is long ago is nothing."""
    durations = Durations(HOUR, MINUTE, (10, 100))
    assert durations.quantiles(0).p50_ms is None
    durations.add(0, 50)
    durations.add(0, 10)
    durations.add(0, 1e12)
    assert durations.quantiles(0).count == 3
    assert durations.quantiles(2 * HOUR) == durations.quantiles(3 * HOUR)
    assert durations.quantiles(2 * HOUR).count == 0
    assert list(durations.histogram()) == [
        (("0.01",), 1),
        (("0.1",), 2),
        (("+Inf",), 3),
        (("sum",), (60 + 1e12) / 1000),
    ]
