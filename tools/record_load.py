"""Record what a Linux host shows of itself while some load runs, as gzip JSON lines.

    python3 tools/record_load.py OUT.jsonl.gz --seconds 120 --note "a compile that is not ours"
    python3 tools/record_load.py OUT.jsonl.gz --seconds 60 --ours demo  # leasehold/demo is leased work

The first line is a header (cores, clock ticks, page size, note). Each further line is one sample: `ms`
(CLOCK_BOOTTIME) and `files`, the text of every file that the host adapter reads, trimmed to the lines it
needs; a file that did not change since the previous line is left out. `leasehold.adapters.hosts.replay`
plays such a recording back through the same parsers.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import platform
import time
from collections.abc import Iterator

ROOT_V2 = ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")
PLAIN = ("/proc/loadavg", "/proc/net/dev", "/proc/pressure/cpu", "/proc/pressure/memory", "/proc/pressure/io")
MEMINFO = (
    "MemTotal",
    "MemFree",
    "MemAvailable",
    "Buffers",
    "Cached",
    "SwapTotal",
    "SwapFree",
    "SReclaimable",
    "Shmem:",
    "Dirty",
    "Writeback:",
)
VMSTAT = ("pswpin", "pswpout", "pgmajfault", "oom_kill", "allocstall", "pgscan_direct ")
DISK_NOISE = ("loop", "ram", "zram")
CGROUPS_MAX = 16  # top cgroups recorded; a desktop has about five


def read(path: str) -> str | None:
    """The text of `path`, or None where it cannot be read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return None


def lines_with(text: str | None, starts: tuple[str, ...]) -> str | None:
    """Only the lines that begin with one of `starts`."""
    if text is None:
        return None
    return "".join(line + "\n" for line in text.splitlines() if line.startswith(starts))


def unified_root() -> str | None:
    """Where the cgroup v2 hierarchy is mounted (alone, or beside v1), if it is."""
    return next((root for root in ROOT_V2 if os.path.exists(f"{root}/cgroup.controllers")), None)


def cgroup_files(ours: str | None) -> Iterator[tuple[str, str | None]]:
    """Pressure and CPU of the top cgroups, and use of the leased one."""
    root = unified_root()
    if root is not None:
        with os.scandir(root) as entries:
            groups = sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))[
                :CGROUPS_MAX
            ]
        for group in groups:
            for name in ("cpu.pressure", "io.pressure", "memory.pressure", "cpu.stat"):
                yield f"{group}/{name}", read(f"{group}/{name}")
    if ours is None:
        return
    base = "/sys/fs/cgroup"
    for path in (
        f"{base}/cpuacct/leasehold/{ours}/cpuacct.usage",
        f"{base}/memory/leasehold/{ours}/memory.usage_in_bytes",
        f"{base}/memory/leasehold/{ours}/memory.stat",
        f"{base}/cpu/leasehold/{ours}/tasks",
    ):
        yield path, read(path)
    yield f"runnable:{ours}", str(runnable_in(f"{base}/cpu/leasehold/{ours}/tasks"))
    mine = frozenset((read(f"{base}/cpu/leasehold/{ours}/cgroup.procs") or "").split())
    everyone = frozenset(name for name in os.listdir("/proc") if name.isdigit())
    yield f"io:{ours}", str(io_bytes(mine))
    yield "io:others", str(io_bytes(everyone - mine))


def runnable_in(tasks_path: str) -> int:
    """How many threads listed in `tasks_path` are in state R at this instant."""
    count = 0
    for tid in (read(tasks_path) or "").split():
        stat = read(f"/proc/{tid}/stat")
        count += stat is not None and stat.rpartition(")")[2].split()[0] == "R"
    return count


def io_bytes(pids: frozenset[str]) -> int:
    """Bytes that these processes, and the children they reaped, read from and wrote to storage."""
    texts = (read(f"/proc/{pid}/io") or "" for pid in sorted(pids))
    return sum(
        int(line.split()[1])
        for text in texts
        for line in text.splitlines()
        if line.startswith(("read_b", "write_b"))
    )


def sample(ours: str | None) -> dict[str, str]:
    """One reading of everything, as path to text."""
    found: dict[str, str | None] = {path: read(path) for path in PLAIN}
    found["/proc/stat"] = lines_with(read("/proc/stat"), ("cpu", "btime", "procs_", "processes", "ctxt"))
    found["/proc/meminfo"] = lines_with(read("/proc/meminfo"), MEMINFO)
    found["/proc/vmstat"] = lines_with(read("/proc/vmstat"), VMSTAT)
    found["/proc/diskstats"] = "".join(
        line + "\n"
        for line in (read("/proc/diskstats") or "").splitlines()
        if not line.split()[2].startswith(DISK_NOISE)
    )
    space = os.statvfs("/")
    found["statvfs:/"] = json.dumps([space.f_frsize, space.f_blocks, space.f_bfree, space.f_bavail])
    found.update(cgroup_files(ours))
    return {path: text for path, text in found.items() if text is not None}


def record(out: str, seconds: float, interval_s: float, note: str, ours: str | None) -> int:
    """Write samples to `out` for `seconds`; returns how many."""
    header = {
        "version": 1,
        "cores": os.cpu_count(),
        "clock_ticks": os.sysconf("SC_CLK_TCK"),
        "interval_s": interval_s,
        "page_bytes": os.sysconf("SC_PAGE_SIZE"),
        "kernel": platform.release().split("-")[0],
        "note": note,
        "ours": ours,
    }
    before: dict[str, str] = {}
    count = 0
    start = time.clock_gettime(time.CLOCK_BOOTTIME)
    with gzip.open(out, "wt", encoding="utf-8", compresslevel=9) as file:
        file.write(json.dumps(header) + "\n")
        while (due := start + count * interval_s) <= start + seconds:
            time.sleep(max(0.0, due - time.clock_gettime(time.CLOCK_BOOTTIME)))
            files = sample(ours)
            changed = {path: text for path, text in files.items() if before.get(path) != text}
            gone = sorted(before.keys() - files.keys())
            row = {"ms": int(time.clock_gettime(time.CLOCK_BOOTTIME) * 1000), "files": changed}
            file.write(json.dumps(row | ({"gone": gone} if gone else {})) + "\n")
            before, count = files, count + 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description="Record this host's raw load figures as gzip JSON lines.")
    parser.add_argument("out")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--interval", type=float, default=2.0)
    parser.add_argument("--note", default="")
    parser.add_argument("--ours", help="name of a cgroup below leasehold/ that holds leased work")
    given = parser.parse_args()
    print(
        f"{record(given.out, given.seconds, given.interval, given.note, given.ours)} samples in {given.out}"
    )


if __name__ == "__main__":
    main()
