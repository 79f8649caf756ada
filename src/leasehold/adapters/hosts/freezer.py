"""Freezing and throttling one cgroup, v1 and v2 (LEASE-14).

Kernel documentation: `admin-guide/cgroup-v1/freezer-subsystem.rst` (a group that is FREEZING is to be written
again), `admin-guide/cgroup-v2.rst` (`cgroup.freeze`, `frozen` in `cgroup.events`), `scheduler/sched-bwc.rst`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from leasehold.adapters.hosts.cgroups import QUOTAS, WEIGHTS, Groups, write
from leasehold.adapters.hosts.files import number, read
from leasehold.model.work import WorkQuery

PERIOD_US = 100_000
QUOTA_US_MIN = 1_000  # the kernel takes no less
THROTTLE_PCT = 10
"""How much of its charge throttled work may use."""
LEAST_SHARES, LEAST_WEIGHT = 2, 1


class Freezer:
    """The folder of one lease in the hierarchy that can freeze it."""

    def __init__(self, folder: str, *, second: bool) -> None:
        self._folder = folder
        self._second = second

    def freeze(self) -> bool:
        """Ask for it (again), and tell whether all of it stands still now. False without a folder."""
        if self.stands():
            return True
        return self._ask("1" if self._second else "FROZEN") and self.stands()

    def thaw(self) -> bool:
        """Whether it goes on, or there is nothing that could."""
        if not os.path.isdir(self._folder):
            return True
        return self._ask("0" if self._second else "THAWED")

    def _ask(self, text: str) -> bool:
        return write(f"{self._folder}/{'cgroup.freeze' if self._second else 'freezer.state'}", text)

    def stands(self) -> bool:
        """Whether the kernel says that all of it stands still."""
        if self._second:
            return "frozen 1" in (read(f"{self._folder}/cgroup.events") or "").splitlines()
        return (read(f"{self._folder}/freezer.state") or "").strip() == "FROZEN"

    def is_asked(self) -> bool:
        """Whether it is frozen or about to be."""
        if self._second:
            return (read(f"{self._folder}/cgroup.freeze") or "").strip() == "1"
        return (read(f"{self._folder}/freezer.state") or "THAWED").strip() != "THAWED"


def freezer_of(groups: Groups | None, place: str) -> Freezer | None:
    """The freezer of a lease's place; None where the machine has none."""
    if groups is None or not groups.freezer or not place:
        return None
    second = groups.kind == "cgroup2"
    return Freezer(groups.folder("cpu" if second else "freezer", place), second=second)


def quota_us(cpu_millicores: int) -> int:
    """CPU microseconds per `PERIOD_US` that throttled work of this charge may use, on all cores together."""
    return max(QUOTA_US_MIN, PERIOD_US * cpu_millicores * THROTTLE_PCT // 100_000)


def throttle(groups: Groups, place: str, cpu_millicores: int) -> bool:
    """A tenth of its charge and the least weight. False where the kernel takes no quota."""
    folder, quota = groups.folder("cpu", place), quota_us(cpu_millicores)
    if groups.kind == "cgroup2":
        write(f"{folder}/cpu.weight", str(LEAST_WEIGHT))
        write(f"{folder}/io.weight", str(LEAST_WEIGHT))
    else:
        write(f"{folder}/cpu.shares", str(LEAST_SHARES))
        if groups.folder("blkio", place):
            write(f"{groups.folder('blkio', place)}/blkio.bfq.weight", str(LEAST_WEIGHT))
    return limit_cpu(groups, place, quota)


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


def limit_memory(groups: Groups, place: str, limit_bytes: int) -> bool:
    """At most so much memory; what takes more is ended by the kernel. False where it takes no limit."""
    folder = groups.folder("memory", place)
    name = "memory.max" if groups.kind == "cgroup2" else "memory.limit_in_bytes"
    if not folder or not write(f"{folder}/{name}", str(limit_bytes)):
        return False
    if groups.kind == "cgroup2":
        write(f"{folder}/memory.swap.max", "0")
    else:
        write(f"{folder}/memory.memsw.limit_in_bytes", str(limit_bytes))
    return True


def loosen(groups: Groups, query: WorkQuery) -> bool:
    """The low weight that all leased work has, and the quota that it had: its limit, that of others, none."""
    place = query.cgroup
    if not os.path.isdir(groups.folder("cpu", place)):
        return True
    groups.weigh(place)
    own = [pair for pair in query.before if pair[0] in QUOTAS[groups.kind]]
    if own:
        return put_back(groups, place, own)
    return limit_cpu(groups, place, enforced_us(query.cpu_millicores) if query.enforced else None)


def enforced_us(cpu_millicores: int) -> int:
    """The quota of work whose charge is its limit."""
    return max(QUOTA_US_MIN, PERIOD_US * cpu_millicores // 1_000)


def looks(groups: Groups, place: str) -> tuple[tuple[str, str], ...]:
    """The weights and the quota of a place as they are, by file name."""
    names = [(controller, name) for controller, name, _ in WEIGHTS[groups.kind]]
    names += [("cpu", name) for name in QUOTAS[groups.kind]]
    found = [
        (name, (read(f"{groups.folder(each, place)}/{name}") or "").strip())
        for each, name in names
        if groups.folder(each, place)
    ]
    return tuple((name, value) for name, value in found if value)


def put_back(groups: Groups, place: str, files: Iterable[tuple[str, str]]) -> bool:
    """Write files as they were. True where all were taken, or the place is gone."""
    if not os.path.isdir(groups.folder("cpu", place)):
        return True
    controllers = {name: each for each, name, _ in WEIGHTS[groups.kind]}
    taken = [
        write(f"{groups.folder(controllers.get(name, 'cpu'), place)}/{name}", _weight(name, value))
        for name, value in files
    ]
    return all(taken)


def _weight(name: str, value: str) -> str:
    """`io.weight` reads as `default 100`, and is written so too."""
    return value.splitlines()[0] if name == "io.weight" else value


def is_throttled(groups: Groups, place: str) -> bool:
    """Whether the place has a quota now."""
    folder = groups.folder("cpu", place)
    if groups.kind == "cgroup2":
        return not (read(f"{folder}/cpu.max") or "max").startswith("max")
    return (number(read(f"{folder}/cpu.cfs_quota_us")) or -1) > 0
