"""Watching add-ons: each by itself, what they tell, how long it counts, and what follows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from leasehold.control.addon_watch import ABSENT_MS, AddonWatch
from leasehold.control.sense import SenseService
from leasehold.core.addon import Url
from leasehold.model.addon import Addon, FolderSize, Lifecycle, RequestFigures
from leasehold.model.node import NodeView
from leasehold.model.quiet import PRESETS
from leasehold.ports.addon import Answered, ProbeFailed
from leasehold.testing.hosts import FakeMachine, InlineLane
from leasehold.testing.manual_clock import ManualClock, settled

SHOP = Addon("shop", "Shop", "1", 0, "token:admin", base_url="http://127.0.0.1:8000")
BUSY = {"requests": {"rps": 30, "in_flight": 4, "error_pct": 0, "p95_ms": 900}}


class FakeProbe:
    """Answers by port and path as a test says: (status, document), an exception, or a future to wait for."""

    def __init__(self) -> None:
        self.answers: dict[tuple[int, str], Any] = {}
        self.asked: list[tuple[int, str]] = []

    def says(self, path: str, answer: Any, port: int = 8000) -> None:
        self.answers[port, path] = answer

    async def check(self, url: Url) -> None:
        """Everything is allowed."""

    async def get(self, url: Url, path: str, *, bytes_max: int) -> Answered:
        self.asked.append((url.port, path))
        answer = self.answers.get((url.port, path), (404, {}))
        if isinstance(answer, asyncio.Future):
            await answer
        if isinstance(answer, Exception):
            raise answer
        status, document = answer
        return Answered(status, document if isinstance(document, bytes) else json.dumps(document).encode())


class FakeFolders:
    """A folder of which a test says what a walk finds."""

    def __init__(self) -> None:
        self.walks = 0
        self.found: FolderSize | Exception = FolderSize(4_096, 3)

    def problem(self, path: str) -> str:
        return ""

    def size(self, path: str) -> FolderSize:
        self.walks += 1
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


class Subject:
    """A watch over a registry that a test writes."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.registered: dict[str, Addon] = {}
        self.probe, self.folders = FakeProbe(), FakeFolders()
        self.watch = AddonWatch(
            lambda: self.registered, self.probe, self.folders, self.clock, lambda: 0.5, InlineLane
        )

    def register(self, record: Addon) -> None:
        self.registered[record.addon_id] = record
        self.watch.refresh()

    def lifecycle(self, addon_id: str = "shop") -> Lifecycle:
        return self.watch.seen[addon_id].lifecycle(self.clock.now_ms())

    def codes(self, addon_id: str = "shop") -> dict[str, str]:
        failing = self.watch.seen[addon_id].failing(self.clock.now_ms())
        return {source: failure.code for source, failure in failing.items()}


@asynccontextmanager
async def watching(
    *records: Addon, tell: Callable[[FakeProbe], None] | None = None
) -> AsyncIterator[Subject]:
    subject = Subject()
    if tell is not None:
        tell(subject.probe)
    for record in records:
        subject.registered[record.addon_id] = record
    subject.watch.start()
    await settled()
    try:
        yield subject
    finally:
        await subject.watch.stop()


@pytest.mark.requirement("SENSE-5", "SENSE-21")
async def test_the_life_of_an_addon() -> None:
    """Enabled until it has answered, loaded while it answers, error with a code when not, and back."""
    async with watching() as here:
        first = asyncio.get_running_loop().create_future()
        here.probe.says("/health", first)
        here.register(SHOP)
        await settled()
        assert here.lifecycle() is Lifecycle.ENABLED
        here.probe.says("/health", (200, {}))
        first.set_exception(ProbeFailed("UNREACHABLE", "nobody answers"))
        await settled()
        assert (here.lifecycle(), here.codes()) == (Lifecycle.ERROR, {"health": "UNREACHABLE"})
        await here.clock.advance(30_000)
        assert (here.lifecycle(), here.codes()) == (Lifecycle.LOADED, {})
        here.probe.says("/health", (503, {}))
        await here.clock.advance(30_000)
        assert (here.lifecycle(), here.codes()) == (Lifecycle.ERROR, {"health": "HTTP_503"})
        assert here.watch.errors()["addon:shop:health"].endswith("/health answered 503")
        here.probe.says("/health", (204, {}))
        await here.clock.advance(30_000)
        assert here.lifecycle() is Lifecycle.LOADED
        assert here.watch.errors() == {}


