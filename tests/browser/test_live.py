"""The page lives: it shows what happens, says what it is told, outlives what breaks (OPS-3, 9, 22)."""

from __future__ import annotations

import re
from typing import Any

import pytest

from leasehold.testing import browser as real
from tests.api.browser_session import new_code
from tests.api.real_server import RealServer
from tests.browser.conftest import Opened, held

ADMISSION = "/api/nodes/self/admission"


@pytest.mark.requirement("OPS-9")
def test_a_link_is_used_once_and_leaves_no_trace(machine: RealServer, visit: Opened, chromium: Any) -> None:
    """After the sign-in the code is neither in the address nor in the history; the second use is refused."""
    code = new_code(machine)
    first = visit()
    first.page.goto(f"http://127.0.0.1:{machine.port}/sign-in#{code}")
    first.page.wait_for_selector(real.LIVE)
    assert first.page.url == f"http://127.0.0.1:{machine.port}/"
    first.page.go_back()
    assert code not in first.page.url
    second = real.Visit(chromium)
    second.page.goto(f"http://127.0.0.1:{machine.port}/sign-in#{code}")
    second.page.get_by_text("this link was used already").wait_for()
    assert second.page.get_by_text("leasehold open", exact=True).is_visible()
    second.close()


@pytest.mark.requirement("OPS-9")
def test_a_copied_cookie_opens_nothing_in_another_browser(
    machine: RealServer, visit: Opened, chromium: Any
) -> None:
    """The cookie of one browser, put into another, shows the sign-in page there, and no figure."""
    first = visit()
    cookies = first.context.cookies()
    assert [cookie["httpOnly"] and cookie["sameSite"] == "Strict" for cookie in cookies] == [True]
    assert first.page.evaluate("document.cookie") == ""
    thief = real.Visit(chromium)
    thief.context.add_cookies(cookies)
    thief.page.goto(f"http://127.0.0.1:{machine.port}/")
    thief.page.get_by_text("Sign in from the terminal").wait_for()
    assert thief.page.evaluate("fetch('/api/dashboard/state').then(answer => answer.status)") == 401
    thief.close()


@pytest.mark.requirement("OPS-3", "OPS-22")
def test_grants_and_ends_are_shown_as_they_happen(machine: RealServer, visit: Opened) -> None:
    """A lease appears without a reload, and goes when it ends, with both decisions told."""
    page = visit().page
    lease = held(machine, label="compile the kernel", cost_units=30)
    page.get_by_text("compile the kernel", exact=True).wait_for()
    machine.release(lease)
    page.get_by_text("compile the kernel ended").wait_for()
    page.get_by_text("compile the kernel", exact=True).wait_for(state="detached")


@pytest.mark.requirement("OPS-21", "OPS-22")
def test_blocking_asks_first_and_can_be_undone(machine: RealServer, visit: Opened) -> None:
    """A block of four hours holds on the server, the headline says no; undo takes it back."""
    page = visit().page
    page.get_by_role("button", name="Block new work").click()
    page.get_by_role("radio", name="4 hours").check()
    page.get_by_role("textbox").fill("a film tonight")
    page.get_by_role("button", name=re.compile("^Block until")).click()
    page.get_by_text("No, nothing new may start").wait_for()
    said = machine.get(ADMISSION).json
    assert (said["admission"], said["words"][0]["note"]) == ("block", "a film tonight")
    assert page.get_by_text("a film tonight").first.is_visible()
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("New work may start again").wait_for()
    page.get_by_text("Yes, heavy work may start").wait_for()
    assert machine.get(ADMISSION).json["admission"] == "allow"


@pytest.mark.requirement("OPS-21")
def test_pretending_is_shown_and_ended(machine: RealServer, visit: Opened) -> None:
    """Pretended busy the answer is urgent work only; `Measure again` ends it."""
    page = visit().page
    page.get_by_role("button", name="Pretend busy").click()
    page.get_by_role("button", name=re.compile("^Pretend busy until")).click()
    page.get_by_text("Only urgent work may start").wait_for()
    assert machine.get(ADMISSION).json["pretend"]["state"] == "busy"
    page.get_by_role("button", name="Measure again").click()
    page.get_by_text("Yes, heavy work may start").wait_for()
    assert "pretend" not in machine.get(ADMISSION).json


