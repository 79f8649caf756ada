"""An outbox over a disk, a clock that is moved by hand, and receivers that a test answers for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from leasehold.adapters.stores.memory import Disk, Fate, Faults, MemoryStore
from leasehold.control.ledger import Ledger
from leasehold.control.notifications.outbox import Outbox
from leasehold.control.notifications.service import NotificationService
from leasehold.core.state import Outcome, Stamp, State
from leasehold.model.event import Event
from leasehold.model.notification import Delivery, Parcel, Target
from leasehold.model.principal import Principal
from leasehold.ports.notifier import NotifyFailed
from leasehold.ports.store import Batch
from leasehold.runtime.ids import RandomIds
from leasehold.runtime.redaction import Redactor
from leasehold.testing.manual_clock import ManualClock, settled
from leasehold.wire.notification import TargetIn

ADMIN = Principal("token:admin", "admin", frozenset({"notification:manage"}))
ANN = Principal("user:1000", "viewer", frozenset({"notification:read"}))


class WallClock(ManualClock):
    """A manual clock whose wall can be set."""

    def set_wall(self, wall_ms: int) -> None:
        self._wall_offset_ms = wall_ms - self.now_ms()


class FullDisk(Faults):
    """Fails commits while it is told to."""

    full = False

    def fate(self, batch: Batch) -> Fate:
        return Fate.FAILED if self.full else Fate.COMMITTED


class FakeNotifier:
    """Takes everything, unless `failure` is set, or `hold` makes a call hang."""

    def __init__(self) -> None:
        self.sent: list[Parcel] = []
        self.checked: list[Target] = []
        self.failure: NotifyFailed | None = None
        self.refusal: NotifyFailed | None = None
        self.hold: dict[str, asyncio.Event] = {}
        self.is_closed = False

    async def check(self, target: Target) -> None:
        self.checked.append(target)
        if self.refusal is not None:
            raise self.refusal

    async def send(self, parcel: Parcel) -> None:
        self.sent.append(parcel)
        if parcel.target.name in self.hold:
            await self.hold[parcel.target.name].wait()
        if self.failure is not None:
            raise self.failure

    async def push_key(self) -> str:
        return "key"

    async def close(self) -> None:
        self.is_closed = True

    @property
    def titles(self) -> list[list[str]]:
        """Of each call, what it told."""
        return [[one.title for one in parcel.messages] for parcel in self.sent]


class Server:
    """The parts, and how a test moves them."""

    def __init__(self, disk: Disk, clock: WallClock, notifier: FakeNotifier) -> None:
        self.clock = clock
        self.notifier = notifier
        self.faults = FullDisk()
        self.ledger = Ledger(
            MemoryStore(disk, faults=self.faults), clock, RandomIds(), lambda: State("node-1")
        )
        self.redactor = Redactor()
        self.outbox = Outbox(self.ledger, notifier, self.redactor.text)
        self.service = NotificationService(self.ledger, notifier, self.redactor, "UTC", lambda: b"k" * 32)
        self.outbox.on_targets = self.service.learn
        self.ledger.on_reload = lambda state: self.outbox.reloaded()
        self.ledger.on_committed = self.outbox.committed

    async def tick(self) -> None:
        self.outbox.tick()
        await settled()

    async def pass_by(self, span_ms: int, every_ms: int = 500) -> None:
        """Time passes, with ticks."""
        for _ in range(max(1, span_ms // every_ms)):
            await self.clock.advance(min(every_ms, span_ms))
            await self.tick()

    async def happens(self, kind: str, subject: str, **details: object) -> None:
        """An event is committed, as a service of the product would."""
        await self.ledger.execute(lambda state, stamp: _happening(kind, subject, details, stamp))
        await self.tick()

    async def add(self, name: str, **fields: object) -> str:
        """A webhook; its id."""
        body = TargetIn(kind="webhook", url=f"https://{name}.example/hook", name=name, **fields)  # type: ignore[arg-type]
        made = await self.service.add(ADMIN, body)
        return made.target.target_id

    @property
    def deliveries(self) -> list[Delivery]:
        return sorted(self.ledger.state.notify_deliveries.values(), key=lambda one: one.number)


def _happening(kind: str, subject: str, details: dict[str, object], stamp: Stamp) -> Outcome:
    outcome = Outcome()
    outcome.events.append(Event(kind, subject, stamp.wall_ms, details=details))
    return outcome


@asynccontextmanager
async def server(
    disk: Disk | None = None, clock: WallClock | None = None, notifier: FakeNotifier | None = None
) -> AsyncIterator[Server]:
    """A server from start to stop; over the same disk it is the same one."""
    clock = clock or WallClock()
    here = Server(disk or Disk(clock.wall_ms), clock, notifier or FakeNotifier())
    await here.ledger.start()
    await here.tick()
    try:
        yield here
    finally:
        await here.outbox.stop()
        await here.ledger.stop()
