"""Cron expressions in a zone: which instants they mean, over daylight-saving changes too (QUEUE-17).

`cronsim` reads an expression and walks it over clock times that no zone has touched; the instants at which
the clocks of a zone show them are found here, for it matters what a change of the clocks does:

- An expression that names its hours (`30 2 * * *`, also `0 */2 * * *`) means a time of the day, and runs once
  for it. A time that is skipped runs at the instant of the change; one that comes twice, the first time.
- One whose hour field is every hour (`0 * * * *`, `*/15 * * * *`) means time that passes: it runs whenever
  clocks show such a minute. So the hour that comes twice has its runs twice, and the skipped one has none.

Both are what Debian's cron does, but for `*/15 2 * * *` and the like, where it loses or doubles runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from functools import lru_cache
from typing import NamedTuple

from cronsim import CronSim, CronSimError

from leasehold.core import calendar

EXPRESSION_CHARS_MAX = 256

DAY_MS = 86_400_000

NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

FIELDS = {
    "minute": "0-59",
    "hour": "0-23",
    "day-of-month": "1-31, L for the last day or LW for the last weekday",
    "month": "1-12 or JAN-DEC",
    "day-of-week": "0-7 (0 and 7: Sunday) or SUN-SAT, FRI#2 for the second Friday or 5L for the last",
}

EXAMPLE = "like '30 2 * * *' (at 02:30 every day) or '*/15 9-17 * * MON-FRI'"

_SOMEWHEN = datetime(2000, 1, 1)  # noqa: DTZ001 - only a place to parse from
_EVERY_HOUR = frozenset(range(24))


class Cron(NamedTuple):
    """A checked expression of five fields. `every_hour`: it means time that passes, not times of the day."""

    text: str
    every_hour: bool

    def explained(self) -> str:
        """What it means, for people: `At 02:30 every day`."""
        return _explained(self.text)


@lru_cache(maxsize=1_024)
def _explained(text: str) -> str:
    return CronSim(text, _SOMEWHEN).explain()


@lru_cache(maxsize=1_024)
def parse(expression: str) -> Cron:
    """Check an expression of five fields, or a nickname like `@daily`.

    Raises ValueError with what was expected: for a field that can't be read, and for a time that never comes
    (the 31st of February).
    """
    if len(expression) > EXPRESSION_CHARS_MAX:
        raise ValueError(f"at most {EXPRESSION_CHARS_MAX} characters, {EXAMPLE}")
    text = " ".join(expression.split())
    text = NICKNAMES.get(text.lower(), text)
    if text.startswith("@"):
        raise ValueError(f"one of {', '.join(NICKNAMES)}, or five fields {EXAMPLE}")
    fields = len(text.split())
    if fields != len(FIELDS):
        raise ValueError(f"five fields, not {fields}: {' '.join(FIELDS)}; {EXAMPLE}")
    try:
        found = CronSim(text, _SOMEWHEN)
    except CronSimError as error:
        raise ValueError(_expected(text, str(error))) from error
    cron = Cron(text, found.hours >= _EVERY_HOUR)
    if next(found, None) is None:
        raise ValueError("a time that comes: no day of the next 50 years is all of this")
    return cron


def _expected(text: str, problem: str) -> str:
    field = problem.removeprefix("Bad ")
    values = FIELDS.get(field)
    if values is None:
        return f"five fields {EXAMPLE}"
    if field == "day-of-month" and _reads(text.split()[2]):
        return f"a day that comes: no month of this expression has such a day-of-month; {EXAMPLE}"
    return f"{field}: {values}; lists 1,2, ranges 1-5 and steps */15 of them; {EXAMPLE}"


def _reads(day: str) -> bool:
    """Whether the field itself is right, so that it is its month which has no such day."""
    try:
        CronSim(f"0 0 {day} * *", _SOMEWHEN)
    except CronSimError:
        return False
    return True


def instants(cron: Cron, zone: str, after_ms: int) -> Iterator[int]:
    """The instants (wall ms) that it means, later than `after_ms`, ascending, each once.

    It ends where there is none for 50 years.
    """
    found = calendar.zone_of(zone)
    return (_as_time_passes if cron.every_hour else _times_of_the_day)(cron, found, after_ms)


def _times_of_the_day(cron: Cron, zone: tzinfo, after_ms: int) -> Iterator[int]:
    last_ms = after_ms
    # What clocks showed up to now was shown before now: nothing earlier can come.
    for time in CronSim(cron.text, calendar.shown_at(after_ms, zone)):
        instant_ms = calendar.first_shown(time, zone)
        if instant_ms > last_ms:
            last_ms = instant_ms
            yield instant_ms


def _as_time_passes(cron: Cron, zone: tzinfo, after_ms: int) -> Iterator[int]:
    """Stretch by stretch between changes of the clocks, within which what they show only advances."""
    since_ms, start = after_ms, calendar.shown_at(after_ms, zone)
    while True:
        offset = calendar.offset_ms(since_ms, zone)
        change_ms: int | None = None
        for time in CronSim(cron.text, start):
            instant_ms = calendar.as_utc_ms(time) - offset
            change_ms = _change(zone, since_ms, instant_ms)
            if change_ms is not None:
                break
            since_ms = instant_ms
            yield instant_ms
        if change_ms is None:
            return
        since_ms = change_ms
        start = calendar.shown_at(change_ms, zone) - timedelta(seconds=1)  # That minute itself may be one.


def _change(zone: tzinfo, after_ms: int, until_ms: int) -> int | None:
    """The first change of the clocks in (`after_ms`, `until_ms`]; no two are less than a day apart."""
    before = calendar.offset_ms(after_ms, zone)
    low_ms = after_ms
    while low_ms < until_ms:
        high_ms = min(low_ms + DAY_MS, until_ms)
        if calendar.offset_ms(high_ms, zone) != before:
            return calendar.change_between(low_ms, high_ms, zone)
        low_ms = high_ms
    return None