@pytest.mark.requirement("SENSE-5", "SENSE-7")
async def test_one_that_hangs_delays_no_other() -> None:
    """The other is asked on time for as long as the first has not answered."""
    other = Addon("other", "", "", 0, "", base_url="http://127.0.0.1:8001")

    def tell(probe: FakeProbe) -> None:
        probe.says("/health", asyncio.get_running_loop().create_future())
        probe.says("/health", (200, {}), port=8001)

    async with watching(SHOP, other, tell=tell) as here:
        await here.clock.advance(120_000)
        assert here.probe.asked.count((8001, "/health")) == 5
        assert here.probe.asked.count((8000, "/health")) == 1
        assert here.lifecycle("other") is Lifecycle.LOADED


@pytest.mark.requirement("SENSE-21")
async def test_a_disabled_one_is_asked_nothing_and_counts_for_nothing() -> None:
    """From the moment of the change; enabled again it starts afresh."""
    async with watching(SHOP) as here:
        here.probe.says("/health", (200, {}))
        here.probe.says("/api/addons/shop/stats", (200, BUSY))
        await here.clock.advance(300_000)
        assert here.watch.worst().p95_ms == 900
        off = Addon("shop", "Shop", "1", 0, "", base_url=SHOP.base_url, enabled=False)
        here.register(off)
        asked = len(here.probe.asked)
        await here.clock.advance(120_000)
        assert len(here.probe.asked) == asked
        assert here.lifecycle() is Lifecycle.INSTALLED
        assert (here.watch.worst().p95_ms, here.watch.samples()) == (None, {})
        assert [state.name for state in here.watch.states()] == ["addons"]
        here.register(SHOP)
        await settled()
        assert here.lifecycle() is Lifecycle.LOADED


@pytest.mark.requirement("SENSE-21")
async def test_the_registry_is_followed_without_being_told() -> None:
    """Within seconds, as after a recovery; who is removed is forgotten, a new version changes no figure."""
    async with watching(SHOP) as here:
        here.probe.says("/health", (200, {}))
        await here.clock.advance(30_000)
        seen = here.watch.seen["shop"]
        here.registered["shop"] = Addon("shop", "Shop", "2", 0, "", base_url=SHOP.base_url)
        await here.clock.advance(3_000)
        assert (here.watch.seen["shop"], seen.record.version) == (seen, "2")
        del here.registered["shop"]
        await here.clock.advance(3_000)
        assert here.watch.seen == {}
        assert [state.name for state in here.watch.states()] == ["addons"]


@pytest.mark.requirement("SENSE-22")
async def test_figures_count_for_thirty_seconds() -> None:
    """Those that are older press nothing, in quietness and in history."""
    async with watching(SHOP) as here:
        here.watch.told(here.watch.seen["shop"], RequestFigures(rps=30.0, p95_ms=900.0), {"queue": 3})
        assert here.watch.worst().p95_ms == 900
        assert here.watch.samples()["addon:shop"] == {"up": 0, "rps": 30.0, "p95_ms": 900, "custom.queue": 3}
        await here.clock.advance(30_000)
        assert here.watch.worst().p95_ms == 900
        await here.clock.advance(1)
        assert here.watch.worst().p95_ms is None
        assert set(here.watch.samples()["addon:shop"]) == {"up"}


@pytest.mark.requirement("SENSE-5", "SENSE-22")
async def test_stats_are_pulled_and_an_addon_without_them_is_left_alone() -> None:
    """Each ten seconds; a 404 is no error, and is not asked for again for minutes."""
    async with watching(SHOP, tell=lambda probe: probe.says("/api/addons/shop/stats", (200, BUSY))) as here:
        await here.clock.advance(9_000)
        here.probe.says("/api/addons/shop/stats", (200, {**BUSY, "queue": {"length": 3}}))
        await here.clock.advance(1_500)
        seen = here.watch.seen["shop"]
        assert (seen.figures.p95_ms, json.loads(seen.custom)) == (900.0, {"queue": {"length": 3}})
        here.probe.says("/api/addons/shop/stats", (404, {}))
        await here.clock.advance(10_000)
        asked = here.probe.asked.count((8000, "/api/addons/shop/stats"))
        await here.clock.advance(ABSENT_MS - 10_000)
        assert here.probe.asked.count((8000, "/api/addons/shop/stats")) == asked
        assert "stats" not in here.codes()
        await here.clock.advance(20_000)
        assert here.probe.asked.count((8000, "/api/addons/shop/stats")) == asked + 1


