"""Times as people type them, on the clocks of a place, over the changes of daylight saving too."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.cli.moment import moment, told, wire

BERLIN = ZoneInfo("Europe/Berlin")
APIA = ZoneInfo("Pacific/Apia")


def at(text: str, zone: ZoneInfo = BERLIN) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def typed(text: str, now: str = "2026-11-26T22:30") -> str:
    """What was meant, on Berlin's clocks. The default is a Thursday evening."""
    return moment(text, at(now), BERLIN).astimezone(BERLIN).strftime("%a %Y-%m-%d %H:%M:%S %z")


@pytest.mark.requirement("QUEUE-16")
@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("06:00", "Fri 2026-11-27 06:00:00 +0100"),
        ("6:00", "Fri 2026-11-27 06:00:00 +0100"),
        ("23:00", "Thu 2026-11-26 23:00:00 +0100"),
        ("22:30", "Fri 2026-11-27 22:30:00 +0100"),
        ("22:30:01", "Thu 2026-11-26 22:30:01 +0100"),
        ("24:00", "Fri 2026-11-27 00:00:00 +0100"),
        ("now", "Thu 2026-11-26 22:30:00 +0100"),
        ("today 18:00", "Thu 2026-11-26 18:00:00 +0100"),
        ("tomorrow 18:00", "Fri 2026-11-27 18:00:00 +0100"),
        ("  Tomorrow   18:00 ", "Fri 2026-11-27 18:00:00 +0100"),
        ("tomorrow", "Fri 2026-11-27 00:00:00 +0100"),
        ("thu 23:00", "Thu 2026-11-26 23:00:00 +0100"),
        ("thu 07:30", "Thu 2026-12-03 07:30:00 +0100"),
        ("Thursday", "Thu 2026-12-03 00:00:00 +0100"),
        ("mon 07:30", "Mon 2026-11-30 07:30:00 +0100"),
        ("wed", "Wed 2026-12-02 00:00:00 +0100"),
        ("2026-12-01", "Tue 2026-12-01 00:00:00 +0100"),
        ("2026-12-01 06:00", "Tue 2026-12-01 06:00:00 +0100"),
        ("2026-12-01T06:00", "Tue 2026-12-01 06:00:00 +0100"),
        ("2026-07-01 06:00", "Wed 2026-07-01 06:00:00 +0200"),
        ("2026-12-01T06:00Z", "Tue 2026-12-01 07:00:00 +0100"),
        ("2026-12-01 06:00:30+05:30", "Tue 2026-12-01 01:30:30 +0100"),
        ("+3h", "Fri 2026-11-27 01:30:00 +0100"),
        ("+90", "Thu 2026-11-26 22:31:30 +0100"),
        ("+ 1h30m", "Fri 2026-11-27 00:00:00 +0100"),
    ],
)
def test_what_people_type(text: str, meant: str) -> None:
    """A time alone is the next one; a day, a date, a span and a time with its zone are what they say."""
    assert typed(text) == meant


@pytest.mark.parametrize(
    "text",
    ["", " ", "6", "soon", "25:00", "06:60", "24:01", "6:0", "2026-13-01", "2026-02-30 06:00",
     "tomorrow soon", "06:00 tomorrow", "+", "+soon", "+9999999d", "2199-01-01", "-3h", "mond 06:00",
     "2026-12-01T06:00+99:00", "٠٦:٠٠", "06:00\x00", "9999-12-31 23:59"],
)  # fmt: skip
def test_what_nobody_means(text: str) -> None:
    """Everything else is refused with what was expected."""
    with pytest.raises(ValueError, match=r"expected|there is no|lies more than"):
        moment(text, at("2026-11-26T22:30"), BERLIN)


@pytest.mark.requirement("QUEUE-16")
def test_a_time_that_the_clocks_skip() -> None:
    """On 29 March 2026 they go from 02:00 to 03:00: 02:30 is the moment of the change."""
    assert typed("02:30", "2026-03-28T23:00") == "Sun 2026-03-29 03:00:00 +0200"
    assert typed("2026-03-29 02:30", "2026-03-01T12:00") == "Sun 2026-03-29 03:00:00 +0200"
    assert typed("03:00", "2026-03-28T23:00") == "Sun 2026-03-29 03:00:00 +0200"
    assert typed("01:59", "2026-03-28T23:00") == "Sun 2026-03-29 01:59:00 +0100"


@pytest.mark.requirement("QUEUE-16")
def test_a_time_that_the_clocks_show_twice() -> None:
    """On 25 October 2026 they go from 03:00 back to 02:00: 02:30 is the next of the two."""
    assert typed("02:30", "2026-10-24T23:00") == "Sun 2026-10-25 02:30:00 +0200"
    between = datetime(2026, 10, 25, 0, 45, tzinfo=UTC)  # 02:45, for the first time
    second = moment("02:30", between, BERLIN)
    assert second == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
    after = datetime(2026, 10, 25, 1, 45, tzinfo=UTC)  # 02:45 again
    assert moment("02:30", after, BERLIN).astimezone(BERLIN).strftime("%d %H:%M") == "26 02:30"


def test_a_day_that_a_place_never_had() -> None:
    """Samoa skipped 30 December 2011: a time on it is the first moment of the 31st."""
    now = datetime(2011, 12, 29, 20, 0, tzinfo=APIA)
    assert moment("tomorrow 12:00", now, APIA) == datetime(2011, 12, 31, 0, 0, tzinfo=APIA)


def test_the_clocks_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a zone the one of the process is taken, with its daylight saving."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        found = moment("02:30", datetime(2026, 3, 28, 22, 0, tzinfo=UTC))
        assert found == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
        between = datetime(2026, 10, 25, 0, 45, tzinfo=UTC)
        assert moment("02:30", between) == datetime(2026, 10, 25, 1, 30, tzinfo=UTC)
        assert moment("12:00", datetime(2026, 7, 1, 5, 0, tzinfo=UTC)) == datetime(2026, 7, 1, 10, tzinfo=UTC)
    finally:
        monkeypatch.undo()
        time.tzset()


@given(
    now=st.integers(946_684_800, 2_114_380_800),
    minute=st.integers(0, 1439),
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "UTC"]),
)
def test_the_next_such_time_is_ahead_and_near(now: int, minute: int, zone: str) -> None:
    """Whatever the zone does: ahead of now, within two days and a bit, and sent with its zone."""
    place = ZoneInfo(zone)
    here = datetime.fromtimestamp(now, UTC)
    found = moment(f"{minute // 60}:{minute % 60:02}", here, place)
    assert timedelta(0) < found - here < timedelta(hours=50)
    assert datetime.fromisoformat(wire(found)) == found.replace(microsecond=found.microsecond // 1000 * 1000)
    shown = found.astimezone(place)
    change = (found - timedelta(seconds=1)).astimezone(place).utcoffset() != shown.utcoffset()
    assert (shown.hour * 60 + shown.minute, shown.second) == (minute, 0) or change


def test_how_moments_are_told() -> None:
    """Today's without the day, tomorrow's by name, others with their date."""
    now = at("2026-11-26T22:30")
    assert told(at("2026-11-26T23:15"), now, BERLIN) == "23:15"
    assert told(at("2026-11-27T06:00:05"), now, BERLIN) == "tomorrow 06:00:05"
    assert told(at("2026-12-01T06:00"), now, BERLIN) == "Tue 2026-12-01 06:00"
