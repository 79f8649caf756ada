"""Times as people type them, on the clocks of a place: `06:00`, `tomorrow 18:00`, `2026-12-01`, `+3h`. Pure.

A time of the day that the clocks skip is the moment of the change; one that they show twice is the next of
the two (as schedules have it, QUEUE-17).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from leasehold.client.amounts import duration

EXPECTED = "expected a time, like 06:00, tomorrow 18:00, mon 07:30, 2026-12-01 06:00, +3h, or RFC 3339"

AHEAD_MAX = timedelta(days=3660)
"""Further ahead is a slip of the fingers."""

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_CLOCK = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d))?", re.ASCII)
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)", re.ASCII)
_DAY = re.compile(r"today|tomorrow|(mon|tues?|wed(nes)?|thu(rs)?|fri|sat(ur)?|sun)(day)?", re.ASCII)
_ZONED = re.compile(r"\d{4}-\d\d-\d\d[tT ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([zZ]|[+-]\d\d:?\d\d)", re.ASCII)


def moment(text: str, now: datetime, zone: tzinfo | None = None) -> datetime:
    """The moment that was typed, in UTC. `now` has a zone; `zone` None: the one of this process.

    A date alone is its first moment. A time alone is the next such time. Raises ValueError that says what was
    expected. What lies in the past is no error here.
    """
    word = " ".join(text.strip().lower().split())
    if word == "now":
        return now.astimezone(UTC)
    if word.startswith("+"):
        return _ahead(now.astimezone(UTC), word[1:])
    if _ZONED.fullmatch(word):
        return _bounded(_built(lambda: datetime.fromisoformat(word.upper())), now)
    day, _, clock = word.replace("t", " ", 1).partition(" ") if _DATE.match(word) else _split(word)
    seconds = _clock(clock) if clock else None
    if not day:
        if seconds is None:
            raise ValueError(EXPECTED)
        return _next(seconds, now, zone)
    return _bounded(_on(_day(day, seconds, now, zone), seconds or 0, now, zone), now)


def told(when: datetime, now: datetime, zone: tzinfo | None = None) -> str:
    """A moment for people: `06:00`, `tomorrow 06:00`, `Tue 2026-12-01 06:00`, on the clocks of the place."""
    then, today = when.astimezone(zone), now.astimezone(zone).date()
    clock = f"{then:%H:%M}" if then.second == 0 else f"{then:%H:%M:%S}"
    if then.date() == today:
        return clock
    if then.date() == today + timedelta(days=1):
        return f"tomorrow {clock}"
    return f"{then:%a %Y-%m-%d} {clock}"


def wire(when: datetime) -> str:
    """As the API takes it: RFC 3339 with its zone."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _ahead(now: datetime, text: str) -> datetime:
    try:
        seconds = duration(text)
    except ValueError:
        raise ValueError("expected a duration behind +, like +90m or +1h30m") from None
    if seconds > AHEAD_MAX.total_seconds():
        raise ValueError("lies more than ten years ahead")
    return now + timedelta(seconds=seconds)


def _split(word: str) -> tuple[str, str, str]:
    """Into a day and a time of the day; either may be missing."""
    first, _, rest = word.partition(" ")
    if _DAY.fullmatch(first):
        return first, " ", rest
    if rest:
        raise ValueError(EXPECTED)
    return "", "", first


def _clock(text: str) -> int:
    found = _CLOCK.fullmatch(text)
    hour, minute, second = (int(part or 0) for part in found.groups()) if found else (99, 0, 0)
    if (hour, minute, second) == (24, 0, 0):
        return 86_400
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(EXPECTED)
    return hour * 3600 + minute * 60 + second


def _day(text: str, seconds: int | None, now: datetime, zone: tzinfo | None) -> date:
    today = now.astimezone(zone).date()
    if text == "today":
        return today
    if text == "tomorrow":
        return today + timedelta(days=1)
    if text[:3] in DAYS:
        ahead = (DAYS.index(text[:3]) - today.weekday()) % 7
        day = today + timedelta(days=ahead)
        return day if ahead or _on(day, seconds or 0, now, zone) > now else day + timedelta(days=7)
    found = _DATE.fullmatch(text)
    if found is None:
        raise ValueError(EXPECTED)
    year, month, number = (int(part) for part in found.groups())
    try:
        return date(year, month, number)
    except ValueError as error:
        raise ValueError(f"there is no {text} ({error})") from None


def _next(seconds: int, now: datetime, zone: tzinfo | None) -> datetime:
    """The next moment at which the clocks show this time of the day."""
    today = now.astimezone(zone).date()
    for ahead in range(3):
        found = _on(today + timedelta(days=ahead), seconds, now, zone)
        if found > now:
            return found
    raise ValueError(EXPECTED)


def _on(day: date, seconds: int, now: datetime, zone: tzinfo | None) -> datetime:
    """The moment of this day at which the clocks show that time: of two the next one."""
    shown = _built(lambda: datetime.combine(day, time()) + timedelta(seconds=seconds))
    first, second = sorted(_at(shown, fold, zone) for fold in (0, 1))  # Which is which, platforms differ in.
    if first.astimezone(zone).replace(tzinfo=None, fold=0) != shown:  # The clocks skip it.
        return _change(first, second, zone)
    return first if first > now else second  # The same, unless the clocks show it twice.


def _at(shown: datetime, fold: int, zone: tzinfo | None) -> datetime:
    aware = shown.replace(fold=fold, tzinfo=zone)  # Without a zone the platform's own rules are taken.
    return _built(lambda: aware.astimezone(UTC))


def _change(before: datetime, after: datetime, zone: tzinfo | None) -> datetime:
    """The second between the two at which the clocks are set forward."""
    offset = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + (after - before) // 2
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)


def _built(make: Callable[[], datetime]) -> datetime:
    try:
        return make()
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(f"there is no such time ({error})") from None


def _bounded(when: datetime, now: datetime) -> datetime:
    found = when.astimezone(UTC)
    if found - now > AHEAD_MAX:
        raise ValueError("lies more than ten years ahead")
    return found
