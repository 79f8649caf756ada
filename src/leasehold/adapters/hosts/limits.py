"""Holding one cgroup to cores and memory, v1 and v2 (LEASE-23).

Kernel documentation: `scheduler/sched-bwc.rst`, `admin-guide/cgroup-v1/memory.rst` (the limit of memory with
swap may never be below that of memory alone), `admin-guide/cgroup-v2.rst` (`cpu.max`, `memory.max`,
`memory.events`).
"""

from __future__ import annotations

from leasehold.adapters.hosts.cgroups import PROBE, Groups, write
from leasehold.adapters.hosts.files import number, read
from leasehold.model.lease import Limits

PERIOD_US = 100_000
QUOTA_US_MIN = 1_000  # the kernel takes no less
TRIED = Limits(1_000, 64 << 20)


def hold(groups: Groups, place: str, limits: Limits) -> Limits:
    """Hold a place to `limits`; what holds now. Tighter ones that are there stay."""
    cpu = not limits.cpu_millicores or _holds_cpu(groups, place, enforced_us(limits.cpu_millicores))
    memory = not limits.memory_bytes or _holds_memory(groups, place, limits.memory_bytes)
    return Limits(limits.cpu_millicores if cpu else 0, limits.memory_bytes if memory else 0)


def lift(groups: Groups, place: str) -> None:
    """No quota and no memory limit any more."""
    if quota_of(groups, place) is not None:
        limit_cpu(groups, place, None)
    if groups.memory and memory_of(groups, place) is not None:
        limit_memory(groups, place, None)


def _holds_cpu(groups: Groups, place: str, quota: int) -> bool:
    now = quota_of(groups, place)
    return (now is not None and now <= quota) or limit_cpu(groups, place, quota)


def _holds_memory(groups: Groups, place: str, limit_bytes: int) -> bool:
    if not groups.memory:
        return False
    now = memory_of(groups, place)
    return (now is not None and now <= limit_bytes) or limit_memory(groups, place, limit_bytes)


def enforced_us(cpu_millicores: int) -> int:
    """The quota of work that may use so much, on all cores together."""
    return max(QUOTA_US_MIN, PERIOD_US * cpu_millicores // 1_000)


def quota_of(groups: Groups, place: str) -> int | None:
    """CPU microseconds per `PERIOD_US` that a place may use; None: as many as it likes."""
    folder = groups.folder("cpu", place)
    if groups.kind == "cgroup2":
        quota, _, period = (read(f"{folder}/cpu.max") or "max").strip().partition(" ")
    else:
        quota = (read(f"{folder}/cpu.cfs_quota_us") or "-1").strip()
        period = (read(f"{folder}/cpu.cfs_period_us") or "").strip()
    if not quota.isdecimal():
        return None
    return int(quota) * PERIOD_US // int(period or PERIOD_US)


def limit_cpu(groups: Groups, place: str, quota: int | None) -> bool:
    """At most so many CPU microseconds per `PERIOD_US`; None: as many as it likes."""
    folder = groups.folder("cpu", place)
    if groups.kind == "cgroup2":
        return write(f"{folder}/cpu.max", f"{'max' if quota is None else quota} {PERIOD_US}")
    if quota is None:
        return write(f"{folder}/cpu.cfs_quota_us", "-1")
    # Its parent may allow less than the quota that stands there with another period: period first, no quota.
    write(f"{folder}/cpu.cfs_quota_us", "-1")
    period = write(f"{folder}/cpu.cfs_period_us", str(PERIOD_US))
    return period and write(f"{folder}/cpu.cfs_quota_us", str(quota))


def memory_of(groups: Groups, place: str) -> int | None:
    """How much memory a place may have; None: as much as there is."""
    folder = groups.folder("memory", place)
    if groups.kind == "cgroup2":
        return number(read(f"{folder}/memory.max"))
    found = number(read(f"{folder}/memory.limit_in_bytes"))
    return None if found is None or found >= 1 << 62 else found


def limit_memory(groups: Groups, place: str, limit_bytes: int | None) -> bool:
    """At most so much memory, and no swap beside it; what takes more is ended by the kernel.

    None: as much as it likes. False where the kernel takes no limit.
    """
    folder = groups.folder("memory", place)
    if groups.kind == "cgroup2":
        text = "max" if limit_bytes is None else str(limit_bytes)
        write(f"{folder}/memory.swap.max", "max" if limit_bytes is None else "0")
        return write(f"{folder}/memory.max", text)
    text = "-1" if limit_bytes is None else str(limit_bytes)
    with_swap = f"{folder}/memory.memsw.limit_in_bytes"
    write(with_swap, "-1")
    taken = write(f"{folder}/memory.limit_in_bytes", text)
    if taken and limit_bytes is not None:
        write(with_swap, text)
    return taken


def limit_pids(groups: Groups, place: str, count: int | None) -> bool:
    """At most so many processes and threads; None: as many as it likes. False where nobody counts them."""
    if "pids" not in groups.homes:
        return False
    return write(f"{groups.folder('pids', place)}/pids.max", "max" if count is None else str(count))


def memory_kills(groups: Groups, place: str) -> int:
    """How many of its processes the kernel has ended for want of memory."""
    if not groups.memory:
        return 0
    name = "memory.events" if groups.kind == "cgroup2" else "memory.oom_control"
    for line in (read(f"{groups.folder('memory', place)}/{name}") or "").splitlines():
        key, _, count = line.partition(" ")
        if key == "oom_kill":
            return int(count)
    return 0


def tried(groups: Groups) -> Limits:
    """Which limits the kernel takes here, found by setting them on an empty place."""
    if not groups.make(PROBE):
        return Limits()
    try:
        return hold(groups, PROBE, TRIED)
    finally:
        groups.remove(PROBE)
