"""A server with brakes that only remember, on a clock that moves when told: for tests of giving way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from leasehold.adapters.stores.memory import Disk, MemoryStore
from leasehold.adapters.stores.memory_archive import MemoryArchive
from leasehold.control import codec
from leasehold.control.bindings import Bindings
from leasehold.control.counters import Counters
from leasehold.control.guard import GuardService
from leasehold.control.ladder import LadderService, at_once
from leasehold.control.lease import LeaseService
from leasehold.control.ledger import Ledger
from leasehold.control.scheduler import SchedulerService
from leasehold.control.supervisor import Supervisor
from leasehold.core.state import State
from leasehold.model.node import NodeView
from leasehold.model.node import State as NodeState
from leasehold.model.principal import Principal
from leasehold.model.settings import PolicySettings
from leasehold.runtime.ids import RandomIds
from leasehold.testing.fakes import FakeBrakes, FakeProcesses, FakeStanding, PlacesOnly
from leasehold.testing.manual_clock import ManualClock, settled
from leasehold.testing.waiting import TOTALS
from leasehold.wire.lease import Bind, Heartbeat, HeavyLeaseRequest, HeavyLeaseResponse

ANN = Principal("user:ann", "user", frozenset({"lease:request", "lease:now"}), local=True, uid=1000)
BOB = Principal("user:bob", "user", frozenset({"lease:request", "lease:now"}), local=True, uid=1001)
ROOT = Principal(
    "admin:root", "admin", frozenset({"lease:request", "lease:revoke", "guard:manage"}), local=True, uid=0
)
SECOND = 1_000


class Server:
    """The services over one disk, on a clock that moves when told; brakes and places outlive a server."""

    def __init__(
        self,
        disk: Disk,
        clock: ManualClock,
        brakes: FakeBrakes,
        processes: FakeProcesses,
        standing: FakeStanding,
        work: PlacesOnly,
    ) -> None:
        self.clock, self.brakes, self.processes, self.work = clock, brakes, processes, work
        self.policy = PolicySettings()
        self.store = MemoryStore(disk)
        self.ledger = Ledger(self.store, clock, RandomIds(), lambda: State("node-1"))
        self.archive = MemoryArchive(disk)
        self.leases = LeaseService(
            self.ledger,
            lambda: self.policy,
            Bindings(processes, self.work, at_once, self._process_ended),
            self.archive,
            Counters(),
            totals=TOTALS,
            disk_of=lambda path: "vda",
        )
        self.ladder = LadderService(self.leases, brakes, at_once)
        self.guards = GuardService(self.leases, standing, at_once)
        self.supervisor = Supervisor(self.leases, ladder=self.ladder, guards=self.guards)
        self.scheduler = SchedulerService(self.leases, lambda: "server")

    def _process_ended(self, lease_id: str) -> None:
        self.leases.process_ended(lease_id)
        self.guards.process_ended(lease_id)

    async def see(self, state: NodeState, seconds: float = 0, *, short_of_memory: bool = False) -> None:
        """The machine is measured, each two seconds for so long."""
        while True:
            score = {"QUIET": 100, "NORMAL": 60, "BUSY": 40, "PANIC": 10}.get(state)
            view = NodeView(
                "node-1",
                self.clock.now_ms(),
                state,
                score,
                0,
                TOTALS,
                reasons=("others compile",),
                short_of_memory=short_of_memory,
            )
            self.supervisor.observed(view)
            await settled()
            if seconds <= 0:
                return
            await self.clock.advance(int(min(2, seconds) * SECOND))
            seconds -= 2

    async def hold(self, me: Principal = ANN, *, bind: bool = True, **wanted: object) -> HeavyLeaseResponse:
        """A lease whose work runs."""
        answer = await self.leases.request(
            me,
            HeavyLeaseRequest(**{"cost_units": 10, "start": "now", **wanted}),  # type: ignore[arg-type]
        )
        assert answer.approved, answer.reason
        child = self.processes.start(me.uid or 0)
        await self.beat(answer, me, Bind(pids=[child.pid]) if bind else None)
        return answer

    async def beat(self, answer: HeavyLeaseResponse, me: Principal = ANN, bind: Bind | None = None) -> str:
        """One heartbeat; the action that it answers."""
        assert answer.lease_id is not None
        assert answer.fencing_token is not None
        found = await self.leases.heartbeat(me, answer.lease_id, Heartbeat(answer.fencing_token, bind))
        return found.action

    async def events(self) -> list[str]:
        await self.ledger.read(lambda state: None)
        records = await self.archive.events(after=0, limit=1000)
        return [event.kind for record in records for event in codec.decode_events(record)]


class Machine:
    """What outlives a server."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.disk = Disk(self.clock.wall_ms)
        self.brakes, self.processes, self.standing = FakeBrakes(), FakeProcesses(), FakeStanding()
        self.work = PlacesOnly(self.processes)

    @asynccontextmanager
    async def server(self, *, killed: bool = False) -> AsyncIterator[Server]:
        here = Server(self.disk, self.clock, self.brakes, self.processes, self.standing, self.work)
        await here.supervisor.start()
        await here.see("QUIET")
        try:
            yield here
        finally:
            if not killed:
                await here.supervisor.stop()
            for loop in here.supervisor._loops:
                loop.cancel()
            for task in here.guards._tasks:
                task.cancel()
