"""Freezing and throttling one cgroup, v1 and v2 (LEASE-14).

Kernel documentation: `admin-guide/cgroup-v1/freezer-subsystem.rst` (a group that is FREEZING is to be written
again), `admin-guide/cgroup-v2.rst` (`cgroup.freeze`, `frozen` in `cgroup.events`), `scheduler/sched-bwc.rst`.
"""

from __future__ import annotations

import os

from leasehold.adapters.hosts.cgroups import Groups, write
from leasehold.adapters.hosts.files import number, read

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
    return Freezer(f"{groups.homes['cpu' if second else 'freezer']}/{place}", second=second)


def quota_us(cpu_millicores: int) -> int:
    """CPU microseconds per `PERIOD_US` that throttled work of this charge may use, on all cores together."""
    return max(QUOTA_US_MIN, PERIOD_US * cpu_millicores * THROTTLE_PCT // 100_000)


def throttle(groups: Groups, place: str, cpu_millicores: int) -> bool:
    """A tenth of its charge and the least weight. False where the kernel takes no quota."""
    folder, quota = f"{groups.homes['cpu']}/{place}", quota_us(cpu_millicores)
    if groups.kind == "cgroup2":
        write(f"{folder}/cpu.weight", str(LEAST_WEIGHT))
        write(f"{folder}/io.weight", str(LEAST_WEIGHT))
        return write(f"{folder}/cpu.max", f"{quota} {PERIOD_US}")
    write(f"{folder}/cpu.shares", str(LEAST_SHARES))
    if "blkio" in groups.homes:
        write(f"{groups.homes['blkio']}/{place}/blkio.bfq.weight", str(LEAST_WEIGHT))
    period = write(f"{folder}/cpu.cfs_period_us", str(PERIOD_US))
    return period and write(f"{folder}/cpu.cfs_quota_us", str(quota))


def loosen(groups: Groups, place: str) -> bool:
    """No quota, and the low weight that all leased work has."""
    folder = f"{groups.homes['cpu']}/{place}"
    if not os.path.isdir(folder):
        return True
    groups.weigh(place)
    if groups.kind == "cgroup2":
        return write(f"{folder}/cpu.max", f"max {PERIOD_US}")
    return write(f"{folder}/cpu.cfs_quota_us", "-1")


def is_throttled(groups: Groups, place: str) -> bool:
    """Whether the place has a quota now."""
    folder = f"{groups.homes['cpu']}/{place}"
    if groups.kind == "cgroup2":
        return not (read(f"{folder}/cpu.max") or "max").startswith("max")
    return (number(read(f"{folder}/cpu.cfs_quota_us")) or -1) > 0
