"""The queue and its jobs on the page, in a real browser on the installed program (OPS-21, OPS-22)."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from accept.browser import SHOTS, chromium, go, holds, link
from accept.harness import check, expect
from accept.product import ROOT, Product, Server, until
from leasehold.testing import browser as real

QUEUE = "/api/scheduler/queue/jobs"
COMMAND = 'make accept ARGS="--only queue.page"'
MANY = 10_000
ROWS = 50
PAINT_MAX_S = 1.0
HOSTILE = "<b>bold</b> \x1b[31mred \u202egnp.exe"
WRITES = "i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo line $i; echo careful $i >&2; sleep 0.1; done"


def _submit(server: Server, *argv: str, **more: Any) -> str:
    body = {"exec": {"argv": list(argv), "cwd": "/tmp"}, "start": "now", "cost_units": 1, **more}
    status, answer = server.call("POST", f"{QUEUE}/submit", body)
    expect(status == 200 and answer["taken"] == 1, f"submit is answered {status}: {answer}")
    ident: str = answer["jobs"][0]["job_id"]
    return ident


def _state(server: Server, ident: str) -> str:
    state: str = server.get(f"{QUEUE}/{ident}")[1]["state"]
    return state


@check(
    "queue.page",
    "Queue and job at 1440 and 390 px, light and dark: axe finds nothing; a log is followed to its end, a job cancelled and retried; a viewer sees no actions",
    command=COMMAND,
    budget_s=120,
)
def on_the_page(product: Product) -> str:
    """Real commands: one that writes for ten seconds, one that fails, an array, a hostile title."""
    SHOTS.mkdir(parents=True, exist_ok=True)
    with chromium() as started, product.server(LEASEHOLD_PRESET="always") as server:
        failing = _submit(server, "sh", "-c", "echo oh no >&2; exit 3", title="a failing one")
        hostile = _submit(server, "true", title=HOSTILE)
        for n in range(1, 21):
            _submit(server, "sleep", "600", title=f"frame {n}", group="film", index=n, cost_units=40)
        ends = {failing: "FAILED", hostile: "DONE"}
        settled = until(lambda: all(_state(server, ident) == state for ident, state in ends.items()), 60)
        expect(settled is not None, "the short ones did not end")
        for size in real.SIZES:
            for scheme in ("light", "dark"):
                visit = real.Visit(started, size=size, scheme=scheme)
                visit.sign_in(link(server))
                go(visit, server, "/queue")
                visit.page.get_by_text(re.compile("Group film: ")).wait_for()
                _shown(visit, f"queue-{size}-{scheme}")
                go(visit, server, f"/jobs/{failing}")
                visit.page.get_by_text("This is the end").wait_for()
                _shown(visit, f"job-{size}-{scheme}")
                go(visit, server, f"/jobs/{hostile}")
                visit.page.get_by_role("heading", name="<b>bold</b>").wait_for()
                expect(visit.page.locator("main b").count() == 0, "a title became markup")
                visit.close()
        followed = _followed(started, server)
        expect(_viewer_has_no_actions(started, server, failing), "a viewer sees actions")
    return f"four looks without a finding, {followed}; screenshots in {SHOTS.relative_to(ROOT)}"


def _shown(visit: real.Visit, name: str) -> None:
    visit.page.screenshot(path=str(SHOTS / f"{name}.png"), full_page=True)
    holds(visit, name)


def _followed(started: Any, server: Server) -> str:
    """A log to its end, with both streams whole and apart; then cancel one that waits for nothing, and retry."""
    ident = _submit(server, "sh", "-c", WRITES, title="writes", priority="HIGH")
    visit = real.Visit(started)
    visit.sign_in(link(server))
    go(visit, server, f"/jobs/{ident}")
    visit.page.get_by_text("This is the end").wait_for(timeout=60_000)
    for kind, begins in (("out", "line"), ("err", "careful")):
        lines = visit.page.locator(f".log-{kind}").all_inner_texts()
        expect(lines == [f"{begins} {n}" for n in range(1, 101)], f"of {kind} there is {lines[:3]}…")
    long = _submit(server, "sleep", "600", title="to be cancelled", priority="HIGH")
    go(visit, server, f"/jobs/{long}")
    visit.page.get_by_role("button", name="Cancel…").click()
    visit.page.get_by_role("button", name="Cancel", exact=True).click()
    expect(until(lambda: _state(server, long) == "CANCELED", 60) is not None, "it was not cancelled")
    visit.page.get_by_role("button", name="Retry").click()
    expect(until(lambda: _state(server, long) != "CANCELED", 60) is not None, "it was not retried")
    visit.close()
    return "200 lines of two streams followed to their end, cancelled and retried"


def _viewer_has_no_actions(started: Any, server: Server, ident: str) -> bool:
    visit = real.Visit(started)
    visit.sign_in(link(server, "viewer"))
    buttons: list[str] = []
    for path in ("/queue", f"/jobs/{ident}"):
        go(visit, server, path)
        visit.page.get_by_text("a failing one").first.wait_for()
        buttons += visit.page.get_by_role("button").all_inner_texts()
        buttons += ["a box"] * visit.page.get_by_role("checkbox").count()
    visit.close()
    return not [text for text in buttons if text not in ("", "Show")]


@check(
    "queue.page.many",
    f"With {MANY:,} jobs waiting the queue is there in {PAINT_MAX_S:g} s with {ROWS} rows, so are the next ones, and it finds one by its title",
    command=COMMAND,
    budget_s=90,
)
def many(product: Product) -> str:
    """From the click, or the wheel, to the row, three times; then a search for one in the middle."""
    with chromium() as started, product.server(LEASEHOLD_PRESET="always") as server:
        for first in range(0, MANY, 1_000):
            jobs = [{"job_type": "mail", "title": f"mail {n}"} for n in range(first, first + 1_000)]
            status, answer = server.call("POST", f"{QUEUE}/submit", {"jobs": jobs})
            expect(status == 200 and answer["taken"] == len(jobs), f"submit is answered {status}")
        visit = real.Visit(started)
        visit.sign_in(link(server))
        page = visit.page

        def timed(act: Callable[[], None], row: str) -> float:
            began = time.monotonic()
            act()
            page.get_by_role("link", name=row, exact=True).wait_for()
            return time.monotonic() - began

        page.get_by_role("link", name="Queue", exact=True).wait_for()
        spans = [timed(page.get_by_role("link", name="Queue", exact=True).click, f"mail {MANY - 1}")]
        expect(page.locator(".row.job").count() == ROWS, "there are not as many rows as there should be")
        page.get_by_role("link", name=f"mail {MANY - 1}", exact=True).hover()
        for turn in (1, 2):
            row = f"mail {MANY - 1 - ROWS * turn}"
            spans.append(timed(lambda: page.mouse.wheel(0, 3_500), row))
        page.get_by_role("searchbox").fill("mail 4242")
        found = timed(lambda: page.keyboard.press("Enter"), "mail 4242")
        visit.close()
    expect(max(spans) < PAINT_MAX_S, f"a page took {max(spans):.2f} s")
    return (
        f"pages in {', '.join(f'{1000 * span:.0f}' for span in spans)} ms, a search in {1000 * found:.0f} ms"
    )
