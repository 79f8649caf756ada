"""Time, ids, processes and leased work on a `VirtualLoop`: what outlives the simulated server.

All instants called `boot_ms` are true time: they count suspended time, never jump, and are the same for every
simulated program.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from leasehold.model.ids import typed
from leasehold.model.lease import UNLIMITED, Binding, BrakeLevel, Limits, Process
from leasehold.model.work import Containment, OursCounters, WorkQuery
from leasehold.ports.host import TargetUnknown, TargetUnreachable
from leasehold.testing.virtual_loop import VirtualLoop

WALL_AT_START_MS = 1_900_000_000_000
NAP_MS_MAX = 1_000
"""As `runtime.clock`: timers of the loop stand still while the machine is suspended, this clock does not."""


class MachineTime:
    """The clocks of one machine. The wall clock can be set, and the machine suspended."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._suspended_ms = 0
        self._wall_offset_ms = WALL_AT_START_MS

    def boot_ms(self) -> int:
        return self._loop.now_ms + self._suspended_ms

    def wall_ms(self) -> int:
        return self.boot_ms() + self._wall_offset_ms

    def set_wall(self, by_ms: int) -> None:
        """Somebody sets the wall clock."""
        self._wall_offset_ms += by_ms

    def suspend(self, for_ms: int) -> None:
        """The machine sleeps: boot time passes, timers do not."""
        self._suspended_ms += for_ms


class VirtualClock:
    """`ports.clock.Clock` of one start of a program: wall time as it stood then, advancing with boot time."""

    def __init__(self, machine: MachineTime) -> None:
        self._machine = machine
        self.anchor_ms = machine.wall_ms() - machine.boot_ms()

    def now_ms(self) -> int:
        return self._machine.boot_ms() + self.anchor_ms

    def wall_ms(self) -> int:
        return self._machine.wall_ms()

    async def sleep(self, delay_ms: int) -> None:
        end_ms = self.now_ms() + delay_ms
        await asyncio.sleep(min(max(delay_ms, 0), NAP_MS_MAX) / 1_000)
        while (left_ms := end_ms - self.now_ms()) > 0:  # noqa: ASYNC110 - it is time that is waited for
            await asyncio.sleep(min(left_ms, NAP_MS_MAX) / 1_000)