@pytest.mark.requirement("OPS-22", "OPS-6")
def test_a_viewer_sees_everything_and_can_change_nothing(machine: RealServer, visit: Opened) -> None:
    """Signed in as a viewer the figures are there, the actions are not, not even beside what is said."""
    machine.call("PUT", ADMISSION, {"effect": "block", "note": "by the owner"})
    page = visit(role="viewer").page
    assert page.get_by_text("by the owner").first.is_visible()
    assert page.get_by_role("button").all_inner_texts() == ["", "", ""], "theme, keys, signing out"


@pytest.mark.requirement("OPS-3", "OPS-22")
def test_a_cut_cable_is_said_and_nothing_is_missed(machine: RealServer, visit: Opened) -> None:
    """Nothing gets through: the page says so; when it does again it lives, with all that happened."""
    cable = real.Cable(machine.port)
    try:
        page = visit(port=cable.port).page
        cable.cut()
        page.get_by_text("Not connected.").wait_for()
        machine.release(held(machine, label="in the dark"))
        kept = held(machine, label="still there")
        assert not page.get_by_text("still there").is_visible()
        cable.heal()
        page.wait_for_selector(real.LIVE)
        page.get_by_text("still there", exact=True).wait_for()
        assert page.get_by_text("Not connected.").count() == 0
        assert page.locator(".decisions").inner_text().count("was granted") == 2
        machine.release(kept)
    finally:
        cable.close()


@pytest.mark.requirement("OPS-3", "OPS-22")
def test_a_connection_that_never_answers_is_given_up(machine: RealServer, visit: Opened) -> None:
    """What the page asked while the cable was cut hangs for ever: it asks anew, and lives."""
    cable = real.Cable(machine.port)
    try:
        page = visit(port=cable.port).page
        cable.cut()
        page.get_by_text("Not connected.").wait_for()
        page.wait_for_timeout(1_500)  # By now its next try is on its way into nowhere.
        cable.heal(hangs=True)
        page.wait_for_selector(real.LIVE)
    finally:
        cable.close()


@pytest.mark.requirement("OPS-3", "OPS-9")
def test_a_restarted_server_is_found_again(folder: Any, chromium: Any) -> None:
    """The server goes and comes back: the page says so, lives again by itself, and is still signed in."""
    first = RealServer(folder)
    with first:
        seen = real.Visit(chromium)
        seen.sign_in(f"http://127.0.0.1:{first.port}/sign-in#{new_code(first)}")
        port = first.port
        first.stop()
        seen.page.get_by_text("Not connected.").wait_for()
    with RealServer(folder, LEASEHOLD_PORT=str(port)) as second:
        seen.page.wait_for_selector(real.LIVE)
        held(second, label="after the restart")
        seen.page.get_by_text("after the restart", exact=True).wait_for()
    seen.close()


@pytest.mark.requirement("OPS-22")
def test_a_hidden_page_holds_no_stream(machine: RealServer, visit: Opened) -> None:
    """While nobody looks the stream is closed; whoever looks again sees what is."""
    page = visit().page

    def streams() -> int:
        held: int = machine.get("/api/system-stats/current").json["api"]["held"]
        return held

    assert real.until(lambda: streams() == 1)
    hide = "() => {{ Object.defineProperty(document, 'hidden', {{value: {0}, configurable: true}});"
    hide += " document.dispatchEvent(new Event('visibilitychange')) }}"
    page.evaluate(hide.format("true"))
    assert real.until(lambda: streams() == 0)
    held(machine, label="unseen")
    page.evaluate(hide.format("false"))
    page.get_by_text("unseen", exact=True).wait_for()
    assert streams() == 1


@pytest.mark.requirement("OPS-9")
def test_signing_out_forgets_everything(machine: RealServer, visit: Opened) -> None:
    """After it the page shows nothing of the machine, also after a reload, and the cookie is gone."""
    held(machine, label="a secret project")
    seen = visit()
    seen.page.get_by_text("a secret project", exact=True).wait_for()
    seen.page.get_by_role("button", name="Sign out").click()
    seen.page.get_by_text("Sign in from the terminal").wait_for()
    seen.page.reload()
    seen.page.get_by_text("Sign in from the terminal").wait_for()
    assert "a secret project" not in seen.page.content()
    assert seen.context.cookies() == []
