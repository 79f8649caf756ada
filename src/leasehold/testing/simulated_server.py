"""One start of the real control code, as a process on a `VirtualLoop`: it can be stopped and killed."""

from __future__ import annotations

import asyncio
from collections import Counter

from leasehold.adapters.stores.memory import MemoryStore
from leasehold.adapters.stores.memory_archive import MemoryArchive
from leasehold.control.bindings import Bindings
from leasehold.control.counters import Counters
from leasehold.control.ladder import LadderService
from leasehold.control.lease import LeaseService
from leasehold.control.ledger import PROBE_MS, Ledger
from leasehold.control.line import plan_now
from leasehold.control.scheduler import SchedulerService
from leasehold.control.supervisor import Supervisor
from leasehold.core.state import LEASES, SEMAPHORES, WAITERS, Outcome, State
from leasehold.model.charge import Totals
from leasehold.model.lease import Lease
from leasehold.model.node import NodeView
from leasehold.ports.store import Batch, CommitFailed
from leasehold.testing.fakes import VirtualClock, offload
from leasehold.testing.simulated_ground import Ground
from leasehold.testing.virtual_loop import Program

TOTALS = Totals(4_000, 16 << 30, 100 << 30, (("gpu:0", 1), ("gpu:1", 1)))
ROOM_MS = 100
"""A held waiter is granted within this of room (LEASE-7)."""

TICK_SLACK_MS = 700
"""Room that only time brings (a cool-down, a reservation that lapses) is found by the slow tick."""


BRAKES_MS = 2_000
"""Work obeys its record within this, also after a start of the server."""

NOT_AGAIN_MS = 1 << 62


class WatchedLedger(Ledger):
    """The real ledger; each decision that it applies is shown to the model."""

    server: SimulatedServer

    def _take(self, outcome: Outcome) -> asyncio.Future[None]:
        new = [
            change.record
            for change in outcome.changes
            if change.table == LEASES and change.key not in self.state.leases and not change.finished
        ]
        durable = super()._take(outcome)
        self.server.decided(new, outcome)
        return durable


