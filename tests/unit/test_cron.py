"""Cron expressions and instants: changes of the clocks both ways, leap days, and what never comes."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim

from leasehold.core import cron

MINUTE_MS = 60_000
DAY_MS = 86_400_000
BERLIN, NEW_YORK, LORD_HOWE, APIA = (
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Pacific/Apia",
)


def at(text: str) -> int:
    """Wall ms of an ISO time with its offset."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def shown(instant_ms: int, zone: str) -> str:
    return f"{datetime.fromtimestamp(instant_ms / 1000, ZoneInfo(zone)):%m-%d %H:%M%z}"


def runs(expression: str, zone: str, first: str, days: int) -> list[str]:
    """What clocks show at each run within some days after an instant."""
    after_ms = at(first)
    found = cron.instants(cron.parse(expression), zone, after_ms)
    return [shown(one, zone) for one in takewhile(lambda instant: instant < after_ms + days * DAY_MS, found)]


def expected(expression: str, zone: str, first_ms: int, days: int) -> list[int]:
    """The same read off the clocks minute by minute: another way to the same answer.

    A time of the day runs when clocks first show it or have passed it; an hourly one whenever they show it.
    """
    found = []
    known = ZoneInfo(zone)
    sim = CronSim(expression, datetime(2000, 1, 1))  # noqa: DTZ001 - only to read its fields
    latest = datetime.fromtimestamp(first_ms / 1000, known).replace(tzinfo=None)
    for instant_ms in range(first_ms + MINUTE_MS, first_ms + days * DAY_MS, MINUTE_MS):
        now = datetime.fromtimestamp(instant_ms / 1000, known).replace(tzinfo=None)
        if cron.parse(expression).every_hour:
            passed = [now]
        else:
            count = max(0, round((now - latest) / timedelta(minutes=1)))
            passed = [now - timedelta(minutes=back) for back in range(count)]
            latest = max(latest, now)
        if any(
            one.minute in sim.minutes
            and one.hour in sim.hours
            and one.month in sim.months
            and sim.match_day(one.date())
            for one in passed
        ):
            found.append(instant_ms)
    return found


CHANGES = [
    (BERLIN, "2026-03-28T00:00+01:00"),
    (BERLIN, "2026-10-24T00:00+02:00"),
    (NEW_YORK, "2026-03-07T00:00-05:00"),
    (NEW_YORK, "2026-10-31T00:00-04:00"),
    (LORD_HOWE, "2026-04-04T00:00+11:00"),
    (LORD_HOWE, "2026-10-03T00:00+10:30"),
    (APIA, "2011-12-29T00:00-10:00"),
    ("America/Sao_Paulo", "2018-11-03T00:00-03:00"),
    ("UTC", "2026-03-28T00:00+00:00"),
]


@pytest.mark.requirement("QUEUE-17")
@pytest.mark.parametrize(("zone", "first"), CHANGES)
@pytest.mark.parametrize(
    "expression",
    [
        "30 2 * * *",
        "0 * * * *",
        "*/15 * * * *",
        "*/20 1-3 * * *",
        "0 */2 * * *",
        "15 * 31 * *",
        "30 2 * * SUN,FRI",
        "10 2 L * *",
    ],
)
def test_runs_are_what_clocks_show_minute_by_minute(expression: str, zone: str, first: str) -> None:
    """Days around each change of the clocks, of an hour, half an hour and a whole day, in both directions."""
    found = list(
        takewhile(
            lambda one: one < at(first) + 4 * DAY_MS,
            cron.instants(cron.parse(expression), zone, at(first)),
        )
    )
    assert found == expected(expression, zone, at(first), 4)


@pytest.mark.requirement("QUEUE-17")
@pytest.mark.parametrize(
    ("zone", "first", "expected_runs"),
    [
        (BERLIN, "2026-03-28T00:00+01:00", ["03-28 02:30+0100", "03-29 03:00+0200", "03-30 02:30+0200"]),
        (BERLIN, "2026-10-24T00:00+02:00", ["10-24 02:30+0200", "10-25 02:30+0200", "10-26 02:30+0100"]),
        (NEW_YORK, "2026-03-07T00:00-05:00", ["03-07 02:30-0500", "03-08 03:00-0400", "03-09 02:30-0400"]),
        (LORD_HOWE, "2026-10-03T00:00+10:30", ["10-03 02:30+1030", "10-04 02:30+1100", "10-05 02:30+1100"]),
        (APIA, "2011-12-29T00:00-10:00", ["12-29 02:30-1000", "12-31 00:00+1400", "12-31 02:30+1400"]),
    ],
)
def test_a_nightly_run_comes_once_over_a_change(zone: str, first: str, expected_runs: list[str]) -> None:
    """A time that is skipped runs at the change, one that comes twice the first time; each night has its run.

    A day that never was has its run too, where the next one begins.
    """
    assert runs("30 2 * * *", zone, first, 3)[:3] == expected_runs


@pytest.mark.requirement("QUEUE-17")
def test_an_hourly_schedule_runs_each_real_hour() -> None:
    """Neither the lost hour nor the doubled one changes the time between two runs."""
    for first in ("2026-03-28T00:00+01:00", "2026-10-24T00:00+02:00"):
        found = list(islice(cron.instants(cron.parse("0 * * * *"), BERLIN, at(first)), 72))
        assert {later - before for before, later in pairwise(found)} == {3_600_000}


@pytest.mark.requirement("QUEUE-17")
def test_a_leap_day_comes_every_four_years() -> None:
    """The 29th of February, over 2100 which has none: what is rare is found all the same."""
    found = islice(cron.instants(cron.parse("0 12 29 2 *"), "UTC", at("2092-01-01T00:00+00:00")), 3)
    assert [f"{datetime.fromtimestamp(one / 1000, ZoneInfo('UTC')):%Y-%m-%d}" for one in found] == [
        "2092-02-29",
        "2096-02-29",
        "2104-02-29",
    ]


@pytest.mark.requirement("QUEUE-17")
@pytest.mark.parametrize(
    ("expression", "hint"),
    [
        ("0 0 31 2 *", "no month of this expression has such a day-of-month"),
        ("0 0 30 2 *", "no month of this expression has such a day-of-month"),
        ("0 0 */15 * MON#2", "a time that comes"),
        ("61 * * * *", "minute: 0-59"),
        ("0 24 * * *", "hour: 0-23"),
        ("0 0 32 * *", "day-of-month: 1-31"),
        ("0 0 * 13 *", "month: 1-12"),
        ("0 0 * * 8", "day-of-week: 0-7"),
        ("0 0 * * MONDAY", "day-of-week: 0-7"),
        ("* * * *", "five fields, not 4"),
        ("0 30 2 * * *", "five fields, not 6"),
        ("", "five fields, not 0"),
        ("@reboot", "@daily"),
        ("1," * 200 + "1 * * * *", "at most 256 characters"),
    ],
)
def test_what_is_wrong_with_an_expression_is_said(expression: str, hint: str) -> None:
    """Which field it is, what may stand there, and an example."""
    with pytest.raises(ValueError, match=re.escape(hint)):
        cron.parse(expression)


@pytest.mark.requirement("QUEUE-17")
def test_an_expression_is_explained() -> None:
    """For people, nicknames and spaces included."""
    assert cron.parse(" 30  2 * * * ").explained() == "At 02:30 every day"
    assert cron.parse("@Weekly").text == "0 0 * * 0"
