"""Rules by the clock and instants: zones, nights, and the two days a year that are not 24 hours long."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from leasehold.core import calendar
from leasehold.model.owner import Rule

ALL = tuple(range(7))
BERLIN = "Europe/Berlin"
NEW_YORK = "America/New_York"
HOUR_MS = 3_600_000
MINUTE_MS = 60_000


def at(text: str) -> int:
    """Wall ms of an ISO time with its offset."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def rule(start: str, end: str, days: tuple[int, ...] = ALL) -> Rule:
    def minutes(clock: str) -> int:
        return int(clock[:2]) * 60 + int(clock[3:])

    return Rule(days, minutes(start), minutes(end))


def open_minutes(one: Rule, zone: str, first: int, hours: int) -> list[int]:
    """The minutes (wall ms) of some hours at which the rule holds."""
    return [
        at_ms
        for at_ms in range(first, first + hours * HOUR_MS, MINUTE_MS)
        if calendar.open_until(one, zone, at_ms) is not None
    ]


@pytest.mark.requirement("SENSE-20")
@pytest.mark.parametrize(
    ("zone", "day"),
    [
        (BERLIN, "2026-03-29T00:00+01:00"),
        (BERLIN, "2026-10-25T00:00+02:00"),
        (NEW_YORK, "2026-03-08T00:00-05:00"),
        (NEW_YORK, "2026-11-01T00:00-04:00"),
        ("Australia/Lord_Howe", "2026-04-05T00:00+11:00"),
        (BERLIN, "2026-06-01T00:00+02:00"),
    ],
)
@pytest.mark.parametrize(
    ("start", "end"),
    [("01:00", "04:00"), ("22:00", "06:00"), ("01:30", "02:30"), ("02:30", "05:15"), ("00:00", "24:00")],
)
def test_a_rule_holds_exactly_while_clocks_show_a_time_within_it(
    zone: str, day: str, start: str, end: str
) -> None:
    """Minute by minute over the days around a change of the clocks, in both directions, in three zones."""
    one = rule(start, end)
    first = at(day) - 12 * HOUR_MS

    def within(at_ms: int) -> bool:
        shown = datetime.fromtimestamp(at_ms / 1000, ZoneInfo(zone))
        minutes = shown.hour * 60 + shown.minute
        ending = one.end_min if one.end_min > one.start_min else one.end_min + 1_440
        return one.start_min <= minutes < ending or minutes + 1_440 < ending

    expected = [at_ms for at_ms in range(first, first + 40 * HOUR_MS, MINUTE_MS) if within(at_ms)]
    found = open_minutes(one, zone, first, 40)
    # A span is one piece: between two showings of the repeated hour it goes on.
    assert set(expected) <= set(found)
    assert len(found) - len(expected) <= 60


@pytest.mark.requirement("SENSE-20")
@pytest.mark.parametrize(
    ("zone", "around", "start", "end", "opens", "closes"),
    [
        # Clocks go forward: 02:00 becomes 03:00.
        (
            BERLIN,
            "2026-03-29T00:30+01:00",
            "01:00",
            "02:30",
            "2026-03-29T01:00+01:00",
            "2026-03-29T03:00+02:00",
        ),
        (
            BERLIN,
            "2026-03-29T00:30+01:00",
            "02:30",
            "04:00",
            "2026-03-29T03:00+02:00",
            "2026-03-29T04:00+02:00",
        ),
        (
            BERLIN,
            "2026-03-29T00:30+01:00",
            "02:15",
            "02:45",
            "2026-03-29T03:15+02:00",
            "2026-03-29T03:45+02:00",
        ),
        (
            NEW_YORK,
            "2026-03-08T00:30-05:00",
            "02:15",
            "02:45",
            "2026-03-08T03:15-04:00",
            "2026-03-08T03:45-04:00",
        ),
        # Clocks go back: 03:00 becomes 02:00, the hour from 2 to 3 comes twice.
        (
            BERLIN,
            "2026-10-25T00:30+02:00",
            "02:15",
            "02:45",
            "2026-10-25T02:15+02:00",
            "2026-10-25T02:45+01:00",
        ),
        (
            BERLIN,
            "2026-10-25T00:30+02:00",
            "22:00",
            "06:00",
            "2026-10-25T22:00+01:00",
            "2026-10-26T06:00+01:00",
        ),
        (
            NEW_YORK,
            "2026-11-01T00:30-04:00",
            "01:30",
            "04:00",
            "2026-11-01T01:30-04:00",
            "2026-11-01T04:00-05:00",
        ),
    ],
)
def test_the_days_on_which_clocks_are_set(
    zone: str, around: str, start: str, end: str, opens: str, closes: str
) -> None:
    """A span is cut by the skipped hour or comes right after it; the repeated hour counts twice."""
    one = rule(start, end)
    opening = calendar.opens_at(one, zone, at(around))
    assert opening == at(opens)
    assert calendar.open_until(one, zone, at(opens) - 1) in (None, at("2026-10-25T06:00+01:00"))
    assert calendar.open_until(one, zone, at(opens)) == at(closes)
    assert calendar.open_until(one, zone, at(closes)) is None


@pytest.mark.requirement("SENSE-20")
def test_nights_belong_to_the_day_on_which_they_begin() -> None:
    """`fri` 22:00 to 06:00 is open on Saturday morning and not on Friday morning."""
    friday = rule("22:00", "06:00", (4,))
    assert calendar.open_until(friday, "UTC", at("2026-11-27T05:00+00:00")) is None
    assert calendar.open_until(friday, "UTC", at("2026-11-28T05:00+00:00")) == at("2026-11-28T06:00+00:00")
    assert calendar.opens_at(friday, "UTC", at("2026-11-28T07:00+00:00")) == at("2026-12-04T22:00+00:00")


@pytest.mark.requirement("SENSE-20")
def test_days_that_touch_are_one_span() -> None:
    """A rule for whole days of a week-end closes on Monday, and is told so on Saturday."""
    weekend = rule("00:00", "24:00", (5, 6))
    assert calendar.open_until(weekend, BERLIN, at("2026-11-28T12:00+01:00")) == at("2026-11-30T00:00+01:00")
    whole = rule("08:00", "08:00", (0,))
    assert calendar.open_until(whole, "UTC", at("2026-11-24T07:59+00:00")) == at("2026-11-24T08:00+00:00")


def test_an_unknown_zone_is_refused_with_what_was_expected() -> None:
    """Neither a path nor a made-up name gets through."""
    for name in ("Europe/Berlln", "../../etc/passwd", "", "/etc/localtime"):
        with pytest.raises(ValueError, match="IANA zone name"):
            calendar.zone_of(name)


def test_times_are_shown_with_as_much_day_as_is_needed() -> None:
    """Today: the clock alone. This week: with the day. Later: with the date."""
    now = at("2026-11-26T12:00+01:00")
    assert calendar.shown(at("2026-11-26T18:00+01:00"), BERLIN, now) == "18:00 CET"
    assert calendar.shown(at("2026-11-28T18:00+01:00"), BERLIN, now) == "Sat 18:00 CET"
    assert calendar.shown(at("2027-06-28T18:00+02:00"), BERLIN, now) == "2027-06-28 18:00 CEST"
