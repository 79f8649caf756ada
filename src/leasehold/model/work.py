"""Leased work as measured on its node (SENSE-6, LEASE-6, LEASE-22)."""

from __future__ import annotations

import msgspec

from leasehold.model.lease import UNLIMITED, Limits, Process


class WorkQuery(msgspec.Struct, frozen=True, gc=False):
    """One live lease whose work is to be measured. Without processes and cgroup it is bound to nothing.

    `wrappers` are processes that only wait for the work (the caller of `run`): ours too, but not part of the
    work. A `cgroup` with an absolute path is somebody else's; `before` are its files as they were.
    `limits` hold it while nothing holds it back further. `is_guarded`: software that runs by itself.
    `stops` names what gives way by being stopped, and is started again.
    """

    lease_id: str
    cpu_millicores: int = 0
    memory_bytes: int = 0
    processes: tuple[Process, ...] = ()
    wrappers: tuple[Process, ...] = ()
    cgroup: str = ""
    before: tuple[tuple[str, str], ...] = ()
    limits: Limits = UNLIMITED
    is_guarded: bool = False
    stops: str = ""

    @property
    def is_bound(self) -> bool:
        return bool(self.processes or self.cgroup)


class WorkUse(msgspec.Struct, frozen=True, gc=False):
    """What one lease's work used. `cpu_ms` and `io_bytes` grow; `memory_bytes` is without page cache.

    `alive` counts its processes; `runnable` those threads of it that run or want to. None is "not known
    here".
    """

    lease_id: str
    cpu_ms: int
    memory_bytes: int
    io_bytes: int | None = None
    runnable: int = 0
    alive: int = 0


class Stalls(msgspec.Struct, frozen=True, gc=False):
    """Stall totals of one cgroup that holds no leased work."""

    name: str
    cpu_us: int
    io_us: int


class OursCounters(msgspec.Struct, frozen=True):
    """Everything on this machine that is ours, read in the same tick as the host.

    `cpu_ms` grows and covers all leased work (also what has just ended, where a cgroup remembers it), the
    server and the wrappers. `outside` are the top cgroups without leased work, None where pressure can't be
    told apart that way. `io_ours_bytes` and `io_others_bytes` grow in one currency (bytes that processes read
    and dirtied), None when not read. `kernel_runnable` counts kernel threads that want a CPU, looked at only
    while there is leased work. `host_runnable` is the host's figure once more, after ours: what comes and
    goes between two looks is in the one as often as in the other.
    """

    at_ms: int
    cpu_ms: int
    memory_bytes: int
    runnable: int
    uses: tuple[WorkUse, ...] = ()
    unbound_millicores: int = 0
    outside: tuple[Stalls, ...] | None = None
    io_ours_bytes: int | None = None
    io_others_bytes: int | None = None
    pids: frozenset[int] = frozenset()
    kernel_runnable: int = 0
    host_runnable: int | None = None


class Containment(msgspec.Struct, frozen=True):
    """How leased work is held on this machine, found by trying; `doctor` says it.

    `kind` is `cgroup2`, `cgroup1` or `tree`. `cpu_weight`, `io_weight` and `memory` tell whether that control
    really works, `cpu_limit` and `memory_limit` whether work can be held to its charge; `notes` are sentences
    for people.
    """

    kind: str
    cpu_weight: bool
    io_weight: bool
    memory: bool
    freezer: bool
    pressure: bool
    cpu_limit: bool = False
    memory_limit: bool = False
    notes: tuple[str, ...] = ()
