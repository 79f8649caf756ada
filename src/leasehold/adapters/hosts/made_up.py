"""A machine that does not exist: the counters that a rhythm would have made, for `leasehold demo`.

Work that is leased on it is real, and small; whatever else uses the real machine is not seen.
"""

from __future__ import annotations

from collections.abc import Callable

from leasehold.core.rhythm import Moment, Rhythm, at
from leasehold.model.snapshot import (
    HostCounters,
    Link,
    Mount,
    Pressure,
    ProcessStats,
    Stall,
    Surroundings,
)
from leasehold.ports.host import Host

GIB = 1 << 30
DISK_BYTES = 2_000 * GIB
SPAN_MS_MAX = 60_000
"""Over a longer gap between two readings (the process stood still) only so much is made up."""


class MadeUpHost:
    """The port `Host`. `real` tells of this process; `wall_ms` says what time of the rhythm it is."""

    def __init__(self, rhythm: Rhythm, real: Host, wall_ms: Callable[[], int]) -> None:
        self._rhythm = rhythm
        self._real = real
        self._wall_ms = wall_ms
        self._begun_wall_ms = wall_ms()
        self._at_ms: int | None = None
        self._busy_ms = [0.0] * rhythm.cores
        self._total_ms = 0.0
        self._stalled_us = {"cpu": 0.0, "io": 0.0}
        self._bytes = {"read": 0.0, "written": 0.0, "rx": 0.0}

    def counters(self, now_ms: int) -> HostCounters:
        moment = at(self._rhythm, self._wall_ms())
        span_ms = 0 if self._at_ms is None else min(SPAN_MS_MAX, max(0, now_ms - self._at_ms))
        self._at_ms = now_ms
        self._add(moment, span_ms)
        return self._reading(moment, now_ms)

    def _add(self, moment: Moment, span_ms: int) -> None:
        load, fields = moment.load, moment.groups()["host"]
        self._total_ms += span_ms
        for core in range(self._rhythm.cores):
            self._busy_ms[core] += span_ms * fields[f"core_pct:{core}"] / 100
        for name, pct in (("cpu", fields["psi_cpu_some_10s"]), ("io", load.io_pct)):
            self._stalled_us[name] += span_ms * 10 * pct
        for name, rate in (
            ("read", load.read_bytes_per_s),
            ("written", load.write_bytes_per_s),
            ("rx", load.rx_bytes_per_s),
        ):
            self._bytes[name] += span_ms * rate / 1000

    def _reading(self, moment: Moment, now_ms: int) -> HostCounters:
        cores = tuple((int(busy), int(self._total_ms)) for busy in self._busy_ms)
        memory, load = self._rhythm.memory_bytes, moment.groups()["host"]["load_1m"]
        available = int(memory * (100 - moment.load.memory_pct) / 100)
        uptime_ms = self._wall_ms() - self._begun_wall_ms
        rx = int(self._bytes["rx"])
        return HostCounters(
            at_ms=now_ms,
            cpu_busy_ms=sum(busy for busy, _ in cores),
            cpu_total_ms=sum(total for _, total in cores),
            cores=cores,
            runnable=round(self._rhythm.cores * moment.load.cpu_pct / 100),
            load=(load, load, load),
            memory_total_bytes=memory,
            memory_available_bytes=available,
            memory_free_bytes=available // 2,
            swap_total_bytes=0,
            swap_free_bytes=0,
            swapped_in_bytes=None,
            swapped_out_bytes=None,
            pressure=Pressure(
                cpu=self._stall("cpu", moment.groups()["host"]["psi_cpu_some_10s"]),
                memory=Stall(0.0, 0.0, 0.0, 0.0),
                io=self._stall("io", moment.load.io_pct),
            ),
            disk_read_bytes=int(self._bytes["read"]),
            disk_written_bytes=int(self._bytes["written"]),
            links=(Link("eth0", rx, rx // 5, rx // 1_000, rx // 5_000, 1_000_000_000),),
            boot_wall_ms=self._begun_wall_ms,
            uptime_ms=uptime_ms,
        )

    def _stall(self, name: str, pct: float) -> Stall:
        stalled_us = int(self._stalled_us[name])
        return Stall(pct, pct, pct * 0.7, pct * 0.7, stalled_us, int(stalled_us * 0.7))

    def surroundings(self) -> Surroundings:
        free_pct = at(self._rhythm, self._wall_ms()).groups()["host"]["disk_free_pct:/"]
        free = int(DISK_BYTES * free_pct / 100)
        mount = Mount("/", "vda", DISK_BYTES, DISK_BYTES - free, free, free_pct)
        return Surroundings(mounts=(mount,), cores_physical=self._rhythm.cores)

    def process(self) -> ProcessStats:
        return self._real.process()

    def disk_of(self, path: str) -> str:
        return "vda"

    def preset(self) -> tuple[str, str]:
        return "server", "the machine of the demo is a server"
