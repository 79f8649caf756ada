"""The live screen by Textual's own pilot: what it shows, its keys, every size, a lost connection (OPS-19)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from textual.pilot import Pilot

from leasehold.cli.screen.app import Top
from leasehold.cli.screen.feed import Pairs
from leasehold.cli.screen.sight import LEASES, QUEUE, Row
from leasehold.cli.screen.table import fitted, lines
from leasehold.cli.screen.told import SENTENCES, told
from leasehold.client.dashboard import Lost
from leasehold.model.errors import Conflict
from leasehold.runtime.clock import RealClock
from leasehold.wire.dashboard import DashboardState, DecisionRow, LeaseRow, QueueNow, WaiterRow, Waiting
from leasehold.wire.job import JobOut
from leasehold.wire.lease import Dimension
from tests.unit.dashboard_states import NOW_MS, state

pytestmark = pytest.mark.requirement("OPS-19")

WHY = "no room: 60 of 90 units used by reindex"


def busy() -> DashboardState:
    """Two hold something, one waits in line, jobs wait, and something has happened."""
    found = state()
    found.leases = [
        LeaseRow("lease-a", "user:ann", "sh", "ACTIVE", 40, NOW_MS, "NORMAL", label="reindex", job="job-1"),
        LeaseRow("lease-b", "ci", "build", "ACTIVE", 20, NOW_MS, "NORMAL", flags=["frozen"]),
    ]
    found.leases_total = 2
    found.capacity["units"] = Dimension(100, 90, 60, 30)
    found.waiting = Waiting(1, [WaiterRow("tkt-1", "bob", "scan", 50, NOW_MS, "NORMAL", 0)], [WHY])
    found.queue = QueueNow(changes=1, states={"QUEUED": 3, "HELD": 1})
    found.decisions = [
        DecisionRow(1, "LeaseGranted", NOW_MS, "lease-a", units=40, label="reindex"),
        DecisionRow(2, "JobFailed", NOW_MS, "job-9", job_type="thumbs", reason="exit code 3"),
    ]
    return found


def job(number: int, **more: object) -> JobOut:
    """A job that waits."""
    whole = {"reason": "waits for quiet", "position": number, "title": f"film {number}"} | more
    at = "2026-11-26T10:00:00Z"
    return JobOut(f"job-{number}", "QUEUED", "film", "eve", "default", "NORMAL", "quiet", at, **whole)  # type: ignore[arg-type]


class Scripted:
    """A feed that says what the test tells it, and notes what is asked of it."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[DashboardState | Lost] = asyncio.Queue()
        self.waiting = [job(1), job(2)]
        self.done: list[tuple[str, str]] = []
        self.refuses = False

    async def states(self) -> AsyncIterator[DashboardState | Lost]:
        while True:
            yield await self.queue.get()

    async def jobs(self) -> list[JobOut]:
        return self.waiting

    async def scores(self) -> list[float | None]:
        return [None, 0.0, 50.0, 100.0]

    async def details(self, subject: str) -> Pairs:
        return [("id", subject), ("empty", None), ("evil", "\x1b[2Jgone")]

    async def cancel(self, subject: str) -> str:
        return self._do("cancel", subject)

    async def pause(self, subject: str) -> str:
        return self._do("pause", subject)

    def _do(self, verb: str, subject: str) -> str:
        if self.refuses:
            raise Conflict("it has ended meanwhile")
        self.done.append((verb, subject))
        return f"{subject}: {verb} done"


class Viewer:
    """Somebody who sits before the screen."""

    def __init__(self, feed: Scripted, pilot: Pilot[None]) -> None:
        self.feed, self.pilot = feed, pilot

    def text(self) -> str:
        """What is on the screen."""
        strips = self.pilot.app.screen._compositor.render_strips()
        return "\n".join("".join(part.text for part in strip).rstrip() for strip in strips)

    async def until(self, holds: Callable[[str], bool], why: str) -> str:
        """Wait until the screen is so."""
        for _ in range(400):
            await self.pilot.pause(0.02)
            if holds(self.text()):
                return self.text()
        raise AssertionError(f"{why}:\n{self.text()}")

    async def sees(self, *words: str) -> str:
        return await self.until(lambda text: all(word in text for word in words), f"not seen: {words}")

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)


@asynccontextmanager
async def viewer(width: int = 80, height: int = 24) -> AsyncIterator[Viewer]:
    """A screen with a busy machine on it."""
    feed = Scripted()
    feed.queue.put_nowait(busy())
    async with Top(feed, RealClock()).run_test(size=(width, height), notifications=True) as pilot:
        someone = Viewer(feed, pilot)
        await someone.sees("film 2")
        yield someone


async def test_everything_is_on_a_small_terminal() -> None:
    """80 × 24 shows the answer, the score, room by holder, leases, the queue with why, events and keys."""
    async with viewer() as someone:
        text = await someone.sees("▁▅█")
        rows = text.splitlines()
        assert len(rows) <= 24
        assert max(map(len, rows)) <= 80
        assert rows[0].startswith("✔ Yes: the machine is quiet")
        for word in ("QUIET", "80 of 100", "60 of 90", "█ann 40", "▓ci 20", "reindex", "frozen", WHY[:20]):
            assert word in text
        for word in (
            "1 in line, 3 jobs wait, 1 held",
            "✗  thumbs failed",
            "exit code 3",
            "q Quit",
            "/ Filter",
        ):
            assert word in text


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (139, 30), (200, 60)])
async def test_every_size_is_filled_and_none_breaks(size: tuple[int, int]) -> None:
    """The answer and the queue are readable at any size, and nothing is wider than the terminal."""
    async with viewer() as someone:
        await someone.pilot.resize_terminal(*size)
        text = await someone.until(
            lambda text: max(map(len, text.splitlines())) > size[0] - 3, "it does not fill the width"
        )
        assert max(map(len, text.splitlines())) <= size[0]
        assert "✔ Yes" in text
        assert "scan" in text


