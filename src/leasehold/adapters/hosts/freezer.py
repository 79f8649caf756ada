"""Freezing and throttling one cgroup, v1 and v2 (LEASE-14).

Kernel documentation: `admin-guide/cgroup-v1/freezer-subsystem.rst` (a group that is FREEZING is to be written
again), `admin-guide/cgroup-v2.rst` (`cgroup.freeze`, `frozen` in `cgroup.events`), `scheduler/sched-bwc.rst`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from leasehold.adapters.hosts.cgroups import LEAST, QUOTAS, WEIGHTS, Groups, write
from leasehold.adapters.hosts.files import read
from leasehold.adapters.hosts.limits import PERIOD_US, QUOTA_US_MIN, enforced_us, limit_cpu
from leasehold.model.work import WorkQuery

THROTTLE_PCT = 10
"""How much of its charge throttled work may use."""
LEAST_IO = "1"


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
    name, least = LEAST[groups.kind]
    write(f"{folder}/{name}", least)
    if groups.kind == "cgroup2":
        write(f"{folder}/io.weight", LEAST_IO)
    elif groups.folder("blkio", place):
        write(f"{groups.folder('blkio', place)}/blkio.bfq.weight", LEAST_IO)
    return limit_cpu(groups, place, quota)


def loosen(groups: Groups, query: WorkQuery) -> bool:
    """The quota that it had (its limit, that of others, none), and the low weight that all leased work has.

    The weight comes last: by it a throttle is known that was let go of halfway.
    """
    place = query.cgroup
    if not os.path.isdir(groups.folder("cpu", place)):
        return True
    own = [pair for pair in query.before if pair[0] in QUOTAS[groups.kind]]
    limit = query.limits.cpu_millicores
    if own:
        loose = put_back(groups, place, own)
    else:
        loose = limit_cpu(groups, place, enforced_us(limit) if limit else None)
    groups.weigh(place)
    return loose


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
    """Whether the place has the weight of throttled work: a quota alone may be its limit (LEASE-23)."""
    return groups.is_least(place)