class PatientStore(MemoryStore):
    """Sees that retries are bounded."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground.disk, faults=ground.faults, sleep=ground.sleep)
        self._ground = ground
        self._failed_ms: int | None = None

    async def commit(self, batch: Batch) -> None:
        now_ms = self._ground.machine.boot_ms()
        try:
            await super().commit(batch)
        except CommitFailed:
            if self._failed_ms is not None and now_ms - self._failed_ms < PROBE_MS:
                self._ground.model.fail(
                    "INV-8", f"a full disk was tried again after {now_ms - self._failed_ms} ms"
                )
            self._failed_ms = now_ms
            raise
        self._failed_ms = None


class SimulatedServer:
    """The services as `bootstrap` puts them together, over a disk and processes that outlive them."""

    def __init__(self, ground: Ground, number: int) -> None:
        self.ground = ground
        self.model = ground.model
        self.histories = ground.histories
        self.boot_ms = ground.machine.boot_ms
        self.ttl_ms = ground.settings.lease.ttl_ms
        self.program = Program(f"server {number}")
        self.clock = VirtualClock(ground.machine)
        self.store = PatientStore(ground)
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting: Counter[str] = Counter()
        self._changed_ms = 0
        self._checked_ms: dict[int, int] = {}
        self._brakes_odd_ms: int | None = None
        self.note = ground.note
        self.program.context.run(self._put_together)

    def _put_together(self) -> None:
        ground, settings = self.ground, self.ground.settings
        self.ledger = WatchedLedger(
            self.store, self.clock, ground.ids, lambda: State("node"), stall_ms=settings.lease.ttl_ms // 3
        )
        self.ledger.server = self
        self.leases = LeaseService(
            self.ledger,
            lambda: settings,
            Bindings(ground.processes, ground.work, offload, lambda lease: self.leases.process_ended(lease)),
            MemoryArchive(ground.disk),
            Counters(),
            totals=TOTALS,
            disk_of=lambda path: "vda",
        )
        self.ladder = LadderService(self.leases, ground.brakes, offload)
        self.supervisor = self._supervised()
        self.scheduler = SchedulerService(self.leases, lambda: "server")
        reloaded, stalled = self.ledger.on_reload, self.ledger.on_stall

        def watched_reload(state: State) -> None:
            reloaded(state)
            self.model.recovered(state)
            self.histories.anchor_ms = self.clock.anchor_ms
            self.histories.everyone_afresh(state.leases, promised=True)

        def watched_stall(gap_ms: int) -> None:
            stalled(gap_ms)
            self.slept()
            self.histories.everyone_afresh(self.ledger.state.leases, promised=False)

        self.ledger.on_reload, self.ledger.on_stall = watched_reload, watched_stall

    def _supervised(self) -> Supervisor:
        """What starts, keeps and stops the services."""
        return Supervisor(self.leases, ladder=self.ladder)

    async def start(self) -> None:
        self.model.opened()
        await self.supervisor.start()

    def observe(self, view: NodeView) -> None:
        """A measurement, as the collectors would hand it in."""
        self.supervisor.observed(view)
        self.changed()

    def decided(self, new: list[Lease], outcome: Outcome) -> None:
        """Called with each decision right after it was applied."""
        state = self.ledger.state
        if not self.ledger.ready:
            self.model.fail("INV-4", "something was decided before recovery was done")
        if any(change.table == LEASES for change in outcome.changes):
            self.model.one_ledger(state)
            self.model.granted(state, new, self.clock.now_ms())
        if any(change.finished or change.table in (WAITERS, SEMAPHORES) for change in outcome.changes):
            self.changed()
        elif any(event.kind in ("LeaseFrozen", "LeaseThawed") for event in outcome.events):
            self.changed()  # When what stands still will have ended is another question now.

    def changed(self) -> None:
        """Something that decides who fits has changed: look soon whether somebody was forgotten."""
        self._changed_ms = self.boot_ms()
        self._checked_ms.pop(ROOM_MS, None)

    def slept(self) -> None:
        """The machine was suspended: what only time brought is found by the next tick."""
        self._changed_ms = self.boot_ms()
        self._checked_ms[ROOM_MS] = NOT_AGAIN_MS

    @property
    def is_well(self) -> bool:
        """Nothing keeps it from granting."""
        return self.ledger.ready and not self.ledger.read_only and not self.ledger.lost

    def check_room(self) -> None:
        """A held waiter who fits is granted at once; nobody is forgotten in the line (LEASE-7, QUEUE-8).

        Looked at once soon after each change, and then about once a second.
        """
        now_ms = self.boot_ms()
        for allowed_ms in (ROOM_MS, TICK_SLACK_MS):
            since_ms = max(self._changed_ms, self._checked_ms.get(allowed_ms, 0))
            if now_ms - since_ms >= allowed_ms:
                self._checked_ms[allowed_ms] = now_ms if allowed_ms == TICK_SLACK_MS else NOT_AGAIN_MS
                # Room that only time brought since the change is for the tick to find.
                self._fits_since(now_ms - self._changed_ms if allowed_ms == ROOM_MS else allowed_ms)

    def check_brakes(self) -> None:
        """What is to stand still by its record stands, and nothing else, within a second or so (LEASE-14)."""
        wanted = {name for name, lease in self.ledger.state.leases.items() if lease.is_frozen}
        odd = {
            name for name in wanted ^ self.ground.brakes.frozen if not self.ledger.is_pending(LEASES, name)
        }
        now_ms = self.ground.loop.now_ms  # Nothing can be done while the machine sleeps.
        if not odd:
            self._brakes_odd_ms = None
        elif self._brakes_odd_ms is None:
            self._brakes_odd_ms = now_ms
        elif now_ms - self._brakes_odd_ms > BRAKES_MS:
            self.model.fail("LEASE-14", f"{min(odd)} stands still and should not, or should and does not")

    def _fits_since(self, ago_ms: int) -> None:
        """Whether somebody who would be granted now would have been then, all else being equal."""
        state, now_ms, settings = self.ledger.state, self.clock.now_ms(), self.ground.settings
        if not self.is_well or not any(presence.held for presence in state.presence.values()):
            return
        plan = plan_now(state, settings, now_ms)
        then = plan_now(state, settings, now_ms - ago_ms) if plan is not None and plan.grants else None
        if then is None or plan is None:
            return
        both = {each.number for each in then.grants} & {each.number for each in plan.grants}
        if both:
            self.model.fail("LEASE-7", f"number {min(both)} has fitted for {ago_ms} ms and was not granted")
