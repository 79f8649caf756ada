"""The best times to come: of a length, best first and apart; and whole spans that are quiet enough."""

from __future__ import annotations

from itertools import pairwise

import pytest

from leasehold.core import forecast_windows
from leasehold.core.forecast import FAIR_S, HOUR_MS, SLOT_MS, SURE_S, Odds

T0 = 1_800_000_000_000 // HOUR_MS * HOUR_MS


def hours(*percents: int, known_s: int = SURE_S) -> list[Odds]:
    """Four quarters for each percentage."""
    return [Odds(100 * percent, known_s) for percent in percents for _ in range(4)]


def starts(found: list[forecast_windows.Window]) -> list[float]:
    return [(one.start_ms - T0) / HOUR_MS for one in found]


@pytest.mark.requirement("SENSE-19")
def test_the_best_window_comes_first_and_the_earlier_of_equal_ones() -> None:
    """Two good hours are further off than a middling one; of two equal ones the sooner is told."""
    odds = hours(50, 70, 70, 95, 95, 50, 95, 95, 40)
    found = forecast_windows.best(T0, odds, T0, 2 * HOUR_MS, 8 * HOUR_MS)
    assert starts(found) == [3.0]
    found = forecast_windows.best(T0, odds, T0, HOUR_MS, 8 * HOUR_MS)
    assert starts(found) == [3.0, 6.0, 1.0]
    assert found[0].odds == Odds(9_500, SURE_S)


@pytest.mark.requirement("SENSE-19")
def test_a_window_may_begin_now_and_ends_in_time() -> None:
    """In the middle of a quarter; nothing that ends too late, nothing where nothing fits."""
    now_ms = T0 + 7 * 60_000
    odds = hours(90, 90, 20, 99)
    found = forecast_windows.best(T0, odds, now_ms, HOUR_MS, 2 * HOUR_MS)
    assert found[0].start_ms == now_ms
    assert found[0].end_ms == now_ms + HOUR_MS
    assert all(one.end_ms <= now_ms + 2 * HOUR_MS for one in found)
    assert forecast_windows.best(T0, odds, now_ms, HOUR_MS, HOUR_MS)[0].start_ms == now_ms
    assert forecast_windows.best(T0, odds, now_ms, 2 * HOUR_MS, HOUR_MS) == []


@pytest.mark.requirement("SENSE-19")
def test_a_window_tells_its_mean_and_its_worst() -> None:
    """Half of each hour: the mean of both, the worst quarter, and the least evidence."""
    odds = hours(80, known_s=FAIR_S) + hours(100)
    found = forecast_windows.best(T0, odds, T0 + 1_800_000, HOUR_MS, HOUR_MS)
    assert (found[0].odds, found[0].low_bp) == (Odds(9_000, FAIR_S), 8_000)


@pytest.mark.requirement("SENSE-19", "QUEUE-19")
def test_whole_spans_that_are_quiet_enough() -> None:
    """Those that last long enough, in order; what is unsure belongs to none; one that has begun counts."""
    odds = hours(85, 90, 10, 90) + [Odds(9_900, FAIR_S - 1)] * 4 + hours(20, 99, 99, 99)
    now_ms = T0 + 100 * 60_000
    found = forecast_windows.stretches(T0, odds, 8_000, 2 * HOUR_MS, now_ms)
    assert [(one.start_ms - T0, one.end_ms - T0) for one in found] == [
        (0, 2 * HOUR_MS),
        (6 * HOUR_MS, 9 * HOUR_MS),
    ]
    later = forecast_windows.stretches(T0, odds, 8_000, 2 * HOUR_MS, T0 + 2 * HOUR_MS)
    assert starts(later) == [6.0]
    assert starts(forecast_windows.stretches(T0, odds, 8_000, 10 * SLOT_MS, T0)) == [6.0]
    assert forecast_windows.stretches(T0, hours(10, 20), 8_000, SLOT_MS, T0) == []


@pytest.mark.requirement("SENSE-19", "SENSE-20")
def test_what_the_owner_blocks_is_no_window() -> None:
    """However quiet: a window ends before it or begins after it, to the quarter of an hour."""
    odds = hours(*[95] * 8)
    bars = forecast_windows.barred(
        T0, len(odds), [(T0 + HOUR_MS + 60_000, T0 + 5 * HOUR_MS - 60_000), (0, 5)]
    )
    assert [n for n, bar in enumerate(bars) if bar] == list(range(4, 20))
    found = forecast_windows.best(T0, odds, T0 + 300_000, 2 * HOUR_MS, 8 * HOUR_MS, bars)
    assert starts(found) == [5.0]
    assert forecast_windows.best(T0, odds, T0, 2 * HOUR_MS, 6 * HOUR_MS, bars) == []
    spans = forecast_windows.stretches(T0, odds, 8_000, HOUR_MS, T0, bars)
    assert [(one.start_ms - T0, one.end_ms - T0) for one in spans] == [
        (0, HOUR_MS),
        (5 * HOUR_MS, 8 * HOUR_MS),
    ]


@pytest.mark.requirement("SENSE-19")
def test_no_two_windows_are_of_the_same_quiet_time() -> None:
    """A long quiet night is told once, not in slices."""
    found = forecast_windows.best(T0, hours(*[99] * 12), T0, HOUR_MS, 12 * HOUR_MS)
    assert all(abs(a.start_ms - b.start_ms) >= 2 * HOUR_MS for a, b in pairwise(found))
