"""The queue on the page: figures, list, filters, many at once, by keys, for viewers (OPS-21, 22)."""

from __future__ import annotations

import re
from typing import Any

import pytest

from leasehold.testing import browser as real
from tests.api.real_server import RealServer
from tests.browser.conftest import SHOTS, WEB, Opened
from tests.browser.jobs import HOSTILE, QUEUE, command, job, many_kinds, reaches, submitted

LOOKS = [(size, scheme) for size in ("desktop", "phone") for scheme in ("light", "dark")]
ROWS = ".row.job"


def opened(seen: real.Visit, machine: RealServer, path: str) -> Any:
    """Go to a path of the page, and wait until it lives."""
    seen.page.goto(f"http://127.0.0.1:{machine.port}{path}")
    seen.page.wait_for_selector(real.LIVE)
    return seen.page


@pytest.mark.requirement("OPS-21", "OPS-22", "OPS-9", "QUEUE-5")
def test_the_queue_is_whole_and_accessible(machine: RealServer, visit: Opened) -> None:
    """Depth, reasons and rows are there at both widths and in both schemes, and axe finds nothing."""
    many_kinds(machine)
    for size, scheme in LOOKS:
        seen = visit(size=size, scheme=scheme)
        page = opened(seen, machine, "/queue")
        page.get_by_role("link", name="compile the kernel").wait_for()
        for text in ("held by hand", "a failing one", "exit code 3", "It is held; nothing starts it"):
            assert page.get_by_text(text).first.is_visible(), text
        assert page.get_by_text(re.compile(r"No room: \d+ of 90 units are held")).first.is_visible()
        assert page.get_by_text("for other jobs").is_visible(), "what so many wait for"
        SHOTS.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(SHOTS / f"queue-{size}-{scheme}.png"), full_page=True)
        assert seen.violations(WEB) == []
        assert seen.overflow() == 0
        assert seen.complaints == []
        assert seen.foreign() == []


@pytest.mark.requirement("OPS-22", "QUEUE-3")
def test_filters_stand_in_the_address(machine: RealServer, visit: Opened) -> None:
    """A tab, a label and a text change the address; loaded again, it shows the same; Clear shows all."""
    many_kinds(machine)
    seen = visit()
    page = opened(seen, machine, "/queue")
    page.get_by_role("link", name=re.compile("^Held")).click()
    page.wait_for_url(re.compile(r"/queue\?state=HELD$"))
    page.get_by_role("link", name="compile the kernel").wait_for(state="detached")
    assert page.locator(ROWS).count() == 1
    page.reload()
    page.get_by_role("link", name="held by hand").wait_for()
    assert page.locator(ROWS).count() == 1
    page.get_by_role("link", name="All", exact=True).click()
    page.get_by_role("searchbox").fill("FRAME 7")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="frame 7").wait_for()
    page.get_by_role("link", name="compile the kernel").wait_for(state="detached")
    assert "text=FRAME+7" in page.url
    page.go_back()
    page.get_by_role("link", name="compile the kernel").wait_for()
    page.get_by_text("More filters").click()
    page.get_by_role("textbox", name="Label").fill("project=home")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="compile the kernel").wait_for(state="detached")
    assert page.locator(ROWS).count() == 1
    page.get_by_role("link", name="Clear").click()
    page.get_by_role("link", name="compile the kernel").wait_for()
    assert seen.complaints == []


@pytest.mark.requirement("OPS-22", "QUEUE-3")
def test_a_group_is_one_row_and_ends_as_a_whole(machine: RealServer, visit: Opened) -> None:
    """Of thirty members one row is shown; chosen and cancelled, after a question, it is all of them."""
    many_kinds(machine)
    page = opened(visit(), machine, "/queue")
    page.get_by_text(re.compile("Group film: 30 waiting")).wait_for()
    assert page.get_by_role("link", name=re.compile("^frame ")).count() == 1
    page.get_by_role("checkbox", name="Choose frame 30").check()
    page.get_by_role("button", name="Cancel…").click()
    page.get_by_role("dialog", name="Cancel 30 jobs").wait_for()
    page.get_by_role("button", name="Cancel 30 jobs").click()
    page.get_by_text("30 jobs canceled").wait_for()
    left = machine.get(f"{QUEUE}?group=film&state=QUEUED").json
    assert left["jobs"] == []
    assert len(machine.get(f"{QUEUE}?group=film&state=CANCELED").json["jobs"]) == 30


