"""Every page as people see it: both widths, light and dark, by axe, by keys, on a phone (OPS-21, OPS-22)."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from leasehold.testing import browser as real
from tests.api.real_server import RealServer
from tests.browser.conftest import SHOTS, WEB, Opened
from tests.browser.furnished import furnish, furnished, working

LOOKS = [(size, scheme) for size in ("desktop", "phone") for scheme in ("light", "dark")]
SHOWN = {
    "/": ("train the model", "render the film"),
    "/machine": ("Quiet streaks", "that of others", "eth0 in", "Disk /"),
    "/leases": ("train the model", "make test", "backup of the photos"),
    "/leases?show=waiting": ("render the film", "No room: 80 of 90 units are held"),
    "/schedules": ("backup", "photos", "At 03:00 every day", "It has not run yet"),
    "/addons": ("Jellyfin", "2.5 requests a second", "PhotoPrism"),
    "/alerts": ("Callers send what makes no sense", "Warning", "What measures", "history"),
    "/alerts?show=all": ("A disk is nearly full", "The queue grows"),
    "/events": ("admin set a window", "train the model was granted 40 units"),
    "/settings": ("The owner’s word", "Block new work, 18:00–22:00", "submitter, for ci", "LEASEHOLD_PRESET"),
}
"""What each page says of a furnished server."""


@pytest.fixture(scope="module")
def machine() -> Iterator[RealServer]:
    """One server for the looks of all pages: nothing here changes it."""
    folder = Path(tempfile.mkdtemp(prefix="lh-"))
    with furnished(folder) as running:
        furnish(running)
        with working(running):
            yield running
    shutil.rmtree(folder, ignore_errors=True)


def opened(seen: real.Visit, machine: RealServer, path: str) -> Any:
    """Load a path of the page anew, and wait until it lives."""
    seen.page.goto(f"http://127.0.0.1:{machine.port}{path}")
    seen.page.wait_for_selector(real.LIVE)
    return seen.page


@pytest.mark.requirement("OPS-21", "OPS-22", "OPS-9", "SENSE-15")
@pytest.mark.parametrize("path", SHOWN)
def test_a_page_is_whole_and_accessible(machine: RealServer, visit: Opened, path: str) -> None:
    """At both widths and in both schemes it says what is so, fits its window, and axe finds nothing."""
    name = re.sub(r"\W+", "-", path.strip("/")) or "overview"
    for size, scheme in LOOKS:
        seen = visit(size=size, scheme=scheme)
        page = opened(seen, machine, path)
        for text in SHOWN[path]:
            page.locator("main").get_by_text(text).first.wait_for()
        if path in ("/", "/machine"):
            page.locator("canvas").first.wait_for()
        for row in page.locator("main details.more-facts > summary").all()[:1]:
            row.click()
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(SHOTS / f"page-{name}-{size}-{scheme}.png"), full_page=True)
        assert seen.violations(WEB) == []
        assert seen.overflow() == 0
        assert seen.complaints == [], "no script error, and nothing that the policy forbids"
        assert seen.foreign() == []
        seen.close()


@pytest.mark.requirement("OPS-21", "OPS-13")
def test_the_badge_and_the_small_chart_are_on_every_page(machine: RealServer, visit: Opened) -> None:
    """While an alert stands each page says WARN, and shows the quiet score of the last quarter of an hour."""
    for size in ("desktop", "phone"):
        seen = visit(size=size)
        for path in ("/", "/machine", "/queue", "/leases", "/events", "/settings"):
            page = opened(seen, machine, path)
            page.get_by_role("link", name="WARN: 1 thing to look at").wait_for()
            chart = page.get_by_role("img", name=re.compile("Quiet score, last 15 minutes. Between"))
            assert chart.is_visible()
            assert len(chart.locator("path").get_attribute("d") or "") > 100, "a line, and not a point"
        page.get_by_role("link", name="WARN: 1 thing to look at").click()
        page.get_by_role("heading", name="Alerts", level=1).wait_for()


@pytest.mark.requirement("OPS-21", "SENSE-15")
def test_a_gap_of_the_past_is_a_gap_of_the_chart(machine: RealServer, visit: Opened) -> None:
    """Two hours for which the server was off are null in what is drawn; the range stands in the address."""
    seen = visit()
    page = opened(seen, machine, "/machine")
    page.locator("#chart-cpu").wait_for()
    found = page.evaluate(
        """async () => {
            const headers = {"X-Leasehold-Session": localStorage.getItem("leasehold.session")};
            const path = "/api/system-stats/history?group=host&metric=cpu_pct&range=24h";
            return (await (await fetch(path, {headers})).json()).values;
        }"""
    )
    assert found.count(None) >= len(found) / 24
    label = page.get_by_role("img", name=re.compile("^CPU, 24 hours")).get_attribute("aria-label")
    assert "all work: " in label
    assert "not measured" not in label
    page.get_by_role("link", name="1 hour").click()
    page.wait_for_url(re.compile(r"/machine\?range=1h$"))
    page.get_by_role("img", name=re.compile("^CPU, 1 hour")).wait_for()
    page.get_by_role("img", name=re.compile("^CPU, 1 hour")).hover()
    page.locator(".read-at").first.wait_for()
    assert page.locator(".read-at").count() > 3, "pointing at one chart reads all of them at one time"
    assert seen.complaints == []


@pytest.mark.requirement("OPS-22")
def test_keys_go_find_and_tell(machine: RealServer, visit: Opened) -> None:
    """`g` and a letter goes to each page, `/` into its search, Esc out of it, `?` tells the keys."""
    page = visit().page
    for key, title in (("m", "Machine"), ("l", "Leases"), ("e", "Events"), ("t", "Settings"), ("q", "Queue")):
        page.keyboard.press("g")
        page.keyboard.press(key)
        page.get_by_role("heading", name=title, level=1).wait_for()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.type") == "search"
    page.keyboard.type("gm")
    assert page.get_by_role("searchbox").input_value() == "gm", "in a field letters are letters"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.type") != "search"
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keys")
    keys.wait_for()
    page.keyboard.press("g")
    page.keyboard.press("m")
    assert keys.is_visible(), "behind a dialog nothing goes on"
    page.keyboard.press("Escape")
    keys.wait_for(state="detached")
    page.keyboard.press("g")
    page.keyboard.press("o")
    page.get_by_text("heavy work may start").wait_for()


@pytest.mark.requirement("OPS-22")
def test_a_phone_reaches_every_page(machine: RealServer, visit: Opened) -> None:
    """Four pages stand at the foot, the others behind More, which closes as one goes; axe finds nothing."""
    seen = visit(size="phone")
    page = seen.page
    for name in ("Machine", "Queue", "Leases"):
        page.get_by_role("link", name=name, exact=True).click()
        page.get_by_role("heading", name=name, level=1).wait_for()
    for name in ("Schedules", "Add-ons", "Alerts", "Events", "Settings"):
        page.get_by_role("button", name="More").click()
        sheet = page.get_by_role("dialog", name="More pages")
        sheet.wait_for()
        if name == "Schedules":
            assert seen.violations(WEB) == []
            page.screenshot(path=str(SHOTS / "more-phone-light.png"))
        sheet.get_by_role("link", name=name).click()
        page.get_by_role("heading", name=name, level=1).wait_for()
        sheet.wait_for(state="hidden")
    assert seen.complaints == []


@pytest.mark.requirement("OPS-22", "OPS-6")
def test_a_viewer_sees_every_page_and_can_change_nothing(machine: RealServer, visit: Opened) -> None:
    """On each page the figures are there, and no button that acts; tokens and the configuration are not."""
    seen = visit(role="viewer")
    for path, texts in SHOWN.items():
        page = opened(seen, machine, path)
        for text in texts if path != "/settings" else texts[:2]:
            page.locator("main").get_by_text(text).first.wait_for()
        own = ["Tell this browser"] if path == "/settings" else []  # It is told of what may be seen.
        assert page.locator("main").get_by_role("button").all_inner_texts() == own
    assert page.get_by_text("Tokens").count() == 0
    assert page.get_by_text("Configuration").count() == 0
    assert seen.complaints == []
