"""A machine that does what a test says: host, leased work, lanes. Time comes from the test's clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from leasehold.model.lease import Limits
from leasehold.model.snapshot import HostCounters, Mount, Pressure, ProcessStats, Stall, Surroundings
from leasehold.model.work import Containment, OursCounters, WorkQuery, WorkUse
from leasehold.ports.host import HostUnreadable

GIB = 1 << 30


class InlineLane:
    """Runs calls at once, in the caller."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.busy = False

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    def close(self) -> None:
        """Nothing to give back."""


class FakeMachine:
    """A machine whose load is `others_pct` and `ours_pct` of all cores, as both ports see it."""

    def __init__(self, cores: int = 4, memory_bytes: int = 16 * GIB) -> None:
        self.cores = cores
        self.others_pct = 0.0
        self.ours_pct = 0.0
        self.memory_bytes = memory_bytes
        self.memory_used_bytes = memory_bytes // 8
        self.ours_memory_bytes = 0
        self.disk_free_bytes = 500 * GIB
        self.readable = True
        self._at_ms: int | None = None
        self._busy_ms = 0.0
        self._ours_ms = 0.0
        self._total_ms = 0.0
        self.host = FakeHost(self)
        self.work = FakeWork(self)

    def advance(self, now_ms: int) -> None:
        """Let the load run until now."""
        span_ms = 0 if self._at_ms is None else max(0, now_ms - self._at_ms)
        self._at_ms = now_ms
        ours = self.ours_pct * span_ms * self.cores / 100
        self._ours_ms += ours
        self._busy_ms += ours + self.others_pct * span_ms * self.cores / 100
        self._total_ms += span_ms * self.cores

    @property
    def busy_ms(self) -> int:
        return int(self._busy_ms)

    @property
    def ours_ms(self) -> int:
        return int(self._ours_ms)

    @property
    def total_ms(self) -> int:
        return int(self._total_ms)


class FakeHost:
    """The port `Host` of a FakeMachine."""

    def __init__(self, machine: FakeMachine) -> None:
        self._machine = machine

    def counters(self, now_ms: int) -> HostCounters:
        machine = self._machine
        if not machine.readable:
            raise HostUnreadable("the test has made this machine unreadable")
        machine.advance(now_ms)
        calm = Stall(0.0, 0.0, 0.0, 0.0)
        return HostCounters(
            at_ms=now_ms,
            cpu_busy_ms=machine.busy_ms,
            cpu_total_ms=machine.total_ms,
            cores=((machine.busy_ms // machine.cores, machine.total_ms // machine.cores),) * machine.cores,
            runnable=round(machine.cores * (machine.others_pct + machine.ours_pct) / 100),
            load=(0.0, 0.0, 0.0),
            memory_total_bytes=machine.memory_bytes,
            memory_available_bytes=machine.memory_bytes
            - machine.memory_used_bytes
            - machine.ours_memory_bytes,
            memory_free_bytes=machine.memory_bytes - machine.memory_used_bytes - machine.ours_memory_bytes,
            swap_total_bytes=0,
            swap_free_bytes=0,
            swapped_in_bytes=0,
            swapped_out_bytes=0,
            pressure=Pressure(calm, calm, calm),
            disk_read_bytes=0,
            disk_written_bytes=0,
            links=(),
            boot_wall_ms=0,
            uptime_ms=now_ms,
        )

    def surroundings(self) -> Surroundings:
        total, free = 1000 * GIB, self._machine.disk_free_bytes
        return Surroundings(mounts=(Mount("/", "disk0", total, total - free, free, 100 * free / total),))

    def process(self) -> ProcessStats:
        return ProcessStats(rss_bytes=50 << 20, cpu_ms=0, threads=1, open_files=8)

    def disk_of(self, path: str) -> str:
        return "disk0"

    def preset(self) -> tuple[str, str]:
        return "server", "the test says so"


class FakeWork:
    """The port `Work` of a FakeMachine: every bound lease has an equal part of `ours`."""

    def __init__(self, machine: FakeMachine) -> None:
        self._machine = machine
        self.made: dict[str, list[int]] = {}
        self.limits: dict[str, Limits] = {}

    def containment(self) -> Containment:
        return Containment("cgroup2", True, True, True, True, False)

    def make(self, lease_id: str) -> str:
        self.made.setdefault(lease_id, [])
        return lease_id

    def limit(self, lease_id: str, wanted: Limits) -> Limits:
        self.limits[lease_id] = wanted
        return wanted

    def memory_kills(self, lease_id: str) -> int:
        return 0

    def admit(self, lease_id: str, pids: Sequence[int]) -> Sequence[int]:
        self.made.setdefault(lease_id, []).extend(pids)
        return ()

    def processes(self, lease_id: str) -> tuple[int, ...]:
        return tuple(sorted(self.made.get(lease_id, ())))

    def measure(self, queries: Sequence[WorkQuery], now_ms: int, *, io: bool) -> OursCounters:
        machine = self._machine
        bound = [query for query in queries if query.is_bound]
        uses = tuple(
            WorkUse(
                query.lease_id,
                machine.ours_ms // len(bound),
                machine.ours_memory_bytes // len(bound),
                alive=1,
            )
            for query in bound
        )
        return OursCounters(
            at_ms=now_ms,
            cpu_ms=machine.ours_ms if bound else 0,
            memory_bytes=machine.ours_memory_bytes if bound else 0,
            runnable=round(machine.cores * machine.ours_pct / 100) if bound else 0,
            uses=uses,
            unbound_millicores=sum(query.cpu_millicores for query in queries if not query.is_bound),
        )

    def remove(self, lease_id: str) -> bool:
        self.made.pop(lease_id, None)
        return True

    def close(self) -> None:
        """Nothing to give back."""

    def places(self) -> tuple[str, ...]:
        return tuple(sorted(self.made))
