"""Leased work on Linux.

In a cgroup of its own where one can be made, else told apart by its process tree (SENSE-6).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from leasehold.adapters.hosts import cgroups, limits, priority
from leasehold.adapters.hosts.brakes import LinuxBrakes
from leasehold.adapters.hosts.containers import Containers
from leasehold.adapters.hosts.files import read
from leasehold.adapters.hosts.outside import Outside
from leasehold.adapters.hosts.processes import stat, tree
from leasehold.adapters.hosts.procfs import runnable as host_runnable
from leasehold.adapters.hosts.runner import LinuxRunner, capabilities
from leasehold.adapters.hosts.standing import LinuxStanding
from leasehold.adapters.hosts.sums import Sums
from leasehold.adapters.hosts.usage import (
    Budget,
    io_bytes,
    kernel_runnable,
    resident,
    runnable,
    ticks_ms,
    tree_ms,
)
from leasehold.model.lease import UNLIMITED, Limits, Process
from leasehold.model.run import RunnerCapabilities
from leasehold.model.work import Containment, OursCounters, WorkQuery, WorkUse
from leasehold.ports.clock import Clock
from leasehold.ports.host import Standing

_TREE = (
    "no cgroup can be made here: leased work is told apart by its process tree and runs at nice 10 and "
    "idle io; run as root, or below a systemd user session that delegates cgroups, for a cgroup of its own"
)
_NO_IO_WEIGHT = "this kernel offers no io weight here: leased work runs in the idle io class instead"


class LinuxWork:
    """The port `Work`. `home` names the folder of this server's leases; two servers on one machine need two.

    Without cgroups, a process that ends between two ticks together with all its parents takes its last
    seconds with it.
    """

    def __init__(self, home: str = cgroups.HOME) -> None:
        self._groups = cgroups.find(home)
        self._grown = Sums()
        groups = self._groups
        has_pressure = groups is not None and groups.kind == "cgroup2"
        self._outside = Outside(cgroups.mounts()[1], groups.homes["cpu"]) if groups and has_pressure else None

    def brakes(self, standing: Standing | None = None) -> LinuxBrakes:
        """What freezes and throttles the work that stands in these places, and stops what `standing` can."""
        return LinuxBrakes(self._groups, standing)

    def standing(self, containers: Containers) -> LinuxStanding:
        """Software that runs by itself."""
        return LinuxStanding(self._groups, containers)

    def runner(self, root: Path, clock: Clock) -> LinuxRunner:
        """What runs commands in these places, filed below `root`."""
        return LinuxRunner(root, self._groups, clock)

    def runs(self) -> RunnerCapabilities:
        """How commands would be held here, found by trying."""
        return capabilities(self._groups)

    # -- places ---------------------------------------------------------------------

    def containment(self) -> Containment:
        groups = self._groups
        if groups is None:
            return Containment("tree", False, False, False, False, False, notes=(_TREE,))
        taken = limits.tried(groups)
        return Containment(
            kind=groups.kind,
            cpu_weight=groups.cpu_weight,
            io_weight=groups.io_weight,
            memory=groups.memory,
            freezer=groups.freezer,
            pressure=self._outside is not None,
            cpu_limit=bool(taken.cpu_millicores),
            memory_limit=bool(taken.memory_bytes),
            notes=() if groups.io_weight else (_NO_IO_WEIGHT,),
        )

    def make(self, lease_id: str) -> str:
        return lease_id if self._groups is not None and self._groups.make(lease_id) else ""

    def limit(self, lease_id: str, wanted: Limits) -> Limits:
        groups = self._groups
        if groups is None:
            return UNLIMITED
        if wanted != UNLIMITED:
            return limits.hold(groups, lease_id, wanted)
        limits.lift(groups, lease_id)
        return UNLIMITED

    def memory_kills(self, lease_id: str) -> int:
        return 0 if self._groups is None else limits.memory_kills(self._groups, lease_id)

    def admit(self, lease_id: str, pids: Sequence[int]) -> Sequence[int]:
        return [pid for pid in pids if not self._admitted(lease_id, pid)]

    def _admitted(self, lease_id: str, pid: int) -> bool:
        groups = self._groups
        lowered = (groups is not None and groups.move(lease_id, pid)) or priority.lower_cpu(pid)
        if groups is not None and groups.io_weight:
            return lowered
        return priority.lower_io(pid) and lowered

    def processes(self, lease_id: str) -> tuple[int, ...]:
        return tuple(self._groups.pids(lease_id)) if self._groups is not None else ()

    def remove(self, lease_id: str) -> bool:
        return self._groups is None or self._groups.remove(lease_id)

    def places(self) -> tuple[str, ...]:
        return self._groups.leases() if self._groups is not None else ()

    def close(self) -> None:
        """Remove all empty places, and their home unless somebody is left in one."""
        if self._groups is not None:
            for lease_id in self._groups.leases():
                self._groups.remove(lease_id)
            self._groups.close()

    # -- measuring ---------------------------------------------------------------------

    def measure(self, queries: Sequence[WorkQuery], now_ms: int, *, io: bool) -> OursCounters:
        own = os.getpid()
        bound = [query for query in queries if query.is_bound]
        # First who runs, since the host's figure was read just now: short-lived processes come and go.
        pids = {query.lease_id: self._pids(query) for query in bound}
        budget = Budget()
        running = {lease_id: runnable(found, budget) for lease_id, found in pids.items()}
        # One of this process's threads is the reader, which the host's figure leaves out.
        own_running = max(0, runnable([own], budget) - 1)
        kernel_running = kernel_runnable() if bound else 0
        host_running = host_runnable(read("/proc/stat")) if bound else None
        work = frozenset(pid for each in pids.values() for pid in each)
        wrappers = {each.pid: each for query in queries for each in query.wrappers if each.pid not in work}
        counters = {f"wrapper {pid} {each.start_ticks}": ticks_ms(each) for pid, each in wrappers.items()}
        counters |= {
            query.lease_id: tree_ms(pids[query.lease_id]) for query in bound if not self._has_place(query)
        }
        counters |= {
            query.lease_id: (self._groups.cpu_ms(query.cgroup) or 0)
            for query in bound
            if self._groups is not None and query.cgroup.startswith("/")
        }
        grown_ms = self._grown.add(counters)
        uses = tuple(self._use(query, pids[query.lease_id], running[query.lease_id]) for query in bound)
        unbound = sum(query.cpu_millicores for query in queries if not query.is_bound)
        told_apart = not unbound and all(
            self._has_place(query) and not query.cgroup.startswith("/") for query in bound
        )
        ours_bytes, others_bytes = io_bytes(work | {own, *wrappers}) if io else (None, None)
        return OursCounters(
            at_ms=now_ms,
            cpu_ms=grown_ms + self._places_ms() + int(1000 * sum(os.times()[:2])),
            memory_bytes=sum(use.memory_bytes for use in uses) + resident([own]),
            runnable=sum(running.values()) + own_running,
            uses=uses,
            unbound_millicores=unbound,
            outside=self._outside.read(now_ms) if self._outside is not None and told_apart else None,
            io_ours_bytes=ours_bytes,
            io_others_bytes=others_bytes,
            pids=work | {own},
            kernel_runnable=kernel_running,
            host_runnable=host_running,
        )

    def _has_place(self, query: WorkQuery) -> bool:
        return self._groups is not None and bool(query.cgroup)

    def _pids(self, query: WorkQuery) -> list[int]:
        """In its place, or below the processes that it is bound to."""
        if self._groups is not None and query.cgroup:
            return self._groups.pids(query.cgroup)
        return _below(query.processes)

    def _use(self, query: WorkQuery, pids: list[int], running: int) -> WorkUse:
        groups = self._groups if self._has_place(query) else None
        cpu_ms = groups.cpu_ms(query.cgroup) if groups else self._grown.of(query.lease_id)
        memory = (groups.memory_bytes(query.cgroup) if groups else None) or 0
        # What a process held before it was moved stays charged to where it came from.
        named = [each.pid for each in query.processes] if memory else pids
        return WorkUse(
            lease_id=query.lease_id,
            cpu_ms=cpu_ms or 0,
            memory_bytes=max(memory, resident(named)),
            runnable=running,
            alive=len(pids),
        )

    def _places_ms(self) -> int:
        """CPU time of everything that ever ran in a place, with what has ended since."""
        return (self._groups.cpu_ms() or 0) if self._groups is not None else 0


def _below(processes: tuple[Process, ...]) -> list[int]:
    found: set[int] = set()
    for process in processes:
        seen = stat(process.pid)
        if seen is not None and seen.start_ticks == process.start_ticks and process.pid not in found:
            found.update(tree(process.pid))
    return sorted(found)
