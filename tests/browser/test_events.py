"""The stream of events on its page: live, by filters of the address, whole after a cut (OPS-3, OPS-22)."""

from __future__ import annotations

import re
from typing import Any

import pytest

from leasehold.testing import browser as real
from tests.api.real_server import RealServer
from tests.browser.conftest import WEB, Opened, held
from tests.browser.jobs import HOSTILE

ROWS = ".events .row"
ADMISSION = "/api/nodes/self/admission"


def opened(seen: real.Visit, machine: RealServer, path: str) -> Any:
    """Load a path of the page anew, and wait until it lives."""
    seen.page.goto(f"http://127.0.0.1:{machine.port}{path}")
    seen.page.wait_for_selector(real.LIVE)
    return seen.page


@pytest.mark.requirement("OPS-3", "OPS-22")
def test_events_come_as_they_happen_and_lead_on(machine: RealServer, visit: Opened) -> None:
    """A grant and its end appear without a reload, the newest first, each with all of it on demand."""
    seen = visit()
    page = opened(seen, machine, "/events")
    lease = held(machine, label="compile the kernel")
    page.get_by_text("compile the kernel was granted").wait_for()
    machine.release(lease)
    page.get_by_text(re.compile("compile the kernel ended")).wait_for()
    rows = page.locator(ROWS).all_inner_texts()
    assert "ended" in rows[0]
    page.get_by_text("compile the kernel was granted").click()
    page.get_by_text('"kind": "LeaseGranted"').wait_for()
    assert seen.violations(WEB) == []
    page.get_by_role("link", name=lease["lease_id"]).first.click()
    page.get_by_text("Only the lease").wait_for()


@pytest.mark.requirement("OPS-22")
def test_filters_and_pages_stand_in_the_address(machine: RealServer, visit: Opened) -> None:
    """By topic, by text, older ones and back to the newest; loaded again it shows the same."""
    for n in range(60):
        machine.release(held(machine, label=f"piece {n}"))
    machine.call("PUT", ADMISSION, {"effect": "block", "note": "a film"})
    page = opened(visit(), machine, "/events")
    page.get_by_role("link", name="Owner", exact=True).click()
    page.wait_for_url(re.compile(r"/events\?topic=nodes$"))
    page.get_by_text("piece 59").first.wait_for(state="detached")
    assert page.locator(ROWS).count() == 1
    page.reload()
    page.get_by_text(re.compile("admin blocked new work")).wait_for()
    page.get_by_role("link", name="All", exact=True).click()
    page.get_by_text("piece 59").first.wait_for()
    assert page.locator(ROWS).count() == 100
    newest = page.locator(ROWS).first.inner_text()
    page.get_by_role("link", name="Older ones").click()
    page.wait_for_url(re.compile("before="))
    page.get_by_text("piece 0 ").first.wait_for()
    assert newest not in page.locator(ROWS).all_inner_texts()
    page.get_by_role("link", name="To the newest").click()
    page.get_by_text("piece 59").first.wait_for()
    page.get_by_role("searchbox").fill("a FILM")
    page.wait_for_url(re.compile("text=a\\+FILM"))
    page.get_by_text("piece 59").first.wait_for(state="detached")
    assert page.locator(ROWS).count() == 1


@pytest.mark.requirement("OPS-3", "OPS-22")
@pytest.mark.parametrize("path", ["/machine", "/leases", "/schedules", "/events", "/settings"])
def test_every_page_says_that_it_is_cut_off_and_comes_back(
    machine: RealServer, visit: Opened, path: str
) -> None:
    """Without a network each says so; with it again each lives, and the events tell all that happened."""
    cable = real.Cable(machine.port)
    try:
        seen = visit(port=cable.port)
        page = seen.page
        page.goto(f"http://127.0.0.1:{cable.port}{path}")
        page.wait_for_selector(real.LIVE)
        cable.cut()
        page.get_by_text("Not connected.").wait_for()
        machine.release(held(machine, label="in the dark"))
        kept = held(machine, label="still there")
        cable.heal()
        page.wait_for_selector(real.LIVE)
        assert page.get_by_text("Not connected.").count() == 0
        if path == "/leases":
            page.locator(".row-what", has_text="still there").wait_for()
        if path == "/events":
            page.get_by_text("still there took up its lease").wait_for()
            told = page.locator(".events").inner_text()
            assert told.count("was granted") == 2
            assert told.count(" ended") == 1
        machine.release(kept)
    finally:
        cable.close()


@pytest.mark.requirement("OPS-9", "OPS-22")
def test_hostile_names_are_text_on_every_page(machine: RealServer, visit: Opened) -> None:
    """Tags and marks that turn the writing, in a label and a note, are shown as such wherever they stand."""
    held(machine, label=HOSTILE.replace("\x1b", ""), cost_units=80)
    machine.post("/api/scheduler/lease/request", {"cost_units": 60, "label": HOSTILE.replace("\x1b", "")})
    seen = visit()
    for path in ("/", "/leases", "/leases?show=waiting", "/events"):
        page = opened(seen, machine, path)
        page.get_by_text("<b>bold</b>").first.wait_for()
        assert page.locator("main b, main script").count() == 0
        assert "\u202e" not in page.inner_text("main")
        assert page.title() != "x"
    assert seen.complaints == []
