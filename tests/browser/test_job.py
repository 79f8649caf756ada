"""One job on the page: where it stands and why, its output, what can be done (OPS-21, 22)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from leasehold.testing import browser as real
from tests.api.real_server import RealServer
from tests.browser.conftest import SHOTS, WEB, Opened
from tests.browser.jobs import QUEUE, command, job, many_kinds, reaches, submitted
from tests.browser.test_queue import LOOKS, opened

LOG = ".log"


@pytest.mark.requirement("OPS-21", "OPS-22", "OPS-9")
def test_a_job_is_whole_and_accessible(machine: RealServer, visit: Opened) -> None:
    """One that runs, one that waits, one that failed: at both widths, in both schemes, axe finds nothing."""
    ids = many_kinds(machine)
    told = {
        "runs": ("line 2", "by runner", "in /tmp", "60 units"),
        "after": ("It comes after", "What changes that", "It has not started yet"),
        "fails": ("exit code 3", "oh no", "This is the end", "of CPU"),
        "data": (
            "No worker is there that does train",
            "When it will start is not known: no worker is there",
            '"layers": [',
            "it starts anyway from",
        ),
    }
    for size, scheme in LOOKS:
        seen = visit(size=size, scheme=scheme)
        for name, texts in told.items():
            page = opened(seen, machine, f"/jobs/{ids[name]}")
            for text in texts:
                page.get_by_text(text).first.wait_for()
            SHOTS.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=str(SHOTS / f"job-{name}-{size}-{scheme}.png"), full_page=True)
            assert seen.violations(WEB) == []
            assert seen.overflow() == 0
        assert seen.complaints == []
        assert seen.foreign() == []
        seen.close()


@pytest.mark.requirement("OPS-21", "QUEUE-15")
def test_output_is_followed_to_its_end(machine: RealServer, visit: Opened, folder: Path) -> None:
    """What is written later comes by itself, errors told apart; at the end it says so; a download has all."""
    go = folder / "go"
    script = f"echo first; while [ ! -e {go} ]; do sleep 0.1; done; echo warned >&2; printf last"
    ident = submitted(machine, **command("sh", "-c", script, title="a build"))
    seen = visit()
    page = opened(seen, machine, f"/jobs/{ident}")
    page.locator(LOG).get_by_text("first").wait_for()
    page.get_by_text("Follows what it writes").wait_for()
    assert page.get_by_text("last").count() == 1, "in the command alone"
    go.touch()
    page.locator(LOG).get_by_text("last").wait_for()
    page.get_by_text("This is the end").wait_for()
    assert page.locator(".log-err").inner_text().strip() == "warned"
    page.locator(".job-head").get_by_text("Done").wait_for()
    with page.expect_download() as taken:
        page.get_by_role("button", name="Download").click()
    whole = Path(taken.value.path()).read_text()
    assert sorted(re.findall("first\n|warned\n|last", whole)) == ["first\n", "last", "warned\n"]
    assert len(whole) == len("first\nwarned\nlast")
    assert seen.complaints == []


@pytest.mark.requirement("OPS-9", "OPS-22", "QUEUE-15")
def test_what_a_program_prints_is_text(machine: RealServer, visit: Opened) -> None:
    """Tags stay text, colours are shown, what steers terminals goes, a progress bar has its last state."""
    printed = r"\033[31mred\033[0m <img src=x onerror=alert(1)>\n\033]0;title\007quiet\n1 %%\r50 %%\r100 %%\n"
    ident = submitted(machine, **command("printf", printed, title="prints"))
    seen = visit()
    page = opened(seen, machine, f"/jobs/{ident}")
    page.get_by_text("This is the end").wait_for()
    lines = page.locator(LOG).inner_text().strip().split("\n")
    assert lines == ["red <img src=x onerror=alert(1)>", "quiet", "100 %"]
    assert page.locator(f"{LOG} .ansi-1").inner_text() == "red"
    assert page.locator(f"{LOG} img").count() == 0
    assert seen.complaints == []


@pytest.mark.requirement("OPS-22", "INV-8")
def test_a_flood_of_output_is_bounded(machine: RealServer, visit: Opened) -> None:
    """Of a hundred thousand lines the last two thousand are in the document, to the very last."""
    ident = submitted(machine, **command("seq", "100000", title="a flood"))
    assert reaches(machine, ident, "DONE")
    page = opened(visit(), machine, f"/jobs/{ident}")
    page.get_by_text("This is the end").wait_for()
    assert page.get_by_text(re.compile("Only its last 2.?000 lines are shown")).is_visible()
    lines = page.locator(LOG).inner_text().strip().split("\n")
    assert lines == [str(n) for n in range(98_001, 100_001)]
    page.locator(LOG).evaluate("box => (box.scrollTop = 0)")
    page.get_by_role("button", name="To the end").click()
    bottom = "box => box.scrollHeight - box.scrollTop - box.clientHeight < 2"
    assert real.until(lambda: page.locator(LOG).evaluate(bottom))


@pytest.mark.requirement("OPS-21", "QUEUE-10", "QUEUE-2")
def test_a_job_is_cancelled_and_retried(machine: RealServer, visit: Opened) -> None:
    """A running command ends after a question; a retry runs it again, with its history and both outputs."""
    ident = submitted(machine, **command("sh", "-c", "echo here; exec sleep 600", title="a long one"))
    page = opened(visit(), machine, f"/jobs/{ident}")
    page.get_by_role("button", name="Cancel…").click()
    page.get_by_role("dialog", name="Cancel “a long one”?").wait_for()
    page.get_by_role("radio", name="None").check()
    page.get_by_role("textbox").fill("not today")
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.locator(".job-head").get_by_text("Canceled").wait_for()
    assert reaches(machine, ident, "CANCELED")
    page.get_by_role("button", name="Retry").click()
    page.get_by_text("Run 2 began").wait_for()
    assert page.get_by_text(re.compile("Canceled after")).is_visible()
    page.get_by_role("combobox", name="Run").select_option("1")
    page.locator(LOG).get_by_text("here").wait_for()
    assert reaches(machine, ident, "RUNNING")


@pytest.mark.requirement("OPS-21", "QUEUE-3")
def test_a_job_is_held_moved_and_resumed(machine: RealServer, visit: Opened) -> None:
    """A waiting job is held by a button, which can be undone; its priority is asked for, and then changed."""
    submitted(machine, **command("sleep", "600", title="in the way", cost_units=60))
    ident = submitted(machine, **command("sleep", "600", title="wants room", cost_units=60))
    page = opened(visit(), machine, f"/jobs/{ident}")
    page.get_by_role("button", name="Hold").click()
    page.locator(".job-head").get_by_text("Held").wait_for()
    assert job(machine, ident)["state"] == "HELD"
    page.get_by_role("button", name="Undo").click()
    page.locator(".job-head").get_by_text("Waiting").wait_for()
    page.get_by_role("button", name="Priority…").click()
    page.get_by_role("radio", name="Background").check()
    page.get_by_role("button", name="Change", exact=True).click()
    page.locator(".facts").get_by_text("background").wait_for()
    assert job(machine, ident)["priority"] == "BACKGROUND"
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("has priority normal now").wait_for()
    assert job(machine, ident)["priority"] == "NORMAL"


@pytest.mark.requirement("OPS-21", "LEASE-14")
def test_a_running_job_is_paused_and_goes_on(machine: RealServer, visit: Opened) -> None:
    """A running command stands still by a button, and goes on by another."""
    ident = submitted(machine, **command("sleep", "600", title="patient"))
    assert reaches(machine, ident, "RUNNING")
    page = opened(visit(), machine, f"/jobs/{ident}")
    page.get_by_role("button", name="Pause").click()
    page.locator(".job-head").get_by_text("Paused").wait_for()
    page.get_by_role("button", name="Resume").click()
    page.locator(".job-head").get_by_text("Running").wait_for()


@pytest.mark.requirement("OPS-22")
def test_what_can_not_be_done_is_said_in_words(machine: RealServer, visit: Opened) -> None:
    """A job that nobody knows, and one that has ended meanwhile: a sentence, and nothing is broken."""
    seen = visit()
    page = opened(seen, machine, "/jobs/job-00000000000")
    page.get_by_role("alert").get_by_text("no job").wait_for()
    ident = submitted(machine, **command("sleep", "600", title="soon over"))
    opened(seen, machine, f"/jobs/{ident}")
    page.get_by_role("button", name="Cancel…").click()
    assert machine.post(f"{QUEUE}/{ident}/cancel", {"grace_sec": 0}).status == 200
    assert reaches(machine, ident, "CANCELED")
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("dialog").get_by_text("has ended CANCELED").wait_for()
    page.get_by_role("button", name="Leave as it is").click()
    page.locator(".job-head").get_by_text("Canceled").wait_for()
    assert seen.complaints == []
