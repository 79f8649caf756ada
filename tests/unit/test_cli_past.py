"""Times behind us as people type them."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from leasehold.cli.past import latest_of

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 26, 12, 5, tzinfo=BERLIN)


@pytest.mark.requirement("OPS-15")
@pytest.mark.parametrize(
    ("text", "then"),
    [
        ("now", "2026-11-26T11:05Z"),
        ("today", "2026-11-26T11:05Z"),
        ("today 08:00", "2026-11-26T07:00Z"),
        ("yesterday", "2026-11-25T23:00Z"),
        ("Yesterday  14:00", "2026-11-25T13:00Z"),
        ("2026-11-20", "2026-11-20T23:00Z"),
        ("2026-10-25", "2026-10-25T23:00Z"),
        ("2026-11-20 14:30", "2026-11-20T13:30Z"),
        ("2026-11-20T14:30:00Z", "2026-11-20T14:30Z"),
        ("3h ago", "2026-11-26T08:05Z"),
    ],
)
def test_the_last_instant_that_is_meant(text: str, then: str) -> None:
    """A day alone is all of that day, on the clocks of the place."""
    assert latest_of(text, NOW, BERLIN) == datetime.fromisoformat(then).astimezone(UTC)


@pytest.mark.parametrize("text", ["", "teatime", "yesterday 25:00", "soon ago", "2026-13-01", "today tea"])
def test_anything_else_is_refused_with_examples(text: str) -> None:
    """The sentence shows what is meant."""
    with pytest.raises(ValueError, match="expected a time, like yesterday"):
        latest_of(text, NOW, BERLIN)