@pytest.mark.requirement("OPS-22", "QUEUE-3")
def test_everything_that_matches_can_be_moved(machine: RealServer, visit: Opened) -> None:
    """Sixty jobs are more than a page; with all of the page chosen, all that match get the new priority."""
    jobs = [command("true", title=f"small {n}", hold=True) for n in range(60)]
    assert machine.post(f"{QUEUE}/submit", {"jobs": jobs}).json["taken"] == 60
    page = opened(visit(), machine, "/queue?state=HELD")
    page.get_by_role("link", name="small 59").wait_for()
    page.get_by_role("checkbox", name="All that are shown").check()
    page.get_by_role("button", name="Everything that matches").click()
    page.get_by_role("button", name="Priority…").click()
    page.get_by_role("dialog", name="Change the priority of 60 jobs").wait_for()
    page.get_by_role("radio", name="Low").check()
    page.get_by_role("button", name="Change 60 jobs").click()
    page.get_by_text("60 jobs moved").wait_for()
    found = machine.get(f"{QUEUE}?state=HELD&limit=1000").json["jobs"]
    assert {one["priority"] for one in found} == {"LOW"}


@pytest.mark.requirement("OPS-22")
def test_ten_thousand_jobs_are_shown_by_pages(machine: RealServer, visit: Opened) -> None:
    """Scrolled on and on the list grows, while the document holds what is in sight alone; back is back."""
    for start in range(0, 10_000, 1_000):
        jobs = [{"job_type": "mail", "title": f"mail {n}"} for n in range(start, start + 1_000)]
        assert machine.post(f"{QUEUE}/submit", {"jobs": jobs}).json["taken"] == 1_000
    page = opened(visit(), machine, "/queue")
    page.get_by_role("link", name="mail 9999").wait_for()
    assert page.get_by_text(re.compile("10.?000")).first.is_visible()
    page.get_by_role("link", name="mail 9999").hover()

    def reached(name: str) -> bool:
        page.mouse.wheel(0, 3_000)
        return bool(page.get_by_role("link", name=name, exact=True).count())

    assert real.until(lambda: reached("mail 9500"), 120)
    assert page.locator(ROWS).count() <= 300
    assert page.get_by_role("link", name="mail 9999").count() == 0, "what is out of sight is not drawn"
    row = page.get_by_role("link", name="mail 9500", exact=True)
    row.click()
    page.get_by_role("heading", name="mail 9500").wait_for()
    page.go_back()
    page.get_by_role("link", name="mail 9500", exact=True).wait_for()
    assert page.evaluate("scrollY") > 10_000, "back is where one was"
    page.evaluate("scrollTo(0, 0)")
    page.get_by_role("link", name="mail 9999").wait_for()
    page.get_by_role("searchbox").fill("mail 4242")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="mail 9999").wait_for(state="detached")
    page.get_by_role("link", name="mail 4242").wait_for()


@pytest.mark.requirement("OPS-22", "OPS-3")
def test_the_grown_list_follows_what_happens(machine: RealServer, visit: Opened) -> None:
    """With a second piece loaded, a new job stands at the top and a cancelled one is gone, none twice."""
    jobs = [command("true", title=f"small {n}", hold=True) for n in range(120)]
    ids = [one["job_id"] for one in machine.post(f"{QUEUE}/submit", {"jobs": jobs}).json["jobs"]]
    page = opened(visit(), machine, "/queue?state=HELD")
    page.get_by_role("link", name="small 119", exact=True).hover()
    assert real.until(lambda: page.locator(ROWS).count() >= 100 or bool(page.mouse.wheel(0, 900)))
    page.evaluate("scrollTo(0, 0)")
    submitted(machine, **command("true", title="the newest", hold=True))
    assert machine.post(f"{QUEUE}/{ids[118]}/cancel", {}).status == 200
    page.get_by_role("link", name="the newest").wait_for()
    page.get_by_role("link", name="small 118", exact=True).wait_for(state="detached")
    shown = page.locator(ROWS).evaluate_all("rows => rows.map(row => row.dataset.id)")
    assert len(shown) == len(set(shown))