async def test_the_cursor_stays_with_its_row() -> None:
    """Rows that come before the one under the cursor don't put another one under it."""
    async with viewer() as someone:
        await someone.press("tab", "down", "down")
        someone.feed.waiting = [job(7, position=1, title="early"), job(1, position=2), job(2, position=3)]
        changed = busy()
        changed.queue = QueueNow(changes=2, states={"QUEUED": 4})
        someone.feed.queue.put_nowait(changed)
        await someone.sees("early")
        await someone.press("p")
        await someone.sees("job-2: pause done")
        assert someone.feed.done == [("pause", "job-2")]


async def test_a_text_filters_all_tables() -> None:
    """`/` shows only rows with the text, Enter goes back to them, Esc shows everything again."""
    async with viewer() as someone:
        await someone.press("slash", *"film", "enter")
        text = await someone.sees("with “film”: 2")
        assert "reindex" not in text.replace(WHY, "").replace("used by reindex", "")
        await someone.press("escape")
        await someone.sees("reindex", "scan", "thumbs failed")


async def test_cancel_asks_first() -> None:
    """`c` asks, names what it means, and does nothing without a `y`; a lease of a job stands for the job."""
    async with viewer() as someone:
        await someone.press("c")
        await someone.sees("Cancel “reindex”?", "job-1")
        await someone.press("enter")
        await someone.until(lambda text: "Cancel “" not in text, "the question stays")
        assert someone.feed.done == []
        await someone.press("down", "c")
        await someone.sees("Revoke “build”?", "lease-b")
        await someone.press("y")
        await someone.sees("lease-b: cancel done")
        assert someone.feed.done == [("cancel", "lease-b")]


async def test_a_refusal_is_shown() -> None:
    """What the server says no to is read on the screen, which goes on."""
    async with viewer() as someone:
        someone.feed.refuses = True
        await someone.press("p")
        await someone.sees("it has ended meanwhile")
        await someone.sees("✔ Yes")


async def test_what_can_not_be_cancelled_is_said() -> None:
    """On an event `c` and `p` do nothing, and say so."""
    async with viewer() as someone:
        await someone.press("tab", "tab", "c")
        await someone.sees("nothing here can be cancelled")
        await someone.press("p")
        await someone.sees("nothing here can be paused")
        assert someone.feed.done == []


async def test_details_can_not_steer_the_terminal() -> None:
    """Enter shows all about one row, without what is empty, and with control signs taken out."""
    async with viewer() as someone:
        await someone.press("enter")
        text = await someone.sees("job-1", "Esc: close")
        assert "?[2Jgone" in text
        assert "empty" not in text
        await someone.press("escape", "tab", "tab", "enter")
        await someone.sees("JobFailed", "exit code 3")


async def test_a_lost_connection_is_said_and_mended() -> None:
    """While the stream is broken the screen says so and keeps its figures; then it goes on."""
    async with viewer() as someone:
        someone.feed.queue.put_nowait(Lost("no server answers at /run/x"))
        await someone.sees("✗ no connection since ", "trying again: no server answers", "reindex")
        someone.feed.queue.put_nowait(state())
        await someone.until(lambda text: "no connection" not in text, "it still says so")
        await someone.sees("nothing is held")


def test_each_kind_of_event_is_a_sentence() -> None:
    """Every known kind fills its template; an unknown one is told by its name; signs differ by tone."""
    for kind in SENTENCES:
        said = told(DecisionRow(1, kind, 0, "x", by="ann", label="{0}"))
        assert said is not None
        assert said.sentence
    unknown = told(DecisionRow(1, "Weird{0}Thing", 0, "thing-1"))
    assert unknown is not None
    assert unknown.sentence == "Weird0thing: thing-1"
    assert told(DecisionRow(1, "LeaseActivated", 0, "x")) is None


@pytest.mark.parametrize("width", range(20, 200, 20))
def test_columns_fit_any_width(width: int) -> None:
    """No line is wider than it may be, and the last column has what is left."""
    cells = tuple(("x" * 60, "") for _ in LEASES)
    for columns in (LEASES, QUEUE):
        rows = [Row("a", cells[: len(columns)])]
        fit = fitted(columns, rows, width)
        assert fit[-1][1] >= 1
        least = sum(columns[i].least for i, _ in fit) + 2 * (len(fit) - 1)
        assert all(line.cell_len <= max(width, least) for line in lines(columns, rows, width))


def test_a_column_with_nothing_to_say_is_left_out() -> None:
    """CPU, memory and notes stand there only where something is known."""
    row = Row("a", tuple((text, "") for text in ("a", "b", "c", "d", "e", "-", "", "")))
    assert [LEASES[i].name for i, _ in fitted(LEASES, [row], 200)] == [
        "WHAT",
        "HOLDER",
        "HOLDS",
        "STATE",
        "RUNS",
    ]
