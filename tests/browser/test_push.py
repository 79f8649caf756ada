"""Telling a browser: it subscribes, gets what only it can read, shows it, and is told no more (OPS-14)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from leasehold.testing import browser as real
from tests.api.browser_session import new_code
from tests.api.notify_receiver import Receiver, until
from tests.api.push_browser import Browser
from tests.api.real_server import RealServer
from tests.browser.conftest import SHOTS, WEB
from tests.browser.told_page import deliver, notifications, prepare, show


@pytest.fixture
def machine(folder: Path) -> Iterator[RealServer]:
    """A server that may tell a push service of this machine."""
    with RealServer(folder, LEASEHOLD_NOTIFICATIONS__ALLOWED_HOSTS='["localhost"]') as running:
        yield running


@pytest.fixture
def service() -> Iterator[Receiver]:
    """The push service."""
    with Receiver() as found:
        yield found


def opened(
    chromium: Any, machine: RealServer, browser: Browser, service: Receiver, **options: str
) -> real.Visit:
    """The page of an administrator, with the card."""
    visit = real.Visit(chromium, **options)
    prepare(visit, machine, browser, f"http://127.0.0.1:{service.port}/push/1")
    visit.sign_in(f"http://127.0.0.1:{machine.port}/sign-in#{new_code(machine, 'admin')}")
    show(visit, machine)
    return visit


@pytest.mark.requirement("OPS-14", "OPS-9")
def test_a_browser_is_told_from_button_to_notification(
    chromium: Any, machine: RealServer, service: Receiver
) -> None:
    """By the page's own strict policy: a click subscribes, a test is shown, a click ends it at both ends."""
    browser = Browser()
    visit = opened(chromium, machine, browser, service)
    page = visit.page
    page.click("text=Tell this browser")
    page.wait_for_selector("text=this browser")
    page.wait_for_selector("text=Stop telling this browser")
    (target,) = machine.get("/api/notifications/targets").json["targets"]
    assert (target["kind"], "Chrome" in target["name"]) == ("push", True)
    page.click("section:has(#told) button:has-text('Test')")
    got = until(lambda: service.got, "the push service was called")[0]
    page.wait_for_selector("text=has taken the test")
    message = browser.opened(got)
    deliver(visit, machine, json.dumps(message))
    until(lambda: notifications(visit), "it is shown")
    assert notifications(visit) == [
        {"title": "This is a test", "body": message["text"], "tag": message["id"], "link": "/settings"}
    ]
    deliver(visit, machine, json.dumps(message | {"text": "once more"}))
    until(lambda: notifications(visit)[0]["body"] == "once more", "the same one takes its own place")
    assert len(notifications(visit)) == 1
    show(visit, machine)
    page.wait_for_selector("text=Stop telling this browser")
    page.click("text=Stop telling this browser")
    page.wait_for_selector("text=Nobody, so far.")
    assert machine.get("/api/notifications/targets").json["targets"] == []
    assert (visit.complaints, visit.foreign()) == ([], [])
    visit.close()


@pytest.mark.requirement("OPS-9")
def test_what_is_pushed_leads_nowhere_else(chromium: Any, machine: RealServer, service: Receiver) -> None:
    """Links that are no path of the page lead to its beginning; nonsense is shown as something."""
    visit = opened(chromium, machine, Browser(), service)
    visit.page.click("text=Tell this browser")
    visit.page.wait_for_selector("text=Stop telling this browser")
    for number, link in enumerate(("https://evil.example", "//evil.example", "/\\evil.example", 7)):
        deliver(visit, machine, json.dumps({"id": f"n{number}", "title": "t", "link": link}))
    deliver(visit, machine, "no json at all")
    until(lambda: len(notifications(visit)) == 5, "all are shown")
    assert {one["link"] for one in notifications(visit)} == {"/"}
    assert "Leasehold" in [one["title"] for one in notifications(visit)]
    visit.close()


@pytest.mark.requirement("OPS-14", "OPS-22")
@pytest.mark.parametrize("size", ["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_card_is_readable(
    chromium: Any, machine: RealServer, service: Receiver, size: str, scheme: str
) -> None:
    """In both widths and colours, with all that it can say; WCAG AA."""
    machine.post(
        "/api/notifications/targets", {"kind": "webhook", "url": f"{service.url}/secret", "name": "ops"}
    )
    service.answer = lambda got: (500, {})
    visit = opened(chromium, machine, Browser(), service, size=size, scheme=scheme)
    visit.page.click("section:has(#told) button:has-text('Test')")
    visit.page.wait_for_selector("text=127.0.0.1 answered 500")
    visit.page.wait_for_selector("text=1 given up")
    assert "secret" not in visit.page.inner_text("section:has(#told)").replace("secrets", "")
    SHOTS.mkdir(parents=True, exist_ok=True)
    visit.page.screenshot(path=str(SHOTS / f"told-{size}-{scheme}.png"), full_page=True)
    assert visit.violations(WEB) == []
    assert visit.overflow() == 0
    visit.close()


@pytest.mark.requirement("OPS-14", "OPS-21")
def test_a_target_is_removed_once_that_was_meant(
    chromium: Any, machine: RealServer, service: Receiver
) -> None:
    """Its address can't be had back: the row asks, and one can keep it."""
    machine.post("/api/notifications/targets", {"kind": "webhook", "url": service.url, "name": "ops"})
    visit = opened(chromium, machine, Browser(), service)
    visit.page.click("button:has-text('Remove…')")
    visit.page.click("button:has-text('Keep')")
    visit.page.click("button:has-text('Remove…')")
    assert len(machine.get("/api/notifications/targets").json["targets"]) == 1
    visit.page.click("button:has-text('Remove for good')")
    visit.page.wait_for_selector("text=Nobody, so far.")
    assert machine.get("/api/notifications/targets").json["targets"] == []
    visit.close()


@pytest.mark.requirement("OPS-14")
def test_a_browser_that_says_no_is_told_what_to_do(
    chromium: Any, machine: RealServer, service: Receiver
) -> None:
    """Nothing is subscribed, and nothing kept."""
    visit = opened(chromium, machine, Browser(), service)
    visit.page.evaluate("() => { Notification.requestPermission = async () => 'denied'; }")
    visit.page.click("text=Tell this browser")
    visit.page.wait_for_selector("text=was not allowed to show notifications")
    assert machine.get("/api/notifications/targets").json["targets"] == []
    visit.close()