@pytest.mark.requirement("OPS-22")
def test_the_list_works_by_keys(machine: RealServer, visit: Opened) -> None:
    """Arrows go from job to job, x chooses one, Enter opens it, and back is where one was."""
    for n in range(3):
        submitted(machine, **command("true", title=f"held {n}", hold=True))
    page = opened(visit(), machine, "/queue")
    page.get_by_role("link", name="held 2").focus()
    page.keyboard.press("ArrowDown")
    assert page.get_by_role("link", name="held 1").evaluate("e => e === document.activeElement")
    page.keyboard.press("x")
    assert page.get_by_role("checkbox", name="Choose held 1").is_checked()
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="held 2").wait_for()
    page.go_back()
    page.get_by_role("link", name="held 0").wait_for()


@pytest.mark.requirement("OPS-22", "OPS-6")
def test_a_viewer_sees_the_queue_and_can_change_nothing(machine: RealServer, visit: Opened) -> None:
    """No box, no button that acts, on the list and on a job; that its output is not for them is said."""
    ids = many_kinds(machine)
    seen = visit(role="viewer")
    page = opened(seen, machine, "/queue")
    page.get_by_role("link", name="held by hand").wait_for()
    assert page.get_by_role("checkbox").count() == 0
    assert page.get_by_role("button").all_inner_texts() == ["", "", "", "Show"]
    opened(seen, machine, f"/jobs/{ids['runs']}")
    page.get_by_role("heading", name="compile the kernel").wait_for()
    page.get_by_text("Its output is for who submitted it").wait_for()
    assert page.get_by_role("button").all_inner_texts() == ["", "", ""]
    assert seen.violations(WEB) == []


@pytest.mark.requirement("OPS-9", "OPS-22")
def test_a_hostile_title_is_text(machine: RealServer, visit: Opened) -> None:
    """Tags, escapes and marks that turn the writing are shown as such, on the list and on the job."""
    ident = submitted(machine, **command("true", title=HOSTILE))
    assert reaches(machine, ident, "DONE")
    seen = visit()
    for path in ("/queue", f"/jobs/{ident}"):
        page = opened(seen, machine, path)
        page.get_by_text("<b>bold</b> <script>").first.wait_for()
        assert page.locator("main b, main script").count() == 0
        shown = page.inner_text("main")
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        assert page.title() != "x"
    assert seen.complaints == []


@pytest.mark.requirement("OPS-21", "QUEUE-17")
def test_schedules_are_listed_and_can_be_paused_and_run(machine: RealServer, visit: Opened) -> None:
    """The overview has the queue in a line, and each schedule with its next run, a pause and a run now."""
    made = {"name": "nightly", "cron": "0 3 * * *", "zone": "UTC", "job": command("true", title="nightly")}
    assert machine.post("/api/schedules", made).status in (200, 201)
    page = visit().page
    page.get_by_text("It has not run yet").wait_for()
    page.get_by_role("button", name="Run now").click()
    page.get_by_text("nightly was submitted").wait_for()
    page.locator(".schedules").get_by_role("link", name="done").wait_for()
    page.get_by_role("button", name="Pause nightly").click()
    page.get_by_role("button", name="Resume nightly").wait_for()
    assert machine.get("/api/schedules").json["schedules"][0]["enabled"] is False
    page.get_by_role("link", name="Open the queue").click()
    page.get_by_role("heading", name="Queue", exact=True).wait_for()


@pytest.mark.requirement("OPS-21")
def test_a_lease_leads_to_its_job_and_back(machine: RealServer, visit: Opened) -> None:
    """The holder's row of the overview has the title of its job as a link, and the job's page leads back."""
    ident = submitted(machine, **command("sleep", "600", title="render the film"))
    assert reaches(machine, ident, "RUNNING")
    page = visit().page
    page.locator(".leases").get_by_role("link", name="render the film").click()
    page.get_by_role("heading", name="render the film").wait_for()
    page.get_by_role("link", name=job(machine, ident)["lease_id"]).click()
    page.get_by_text("Only the lease").wait_for()
    page.locator(".all-leases").get_by_role("link", name="render the film").wait_for()
