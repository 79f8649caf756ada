"""A Linux machine, read from `/proc` and `/sys`.

A reading takes about a quarter of a millisecond (bench/sampling.py).
"""

from __future__ import annotations

import os

from leasehold.adapters.hosts import nvidia, procfs, sensors
from leasehold.adapters.hosts.files import KernelFiles, read
from leasehold.model.snapshot import HostCounters, ProcessStats, Surroundings

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class LinuxHost:
    """The port `Host` on Linux. `data` is the data folder, whose file system is always among the mounts."""

    def __init__(self, data: str) -> None:
        self._data = data
        self._files = KernelFiles()
        self._gpus = nvidia.Nvml()
        self._links: tuple[str, ...] = ()

    def counters(self, now_ms: int) -> HostCounters:
        found = procfs.counters(self._files.again, now_ms, clock_ticks=CLOCK_TICKS, page_bytes=PAGE_BYTES)
        self._links = tuple(link.name for link in found.links)
        return found

    def surroundings(self) -> Surroundings:
        return Surroundings(
            mounts=sensors.mounts(self._data),
            data_path=sensors.mount_of(self._data),
            link_speeds_bps=sensors.link_speeds(self._links),
            temperatures_c=sensors.temperatures(),
            battery=sensors.battery(),
            gpus=self._gpus.read(),
            cores_physical=sensors.cores_physical(),
        )

    def process(self) -> ProcessStats:
        rss_pages = int((read("/proc/self/statm") or "0 0").split()[1])
        times = os.times()
        return ProcessStats(
            rss_bytes=rss_pages * PAGE_BYTES,
            cpu_ms=int((times.user + times.system) * 1000),
            threads=_entries("/proc/self/task") or 1,
            open_files=_entries("/proc/self/fd"),
        )

    def disk_of(self, path: str) -> str:
        return sensors.disk_of(path)

    def preset(self) -> tuple[str, str]:
        session = sensors.graphical_session()
        if session:
            return "desktop", f"a graphical session is running ({session})"
        if sensors.battery() is not None:
            return "desktop", "this machine has a battery"
        return "server", "no graphical session and no battery were found"


def _entries(folder: str) -> int | None:
    try:
        return len(os.listdir(folder))
    except OSError:
        return None
