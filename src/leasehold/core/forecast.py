"""How quiet the hours to come will be: the share of time, by hour of the week (SENSE-18).

Each hour that was measured counts for its cell of 168 on the clocks of the zone, and for less with age: after
a half-life for half. A cell of which little is known is drawn towards its kind of day (workdays, weekend) at
that hour, that towards the hour of the day, that towards the mean of all time, and that towards even odds:
each by as many hours of evidence as stand in `DRAWN_S` (empirical Bayes with fixed strengths; Efron and
Morris, *Stein's Estimation Rule and Its Competitors*, JASA 1973). Integers throughout: basis points, seconds.

What it can't know: that tomorrow is a holiday, that somebody began a game just now. It tells the usual.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import Literal

import msgspec

from leasehold.core.calendar import first_shown, offset_ms, shown_at, zone_of
from leasehold.model.forecast import DayForecast, HourForecast, Scores

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
SLOT_MS = 900_000
"""A quarter of an hour: zones differ by whole ones."""

CELLS = 168
CERTAIN_BP = 10_000
EVEN_BP = 5_000
AHEAD_MS = 14 * DAY_MS
"""How far ahead anybody may look."""

Confidence = Literal["unsure", "fair", "sure"]
FAIR_S, SURE_S = 5_400, 12_600
"""Evidence of an hour of the week from which it is fair or sure: about two weeks of it, and about five."""

LEARNED_DAYS = 7
"""Before so many days are known nothing is sure at all: a week has not been seen."""


class Drawn(msgspec.Struct, frozen=True, gc=False):
    """By how many seconds of evidence each level is drawn towards the one above it."""

    cell_s: int = 7_200
    kind_s: int = 7_200
    day_s: int = 7_200
    all_s: int = 43_200


DRAWN = Drawn()


class Seen(msgspec.Struct, frozen=True, gc=False):
    """One hour that was measured for `seen_s` seconds, of which the share `quiet_bp` was QUIET."""

    start_ms: int
    seen_s: int
    quiet_bp: int


class Odds(msgspec.Struct, frozen=True, gc=False):
    """What is expected of a time: the share of it that is QUIET, and the evidence for that in seconds."""

    quiet_bp: int
    known_s: int

    @property
    def confidence(self) -> Confidence:
        return "sure" if self.known_s >= SURE_S else "fair" if self.known_s >= FAIR_S else "unsure"


class Table(msgspec.Struct, frozen=True):
    """All that is expected at one instant, by hour of the week from Monday 0:00, by hour of the day, overall.

    `known_s` is all that was measured and learned from, without regard to age.
    """

    cells: tuple[Odds, ...]
    of_day: tuple[Odds, ...]
    overall: Odds
    known_s: int

    @property
    def is_learned(self) -> bool:
        """Whether a week's worth of days is known."""
        return self.known_s >= LEARNED_DAYS * 86_400 * 9 // 10


