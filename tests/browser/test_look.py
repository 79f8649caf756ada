"""The page as people see it: desktop and phone, light and dark, by eye, by keys, by axe (OPS-21, 22)."""

from __future__ import annotations

import re

import pytest

from tests.api.real_server import RealServer
from tests.browser.conftest import SHOTS, WEB, Opened, busy

LOOKS = [(size, scheme) for size in ("desktop", "phone") for scheme in ("light", "dark")]


@pytest.mark.requirement("OPS-21", "OPS-22", "OPS-9")
@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_the_page_is_whole_and_accessible(machine: RealServer, visit: Opened, size: str, scheme: str) -> None:
    """Headline, holders, line and decisions are there; axe finds nothing; nobody else is asked anything."""
    busy(machine)
    seen = visit(size=size, scheme=scheme)
    page = seen.page
    page.wait_for_selector(".chart canvas")
    assert re.search(r"heavy work|urgent|nothing new", page.inner_text("h1"))
    for text in ("train the model", "make test", "backup of the photos", "render the film"):
        assert page.get_by_text(text).first.is_visible(), text
    assert page.get_by_text("was granted").first.is_visible()
    assert page.locator(".input").count() >= 1
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(SHOTS / f"overview-{size}-{scheme}.png"), full_page=True)
    assert seen.violations(WEB) == []
    assert seen.overflow() == 0
    assert seen.complaints == [], "no script error, and nothing that the policy forbids"
    assert seen.foreign() == []


@pytest.mark.requirement("OPS-22")
@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_the_dialog_is_accessible(machine: RealServer, visit: Opened, size: str, scheme: str) -> None:
    """The question before a block says what will follow, and axe finds nothing in it."""
    busy(machine)
    seen = visit(size=size, scheme=scheme)
    seen.page.get_by_role("button", name="Block new work").click()
    dialog = seen.page.get_by_role("dialog", name="Block new work")
    dialog.wait_for()
    assert "3 running leases go on" in dialog.inner_text()
    SHOTS.mkdir(parents=True, exist_ok=True)
    seen.page.screenshot(path=str(SHOTS / f"block-{size}-{scheme}.png"))
    assert seen.violations(WEB) == []
    assert seen.overflow() == 0


@pytest.mark.requirement("OPS-22")
@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_the_sign_in_page_is_accessible(machine: RealServer, visit: Opened, size: str, scheme: str) -> None:
    """Signed out, the page says what to type, and axe finds nothing."""
    seen = visit(size=size, scheme=scheme)
    if size == "phone":
        seen.page.get_by_role("button", name="More").click()
    seen.page.get_by_role("button", name="Sign out").click()
    seen.page.get_by_text("leasehold open", exact=True).wait_for()
    SHOTS.mkdir(parents=True, exist_ok=True)
    seen.page.screenshot(path=str(SHOTS / f"sign-in-{size}-{scheme}.png"))
    assert seen.violations(WEB) == []
    assert seen.overflow() == 0


@pytest.mark.requirement("OPS-22")
def test_empty_parts_say_so(visit: Opened) -> None:
    """On a fresh server nothing is blank: each part says why it is empty, and axe finds nothing."""
    seen = visit()
    for text in ("Nobody holds anything", "Nobody waits", "Nothing has been decided yet"):
        assert seen.page.get_by_text(text).is_visible(), text
    SHOTS.mkdir(parents=True, exist_ok=True)
    seen.page.screenshot(path=str(SHOTS / "empty-desktop-light.png"), full_page=True)
    assert seen.violations(WEB) == []


@pytest.mark.requirement("OPS-22")
def test_it_works_by_keyboard(visit: Opened) -> None:
    """Tab reaches the block button, Enter opens its question, Escape closes it and gives the focus back."""
    page = visit().page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    button = page.get_by_role("button", name="Block new work")
    for _ in range(40):
        page.keyboard.press("Tab")
        if button.evaluate("element => element === document.activeElement"):
            break
    page.keyboard.press("Enter")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("radio", name="4 hours").is_checked()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    assert button.evaluate("element => element === document.activeElement")


@pytest.mark.requirement("OPS-22")
def test_the_theme_can_be_turned_and_is_kept(visit: Opened) -> None:
    """The toggle goes against the system's scheme, survives a reload, and goes back to following it."""
    seen = visit(scheme="light")
    page = seen.page
    ground = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(ground)
    page.get_by_role("button", name="Show in dark colours").click()
    dark = page.evaluate(ground)
    assert dark != light
    page.reload()
    page.get_by_role("button", name="Show in light colours").wait_for()
    assert page.evaluate(ground) == dark
    page.get_by_role("button", name="Show in light colours").click()
    assert page.evaluate(ground) == light
    assert seen.complaints == []
