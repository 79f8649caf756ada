"""Times behind us as people type them: `yesterday`, `yesterday 14:00`, `2026-11-25`, `3h ago`. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta, tzinfo

from leasehold.client.amounts import duration

EXPECTED = (
    "expected a time, like yesterday, yesterday 14:00, 2026-11-25, 2026-11-25 14:00, 3h ago, or RFC 3339"
)

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)", re.ASCII)


def latest_of(text: str, now: datetime, zone: tzinfo | None = None) -> datetime:
    """The last instant that is meant, in UTC: a day alone is all of that day. `now` has a zone.

    Raises ValueError that says what was expected.
    """
    word = " ".join(text.strip().lower().split())
    if word.endswith(" ago"):
        try:
            return now.astimezone(UTC) - timedelta(seconds=duration(word.removesuffix(" ago")))
        except ValueError:
            raise ValueError(EXPECTED) from None
    day, _, clock = word.partition(" ")
    here = now.astimezone(zone)
    dates = {"now": here.date(), "today": here.date(), "yesterday": here.date() - timedelta(days=1)}
    if day not in dates:
        return _written(text.strip(), word, zone)
    if clock:
        return _at(datetime.combine(dates[day], _clock(clock)), zone)
    if day == "yesterday":
        return _at(datetime.combine(here.date(), time()), zone)
    return now.astimezone(UTC)


def _written(text: str, word: str, zone: tzinfo | None) -> datetime:
    try:
        found = datetime.fromisoformat(text.upper())
    except ValueError:
        raise ValueError(EXPECTED) from None
    if re.fullmatch(r"\d{4}-\d\d-\d\d", word):
        found += timedelta(days=1)
    return found.astimezone(UTC) if found.tzinfo is not None else _at(found, zone)


def _clock(text: str) -> time:
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise ValueError(EXPECTED)
    return time(int(found[1]), int(found[2]))


def _at(shown: datetime, zone: tzinfo | None) -> datetime:
    """What the clocks of the place show, as an instant."""
    return (shown.astimezone() if zone is None else shown.replace(tzinfo=zone)).astimezone(UTC)
