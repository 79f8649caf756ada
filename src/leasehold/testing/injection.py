"""How each kind of fault comes about in a simulated world, from its beginning to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from leasehold.runtime import faults as points
from leasehold.testing.faults import Fault, Kind
from leasehold.testing.simulated_world import World
from leasehold.testing.virtual_loop import Life

CALLERS = 8
NOTICED_MS = 1_000
"""A gap this much longer than TTL/3 must have been noticed."""


class Killed(BaseException):
    """Ends the very turn in which the server was killed; nothing of it runs afterwards."""


class Injection:
    """Brings faults into one world."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def inject(self, fault: Fault) -> None:
        """One fault of the plan, from its beginning to its end."""
        await asyncio.sleep(fault.at_ms / 1000)
        self._world.note(f"fault {fault.kind} {fault.for_ms}")
        work: Callable[[Fault], Any] = {
            Kind.SLOW_DISK: self._slow_disk,
            Kind.DISK_FULL: self._disk_full,
            Kind.UNKNOWN_OUTCOME: self._unknown,
            Kind.UNREADABLE: self._unreadable,
            Kind.CRASH: self._crash,
            Kind.CRASH_BEFORE_COMMIT: self._crash_at,
            Kind.CRASH_AFTER_COMMIT: self._crash_at,
            Kind.STALL: self._stall,
            Kind.SUSPEND: self._suspend,
            Kind.WALL_JUMP: self._wall,
            Kind.PARTITION: self._partition,
            Kind.RESTART: self._restart,
            Kind.NO_MEASUREMENTS: self._no_measurements,
        }[fault.kind]
        await work(fault)

    async def _slow_disk(self, fault: Fault) -> None:
        self._world.faults.slow_ms = fault.for_ms // 4
        await self._world.sleep(fault.for_ms)
        self._world.faults.slow_ms = 0

    async def _disk_full(self, fault: Fault) -> None:
        self._world.faults.full = True
        await self._world.sleep(fault.for_ms)
        self._world.faults.full = False

    async def _unknown(self, fault: Fault) -> None:
        self._world.faults.unknown_pct = 40
        await self._world.sleep(fault.for_ms)
        self._world.faults.unknown_pct = 0

    async def _unreadable(self, fault: Fault) -> None:
        self._world.faults.cannot_be_read, self._world.faults.unknown_pct = True, 60
        await self._world.sleep(fault.for_ms)
        self._world.faults.cannot_be_read, self._world.faults.unknown_pct = False, 0

    async def _crash(self, fault: Fault) -> None:
        if self._world.server is None:
            return
        self._world.met[Kind.CRASH] += 1
        self._world.kill_server()
        await self._world.sleep(fault.for_ms)
        await self._world.start_server()

    async def _crash_at(self, fault: Fault) -> None:
        """Arm a named point; whoever passes it first dies there."""
        name = "ledger.before_commit" if fault.kind is Kind.CRASH_BEFORE_COMMIT else "ledger.after_commit"
        died = self._world.loop.create_future()

        def die() -> None:
            del points.ARMED[name]
            self._world.met[fault.kind] += 1
            self._world.kill_server()
            died.set_result(None)
            raise Killed(name)

        points.ARMED[name] = die
        await asyncio.wait({died}, timeout=60)
        if points.ARMED.get(name) is die:
            del points.ARMED[name]
        if died.done():
            await self._world.sleep(fault.for_ms)
            await self._world.start_server()

    async def _stall(self, fault: Fault) -> None:
        server = self._world.server
        if server is None or server.program.life is not Life.RUNNING:
            return
        self._world.met[Kind.STALL] += 1
        self._world.loop.stop_program(server.program)
        await self._world.sleep(fault.for_ms)
        if self._world.server is server:
            self._afresh_after(fault.for_ms)
            self._world.loop.resume(server.program)

    async def _suspend(self, fault: Fault) -> None:
        self._world.met[Kind.SUSPEND] += 1
        self._world.machine.suspend(fault.for_ms)
        if self._world.server is not None:
            self._world.server.slept()
        self._afresh_after(fault.for_ms)

    def _afresh_after(self, gap_ms: int) -> None:
        """A gap that was longer than TTL/3 must have been noticed (LEASE-10)."""
        server = self._world.server
        if server is not None:
            noticed = gap_ms > self._world.settings.lease.ttl_ms // 3 + NOTICED_MS
            self._world.histories.everyone_afresh(server.ledger.state.leases, promised=noticed)

    async def _wall(self, fault: Fault) -> None:
        self._world.met[Kind.WALL_JUMP] += 1
        self._world.machine.set_wall(
            self._world.chance(f"wall {fault.at_ms}").choice((-3_600_000, 3_600_000))
        )

    async def _partition(self, fault: Fault) -> None:
        self._world.met[Kind.PARTITION] += 1
        name = f"c{fault.at_ms % CALLERS}"
        self._world.network.cut_off.add(name)
        await self._world.sleep(fault.for_ms)
        self._world.network.cut_off.discard(name)

    async def _restart(self, fault: Fault) -> None:
        self._world.met[Kind.RESTART] += 1
        await self._world.restart_cleanly()

    async def _no_measurements(self, fault: Fault) -> None:
        self._world.met[Kind.NO_MEASUREMENTS] += 1
        self._world.measured = False
        await self._world.sleep(fault.for_ms)
        self._world.measured = True