def cell_of(wall_ms: int, zone: tzinfo) -> int:
    """The hour of the week that clocks of the zone show at an instant: 0 is Monday from midnight on."""
    shown = datetime.fromtimestamp(wall_ms // 1000, zone)
    return 24 * shown.weekday() + shown.hour


def spans(start_ms: int, end_ms: int, zone: tzinfo) -> list[tuple[int, int]]:
    """(cell, milliseconds) of a time, in order: over changes of the clocks too."""
    found: list[tuple[int, int]] = []
    at_ms = start_ms
    while at_ms < end_ms:
        next_ms = min(end_ms, at_ms // SLOT_MS * SLOT_MS + SLOT_MS)
        cell = cell_of(at_ms, zone)
        if found and found[-1][0] == cell:
            found[-1] = (cell, found[-1][1] + next_ms - at_ms)
        else:
            found.append((cell, next_ms - at_ms))
        at_ms = next_ms
    return found


# -- learning -------------------------------------------------------------------------

FACTOR_BITS = 32
SCALE_BITS = 12  # evidence is kept finer than a second, so that what fades does not fade to steps


def factors(half_life_h: int) -> tuple[int, ...]:
    """What is left after so many hours of less than a half-life, in 2^-32."""
    return tuple(round(2 ** (FACTOR_BITS - age_h / half_life_h)) for age_h in range(half_life_h))


class Learner:
    """What was learned so far. Hours come in order of time; one that comes again, or late, is left out."""

    def __init__(self, zone: str, half_life_days: int, drawn: Drawn = DRAWN) -> None:
        self.zone = zone
        self.until_ms = 0
        self.known_s = 0
        self._zone = zone_of(zone)
        self._drawn = drawn
        self._factors = factors(24 * half_life_days)
        self._quiet, self._known, self._at_h = [0] * CELLS, [0] * CELLS, [0] * CELLS
        self._recent: dict[int, Seen] = {}

    def learn(self, seen: Seen) -> None:
        """One hour more."""
        if seen.start_ms < self.until_ms or seen.seen_s <= 0:
            return
        self.until_ms = seen.start_ms + HOUR_MS
        self.known_s += seen.seen_s
        hour = seen.start_ms // HOUR_MS
        for cell, span_ms in spans(seen.start_ms, seen.start_ms + HOUR_MS, self._zone):
            known = (seen.seen_s << SCALE_BITS) * span_ms // HOUR_MS
            quiet, before = self._faded(cell, hour)
            self._quiet[cell] = quiet + known * seen.quiet_bp // CERTAIN_BP
            self._known[cell], self._at_h[cell] = before + known, hour
        self._recent[seen.start_ms] = seen
        if len(self._recent) > 2 * CELLS:
            oldest_ms = self.until_ms - CELLS * HOUR_MS - DAY_MS
            self._recent = {at_ms: one for at_ms, one in self._recent.items() if at_ms >= oldest_ms}

    def _faded(self, cell: int, hour: int) -> tuple[int, int]:
        """(quiet, known) of a cell as they count at an hour."""
        age_h = max(0, hour - self._at_h[cell])
        halvings, rest = divmod(age_h, len(self._factors))
        if not self._known[cell] or halvings > FACTOR_BITS:
            return 0, 0
        shift = FACTOR_BITS + halvings
        return self._quiet[cell] * self._factors[rest] >> shift, self._known[cell] * self._factors[
            rest
        ] >> shift

    def seen_at(self, start_ms: int) -> Seen | None:
        """What was measured of an hour of the last week."""
        return self._recent.get(start_ms)

    def week_before(self, start_ms: int) -> int | None:
        """How much of the same hour a week before was QUIET, by the clocks; None where it was not seen."""
        before_ms = start_ms - CELLS * HOUR_MS
        before_ms += offset_ms(start_ms, self._zone) - offset_ms(before_ms, self._zone)
        seen = self._recent.get(before_ms // HOUR_MS * HOUR_MS)
        return None if seen is None else seen.quiet_bp

    def table(self, now_ms: int) -> Table:
        """What is expected, as of now."""
        faded = [self._faded(cell, now_ms // HOUR_MS) for cell in range(CELLS)]
        drawn = self._drawn
        overall = _drawn(faded, Odds(EVEN_BP, 0), drawn.all_s)
        of_day = tuple(_drawn(faded[hour::24], overall, drawn.day_s) for hour in range(24))
        kinds = {
            weekend: [
                _drawn([faded[24 * day + hour] for day in days], of_day[hour], drawn.kind_s)
                for hour in range(24)
            ]
            for weekend, days in ((False, range(5)), (True, range(5, 7)))
        }
        cells = tuple(
            _drawn([faded[cell]], kinds[cell >= 5 * 24][cell % 24], drawn.cell_s) for cell in range(CELLS)
        )
        return Table(cells, of_day, overall, self.known_s)


def _drawn(parts: Sequence[tuple[int, int]], towards: Odds, by_s: int) -> Odds:
    """The share of (quiet, known) parts, as if `by_s` more seconds had been seen as is expected above."""
    quiet, known = sum(part[0] for part in parts), sum(part[1] for part in parts)
    by = by_s << SCALE_BITS
    share = (quiet * CERTAIN_BP + by * towards.quiet_bp) // (known + by) if known + by else towards.quiet_bp
    return Odds(min(CERTAIN_BP, share), known >> SCALE_BITS)


def expected(table: Table, start_ms: int, end_ms: int, zone: tzinfo) -> Odds:
    """Of a time: the mean of its cells, and the evidence of the one of which least is known."""
    parts = spans(start_ms, end_ms, zone)
    whole = sum(span_ms for _, span_ms in parts)
    mean = sum(table.cells[cell].quiet_bp * span_ms for cell, span_ms in parts) // whole
    return Odds(mean, min(table.cells[cell].known_s for cell, _ in parts))


def replayed(learner: Learner, hours: Sequence[Seen], since_ms: int, before_ms: int) -> list[DayForecast]:
    """Teach all hours in order.

    Answer: for each day of the zone from `since_ms` to before `before_ms` that was measured, the forecast
    that would have been made at its begin, and what came of it.
    """
    zone = zone_of(learner.zone)
    by_start = {seen.start_ms: seen for seen in hours}
    made: list[DayForecast] = []
    end_ms = 0
    for seen in hours:
        if since_ms <= seen.start_ms < before_ms and seen.start_ms >= end_ms:
            start_ms, end_ms = day_of(seen.start_ms, zone)
            if learner.known_s >= 86_400:
                made.append(day_forecast(learner, start_ms, end_ms, start_ms, hindsight=True))
        learner.learn(seen)
    return [scored(day, by_start.get) for day in made]


def day_of(wall_ms: int, zone: tzinfo) -> tuple[int, int]:
    """Begin and end of the day of an instant, on the clocks of the zone."""
    midnight = shown_at(wall_ms, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    return first_shown(midnight, zone), first_shown(midnight + timedelta(days=1), zone)


# -- forecasts of days, and what came of them -----------------------------------------


def day_forecast(
    learner: Learner, start_ms: int, end_ms: int, made_ms: int, *, hindsight: bool = False
) -> DayForecast:
    """What is said of the hours of a day that have not begun when it is made, and what the naive ways say."""
    zone = zone_of(learner.zone)
    table = learner.table(made_ms)
    hours: list[HourForecast] = []
    first_ms = -(-max(start_ms, made_ms) // HOUR_MS) * HOUR_MS
    for at_ms in range(first_ms, end_ms, HOUR_MS):
        parts = spans(at_ms, at_ms + HOUR_MS, zone)
        of_day = sum(table.of_day[cell % 24].quiet_bp * span_ms for cell, span_ms in parts) // HOUR_MS
        last_week = learner.week_before(at_ms)
        hours.append(
            HourForecast(
                start_ms=at_ms,
                forecast_bp=expected(table, at_ms, at_ms + HOUR_MS, zone).quiet_bp,
                overall_bp=table.overall.quiet_bp,
                of_day_bp=of_day,
                last_week_bp=table.overall.quiet_bp if last_week is None else last_week,
            )
        )
    return DayForecast(start_ms, end_ms, made_ms, learner.zone, tuple(hours), hindsight=hindsight)


def scored(day: DayForecast, seen: Callable[[int], Seen | None], *, over: bool = True) -> DayForecast:
    """The day with what happened in its hours; `over`: nothing more will come."""
    hours = tuple(
        hour
        if (one := seen(hour.start_ms)) is None
        else msgspec.structs.replace(hour, seen_s=one.seen_s, quiet_bp=one.quiet_bp)
        for hour in day.hours
    )
    return msgspec.structs.replace(day, hours=hours, scored=over)


def squared(said_bp: int, quiet_bp: int) -> int:
    """The mean squared error of a probability over samples of which a share was QUIET, in millionths.

    Each sample is QUIET or not: the error is p² of those that are not, (1 - p)² of those that are. Source:
    Brier, *Verification of Forecasts Expressed in Terms of Probability*, Monthly Weather Review 1950.
    """
    return (said_bp * said_bp - 2 * said_bp * quiet_bp + CERTAIN_BP * quiet_bp) // 100


def scores(days: Sequence[DayForecast]) -> Scores | None:
    """Over every hour of the days that was measured, by how long it was; None where none was."""
    hours = [hour for day in days for hour in day.hours if hour.seen_s]
    seen_s = sum(hour.seen_s for hour in hours)
    if not seen_s:
        return None

    def mean(said: Callable[[HourForecast], int]) -> int:
        return sum(squared(said(hour), hour.quiet_bp) * hour.seen_s for hour in hours) // seen_s

    return Scores(
        forecast=mean(lambda hour: hour.forecast_bp),
        overall=mean(lambda hour: hour.overall_bp),
        of_day=mean(lambda hour: hour.of_day_bp),
        last_week=mean(lambda hour: hour.last_week_bp),
        seen_s=seen_s,
    )
