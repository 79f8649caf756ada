"""The best times to come, from what is expected of each quarter of an hour (SENSE-19, QUEUE-19)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from itertools import accumulate

import msgspec

from leasehold.core.forecast import FAIR_S, SLOT_MS, Odds, Table, cell_of

WINDOWS_MAX = 5
APART_MS = 3_600_000
PERCENT_BP = 100


class Window(msgspec.Struct, frozen=True, gc=False):
    """A time to come: the mean of what is expected, that of its worst quarter, the least evidence in it."""

    start_ms: int
    end_ms: int
    odds: Odds
    low_bp: int


def slots(table: Table, zone: tzinfo, now_ms: int, ahead_ms: int) -> tuple[int, list[Odds]]:
    """What is expected of each quarter of an hour from the one that has begun on: (its begin, the odds)."""
    first_ms = now_ms // SLOT_MS * SLOT_MS
    count = -(-(now_ms + ahead_ms - first_ms) // SLOT_MS)
    return first_ms, [table.cells[cell_of(first_ms + SLOT_MS * n, zone)] for n in range(count)]


def barred(first_ms: int, count: int, spans: Sequence[tuple[int, int]]) -> list[bool]:
    """Of so many quarters of an hour those in which nothing may start, though it may be quiet."""
    found = [False] * count
    for start_ms, end_ms in spans:
        begin = max(0, (start_ms - first_ms) // SLOT_MS)
        end = min(count, -(-(end_ms - first_ms) // SLOT_MS))
        found[begin:end] = [True] * max(0, end - begin)
    return found


def best(
    first_ms: int,
    odds: Sequence[Odds],
    now_ms: int,
    duration_ms: int,
    within_ms: int,
    bars: Sequence[bool] = (),
    most: int = WINDOWS_MAX,
) -> list[Window]:
    """The best windows of a length that end in time, best first, apart from each other, with nothing barred.

    They begin now or with a quarter of an hour, and lie at least their length and an hour apart, so that one
    long quiet time is not told in slices. What differs by less than a percent is taken as equal, and the
    earlier one goes before.
    """
    totals = [0, *accumulate(each.quiet_bp * SLOT_MS for each in odds)]
    last_ms = now_ms + within_ms - duration_ms
    starts = [now_ms, *range(first_ms + SLOT_MS, last_ms + 1, SLOT_MS)] if last_ms >= now_ms else []
    found = [
        (_mean(first_ms, odds, totals, at_ms, duration_ms), at_ms)
        for at_ms in starts
        if not any(bars[_begin(first_ms, at_ms) : _end(first_ms, at_ms + duration_ms)])
    ]
    found.sort(key=lambda each: (-(each[0] // PERCENT_BP), each[1]))
    chosen: list[int] = []
    for _, at_ms in found:
        if all(abs(at_ms - other) >= duration_ms + max(duration_ms, APART_MS) for other in chosen):
            chosen.append(at_ms)
        if len(chosen) == most:
            break
    return [_window(first_ms, odds, totals, at_ms, at_ms + duration_ms) for at_ms in chosen]


def stretches(
    first_ms: int,
    odds: Sequence[Odds],
    from_bp: int,
    least_ms: int,
    now_ms: int,
    bars: Sequence[bool] = (),
) -> list[Window]:
    """Whole spans in which quiet is at least so likely and that is not unsure, with nothing barred; none
    shorter than `least_ms`.

    In order, without those that are over. What is told of before `now_ms` is looked at too, so that a span
    that has begun is as long as it is.
    """
    totals = [0, *accumulate(each.quiet_bp * SLOT_MS for each in odds)]
    found: list[Window] = []
    begin: int | None = None
    for number in range(len(odds) + 1):
        good = number < len(odds) and _good(odds[number], from_bp) and not any(bars[number : number + 1])
        if good and begin is None:
            begin = number
        elif not good and begin is not None:
            start_ms, end_ms = first_ms + begin * SLOT_MS, first_ms + number * SLOT_MS
            if end_ms - start_ms >= least_ms and end_ms > now_ms:
                found.append(_window(first_ms, odds, totals, start_ms, end_ms))
            begin = None
    return found


def _good(odds: Odds, from_bp: int) -> bool:
    return odds.quiet_bp >= from_bp and odds.known_s >= FAIR_S


def _begin(first_ms: int, at_ms: int) -> int:
    """The quarter that an instant lies in."""
    return (at_ms - first_ms) // SLOT_MS


def _end(first_ms: int, at_ms: int) -> int:
    """The first quarter that begins at an instant or after it."""
    return -(-(at_ms - first_ms) // SLOT_MS)


def _total(first_ms: int, odds: Sequence[Odds], totals: Sequence[int], at_ms: int) -> int:
    """Basis points times milliseconds from the first slot to an instant."""
    number, rest = divmod(at_ms - first_ms, SLOT_MS)
    return totals[number] + (odds[number].quiet_bp * rest if rest else 0)


def _mean(first_ms: int, odds: Sequence[Odds], totals: Sequence[int], start_ms: int, duration_ms: int) -> int:
    end_ms = start_ms + duration_ms
    whole = _total(first_ms, odds, totals, end_ms) - _total(first_ms, odds, totals, start_ms)
    return whole // duration_ms


def _window(first_ms: int, odds: Sequence[Odds], totals: Sequence[int], start_ms: int, end_ms: int) -> Window:
    parts = odds[_begin(first_ms, start_ms) : _end(first_ms, end_ms)]
    mean = _mean(first_ms, odds, totals, start_ms, end_ms - start_ms)
    known_s = min(each.known_s for each in parts)
    return Window(start_ms, end_ms, Odds(mean, known_s), min(each.quiet_bp for each in parts))
