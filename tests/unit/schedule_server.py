"""The service of schedules over a disk, a clock that is moved by hand, and a queue that takes all it gets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from leasehold.adapters.stores.memory import Disk, Fate, Faults, MemoryStore
from leasehold.adapters.stores.memory_archive import MemoryArchive
from leasehold.control import codec
from leasehold.control.ledger import Ledger
from leasehold.control.schedule import ScheduleService
from leasehold.control.schedule_views import Told
from leasehold.core.state import Change, Outcome, Stamp, State
from leasehold.model.errors import LeaseholdError
from leasehold.model.principal import Principal
from leasehold.ports.store import Batch
from leasehold.runtime.ids import RandomIds
from leasehold.testing.manual_clock import ManualClock, settled
from leasehold.wire.job import JobIn
from leasehold.wire.schedule import ScheduleIn

NOON_MS = round(datetime.fromisoformat("2026-06-01T12:00+02:00").timestamp() * 1000)
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
ANN = Principal("user:1000", "submitter", frozenset({"schedule:set"}), local=True, uid=1000)
BOB = Principal("user:1001", "submitter", frozenset({"schedule:set"}), local=True, uid=1001)
ADMIN = Principal("token:admin", "admin", frozenset({"schedule:set", "schedule:manage"}))


class WallClock(ManualClock):
    """A manual clock whose wall can be set."""

    def __init__(self, wall_start_ms: int) -> None:
        super().__init__(wall_start_ms=wall_start_ms)

    def set_wall(self, wall_ms: int) -> None:
        self._wall_offset_ms = wall_ms - self.now_ms()


class FullDisk(Faults):
    """Fails commits while it is told to."""

    full = False

    def fate(self, batch: Batch) -> Fate:
        return Fate.FAILED if self.full else Fate.COMMITTED


class FakeQueue:
    """Takes jobs in the same commit as their run, as records in a table that is known already."""

    def __init__(self) -> None:
        self.bodies: dict[int, JobIn] = {}
        self.principals: dict[int, Principal] = {}
        self.after: dict[int, tuple[int, ...]] = {}
        self.cancelled: list[int] = []
        self.refuses: LeaseholdError | None = None
        self.decisions = 0

    def check(self, principal: Principal, body: JobIn) -> None:
        if self.refuses is not None:
            raise self.refuses

    def submit(
        self,
        state: State,
        stamp: Stamp,
        principal: Principal,
        body: JobIn,
        after: Sequence[int],
        outcome: Outcome,
    ) -> int:
        if self.refuses is not None:
            raise self.refuses
        number = stamp.number + outcome.numbers
        self.bodies[number], self.principals[number] = body, principal
        self.after[number] = tuple(after)
        state.jobs[number] = object()  # anything that is there
        outcome.numbers += 1
        return number

    def cancel(self, state: State, stamp: Stamp, number: int, note: str, outcome: Outcome) -> bool:
        self.cancelled.append(number)
        return False

    def decided(self, changes: Sequence[Change]) -> None:
        self.decisions += 1

    async def told(self, numbers: Sequence[int]) -> Mapping[int, Told]:
        return {number: Told("RUNNING") for number in numbers}


class Server:
    """The parts, and how a test moves them."""

    def __init__(self, disk: Disk, clock: WallClock, queue: FakeQueue | None = None) -> None:
        self.clock = clock
        self.disk = disk
        self.faults = FullDisk()
        self.store = MemoryStore(disk, faults=self.faults)
        self.archive = MemoryArchive(disk)
        self.queue = queue or FakeQueue()
        self.ledger = Ledger(self.store, clock, RandomIds(), lambda: State("node-1"))
        self.rights: dict[str, frozenset[str]] = {}
        self.service = ScheduleService(self.ledger, self.queue, "Europe/Berlin", lambda: self.rights)
        self.ledger.on_reload = lambda state: self.service.reloaded()

    async def tick(self) -> None:
        self.service.tick()
        await settled()

    async def pass_by(self, span_ms: int, every_ms: int = 30 * MINUTE_MS) -> None:
        """Time passes, with a look at it now and then."""
        for _ in range(span_ms // every_ms):
            await self.clock.advance(every_ms)
            await self.tick()

    async def events(self) -> list[str]:
        await self.ledger.read(lambda state: None)
        records = await self.archive.events(after=0, limit=1000)
        return [event.kind for record in records for event in codec.decode_events(record)]

    def end(self, number: int) -> None:
        """A job ends."""
        del self.ledger.state.jobs[number]


@asynccontextmanager
async def server(
    disk: Disk | None = None, clock: WallClock | None = None, queue: FakeQueue | None = None
) -> AsyncIterator[Server]:
    """A server from start to stop; over the same disk it is the same one."""
    clock = clock or WallClock(NOON_MS)
    here = Server(disk or Disk(clock.wall_ms), clock, queue)
    await here.ledger.start()
    await here.tick()
    try:
        yield here
    finally:
        await here.ledger.stop()


def wanted(**given: Any) -> ScheduleIn:
    """A schedule for every night at half past two, unless told otherwise."""
    if "nightly" not in given:
        given.setdefault("cron", "30 2 * * *")
    return ScheduleIn(**{"name": "backup", "job": JobIn(), **given})
