"""The usual week and the windows to come, as answers of the forecast have them (SENSE-18, SENSE-19)."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest

from leasehold.testing import browser as real
from tests.api.real_server import RealServer
from tests.browser.conftest import SHOTS, WEB, Opened

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def heatmap() -> dict[str, Any]:
    """Nights are quiet, days less, Sunday was hardly seen."""

    def cell(day: str, hour: int) -> dict[str, Any]:
        unsure = day == "sun"
        return {
            "probability": 0.95 if hour < 7 else 0.35 if hour < 18 else 0.62,
            "known_hours": 0.5 if unsure else 8.0,
            "confidence": "unsure" if unsure else "sure",
        }

    return {
        "zone": "Europe/Berlin",
        "computed_at": "2026-11-26T11:00:00Z",
        "confidence": "fair",
        "note": "Sundays were hardly seen",
        "overall": 0.6,
        "known_days": 24.4,
        "half_life_days": 28,
        "quiet_from": 0.8,
        "days": [{"day": day, "hours": [cell(day, hour) for hour in range(24)]} for day in DAYS],
    }


def forecast() -> dict[str, Any]:
    """One window in two hours, and how good such forecasts were."""
    now = dt.datetime.now(dt.UTC)

    def at(hours: float) -> str:
        return (now + dt.timedelta(hours=hours)).isoformat()

    window = {
        "start": at(2),
        "end": at(4),
        "duration_sec": 7200,
        "probability": 0.93,
        "lowest": 0.88,
        "confidence": "sure",
    }
    brier = {"forecast": 0.121, "overall_mean": 0.19, "hour_of_day": 0.15, "last_week": 0.17}
    return {
        "zone": "Europe/Berlin",
        "computed_at": at(0),
        "duration_sec": 7200,
        "within_sec": 172_800,
        "confidence": "sure",
        "note": "",
        "windows": [window],
        "quiet": [window],
        "hours": [],
        "score": {
            "days": 14,
            "hindsight_days": 2,
            "known_hours": 300.0,
            "brier": brier,
            "skill": 0.36,
            "beats": ["overall_mean"],
        },
    }


def answering(seen: real.Visit, answers: dict[str, dict[str, Any] | None]) -> None:
    """Answer these routes so, None as one that this server does not have."""

    def answer(route: Any) -> None:
        body = answers[route.request.url.partition("?")[0].rpartition("/")[2]]
        if body is None:
            route.fulfill(status=404, json={"code": "NOT_FOUND", "detail": "there is no such route"})
        else:
            route.fulfill(status=200, body=msgspec.json.encode(body), content_type="application/json")

    for name in answers:
        seen.page.route(f"**/api/system-stats/{name}*", answer)


def opened(seen: real.Visit, machine: RealServer, path: str) -> Any:
    """Load a path of the page anew, and wait until it lives."""
    seen.page.goto(f"http://127.0.0.1:{machine.port}{path}")
    seen.page.wait_for_selector(real.LIVE)
    return seen.page


@pytest.mark.requirement("OPS-21", "OPS-22", "SENSE-18")
@pytest.mark.parametrize(("size", "scheme"), [("desktop", "light"), ("phone", "dark")])
def test_each_hour_of_the_week_can_be_read(
    machine: RealServer, visit: Opened, size: str, scheme: str
) -> None:
    """168 cells, each with its figure in words; what is unsure says so; windows and score follow."""
    seen = visit(size=size, scheme=scheme)
    answering(seen, {"heatmap": heatmap(), "forecast": forecast()})
    page = opened(seen, machine, "/machine")
    page.get_by_text("The usual week").wait_for()
    cells = page.locator(".heat tbody td").all_inner_texts()
    assert len(cells) == 7 * 24
    assert (cells[0], cells[12], cells[-1]) == ("95 % quiet", "35 % quiet", "62 % quiet, unsure")
    page.locator(".heat tbody td").nth(12).hover()
    page.get_by_text("Mon 12:00: 35 % quiet, from 8.0 hours seen").wait_for()
    assert page.get_by_text("Sundays were hardly seen").is_visible()
    page.locator("#forecast").wait_for()
    assert page.get_by_text("88 % at the worst, sure").is_visible()
    assert page.get_by_role("row", name="this forecast 0.121").is_visible()
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(SHOTS / f"week-{size}-{scheme}.png"), full_page=True)
    assert seen.violations(WEB) == []
    assert seen.overflow() == 0
    assert seen.complaints == []


@pytest.mark.requirement("OPS-21", "SENSE-19")
def test_the_overview_says_when_it_is_quiet_next(machine: RealServer, visit: Opened) -> None:
    """The next window with its likelihood, or the best one; without a forecast nothing."""
    seen = visit()
    answering(seen, {"heatmap": heatmap(), "forecast": forecast()})
    page = opened(seen, machine, "/")
    page.get_by_text("93 % likely").wait_for()
    bad = visit()
    answering(bad, {"forecast": forecast() | {"quiet": []}})
    opened(bad, machine, "/").get_by_text("None is likely enough in the next two days").wait_for()
    none = visit()
    answering(none, {"heatmap": None, "forecast": None})
    page = opened(none, machine, "/machine")
    page.get_by_text("Quiet streaks").wait_for()
    assert page.get_by_text("The usual week").count() == 0
    assert none.complaints == []
