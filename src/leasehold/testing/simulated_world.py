"""The world of one simulated run: machine, disk, network, callers, and whichever server runs."""

from __future__ import annotations

import asyncio
from typing import Any

from leasehold.model.node import NodeView, State
from leasehold.ports.store import StoreError
from leasehold.testing.edge import Network
from leasehold.testing.faults import Kind
from leasehold.testing.simulated_ground import Ground
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


class World(Ground):
    """Everything of one run: the ground, the network, callers, and whichever server runs."""

    def __init__(self, loop: VirtualLoop, seed: int) -> None:
        super().__init__(loop, seed)
        self.network = Network(self, lambda: self.server, self.chance("network"))
        self.server: SimulatedServer | None = None
        self.starts = 0
        self.measured = True
        self.calm = False

    def new_server(self, number: int) -> SimulatedServer:
        """A server over this world, not started yet."""
        return SimulatedServer(self, number)

    # -- the server's life

    async def start_server(self) -> None:
        """Start it, again and again where its disk does not let it. Who kills it meanwhile starts it anew."""
        while self.server is None:
            self.starts += 1
            server = self.new_server(self.starts)
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