@pytest.mark.requirement("SENSE-22")
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((200, b"not JSON"), "NOT_JSON"),
        ((200, b"\xff\xfe"), "NOT_JSON"),
        ((200, [1, 2]), "NOT_JSON"),
        ((200, b"[" * 60_000), "TOO_DEEP"),
        ((200, b'{"a":' * 20 + b"1" + b"}" * 20), "TOO_DEEP"),
        ((200, b'{"requests": {"rps": NaN}}'), "NOT_JSON"),
        ((200, {"requests": {"rps": -5, "p95_ms": "slow"}}), "INVALID"),
        ((500, {}), "HTTP_500"),
        (ProbeFailed("TOO_LARGE", "the answer is larger than 65536 bytes"), "TOO_LARGE"),
        (RuntimeError("whatever"), "FAILED"),
    ],
)
async def test_a_lying_addon_is_refused_by_name_and_presses_nothing(answer: Any, code: str) -> None:
    """Whatever it sends: the failure has a code, nothing of it counts, and it is asked again."""

    def tell(probe: FakeProbe) -> None:
        probe.says("/health", (200, {}))
        probe.says("/api/addons/shop/stats", answer)

    async with watching(SHOP, tell=tell) as here:
        assert here.codes() == {"stats": code}
        assert (here.watch.worst().p95_ms, here.watch.worst().requests_per_1000_s) == (None, None)
        assert here.lifecycle() is Lifecycle.LOADED
        here.probe.says("/api/addons/shop/stats", (200, BUSY))
        await here.clock.advance(11_000)
        assert here.codes() == {}
        assert here.watch.worst().p95_ms == 900


@pytest.mark.requirement("SENSE-5")
async def test_a_failure_keeps_its_beginning() -> None:
    """`since` is when it began, until another one or a success."""
    async with watching(SHOP, tell=lambda probe: probe.says("/health", (500, {}))) as here:
        began = here.watch.seen["shop"].failures["health"].since_wall_ms
        await here.clock.advance(60_000)
        assert here.watch.seen["shop"].failures["health"].since_wall_ms == began
        here.probe.says("/health", (502, {}))
        await here.clock.advance(30_000)
        assert here.watch.seen["shop"].failures["health"].since_wall_ms > began


@pytest.mark.requirement("SENSE-5")
async def test_a_folder_is_walked_each_minute_and_a_half() -> None:
    """What it holds is kept while a later walk fails, with the failure beside it."""
    record = Addon("shop", "Shop", "1", 0, "", runtime_dir="/srv/shop")
    async with watching(record) as here:
        await here.clock.advance(60_000)
        assert here.folders.walks == 1
        assert here.watch.samples()["addon:shop"]["runtime_dir_bytes"] == 4_096
        here.folders.found = PermissionError(13, "Permission denied")
        await here.clock.advance(60_000)
        assert here.folders.walks == 2
        assert here.codes() == {"folder": "UNREADABLE"}
        assert here.watch.seen["shop"].folder == FolderSize(4_096, 3)


@pytest.mark.requirement("SENSE-21")
async def test_one_without_an_address_lives_by_what_it_tells() -> None:
    """Loaded while it tells, and in error once it has fallen silent."""
    async with watching(Addon("cron", "", "", 0, "")) as here:
        assert (here.lifecycle("cron"), here.codes("cron")) == (Lifecycle.ENABLED, {})
        here.watch.told(here.watch.seen["cron"], RequestFigures(), {})
        assert here.lifecycle("cron") is Lifecycle.LOADED
        await here.clock.advance(45_000)
        assert (here.lifecycle("cron"), here.codes("cron")) == (Lifecycle.ERROR, {"health": "SILENT"})


@pytest.mark.requirement("SENSE-22", "SENSE-9", "SENSE-12")
async def test_a_busy_application_makes_the_machine_busy_and_is_named() -> None:
    """Its figures press the group `api`; the reason says which one; when it is calm or silent they don't."""
    here, machine, views = Subject(), FakeMachine(), list[NodeView]()
    here.registered |= {"shop": SHOP, "calm": Addon("calm", "", "", 0, "")}
    sense = SenseService(
        "node-1",
        machine.host,
        machine.work,
        here.clock,
        PRESETS["server"],
        leases=list,
        publish=views.append,
        jitter=lambda: 0.5,
        lane=InlineLane,
        addons=here.watch,
    )
    await sense.start()
    try:
        await here.clock.advance(20_000)
        assert views[-1].state == "QUIET"
        here.probe.says("/api/addons/shop/stats", (200, BUSY))
        here.watch.told(here.watch.seen["calm"], RequestFigures(rps=0.2, p95_ms=3.0), {})
        here.watch.seen["shop"].no_stats_until_ms = 0
        await here.clock.advance(20_000)
        assert (views[-1].state, views[-1].score) == ("NORMAL", 50)
        assert "p95 of the busiest application is 900 ms (shop)" in " ".join(views[-1].reasons)
        assert sense.assessment is not None
        assert sense.assessment.inputs["rps"] == 30.0
        here.probe.says("/api/addons/shop/stats", ProbeFailed("UNREACHABLE", "gone"))
        await here.clock.advance(60_000)
        assert views[-1].state == "QUIET"
        assert sense.assessment.inputs["rps"] is None
        assert "addon:shop:stats" in sense.errors()
        assert sense.own_errors() == {}
    finally:
        await sense.stop()
