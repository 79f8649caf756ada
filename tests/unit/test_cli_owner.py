"""What people type for times and days, and what they are shown (SENSE-20)."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from leasehold.cli.owner import days_of, days_text, instant
from leasehold.cli.session import Failed

NOON = datetime(2026, 11, 26, 12, 0, 30, tzinfo=timezone(timedelta(hours=1))).astimezone()


@pytest.mark.requirement("SENSE-20")
@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("mon-fri", ["mon", "tue", "wed", "thu", "fri"]),
        ("Sat,sunday", ["sat", "sun"]),
        ("fri-mon", ["mon", "fri", "sat", "sun"]),
        ("wed", ["wed"]),
        ("mon-sun", ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]),
    ],
)
def test_days_are_typed_as_spans_and_lists(text: str, days: list[str]) -> None:
    """In any case, whole words too, and over the end of the week."""
    assert days_of(text) == days


def test_days_are_said_as_short_as_they_can_be() -> None:
    """A run as a span, all as daily, others one by one."""
    assert days_text(["mon", "tue", "wed"]) == "mon-wed"
    assert days_text(["sat", "sun"]) == "sat,sun"
    assert days_text(["mon", "wed", "thu"]) == "mon,wed,thu"
    assert days_text(days_of("mon-sun")) == "daily"


@pytest.mark.requirement("SENSE-20")
def test_a_clock_time_is_the_next_one() -> None:
    """Later today, or tomorrow where that has passed; a date without a zone is here."""
    here = NOON.replace(hour=12)
    assert instant("18:00", here) - here == timedelta(hours=5, minutes=59, seconds=30)
    assert instant("12:00", here) - here == timedelta(hours=23, minutes=59, seconds=30)
    assert instant("2026-12-24T18:00+01:00") == datetime(2026, 12, 24, 17, tzinfo=timezone(timedelta(0)))
    assert instant("2026-12-24T18:00").utcoffset() is not None


@pytest.mark.parametrize("text", ["noon", "25:00", "18", "", "tomorrow"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    """And so are days that are none."""
    with pytest.raises(Failed, match="18:00"):
        instant(text)
    with pytest.raises(Failed, match="mon-fri"):
        days_of(text or "xyz")
