"""The world of one simulated run: machine, disk, network, callers, and whichever server runs."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from typing import Any

from leasehold.adapters.stores.memory import Disk
from leasehold.model.lease import Lease, LeaseState
from leasehold.model.node import NodeView, State
from leasehold.model.settings import PolicySettings
from leasehold.ports.store import Batch, StoreError
from leasehold.testing.edge import Network
from leasehold.testing.fakes import FakeBrakes, FakeProcesses, MachineTime, PlacesOnly, SeededIds
from leasehold.testing.faults import DiskFaults, Kind
from leasehold.testing.histories import Histories
from leasehold.testing.model_of_leases import LeaseModel
from leasehold.testing.simulated_server import TOTALS, SimulatedServer
from leasehold.testing.virtual_loop import Life, VirtualLoop

AUDIT_MS = 100
IDLE_AUDIT_S = 1.0
OVERDUE_MS = 500

LOADS: tuple[tuple[State, int | None], ...] = (
    ("QUIET", 100),
    ("QUIET", 100),
    ("QUIET", 85),
    ("NORMAL", 65),
    ("BUSY", 30),
    ("PANIC", 0),
    ("UNKNOWN", None),
)


class WatchedDisk(Disk):
    """Shows each batch to the model in the instant in which it is durable."""

    def __init__(self, world: World) -> None:
        super().__init__(world.machine.wall_ms)
        self._world = world

    def apply(self, batch: Batch, *rest: Any) -> None:
        super().apply(batch, *rest)
        self._world.committed(batch)


class World:
    """Everything of one run: the machine, the disk, the network, callers, and whichever server runs."""

    def __init__(self, loop: VirtualLoop, seed: int) -> None:
        self.loop = loop
        self.seed = seed
        self.settings = PolicySettings()
        self.machine = MachineTime(loop)
        self.met: Counter[Kind] = Counter()
        self.model = LeaseModel(self.machine.boot_ms, self.settings)
        self.histories = Histories(self.model)
        self.processes = FakeProcesses()
        self.work = PlacesOnly(self.processes)
        self.brakes = FakeBrakes()
        self.faults = DiskFaults(self.chance("disk"), self.met)
        self.disk = WatchedDisk(self)
        self.ids = SeededIds(self.chance("ids"))
        self.network = Network(self, loop, self.chance("network"))
        self.dies_at_grant: dict[str, asyncio.Future[Any]] = {}
        self.server: SimulatedServer | None = None
        self.starts = 0
        self.measured = True
        self.calm = False
        self._trace = hashlib.blake2b(digest_size=16)
        self.model.on_end.append(self._work_is_over)

    def chance(self, what: str) -> random.Random:
        """A stream of chance of its own, so that one thing more here changes nothing there."""
        return random.Random(f"{self.seed} {what}")

    def note(self, what: str) -> None:
        """One line of the trace."""
        self._trace.update(f"{self.machine.boot_ms()} {what}\n".encode())

    @property
    def trace(self) -> str:
        return self._trace.hexdigest()

    async def sleep(self, delay_ms: int) -> None:
        await asyncio.sleep(delay_ms / 1000)

    def committed(self, batch: Batch) -> None:
        self.note(f"batch {batch.seq} {batch.puts} {batch.finishes} {batch.deletes} {batch.events!r}")
        before = set(self.model.leases) if self.dies_at_grant else set()
        self.model.committed(batch)
        for lease_id in sorted(set(self.model.leases) - before) if self.dies_at_grant else ():
            principal = self.model.leases[lease_id].record.ask.principal
            asking = self.dies_at_grant.get(principal)
            if asking is not None:
                self.histories.excuse(principal)
                asking.cancel()

    def _work_is_over(self, lease: Lease, was: LeaseState) -> None:
        """What ends by itself or is taken back keeps its charge while its work lives (LEASE-13, 22)."""
        lives = any(self.processes.alive(process) for process in lease.binding.work)
        if lives and lease.state is not LeaseState.RELEASED:
            self.model.fail("LEASE-22", f"{lease.lease_id} ended as {lease.state} while its work lives")

    # -- the server's life

    async def start_server(self) -> None:
        """Start it, again and again where its disk does not let it. Who kills it meanwhile starts it anew."""
        while self.server is None:
            self.starts += 1
            server = SimulatedServer(self, self.starts)
            self.note(f"start {self.starts}")
            self.server = server
            starting = self.loop.start(server.program, server.start())
            await asyncio.wait({starting, server.gone}, return_when=asyncio.FIRST_COMPLETED)
            if server.gone.done():
                return
            if not isinstance(starting.exception(), StoreError | None):
                starting.result()
            if starting.exception() is None:
                return
            self.note(f"did not start: {starting.exception()}")
            self.kill_server()
            await asyncio.sleep(1)

    def kill_server(self) -> None:
        server, self.server = self.server, None
        if server is None:
            return
        self.note("killed")
        self.loop.kill(server.program)
        server.gone.set_result(None)
        self.disk.crash()
        self.network.server_gone(server)

    async def restart_cleanly(self) -> None:
        server = self.server
        if server is None or server.program.life is not Life.RUNNING:
            return
        stopping = self.loop.start(server.program, server.supervisor.stop())
        await asyncio.wait({stopping}, timeout=30)
        if self.server is server:
            self.kill_server()
            await self.start_server()

    # -- what goes on beside

    async def measure(self) -> None:
        """The machine is looked at each second or two; foreign load comes and goes."""
        chance = self.chance("load")
        state, score = LOADS[0]
        cooling_ms = until_ms = foreign = 0
        while True:
            now_ms = self.machine.boot_ms()
            if self.calm:
                (state, score), cooling_ms, foreign = LOADS[0], min(cooling_ms, now_ms), 0
            elif now_ms >= until_ms:
                self.met[Kind.LOAD] += 1
                state, score = chance.choice(LOADS)
                until_ms = now_ms + chance.randrange(2_000, 30_000)
                foreign = chance.choice((0, 0, 2, 8, 14)) << 30
            if state == "PANIC":
                cooling_ms = now_ms + 15_000
            if self.measured:
                self._observe(state, score, cooling_ms, foreign)
            await asyncio.sleep(chance.choice((1.0, 1.0, 2.0)))

    def _observe(self, state: Any, score: int | None, cooling_ms: int, foreign: int) -> None:
        server = self.server
        if server is None or server.program.life is not Life.RUNNING:
            return
        anchor_ms = server.clock.anchor_ms
        view = NodeView(
            "node",
            server.clock.now_ms(),
            state,
            score,
            server.clock.now_ms(),
            TOTALS,
            cooldown_until_ms=cooling_ms + anchor_ms,
            foreign_memory_bytes=foreign,
        )
        self.loop.call_soon(server.observe, view, context=server.program.context)

    async def audit(self) -> None:
        """Look again and again at what must not last: room unused, leases overdue."""
        well_since_ms = looked_ms = 0
        idle = False
        while not self.model.broken:
            await asyncio.sleep(IDLE_AUDIT_S if idle else AUDIT_MS / 1000)
            server = self.server
            idle = server is not None and not server.ledger.state.leases and not server.ledger.state.waiters
            if server is None or server.program.life is not Life.RUNNING or not server.is_well:
                well_since_ms = self.machine.boot_ms()
                continue
            if self.machine.boot_ms() - well_since_ms > 2_000:
                server.check_room()
                server.check_brakes()
            if self.machine.boot_ms() - max(well_since_ms + 2_000, looked_ms) > OVERDUE_MS:
                looked_ms = self.machine.boot_ms()
                self.histories.overdue(server.ledger.state.leases, self._with_live_work())

    def _with_live_work(self) -> frozenset[str]:
        return frozenset(
            lease_id
            for lease_id, known in self.model.leases.items()
            if not known.record.ended_ms
            and any(self.processes.alive(process) for process in known.record.binding.work)
        )
