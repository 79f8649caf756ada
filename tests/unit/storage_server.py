"""The service of care over a store that only remembers, on a clock that moves when told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec

from leasehold.control import codec, storage_lease
from leasehold.control.storage import StorageService
from leasehold.model.event import Event
from leasehold.model.principal import Principal
from leasehold.model.settings import BackupSettings
from leasehold.model.storage import FileSum, Intent, Listed, Manifest, Since, Sizes
from leasehold.ports.storage import BackupFailed
from tests.unit.ladder_server import Machine, Server

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
ANN = Principal("user:ann", "admin", frozenset({"storage:care", "storage:restore", "storage:read"}))

SOUND = Sizes(4_096, 10_000, 100, 0, 0, 1 << 40, in_slices=True)
FRAGMENTED = msgspec.structs.replace(SOUND, free_pages=4_000)


class FakeStorage:
    """The port `Storage`, in memory. `problem` is what the next work fails by."""

    folder = "/backups"

    def __init__(self, wall_ms: Callable[[], int]) -> None:
        self.wall_ms = wall_ms
        self.there: list[Manifest] = []
        self.damaged: dict[str, str] = {}
        self.problem = ""
        self.now = SOUND
        self.made: list[str] = []
        self.slices: list[int] = []
        self.intents: list[Intent] = []
        self.closed = False
        self.allowed: list[int] = []

    async def listed(self) -> Sequence[Listed]:
        found = [Listed(one.backup_id, one) for one in self.there if one.backup_id not in self.damaged]
        found.sort(key=lambda one: -one.manifest.number if one.manifest else 0)
        return found + [Listed(name, None, why) for name, why in self.damaged.items()]

    async def make(self, reason: str, *, samples: bool, unreadable: int) -> Manifest:
        self._fail()
        self.allowed.append(unreadable)
        number = 1 + max((one.number for one in self.there), default=0)
        made = Manifest(
            f"backup-{number}", number, reason, self.wall_ms(), self.wall_ms(), "1", 3, 1, 1, 1,
            {"live": 7}, {"leasehold.sqlite3": FileSum(4_096, "00")},
        )  # fmt: skip
        self.there.append(made)
        self.made.append(reason)
        return made

    async def check(self, backup_id: str) -> Manifest:
        self._fail()
        return next(one for one in self.there if one.backup_id == backup_id)

    async def since(self, backup_id: str) -> Since:
        return Since((codec.encode_events([Event("JobSubmitted", "job-1", 1)]), b"\xc1"), 2)

    async def drop(self, backup_id: str) -> None:
        self.there = [one for one in self.there if one.backup_id != backup_id]

    async def intend(self, intent: Intent) -> None:
        self._fail()
        self.intents.append(intent)

    async def sizes(self) -> Sizes:
        return self.now

    async def compact(self, pages: int) -> int:
        self._fail()
        given = min(pages, self.now.free_pages)
        self.slices.append(given)
        left = msgspec.structs.replace(
            self.now, pages=self.now.pages - given, free_pages=self.now.free_pages - given
        )
        self.now = left
        return left.free_pages

    async def close(self) -> None:
        self.closed = True

    def _fail(self) -> None:
        if self.problem:
            raise BackupFailed(self.problem)


class Scene:
    """A server, its store's care, and how a test moves them."""

    def __init__(self, server: Server, storage: FakeStorage) -> None:
        self.server, self.storage, self.clock = server, storage, server.clock
        self.settings = BackupSettings()
        self.restarts = 0
        self.service = StorageService(
            server.leases, storage, lambda: self.settings, "Europe/Berlin", self._restart
        )

    def _restart(self) -> None:
        self.restarts += 1

    async def pass_by(self, span_ms: int, every_ms: int = 10 * MINUTE_MS) -> None:
        """Time passes on a machine that is quiet."""
        for _ in range(max(1, span_ms // every_ms)):
            await self.clock.advance(min(span_ms, every_ms))
            await self.server.see("QUIET")
            await self.clock.advance(1)


@asynccontextmanager
async def scene() -> AsyncIterator[Scene]:
    """A server whose store is looked after; of its loops only that one runs, so that days are short."""
    machine = Machine()
    server = Server(
        machine.disk, machine.clock, machine.brakes, machine.processes, machine.standing, machine.work
    )
    held_s, storage_lease.WAIT_S = storage_lease.WAIT_S, 0  # It is held in real time.
    await server.ledger.start()
    await server.see("QUIET")
    here = Scene(server, FakeStorage(machine.clock.wall_ms))
    here.service.start()
    try:
        yield here
    finally:
        storage_lease.WAIT_S = held_s
        await here.service.stop()
        server.leases.line.refuse_all("it is over")
        await server.ledger.stop()
