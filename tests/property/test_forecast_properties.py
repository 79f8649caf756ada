"""The forecast and its windows over random histories."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from leasehold.core import forecast_windows, rollup
from leasehold.core.forecast import CERTAIN_BP, FAIR_S, HOUR_MS, SLOT_MS, Learner, Odds, Seen

T0 = 1_800_000_000_000 // HOUR_MS * HOUR_MS
ZONES = ("UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York", "Australia/Lord_Howe")

hours = st.lists(
    st.tuples(st.integers(0, 40), st.integers(0, 3_600), st.integers(0, CERTAIN_BP)), min_size=1, max_size=60
)
odds = st.builds(Odds, st.integers(0, CERTAIN_BP), st.sampled_from([0, FAIR_S, 4 * FAIR_S]))


def taught(zone: str, half_life_days: int, told: list[tuple[int, int, int]]) -> Learner:
    """Hours in order, with gaps of as many hours as each says."""
    learner = Learner(zone, half_life_days)
    at_ms = T0
    for gap, seen_s, quiet_bp in told:
        at_ms += (1 + gap) * HOUR_MS
        learner.learn(Seen(at_ms, seen_s, quiet_bp))
    return learner


@given(hours, st.sampled_from(ZONES), st.integers(1, 60), st.integers(0, 2_000))
def test_what_is_expected_is_a_probability(
    told: list[tuple[int, int, int]], zone: str, half_life_days: int, later_h: int
) -> None:
    """Whatever was seen, and however long ago; evidence fades and never grows by itself."""
    learner = taught(zone, half_life_days, told)
    now_ms = learner.until_ms or T0
    table, later = learner.table(now_ms), learner.table(now_ms + later_h * HOUR_MS)
    for now, then in zip(table.cells, later.cells, strict=True):
        assert 0 <= now.quiet_bp <= CERTAIN_BP
        assert 0 <= then.known_s <= now.known_s
    assert sum(cell.known_s for cell in table.cells) <= learner.known_s


@given(hours, st.sampled_from(ZONES), st.integers(0, 59))
def test_more_quiet_seen_never_tells_less_of_it(
    told: list[tuple[int, int, int]], zone: str, number: int
) -> None:
    """One hour that was all quiet instead: no hour of the week is told less quiet (but for rounding)."""
    number %= len(told)
    quieter = [
        (gap, seen_s, CERTAIN_BP if place == number else quiet_bp)
        for place, (gap, seen_s, quiet_bp) in enumerate(told)
    ]
    before, after = taught(zone, 28, told), taught(zone, 28, quieter)
    now_ms = max(before.until_ms, T0)
    for less, more in zip(before.table(now_ms).cells, after.table(now_ms).cells, strict=True):
        assert more.quiet_bp >= less.quiet_bp - 4


@given(
    st.lists(odds, min_size=9, max_size=40),
    st.integers(0, SLOT_MS - 1),
    st.integers(1, 16),
    st.integers(1, 30),
)
def test_the_first_window_is_the_best_one(
    slots: list[Odds], into_ms: int, quarters: int, within: int
) -> None:
    """None is better by a whole percent; all lie within the time, and apart."""
    now_ms, duration_ms = T0 + into_ms, quarters * SLOT_MS
    within_ms = min(within * SLOT_MS, (len(slots) - 1) * SLOT_MS)
    found = forecast_windows.best(T0, slots, now_ms, duration_ms, within_ms)
    assert bool(found) is (duration_ms <= within_ms)
    for one in found:
        assert now_ms <= one.start_ms < one.end_ms <= now_ms + within_ms
        assert one.low_bp <= one.odds.quiet_bp <= max(slot.quiet_bp for slot in slots)
    for a, b in pairwise(sorted(one.start_ms for one in found)):
        assert b - a >= 2 * duration_ms
    if found:
        starts = range(T0 + SLOT_MS, now_ms + within_ms - duration_ms + 1, SLOT_MS)
        means = [mean(slots, at_ms, duration_ms) for at_ms in (now_ms, *starts)]
        assert found[0].odds.quiet_bp // 100 == max(means) // 100


def mean(slots: list[Odds], start_ms: int, duration_ms: int) -> int:
    """By walking over its seconds' worth of slots."""
    total = 0
    for number, slot in enumerate(slots):
        begin_ms = T0 + number * SLOT_MS
        total += slot.quiet_bp * max(
            0, min(begin_ms + SLOT_MS, start_ms + duration_ms) - max(begin_ms, start_ms)
        )
    return total // duration_ms


@given(st.lists(odds, max_size=60), st.integers(1, 12), st.integers(0, 60))
def test_forecast_windows_are_exactly_the_good_quarters_that_last(
    slots: list[Odds], least: int, now: int
) -> None:
    """Each quarter that is likely and known enough, in a run that is long enough and not over, is in one."""
    now_ms = T0 + now * SLOT_MS
    found = forecast_windows.stretches(T0, slots, 8_000, least * SLOT_MS, now_ms)
    inside = {(at_ms - T0) // SLOT_MS for one in found for at_ms in range(one.start_ms, one.end_ms, SLOT_MS)}
    good = [slot.quiet_bp >= 8_000 and slot.known_s >= FAIR_S for slot in slots]
    expected: set[int] = set()
    begin = 0
    for number in range(len(good) + 1):
        if number == len(good) or not good[number]:
            if number - begin >= least and number > now:
                expected |= set(range(begin, number))
            begin = number + 1
    assert inside == expected


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40), st.integers(1, 9), st.integers(1, 9))
def test_rollups_of_rollups_are_rollups(values: list[float], fine: int, coarse: int) -> None:
    """By any steps in between the same least, greatest, last, count and, but for rounding, mean."""
    samples = [(number, rollup.of([value])) for number, value in enumerate(values)]
    once = rollup.by_step(samples, fine * coarse)
    twice = rollup.by_step(rollup.by_step(samples, fine), fine * coarse)
    assert [start for start, _ in once] == [start for start, _ in twice]
    for (_, a), (_, b) in zip(once, twice, strict=True):
        assert (a.low, a.high, a.last, a.count) == (b.low, b.high, b.last, b.count)
        assert abs(a.mean - b.mean) <= 1e-9 * max(1.0, abs(a.low), abs(a.high))
