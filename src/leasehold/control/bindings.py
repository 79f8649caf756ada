"""What leases are bound to on this node:

processes watched for their end, and their low-weight place (LEASE-22, SENSE-6).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import structlog

from leasehold.core import enforce
from leasehold.model.errors import Conflict, Invalid, NotPermitted
from leasehold.model.lease import UNLIMITED, Lease, Limits, Process
from leasehold.model.principal import Principal
from leasehold.ports.host import Processes, Work

log = structlog.get_logger(__name__)

Offload = Callable[..., Awaitable[Any]]
"""Run a blocking call off the event loop: `await offload(function, *arguments)`."""


class Admitted(msgspec.Struct, frozen=True):
    """What came of binding.

    The processes, the place they were put in ("" where none), how their weight was lowered, and what holds
    them there, with a sentence where that is less than was asked.
    """

    work: tuple[Process, ...]
    cgroup: str
    low_weight: str
    limits: Limits = UNLIMITED
    unlimited: str = ""


ROUNDS = 5
"""How often children are looked for that were started while their parent was moved."""


class Bindings:
    """Follows the processes of live leases.

    `ended` is called with the lease's id whenever one of them has ended.
    """

    def __init__(
        self, processes: Processes, work: Work, offload: Offload, ended: Callable[[str], None]
    ) -> None:
        self._processes = processes
        self._work = work
        self._offload = offload
        self._ended = ended
        self._watched: dict[str, dict[Process, Callable[[], None]]] = {}

    def caller_of(self, principal: Principal) -> Process | None:
        """The process behind a call on the Unix socket; None over TCP, where it can't be known."""
        return None if principal.pid is None else self._processes.identify(principal.pid)

    def check(self, principal: Principal, pids: Sequence[int]) -> tuple[Process, ...]:
        """The processes that a caller may bind.

        Its own user's, or any for an administrator. Raises NotPermitted, Invalid.
        """
        found = []
        for pid in pids:
            process = self._processes.identify(pid)
            if process is None:
                raise Conflict(f"bind.pids: there is no process {pid} on this node (any more)", pid=pid)
            owner = self._processes.owner(pid)
            if not principal.may("lease:bind-any") and (principal.uid is None or owner != principal.uid):
                raise NotPermitted(
                    f"bind.pids: process {pid} is not {principal.name}'s; bind your own, by the Unix socket",
                    pid=pid,
                )
            found.append(process)
        return tuple(found)

    def check_cgroup(self, principal: Principal, cgroup: str | None) -> None:
        """Binding a cgroup by name needs an administrator: what is in it may be anybody's."""
        if cgroup is None:
            return
        if not principal.may("lease:bind-any"):
            raise NotPermitted("bind.cgroup: only an administrator may bind a cgroup; bind pids instead")
        if ".." in cgroup.split("/") or not cgroup.startswith("/"):
            raise Invalid(
                "bind.cgroup: expected an absolute path within the hierarchy",
                field="$.bind.cgroup",
                expected="/a/path",
            )

    async def admit(self, lease: Lease, work: tuple[Process, ...]) -> Admitted:
        """Put processes into the lease's own place at low weight, as far as this machine allows.

        Where they are to be limited, the limits hold there before, and all that they have started comes too.
        """
        admitted: Admitted = await self._offload(self._admit, lease.lease_id, work, lease.ask.limits)
        return admitted

    def _admit(self, lease_id: str, work: tuple[Process, ...], limits: Limits | None) -> Admitted:
        pids = [process.pid for process in work]
        held, outside = UNLIMITED, pids
        try:
            place = self._work.make(lease_id)
            if place and limits is not None:
                held = self._work.limit(lease_id, limits)
            left_out = self._work.admit(lease_id, pids)
            if place and limits is not None:
                outside = self._moved_all(lease_id, work)
        except OSError as error:
            log.warning("not_contained", lease_id=lease_id, why=str(error))
            place, left_out = "", pids
        short = "" if limits is None or not pids else enforce.short(limits, held, place, outside)
        if len(left_out) == len(pids):
            return Admitted(work, "", "", unlimited=short)
        return Admitted(work, place, "cgroup" if place else "nice", held, short)

    def _moved_all(self, lease_id: str, work: tuple[Process, ...]) -> list[int]:
        """Move what these processes have started so far too; returns who is still outside."""
        outside: list[int] = []
        for _ in range(ROUNDS):
            inside = set(self._work.processes(lease_id))
            below = {pid for process in work for pid in self._processes.tree(process)}
            outside = sorted(pid for pid in below - inside if self._processes.identify(pid) is not None)
            if not outside:
                break
            self._work.admit(lease_id, outside)
        return outside

    def memory_kills(self, lease: Lease) -> int:
        """Processes of a lease with a memory limit that the kernel has ended for it."""
        return self._work.memory_kills(lease.lease_id) if lease.binding.limits.memory_bytes else 0

    async def hold(self, leases: Sequence[Lease]) -> None:
        """See that what limits leases still does: the kernel keeps that over our restarts (LEASE-23)."""
        for lease in leases:
            if lease.ask.limits is None or lease.binding.limits == UNLIMITED:
                continue
            held: Limits = await self._offload(self._work.limit, lease.lease_id, lease.binding.limits)
            if held != lease.binding.limits:
                log.warning("limits_do_not_hold", lease_id=lease.lease_id)

    async def let_go(self, lease: Lease) -> None:
        """A limited lease has ended: what outlives it is not limited any more."""
        if lease.binding.limits != UNLIMITED:
            await self._offload(self._freed, lease.lease_id)

    def _freed(self, place: str) -> None:
        if not self._work.remove(place):
            self._work.limit(place, UNLIMITED)

    def follow(self, lease: Lease) -> None:
        """Watch every process that the lease is bound to and that is not watched yet."""
        binding = lease.binding
        wanted = binding.work if binding.caller is None else (binding.caller, *binding.work)
        if not wanted:
            return
        watched = self._watched.setdefault(lease.lease_id, {})
        for process in wanted:
            if process not in watched:
                self._watch(lease.lease_id, watched, process)

    def _watch(self, lease_id: str, watched: dict[Process, Callable[[], None]], process: Process) -> None:
        watched[process] = lambda: None
        watched[process] = self._processes.watch(process, lambda _gone: self._ended(lease_id))

    def forget(self, lease_id: str) -> None:
        """The lease has ended: stop watching. Its place is removed by `sweep`, once it is empty."""
        for stop in self._watched.pop(lease_id, {}).values():
            stop()

    def any_lives(self, work: Sequence[Process]) -> bool:
        """Whether one of these very processes lives."""
        return any(self._processes.alive(process) for process in work)

    def caller_lives(self, lease: Lease) -> bool:
        return lease.binding.caller is not None and self._processes.alive(lease.binding.caller)

    def work_lives(self, lease: Lease) -> bool:
        """Whether any bound process lives, or any that one of them started in the lease's place.

        Where the ones that were named have ended and others live on in the place, one of those is watched
        instead.
        """
        if self.any_lives(lease.binding.work):
            return True
        if not lease.binding.cgroup:
            return False
        for pid in self._work.processes(lease.lease_id):
            process = self._processes.identify(pid)
            if process is not None and self._processes.alive(process):
                watched = self._watched.setdefault(lease.lease_id, {})
                if process not in watched:
                    self._watch(lease.lease_id, watched, process)
                return True
        return False

    async def sweep(self, live: Callable[[str], bool]) -> None:
        """Remove the places of leases that have ended, also those of an earlier run; watch no more.

        Who still lives in one of them is limited no more.
        """
        for lease_id in [watched for watched in self._watched if not live(watched)]:
            self.forget(lease_id)
        for lease_id in await self._offload(self._work.places):
            if not live(lease_id):
                await self._offload(self._freed, lease_id)

    def close(self) -> None:
        for lease_id in list(self._watched):
            self.forget(lease_id)
