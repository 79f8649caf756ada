"""The machine, its processes, and leased work on it.

All calls may block on the kernel: call them off the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from leasehold.model.lease import Binding, BrakeLevel, Limits, Process
from leasehold.model.snapshot import HostCounters, ProcessStats, Surroundings
from leasehold.model.work import Containment, OursCounters, WorkQuery


class HostUnreadable(Exception):
    """What cannot be missing could not be read. The sentence names the file and what was expected."""


class Host(Protocol):
    """One machine as a whole. Figures that the platform lacks are None or empty, never zero (SENSE-2)."""

    def counters(self, now_ms: int) -> HostCounters:
        """One raw reading, stamped `now_ms`.

        Well under a millisecond. Raises HostUnreadable without CPU or memory.
        """
        ...

    def surroundings(self) -> Surroundings:
        """What changes slowly: file systems, sensors, devices. May take tens of milliseconds."""
        ...

    def process(self) -> ProcessStats:
        """This process, with its CPU time as a counter."""
        ...

    def disk_of(self, path: str) -> str:
        """The disk that holds `path` (`vda`), or "" where that can't be told."""
        ...

    def preset(self) -> tuple[str, str]:
        """The preset that suits this machine and the sentence why (SENSE-13)."""
        ...


class Work(Protocol):
    """Leased work on this machine: contained where the machine allows, and measured (SENSE-6)."""

    def containment(self) -> Containment:
        """How work is held here. Found once, by trying a write, not by version."""
        ...

    def make(self, lease_id: str) -> str:
        """Make the low-weight place of a lease and return its name, "" where none can be made. Idempotent."""
        ...

    def limit(self, lease_id: str, wanted: Limits) -> Limits:
        """Hold all that is in the lease's place, and comes into it, to `wanted`; what holds now (LEASE-23).

        `UNLIMITED` lifts what limits there are; else what holds already is left, and a quota that is
        tighter (a throttle) too. A limit that the kernel does not take is missing in the answer. Idempotent.
        """
        ...

    def memory_kills(self, lease_id: str) -> int:
        """Processes in the place that the kernel has ended for want of memory: those of its limit.

        0 where it has no place, or can't be told.
        """
        ...

    def admit(self, lease_id: str, pids: Sequence[int]) -> Sequence[int]:
        """Put processes (and so what they start from now on) into the lease's place.

        Or lower their own weight.

        Returns those that could not be moved or lowered, for lack of permission or because they are gone.
        """
        ...

    def processes(self, lease_id: str) -> tuple[int, ...]:
        """The pids in the lease's place, sorted; empty without a place."""
        ...

    def measure(self, queries: Sequence[WorkQuery], now_ms: int, *, io: bool) -> OursCounters:
        """What is ours in this instant.

        With `io`, also reads the storage bytes of every process (about 15 µs each).
        """
        ...

    def remove(self, lease_id: str) -> bool:
        """Remove the lease's empty place. False while processes live in it. Idempotent."""
        ...

    def close(self) -> None:
        """Leave nothing behind that is empty. Places with processes in them stay, for the next start."""
        ...

    def places(self) -> tuple[str, ...]:
        """Lease ids that have a place, sorted, also from before a restart."""
        ...


class Brakes(Protocol):
    """Leased work that gives way to the people of this machine (LEASE-14).

    Each call takes many leases, and returns the ids of those for which it holds now; the others are to be
    tried again. All of them are idempotent. Wrappers are never touched, and neither is this process.
    """

    def freeze(self, queries: Sequence[WorkQuery]) -> frozenset[str]:
        """Have every process of the work stand still, also what it starts meanwhile. Takes under a second.

        Returns those of which nothing runs any more.
        """
        ...

    def thaw(self, queries: Sequence[WorkQuery]) -> frozenset[str]:
        """Let it go on where it stood. What others had stopped before stays stopped, where that is known."""
        ...

    def throttle(self, queries: Sequence[WorkQuery]) -> frozenset[str]:
        """A quota of a tenth of `cpu_millicores`, and the least weight. None where no quota can be set."""
        ...

    def loosen(self, queries: Sequence[WorkQuery]) -> frozenset[str]:
        """The quota of its limits, else none, and the low weight that all leased work has."""
        ...

    def held(self) -> Mapping[str, BrakeLevel]:
        """By lease id, the places that are frozen or throttled now, also by a server before this one.

        What was stopped by signals is not known here.
        """
        ...


class TargetUnknown(Exception):
    """There is nothing of that name. The sentence says where it was looked for."""


class TargetUnreachable(Exception):
    """It can't be told whether there is. The sentence says what was tried, and what to do."""


class Standing(Protocol):
    """Software that runs by itself and is made to give way (LEASE-26).

    Targets are `docker:NAME`, `unit:NAME`, `cgroup:/PATH`, `pid:N`. Never the cgroup that this process is in.
    """

    def find(self, target: str) -> Binding | None:
        """Where it runs now: its first process, its cgroup. None: it does not run.

        Takes up to some seconds. Raises TargetUnknown, TargetUnreachable.
        """
        ...

    def lower(self, lease_id: str, binding: Binding) -> Binding:
        """Give it the low weight that all leased work has; a bare process gets a place. Idempotent.

        Returns the binding with what it was like before, as far as that is not noted in it already.
        """
        ...

    def put_back(self, lease_id: str, binding: Binding) -> None:
        """As it was before. Idempotent; what has ended meanwhile is no error."""
        ...

    def stop(self, target: str) -> bool:
        """Have it stopped, in its own time; to be asked again. True once it does not run."""
        ...

    def start(self, target: str) -> bool:
        """Have it started again. True once it runs. Only what `stops` can be."""
        ...


class Processes(Protocol):
    """Processes by identity that outlives the reuse of a pid."""

    def identify(self, pid: int) -> Process | None:
        """The process that has `pid` now, None when there is none."""
        ...

    def alive(self, process: Process) -> bool:
        """Whether that very process still lives. A zombie does not."""
        ...

    def owner(self, pid: int) -> int | None:
        """The user id that `pid` runs as."""
        ...

    def is_descendant(self, pid: int, ancestor: int) -> bool:
        """Whether `pid` is `ancestor` or below it, now."""
        ...

    def tree(self, process: Process) -> tuple[int, ...]:
        """The live pids of a process and all below it, sorted."""
        ...

    def watch(self, process: Process, gone: Callable[[Process], None]) -> Callable[[], None]:
        """Call `gone` once, from the event loop, when the process has ended; at once when it already has.

        Returns a function that stops watching. On the event loop only. Without pidfd its death is noticed
        within 0.5 s.
        """
        ...