class SeededIds:
    """`ports.clock.Ids` from one seed."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def new(self, noun: str) -> str:
        return typed(noun, self._chance.getrandbits(65))

    def seed(self) -> int:
        return self._chance.getrandbits(63)


class FakeProcesses:
    """`ports.host.Processes` over processes that a test starts and ends. Pids are used again, at once."""

    def __init__(self) -> None:
        self.living: dict[int, Process] = {}
        self.owners: dict[int, int] = {}
        self._watchers: dict[Process, list[tuple[Callable[[Process], None], contextvars.Context]]] = {}
        self._ticks = 0

    def start(self, uid: int = 1000) -> Process:
        """A new process with the lowest free pid."""
        pid = next(number for number in range(100, 10_000) if number not in self.living)
        self._ticks += 1
        process = Process(pid, self._ticks, "boot")
        self.living[pid] = process
        self.owners[pid] = uid
        return process

    def end(self, process: Process) -> None:
        """It dies, and whoever watches it hears of it."""
        if self.living.get(process.pid) != process:
            return
        del self.living[process.pid]
        for gone, context in self._watchers.pop(process, []):
            asyncio.get_running_loop().call_soon(gone, process, context=context)

    def identify(self, pid: int) -> Process | None:
        return self.living.get(pid)

    def alive(self, process: Process) -> bool:
        return self.living.get(process.pid) == process

    def owner(self, pid: int) -> int | None:
        return self.owners.get(pid) if pid in self.living else None

    def is_descendant(self, pid: int, ancestor: int) -> bool:
        return pid == ancestor

    def tree(self, process: Process) -> tuple[int, ...]:
        return (process.pid,) if self.alive(process) else ()

    def watch(self, process: Process, gone: Callable[[Process], None]) -> Callable[[], None]:
        if not self.alive(process):
            return asyncio.get_running_loop().call_soon(gone, process).cancel
        entry = (gone, contextvars.copy_context())
        self._watchers.setdefault(process, []).append(entry)

        def stop() -> None:
            entries = self._watchers.get(process, [])
            if entry in entries:
                entries.remove(entry)

        return stop


class FakeBrakes:
    """`ports.host.Brakes` that remembers; `stuck` are leases that do not stand still."""

    def __init__(self) -> None:
        self.frozen: set[str] = set()
        self.throttled: set[str] = set()
        self.stuck: set[str] = set()
        self.calls: list[tuple[str, tuple[str, ...]]] = []

    def freeze(self, queries: Sequence[WorkQuery]) -> frozenset[str]:
        done = self._called("freeze", queries) - self.stuck
        self.frozen |= done
        return done

    def thaw(self, queries: Sequence[WorkQuery]) -> frozenset[str]:
        done = self._called("thaw", queries)
        self.frozen -= done
        return done

    def throttle(self, queries: Sequence[WorkQuery]) -> frozenset[str]:
        done = self._called("throttle", queries)
        self.throttled |= done
        return done

    def loosen(self, queries: Sequence[WorkQuery]) -> frozenset[str]:
        done = self._called("loosen", queries)
        self.throttled -= done
        return done

    def held(self) -> dict[str, BrakeLevel]:
        return dict.fromkeys(sorted(self.throttled), BrakeLevel.THROTTLED) | dict.fromkeys(
            sorted(self.frozen), BrakeLevel.FROZEN
        )

    def _called(self, what: str, queries: Sequence[WorkQuery]) -> frozenset[str]:
        ids = tuple(query.lease_id for query in queries)
        self.calls.append((what, ids))
        return frozenset(ids)


class FakeStanding:
    """`ports.host.Standing` over software that a test starts and stops; `lowered` is at low weight."""

    def __init__(self) -> None:
        self.running: dict[str, Binding | None] = {}
        self.lowered: dict[str, Binding] = {}
        self.unreachable = ""
        self.stops: list[tuple[str, str]] = []

    def find(self, target: str) -> Binding | None:
        if self.unreachable:
            raise TargetUnreachable(self.unreachable)
        if target not in self.running:
            raise TargetUnknown(f"there is no {target}")
        return self.running[target]

    def lower(self, lease_id: str, binding: Binding) -> Binding:
        before = binding.before or (("weight", "100"),)
        self.lowered[lease_id] = msgspec.structs.replace(binding, before=before)
        return self.lowered[lease_id]

    def put_back(self, lease_id: str, binding: Binding) -> None:
        assert binding.before
        self.lowered.pop(lease_id, None)

    def stop(self, target: str) -> bool:
        self.stops.append(("stop", target))
        return True

    def start(self, target: str) -> bool:
        self.stops.append(("start", target))
        return True


class PlacesOnly:
    """`ports.host.Work` that knows places, who is in them and what holds them, and measures nothing.

    `can`: 1 for each kind of limit that it takes, else 0. `kills`: what `memory_kills` answers.
    """

    def __init__(self, processes: FakeProcesses) -> None:
        self._processes = processes
        self.members: dict[str, list[Process]] = {}
        self.limits: dict[str, Limits] = {}
        self.kills: dict[str, int] = {}
        self.can = Limits(1, 1)

    def fork(self, lease_id: str, uid: int = 1000) -> Process:
        """A process that leased work has started: in the lease's place, where it has one."""
        child = self._processes.start(uid)
        if lease_id in self.members:
            self.members[lease_id].append(child)
        return child

    def containment(self) -> Containment:
        return Containment(
            "tree", cpu_weight=False, io_weight=False, memory=False, freezer=False, pressure=False
        )

    def make(self, lease_id: str) -> str:
        self.members.setdefault(lease_id, [])
        return lease_id

    def limit(self, lease_id: str, wanted: Limits) -> Limits:
        assert lease_id in self.members, "a limit needs a place, before anybody is put into it"
        can = self.can
        held = Limits(wanted.cpu_millicores * can.cpu_millicores, wanted.memory_bytes * can.memory_bytes)
        self.limits[lease_id] = held
        if held == UNLIMITED:
            del self.limits[lease_id]
        return held

    def memory_kills(self, lease_id: str) -> int:
        return self.kills.get(lease_id, 0)

    def admit(self, lease_id: str, pids: Sequence[int]) -> Sequence[int]:
        left_out = []
        for pid in pids:
            process = self._processes.identify(pid)
            if process is None:
                left_out.append(pid)
            elif process not in self.members[lease_id]:
                self.members[lease_id].append(process)
        return left_out

    def processes(self, lease_id: str) -> tuple[int, ...]:
        members = self.members.get(lease_id, [])
        return tuple(sorted(process.pid for process in members if self._processes.alive(process)))

    def measure(self, queries: Sequence[WorkQuery], now_ms: int, *, io: bool) -> OursCounters:
        return OursCounters(now_ms, 0, 0, 0)

    def remove(self, lease_id: str) -> bool:
        if self.processes(lease_id):
            return False
        self.members.pop(lease_id, None)
        return True

    def places(self) -> tuple[str, ...]:
        return tuple(sorted(self.members))

    def close(self) -> None:
        """Nothing to give back."""


async def offload(function: Callable[..., Any], *arguments: Any) -> Any:
    """A blocking call: it takes a moment, in which others run."""
    await asyncio.sleep(0.001)
    return function(*arguments)
