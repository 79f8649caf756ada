"""The port `Brakes` on Linux: freezer and quota of cgroups where there are any, else signals (LEASE-14)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import structlog

from leasehold.adapters.hosts import freezer, signals
from leasehold.adapters.hosts.cgroups import Groups
from leasehold.model.lease import BrakeLevel
from leasehold.model.work import WorkQuery
from leasehold.ports.host import Standing, TargetUnknown, TargetUnreachable
from leasehold.runtime.lean import elapsed_s, pause

log = structlog.get_logger(__name__)

FREEZE_S = 0.8
"""How long all of it may take to stand still, before those that do are reported: it is a second in all."""
AGAIN_S = 0.005


class LinuxBrakes:
    """Leased work in its place is frozen there, with what of its tree is elsewhere moved to it first.

    Work without a place is stopped by SIGSTOP. A quota needs a place. Limits: a process that hangs in the
    kernel stands still only when it comes out; what has detached itself and cleared its environment is not
    found by signals.
    """

    def __init__(self, groups: Groups | None, standing: Standing | None = None) -> None:
        self._groups = groups
        self._standing = standing
        self._signals = signals.Signals()

    # -- standing still

    def freeze(self, queries: Sequence[WorkQuery]) -> frozenset[str]:
        end_s = elapsed_s() + FREEZE_S
        left = {query.lease_id: query for query in queries if not query.stops}
        going = [query for query in queries if query.stops and not self._asked(query.stops, stop=True)]
        while True:
            for lease_id, query in list(left.items()):
                if self._froze(query):
                    del left[lease_id]
            if not left or elapsed_s() >= end_s:
                late = left.keys() | {query.lease_id for query in going}
                return frozenset(query.lease_id for query in queries) - late
            pause(AGAIN_S)

    def _froze(self, query: WorkQuery) -> bool:
        """One pass. True where nothing of it runs any more."""
        place = freezer.freezer_of(self._groups, self._place(query))
        inside = self._pids(query) if place is not None else frozenset()
        if os.getpid() in inside:
            return False  # Whoever freezes itself thaws nobody.
        outside = [pid for pid in self._members(query) if pid not in inside]
        if place is None:
            return self._signals.stop(query.lease_id, outside)
        if not query.cgroup.startswith("/"):
            outside = [pid for pid in outside if not self._moved(query.cgroup, pid)]
        stands = place.freeze() or (not self._is_ours(query) and not inside)
        return (not outside or self._signals.stop(query.lease_id, outside)) and stands

    def thaw(self, queries: Sequence[WorkQuery]) -> frozenset[str]:
        return frozenset(query.lease_id for query in queries if self._thawed(query))

    def _asked(self, target: str, *, stop: bool) -> bool:
        try:
            assert self._standing is not None
            return self._standing.stop(target) if stop else self._standing.start(target)
        except (TargetUnknown, TargetUnreachable) as error:
            log.warning("not_stopped" if stop else "not_started", target=target, why=str(error))
            return False

    def _thawed(self, query: WorkQuery) -> bool:
        if query.stops:
            return self._asked(query.stops, stop=False)
        place = freezer.freezer_of(self._groups, self._place(query))
        goes_on = place is None or place.thaw()
        if place is None or self._signals.stopped(query.lease_id):
            goes_on = self._signals.go_on(query.lease_id, self._members(query)) and goes_on
        return goes_on

    # -- slower

    def throttle(self, queries: Sequence[WorkQuery]) -> frozenset[str]:
        groups = self._groups
        if groups is None:
            return frozenset()
        for query in queries:
            for pid in self._members(query) if self._is_ours(query) else ():
                self._moved(query.cgroup, pid)
        return frozenset(
            query.lease_id
            for query in queries
            if (self._is_ours(query) or query.before)  # Else nobody would know what it had been.
            and self._place(query)
            and freezer.throttle(groups, query.cgroup, query.cpu_millicores)
        )

    def loosen(self, queries: Sequence[WorkQuery]) -> frozenset[str]:
        groups = self._groups
        return frozenset(
            query.lease_id
            for query in queries
            if groups is None or not self._place(query) or freezer.loosen(groups, query)
        )

    # -- looking

    def held(self) -> Mapping[str, BrakeLevel]:
        groups, found = self._groups, {}
        for place in groups.leases() if groups is not None else ():
            at = freezer.freezer_of(groups, place)
            if at is not None and at.is_asked():
                found[place] = BrakeLevel.FROZEN
            elif groups is not None and freezer.is_throttled(groups, place):
                found[place] = BrakeLevel.THROTTLED
        return found

    def _place(self, query: WorkQuery) -> str:
        """Its place, also one of somebody else's making; "" where it has none that could be held."""
        return "" if self._groups is None else query.cgroup

    def _is_ours(self, query: WorkQuery) -> bool:
        """Whether it stands in a place made for it, so that what belongs to it may be moved there."""
        return bool(self._place(query)) and not query.cgroup.startswith("/")

    def _pids(self, query: WorkQuery) -> frozenset[int]:
        return frozenset(self._groups.pids(query.cgroup)) if self._groups is not None else frozenset()

    def _moved(self, place: str, pid: int) -> bool:
        return self._groups is not None and self._groups.move(place, pid)

    def _members(self, query: WorkQuery) -> list[int]:
        """Everything of the work. What has detached itself is looked for only where no place holds it."""
        found = signals.members(query.processes, "" if self._place(query) else query.lease_id)
        if self._place(query) and self._groups is not None and not self._groups.freezer:
            found.extend(
                sorted(self._pids(query) - set(found))
            )  # A place that can't freeze still tells who is in.
        return found
