"""What people do on the pages: asked first where it ends something, done on the server, and taken back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from leasehold.testing import browser as real
from tests.api.real_server import RealServer
from tests.browser.conftest import WEB, Opened, held
from tests.browser.furnished import ALERTS_AT_ONCE, THRESHOLDS, addon, alerted, schedule, token, window

LEASE = "/api/scheduler/lease"
WHAT = ".row-what"


@pytest.fixture
def machine(folder: Path) -> Iterator[RealServer]:
    """A server whose alerts are looked at five times a second."""
    with RealServer(folder, **ALERTS_AT_ONCE) as running:
        yield running


def opened(seen: real.Visit, machine: RealServer, path: str) -> Any:
    """Load a path of the page anew, and wait until it lives."""
    seen.page.goto(f"http://127.0.0.1:{machine.port}{path}")
    seen.page.wait_for_selector(real.LIVE)
    return seen.page


@pytest.mark.requirement("OPS-21", "OPS-22", "LEASE-9")
def test_a_lease_is_paused_and_goes_on_by_undo(machine: RealServer, visit: Opened) -> None:
    """Paused it stands still, and says so; Undo lets it go on; the page follows both without a reload."""
    lease = held(machine, label="train the model", cost_units=20)
    page = opened(visit(), machine, "/leases")
    page.get_by_role("button", name="Pause train the model").click()
    page.get_by_text("train the model stands still").wait_for()
    page.get_by_text("Held back").wait_for()
    assert "paused" in machine.get(f"{LEASE}/{lease['lease_id']}").json["flags"]
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("train the model goes on").wait_for()
    page.get_by_role("button", name="Pause train the model").wait_for()
    assert "paused" not in machine.get(f"{LEASE}/{lease['lease_id']}").json.get("flags", [])


@pytest.mark.requirement("OPS-21", "OPS-22", "LEASE-9")
def test_a_lease_is_revoked_after_a_question(machine: RealServer, visit: Opened) -> None:
    """Left as it is nothing happens; with a grace and a note it ends, and its note stands among the ended."""
    lease = held(machine, label="backup", cost_units=20)
    seen = visit()
    page = opened(seen, machine, "/leases")
    page.get_by_role("button", name="Revoke… backup").click()
    dialog = page.get_by_role("dialog", name="Revoke the lease of “backup”?")
    dialog.wait_for()
    assert seen.violations(WEB) == []
    dialog.get_by_role("button", name="Leave as it is").click()
    dialog.wait_for(state="detached")
    assert machine.get(f"{LEASE}/{lease['lease_id']}").json["state"] == "ACTIVE"
    page.get_by_role("button", name="Revoke… backup").click()
    page.get_by_role("radio", name="None").check()
    page.get_by_role("textbox", name="Note").fill("needed for a film")
    page.get_by_role("button", name="Revoke", exact=True).click()
    page.get_by_text(re.compile("backup (is being|was) stopped")).first.wait_for()
    assert real.until(lambda: machine.get(f"{LEASE}/{lease['lease_id']}").json["state"] == "REVOKED")
    page.get_by_role("link", name="Ended").click()
    page.locator(".all-leases").get_by_text("needed for a film").wait_for()


@pytest.mark.requirement("OPS-21", "OPS-22")
def test_one_that_waits_says_why_and_is_taken_out(machine: RealServer, visit: Opened) -> None:
    """The line has its place and reason; taken out, after a question, it waits no longer."""
    held(machine, label="the whole machine", cost_units=80)
    asked = machine.post(f"{LEASE}/request", {"cost_units": 60, "label": "render the film"})
    assert asked.json["approved"] is False
    page = opened(visit(), machine, "/leases?show=waiting")
    page.locator(".line").get_by_text("No room: 80 of 90 units are held, and it asks for 60").wait_for()
    page.get_by_role("button", name="Take out… render the film").click()
    page.get_by_role("button", name="Take it out").click()
    page.get_by_text("Nobody waits for a lease").wait_for()
    assert machine.get("/api/scheduler/status").json["waiting"] == []


@pytest.mark.requirement("OPS-22", "LEASE-3")
def test_leases_are_found_by_text_and_by_id(machine: RealServer, visit: Opened) -> None:
    """A text in the address shows those that match, an id that one alone, opened, with what is known."""
    held(machine, label="make the book", cost_units=5)
    lease = held(machine, label="train the model", cost_units=5, expected_duration_sec=600)
    page = opened(visit(), machine, "/leases")
    page.get_by_role("searchbox").fill("TRAIN")
    page.wait_for_url(re.compile(r"/leases\?text=TRAIN$"))
    page.locator(WHAT, has_text="make the book").wait_for(state="detached")
    page.reload()
    page.locator(WHAT, has_text="train the model").wait_for()
    assert page.locator(".all-leases .row").count() == 1
    opened_one = opened(visit(), machine, f"/leases?id={lease['lease_id']}")
    opened_one.locator("dl.facts").get_by_text("none is enforced").wait_for()
    assert opened_one.locator(".all-leases .row").count() == 1
    opened_one.get_by_role("link", name="Show all").click()
    opened_one.locator(WHAT, has_text="make the book").wait_for()


@pytest.mark.requirement("OPS-21", "OPS-22", "QUEUE-17")
def test_a_schedule_is_paused_run_and_removed(machine: RealServer, visit: Opened) -> None:
    """Pause has an Undo, a run leads to its job, a removal asks first; its details tell how it behaves."""
    schedule(machine, "backup")
    page = opened(visit(), machine, "/schedules")
    page.get_by_text("Details").click()
    for text in ("0 3 * * *", "made up for by one", "the new one is left out"):
        page.get_by_text(text).wait_for()
    page.get_by_role("button", name="Pause backup").click()
    page.get_by_text("backup is paused").wait_for()
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("backup goes on").wait_for()
    assert machine.get("/api/schedules").json["schedules"][0]["enabled"] is True
    page.get_by_role("button", name="Run now backup").click()
    page.locator(".schedules").get_by_role("link", name="done").first.wait_for()
    page.get_by_role("button", name="Remove… backup").click()
    page.get_by_role("dialog", name="Remove the schedule “backup”?").wait_for()
    page.get_by_role("button", name="Remove", exact=True).click()
    page.get_by_text("There is none yet").wait_for()
    assert machine.get("/api/schedules").json["schedules"] == []


@pytest.mark.requirement("OPS-21", "OPS-22", "SENSE-21")
def test_an_addon_is_disabled_allowed_again_and_forgotten(machine: RealServer, visit: Opened) -> None:
    """Disabled it gets no lease, Undo allows it again; forgotten, after a question, it is gone."""
    addon(machine, "jellyfin", name="Jellyfin")
    page = opened(visit(), machine, "/addons")
    page.get_by_role("button", name="Disable Jellyfin").click()
    page.get_by_text("Disabled", exact=True).wait_for()
    assert machine.get("/api/addons/jellyfin").json["enabled"] is False
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Jellyfin may ask again").wait_for()
    assert machine.get("/api/addons/jellyfin").json["enabled"] is True
    page.get_by_role("button", name="Remove… Jellyfin").click()
    page.get_by_role("button", name="Forget it").click()
    page.get_by_text("None is registered").wait_for()
    assert machine.get("/api/addons").json["addons"] == []


@pytest.mark.requirement("OPS-21", "OPS-22", "SENSE-20")
def test_windows_are_added_changed_and_removed_each_with_a_way_back(
    machine: RealServer, visit: Opened
) -> None:
    """A window by the dialog, its hours changed and changed back, removed and there again."""

    def windows() -> Any:
        return machine.get("/api/nodes/self/windows").json["windows"]

    seen = visit()
    page = opened(seen, machine, "/settings")
    page.get_by_role("button", name="Add a window…").click()
    dialog = page.get_by_role("dialog", name="Add a window")
    dialog.wait_for()
    assert seen.violations(WEB) == []
    dialog.get_by_role("radio", name="Allow, and only then").check()
    for day in ("Sat", "Sun"):
        dialog.get_by_role("checkbox", name=day).uncheck()
    dialog.get_by_label("From", exact=True).fill("01:00")
    dialog.get_by_label("To", exact=True).fill("05:00")
    dialog.get_by_label("Time zone").fill("Mars/Olympus")
    dialog.get_by_role("button", name="Add it").click()
    dialog.get_by_role("alert").wait_for()
    assert windows() == [], "a zone that is none is refused, with the dialog still there"
    dialog.get_by_label("Time zone").fill("Europe/Berlin")
    dialog.get_by_role("button", name="Add it").click()
    page.get_by_text("Allow work then, and only then, 01:00–05:00").wait_for()
    (made,) = windows()
    assert (made["only"], made["days"]) == (True, ["mon", "tue", "wed", "thu", "fri"])
    page.get_by_role("button", name=re.compile("^Change…")).click()
    page.get_by_label("To", exact=True).fill("06:30")
    page.get_by_role("button", name="Change it").click()
    page.get_by_text("01:00–06:30").wait_for()
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("01:00–05:00").wait_for()
    page.get_by_role("button", name=re.compile("^Remove")).click()
    page.get_by_text("The window was removed").wait_for()
    assert windows() == []
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("01:00–05:00").wait_for()
    assert [one["to"] for one in windows()] == ["05:00"]


@pytest.mark.requirement("OPS-21", "SENSE-20")
def test_the_owners_word_is_said_in_the_settings(machine: RealServer, visit: Opened) -> None:
    """A block from the settings holds, is told there, and can be taken back there."""
    page = opened(visit(), machine, "/settings")
    page.get_by_role("button", name="Block new work…").click()
    page.get_by_role("button", name=re.compile("^Block until")).click()
    page.get_by_text("New work is blocked.").wait_for()
    assert machine.get("/api/nodes/self/admission").json["admission"] == "block"
    page.get_by_role("button", name="Allow again").click()
    page.get_by_text("as far as the owner has a say").wait_for()
    assert machine.get("/api/nodes/self/admission").json["admission"] == "allow"


@pytest.mark.requirement("OPS-21", "OPS-10", "OPS-8")
def test_settings_are_found_with_their_origin(machine: RealServer, visit: Opened) -> None:
    """What was set is listed with its variable, everything else on demand; a search finds one by its name."""
    page = opened(visit(), machine, "/settings")
    table = page.get_by_role("group", name="Settings")
    table.get_by_text("LEASEHOLD_PRESET").wait_for()
    assert table.get_by_text("quiet.dwell_ms").count() == 0
    page.get_by_role("link", name=re.compile("^All")).click()
    table.get_by_text("quiet.", exact=False).first.wait_for()
    page.get_by_role("searchbox").fill("start_delay")
    page.wait_for_url(re.compile("text=start_delay"))
    table.get_by_text("LEASEHOLD_ALERTS__START_DELAY_MS").wait_for()
    assert table.get_by_role("row").count() == 2


@pytest.mark.requirement("OPS-21", "OPS-5")
def test_a_token_is_revoked_after_a_question(machine: RealServer, visit: Opened) -> None:
    """The list shows whose it is and when it ends; revoked it is gone, and its secret was never there."""
    token(machine, "ci")
    window(machine)
    page = opened(visit(), machine, "/settings")
    page.get_by_text("submitter, for ci").wait_for()
    assert "lh_" not in page.inner_text("main")
    page.get_by_role("button", name="Revoke… ci").click()
    page.get_by_role("dialog", name="Revoke the token “ci”?").wait_for()
    page.get_by_role("button", name="Revoke", exact=True).click()
    page.get_by_text("No program has a token of its own").wait_for()
    assert machine.get("/api/tokens").json["tokens"] == []


@pytest.mark.requirement("OPS-13", "OPS-21", "OPS-22")
def test_an_alert_is_acknowledged_muted_and_tuned(machine: RealServer, visit: Opened) -> None:
    """One that stands is in the badge; seen with a note; muted, its threshold changed, each taken back."""
    alerted(machine)
    seen = visit()
    page = opened(seen, machine, "/alerts")
    name = "Callers send what makes no sense"
    page.get_by_role("button", name=f"Acknowledge… {name}").click()
    page.get_by_role("textbox", name="Note").fill("it is our own test")
    page.get_by_role("button", name="Acknowledge", exact=True).click()
    page.get_by_text(re.compile("Seen by .*it is our own test")).wait_for()
    page.get_by_role("link", name=re.compile("^OK")).first.wait_for()
    page.get_by_role("button", name=f"Mute… {name}").click()
    page.get_by_role("button", name="Mute", exact=True).click()
    page.get_by_text("muted until").wait_for()
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("muted until").wait_for(state="detached")
    page.get_by_role("button", name=f"Threshold… {name}").click()
    assert seen.violations(WEB) == []
    page.get_by_label(re.compile("^Warning")).fill("5000")
    page.get_by_role("button", name="Change it").click()

    def threshold() -> float:
        found: float = machine.get(THRESHOLDS).json["thresholds"]["validation_failures"]["warning"]
        return found

    assert real.until(lambda: threshold() == 5_000)
    page.get_by_role("button", name="Undo").click()
    assert real.until(lambda: threshold() == 1)
    page.get_by_role("button", name=f"Switch off {name}").click()
    page.get_by_role("link", name=re.compile("^All rules")).click()
    page.get_by_text("Off", exact=True).wait_for()
