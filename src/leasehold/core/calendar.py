"""Clock time and instants: when a weekly rule holds in a zone, over daylight-saving changes too (SENSE-20).

A rule covers every instant at which the clocks of its zone show a time within it. So where clocks go back it
lasts an hour longer if it lies over the repeated hour; where they go forward it begins or ends with the
skipped hour, and one that lies wholly within that hour comes right after it, with its length kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from leasehold.model.owner import Rule

DAY_MIN = 1_440
WEEK_DAYS = 8
"""Days looked at ahead: the next opening of a weekly rule is at most a week away."""

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@lru_cache(maxsize=256)
def zone_of(name: str) -> tzinfo:
    """The zone of an IANA name. Raises ValueError for an unknown one."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError("an IANA zone name, like Europe/Berlin or UTC") from error


def spans(rule: Rule, zone: str, around_wall_ms: int, days: int = WEEK_DAYS + 3) -> Iterator[tuple[int, int]]:
    """The rule's spans from two days before an instant on, as (start, end) in wall ms, for ten days."""
    found = zone_of(zone)
    today = datetime.fromtimestamp(around_wall_ms / 1000, found).date()
    for offset in range(-2, days - 2):
        day = today + timedelta(days=offset)
        if day.weekday() in rule.days:
            yield _span(rule, day, found)


def _span(rule: Rule, day: date, zone: tzinfo) -> tuple[int, int]:
    end_min = rule.end_min if rule.end_min > rule.start_min else rule.end_min + DAY_MIN
    start, end = _clock(day, rule.start_min), _clock(day, end_min)
    start_ms, end_ms = _first(start, zone), _last(end, zone)
    if start_ms < end_ms:
        return start_ms, end_ms
    # All of it was skipped: clocks show what lies behind the gap as if they had not been set.
    return _ms(start, zone, 0), _ms(end, zone, 0)


def _clock(day: date, minutes: int) -> datetime:
    midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - what clocks show, in no zone yet
    return midnight + timedelta(minutes=minutes)


def _ms(shown: datetime, zone: tzinfo, fold: int) -> int:
    """The instant at which clocks show this. `fold` 0: the first of two; in a gap, as before it."""
    return round(shown.replace(tzinfo=zone, fold=fold).timestamp() * 1000)


def _is_skipped(shown: datetime, zone: tzinfo) -> bool:
    back = datetime.fromtimestamp(_ms(shown, zone, 0) / 1000, zone)
    return back.replace(tzinfo=None) != shown


def _first(shown: datetime, zone: tzinfo) -> int:
    """The first instant at which clocks show this or later."""
    return _after_gap(shown, zone) if _is_skipped(shown, zone) else _ms(shown, zone, 0)


def _last(shown: datetime, zone: tzinfo) -> int:
    """The last instant before which clocks still show something earlier."""
    return _after_gap(shown, zone) if _is_skipped(shown, zone) else _ms(shown, zone, 1)


def _after_gap(shown: datetime, zone: tzinfo) -> int:
    """The instant at which the clocks are set forward over `shown`, to the second."""
    return change_between(_ms(shown, zone, 1), _ms(shown, zone, 0), zone)


def first_shown(shown: datetime, zone: tzinfo) -> int:
    """The first instant (wall ms) at which clocks of the zone show this or later. `shown` has no zone."""
    return _first(shown, zone)


def shown_at(wall_ms: int, zone: tzinfo) -> datetime:
    """What clocks of the zone show at an instant, without the zone."""
    return datetime.fromtimestamp(wall_ms / 1000, zone).replace(tzinfo=None)


def offset_ms(wall_ms: int, zone: tzinfo) -> int:
    """How far clocks of the zone are ahead of UTC at an instant."""
    offset = datetime.fromtimestamp(wall_ms / 1000, zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds() * 1000)


def as_utc_ms(shown: datetime) -> int:
    """The instant at which clocks in UTC show this."""
    return round(shown.replace(tzinfo=UTC).timestamp() * 1000)


def change_between(low_ms: int, high_ms: int, zone: tzinfo) -> int:
    """The instant, to the second, at which clocks are set between two others."""
    low_s, high_s = low_ms // 1000, high_ms // 1000
    before = datetime.fromtimestamp(low_s, zone).utcoffset()
    while high_s - low_s > 1:
        middle_s = (low_s + high_s) // 2
        if datetime.fromtimestamp(middle_s, zone).utcoffset() == before:
            low_s = middle_s
        else:
            high_s = middle_s
    return high_s * 1000


def open_until(rule: Rule, zone: str, wall_ms: int) -> int | None:
    """Until when the rule holds, if it holds now: spans that touch are one, for as far as they are known."""
    until_ms: int | None = None
    for start_ms, end_ms in spans(rule, zone, wall_ms):
        if start_ms <= (wall_ms if until_ms is None else until_ms) < end_ms:
            until_ms = end_ms
    return until_ms


def opens_at(rule: Rule, zone: str, wall_ms: int) -> int | None:
    """When the rule holds next, after this instant; None where it has no day at all."""
    return min((start for start, _ in spans(rule, zone, wall_ms) if start > wall_ms), default=None)


def shown(wall_ms: int, zone: str, now_wall_ms: int) -> str:
    """An instant for people: `18:00`, with its day where that is not today's, and the zone."""
    found = zone_of(zone)
    then = datetime.fromtimestamp(wall_ms / 1000, found)
    now = datetime.fromtimestamp(now_wall_ms / 1000, found)
    days = (then.date() - now.date()).days
    if days == 0:
        return f"{then:%H:%M %Z}"
    return f"{then:%a %H:%M %Z}" if 0 < days < 7 else f"{then:%Y-%m-%d %H:%M %Z}"


def clock_shown(minutes: int) -> str:
    """Minutes since midnight for people: `06:00`."""
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def days_shown(days: tuple[int, ...]) -> str:
    """Days of the week for people: `mon, tue`."""
    return ", ".join(DAYS[day] for day in days)
