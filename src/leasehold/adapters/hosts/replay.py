"""A recording (tools/record_load.py) of a real machine, played back through the parsers of the adapter."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leasehold.adapters.hosts import procfs
from leasehold.adapters.hosts.cgroups import resident_bytes
from leasehold.adapters.hosts.files import number
from leasehold.model.snapshot import HostCounters, Mount, Surroundings
from leasehold.model.work import OursCounters, WorkUse


class Recording:
    """The samples of one recording, in order."""

    def __init__(self, path: Path) -> None:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows: list[dict[str, Any]] = [json.loads(line) for line in file]
        self.header, self._rows = rows[0], rows[1:]

    def samples(self, start_ms: int = 0) -> Iterator[tuple[HostCounters, OursCounters, Surroundings]]:
        """Each sample as the adapter would have read it, on a clock that starts at `start_ms`."""
        files: dict[str, str] = {}
        first_ms = self._rows[0]["ms"]
        for row in self._rows:
            files = {path: text for path, text in files.items() if path not in row.get("gone", ())} | row[
                "files"
            ]
            at_ms = start_ms + row["ms"] - first_ms
            yield self._host(files, at_ms), ours(files, at_ms, self.header["ours"]), around(files)

    def _host(self, files: dict[str, str], at_ms: int) -> HostCounters:
        return procfs.counters(
            files.get, at_ms, clock_ticks=self.header["clock_ticks"], page_bytes=self.header["page_bytes"]
        )


def around(files: dict[str, str]) -> Surroundings:
    """The one file system that is recorded."""
    block, blocks, free, available = json.loads(files["statvfs:/"])
    used = blocks - free
    share = round(100 * available / max(1, used + available), 2)
    return Surroundings(mounts=(Mount("/", "", blocks * block, used * block, available * block, share),))


def ours(files: dict[str, str], at_ms: int, lease: str | None) -> OursCounters:
    """What was leased while recording: one cgroup, or nothing."""
    if lease is None:
        return OursCounters(at_ms, cpu_ms=0, memory_bytes=0, runnable=0)
    base = "/sys/fs/cgroup"
    cpu_ms = (number(files.get(f"{base}/cpuacct/leasehold/{lease}/cpuacct.usage")) or 0) // 1_000_000
    memory = resident_bytes(files.get(f"{base}/memory/leasehold/{lease}/memory.stat")) or 0
    runnable = number(files.get(f"runnable:{lease}")) or 0
    return OursCounters(
        at_ms=at_ms,
        cpu_ms=cpu_ms,
        memory_bytes=memory,
        runnable=runnable,
        uses=(WorkUse(lease, cpu_ms, memory, runnable=runnable),),
        io_ours_bytes=number(files.get(f"io:{lease}")),
        io_others_bytes=number(files.get("io:others")),
    )
