"""What leases are bound to on this node:

processes watched for their end, and their low-weight place (LEASE-22, SENSE-6).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import structlog

from leasehold.model.errors import Conflict, Invalid, NotPermitted
from leasehold.model.lease import Lease, Process
from leasehold.model.principal import Principal
from leasehold.ports.host import Processes, Work

log = structlog.get_logger(__name__)

Offload = Callable[..., Awaitable[Any]]
"""Run a blocking call off the event loop: `await offload(function, *arguments)`."""


class Admitted(msgspec.Struct, frozen=True):
    """What came of binding.

    The processes, the place they were put in ("" where none), and how their weight was lowered.
    """

    work: tuple[Process, ...]
    cgroup: str
    low_weight: str


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
        """Put processes into the lease's own place at low weight, as far as this machine allows."""
        pids = [process.pid for process in work]
        admitted: Admitted = await self._offload(self._admit, lease.lease_id, work, pids)
        return admitted

    def _admit(self, lease_id: str, work: tuple[Process, ...], pids: list[int]) -> Admitted:
        try:
            place = self._work.make(lease_id)
            left_out = self._work.admit(lease_id, pids)
        except OSError as error:
            log.warning("not_contained", lease_id=lease_id, why=str(error))
            return Admitted(work, "", "")
        if len(left_out) == len(pids):
            return Admitted(work, "", "")
        return Admitted(work, place, "cgroup" if place else "nice")

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
        """Remove the empty places of leases that have ended, also those of an earlier run; watch no more."""
        for lease_id in [watched for watched in self._watched if not live(watched)]:
            self.forget(lease_id)
        for lease_id in await self._offload(self._work.places):
            if not live(lease_id):
                await self._offload(self._work.remove, lease_id)

    def close(self) -> None:
        for lease_id in list(self._watched):
            self.forget(lease_id)
