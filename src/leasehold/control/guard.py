"""The service of guards: standing leases for software that runs by itself (LEASE-26).

Where that software runs stands in its lease. It is looked for again when its first process ends, while it
does not run, and after a start; its weight is a level effect, put on and put back from the records.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import structlog

from leasehold.control.bindings import Offload
from leasehold.control.lease import LeaseService
from leasehold.control.views import rfc3339
from leasehold.core import capacity
from leasehold.core import guard as guards
from leasehold.core import lease as life
from leasehold.core.state import Outcome, Stamp, State
from leasehold.model.charge import NOTHING
from leasehold.model.errors import Conflict, Invalid, LeaseholdError, NotFound, NotPermitted, Unavailable
from leasehold.model.event import Event
from leasehold.model.lease import UNBOUND, Ask, Binding, Guard, Lease, OnBusy
from leasehold.model.principal import Principal
from leasehold.ports.host import Standing, TargetUnknown, TargetUnreachable
from leasehold.wire import guard as wire

log = structlog.get_logger(__name__)

LOOK_MS = 2_000
"""How often what does not run, or has no process that could be watched, is looked for."""

ENDED_LOOKED_AT = 200


class GuardService:
    """Guards targets, and follows them over their restarts. One instance per server.

    `offload` is a thread of its own: engines of containers may take seconds.
    """

    def __init__(self, leases: LeaseService, standing: Standing, offload: Offload) -> None:
        self._leases = leases
        self._ledger = leases.ledger
        self._standing = standing
        self._offload = offload
        self._problems: dict[str, str] = {}
        self._lowered: dict[str, Binding] = {}
        self._look = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    # -- what people say

    async def guard(self, principal: Principal, body: wire.GuardIn) -> wire.GuardOut:
        """Guard a target from now on; the same one again changes how it gives way.

        Raises Invalid, NotPermitted, NotFound where there is no such thing, Unavailable where that can't be
        told.
        """
        target = guards.checked(body.target)
        self._check(principal, target, body)
        found = await self._found(target)
        if target.startswith("pid:"):  # Whoever may not guard everything may guard processes of their own.
            self._leases.bindings.check(principal, [int(target.removeprefix("pid:"))])
        ask = Ask(
            holder=target,
            job_type="guard",
            charge=NOTHING,
            node=self._ledger.state.node_id,
            principal=principal.name,
            quiet_gate=False,
            on_busy=OnBusy(body.on_busy),
            label=target,
            guard=Guard(target, body.cost_units or 0, body.note),
        )
        self._may_change(principal, target)
        known = guards.of_target(self._ledger.state, target)
        if known is not None:
            await self._leave(known, found)

        def decide(state: State, stamp: Stamp) -> Outcome:
            return guards.stand(state, stamp, self._leases.settings(), ask, found or UNBOUND)

        lease: Lease = await self._ledger.execute(decide)
        self._problems.pop(lease.lease_id, None)
        await self._settle(lease.lease_id)
        return await self._ledger.read(
            lambda state: self._shown(state, state.leases.get(lease.lease_id, lease))
        )

    async def guards(self) -> wire.Guards:
        """All, oldest first."""
        return await self._ledger.read(
            lambda state: wire.Guards(
                [self._shown(state, each) for each in guards.guards(state.leases.values())]
            )
        )

    async def remove(self, principal: Principal, lease_id: str) -> None:
        """Guard it no more: it goes on as before. Raises NotFound, NotPermitted."""
        lease = self._ledger.state.leases.get(lease_id)
        if lease is None or lease.ask.guard is None:
            raise NotFound(f"no guard {lease_id} is known; see `leasehold guard`", lease_id=lease_id)
        self._may_change(principal, lease.ask.guard.target)

        def decide(state: State, stamp: Stamp) -> Outcome:
            known = state.leases.get(lease_id)
            if known is None:
                return Outcome()
            note = f"removed by {principal.name}"
            return life.release(state, known, stamp, self._leases.settings(), known.usage, note)

        await self._ledger.execute(decide)
        await self._give_back(lease_id)

    def _check(self, principal: Principal, target: str, body: wire.GuardIn) -> None:
        if body.on_busy == "stop" and not target.startswith(guards.STARTED_AGAIN):
            raise Invalid(
                f"on_busy: nothing would start {target} again after it was stopped; let it pause",
                field="$.on_busy",
                expected="keep, throttle or pause",
            )
        if not target.startswith("pid:") and not principal.may("guard:manage"):
            raise NotPermitted(
                f"{principal.name} may guard its own processes only, as pid:N; "
                f"{target} takes the right guard:manage"
            )

    def _may_change(self, principal: Principal, target: str) -> None:
        known = guards.of_target(self._ledger.state, target)
        if known is not None and known.ask.principal != principal.name and not principal.may("guard:manage"):
            raise NotPermitted(f"{target} is guarded by {known.ask.principal}, not by {principal.name}")

    async def _found(self, target: str) -> Binding | None:
        try:
            found: Binding | None = await self._offload(self._standing.find, target)
        except TargetUnknown as error:
            raise NotFound(f"{error}; {target} is not guarded", target=target) from error
        except TargetUnreachable as error:
            raise Unavailable(f"{error}", target=target) from error
        if found is not None:
            self._check_free(target, found)
        return found

    def _check_free(self, target: str, found: Binding) -> None:
        """One thing is held by one lease: two brakes on one cgroup would let each other's go."""
        for lease in self._ledger.state.leases.values():
            bound = lease.binding
            same = (bound.cgroup and bound.cgroup == found.cgroup) or set(bound.work) & set(found.work)
            if same and lease.is_live and lease.ask.holder != target:
                raise Conflict(f"{target} is held already, as {lease.ask.holder} under {lease.lease_id}")

    # -- looking

    def _shown(self, state: State, lease: Lease) -> wire.GuardOut:
        guard, view = lease.ask.guard, state.view
        assert guard is not None
        live = state.liveness.get(lease.lease_id)
        used = view.guarded.get(lease.lease_id, 0) if view is not None else 0
        units = capacity.units_used(used, view.totals) if view is not None else 0
        return wire.GuardOut(
            target=guard.target,
            lease_id=lease.lease_id,
            on_busy=str(lease.ask.on_busy),
            running=lease.binding != UNBOUND,
            guarded_at=rfc3339(lease.granted_wall_ms),
            by=lease.ask.principal,
            cost_units=guard.cost_units or None,
            used_units=units,
            used_millicores=used,
            memory_bytes=live.memory_bytes if live is not None and lease.binding != UNBOUND else 0,
            pids=[process.pid for process in lease.binding.work],
            cgroup=lease.binding.cgroup,
            held_back=lease.brake.why if lease.brake is not None else "",
            note=guard.note,
            problem=self._problems.get(lease.lease_id, ""),
            complaint=guards.complaint(lease, units),
        )

    # -- following

    def start(self) -> None:
        """Follow what is guarded, from now on. Once recovery is done."""
        self._look.set()
        self._tasks = [
            asyncio.create_task(self._follow(), name="guards"),
            asyncio.create_task(self._remind(), name="guards-again"),
        ]

    async def stop(self) -> None:
        """Nobody watches any more: every weight is as it was before."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for lease_id, binding in list(self._lowered.items()):
            if binding.cgroup.startswith("/"):  # A bare process keeps its place for the next start.
                await self._offload(self._standing.put_back, lease_id, binding)

    def process_ended(self, lease_id: str) -> None:
        """A process that a lease is bound to has ended."""
        lease = self._ledger.state.leases.get(lease_id)
        if lease is not None and lease.ask.guard is not None:
            self._look.set()

    def committed(self, events: Iterable[Event]) -> None:
        """After each commit: what is guarded no more goes on as it was before."""
        if self._lowered and any(event.subject in self._lowered for event in events):
            self._look.set()

    async def _follow(self) -> None:
        try:
            await self._after_a_start()
        except Exception:  # What is guarded now is followed all the same.
            log.exception("guards")
        while True:
            await self._look.wait()
            self._look.clear()
            try:
                await self._once()
            except LeaseholdError as error:
                log.info("put_off", what="guards", why=str(error))
            except Exception:  # The next round tries again: nobody may be left at low weight for ever.
                log.exception("guards")

    async def _remind(self) -> None:
        while True:
            await self._ledger.clock.sleep(LOOK_MS)
            live = guards.guards(self._ledger.state.leases.values())
            if self._lowered.keys() - {lease.lease_id for lease in live} or any(
                not self._is_seen_running(lease) for lease in live
            ):
                self._look.set()

    async def _once(self) -> None:
        live = {lease.lease_id for lease in guards.guards(self._ledger.state.leases.values())}
        for lease_id in [each for each in self._lowered if each not in live]:
            await self._give_back(lease_id)
        for lease_id in sorted(live):
            lease = self._ledger.state.leases.get(lease_id)
            if lease is not None and not self._is_seen_running(lease):
                await self._look_for(lease)

    def _is_seen_running(self, lease: Lease) -> bool:
        return (
            bool(lease.binding.work)
            and lease.lease_id in self._lowered
            and self._leases.bindings.any_lives(lease.binding.work)
        )

    async def _look_for(self, lease: Lease) -> None:
        assert lease.ask.guard is not None
        target, lease_id = lease.ask.guard.target, lease.lease_id
        try:
            found: Binding | None = await self._offload(self._standing.find, target)
        except TargetUnknown as error:
            found = None
            if target.startswith("pid:"):
                await self._end(lease_id, "its process ended")
                return
            self._tell(lease_id, target, str(error))
        except TargetUnreachable as error:
            self._tell(lease_id, target, str(error))
            return
        else:
            self._problems.pop(lease_id, None)
        if target.startswith("pid:") and found is not None and found.work != lease.binding.work:
            await self._end(lease_id, "its process ended")  # The pid is somebody else's by now.
            return
        if target.startswith("pid:") and found is not None:
            found = lease.binding
        await self._leave(lease, found)
        await self._ledger.execute(lambda state, stamp: guards.runs_at(state, stamp, lease_id, found))
        await self._settle(lease_id)

    async def _leave(self, lease: Lease, found: Binding | None) -> None:
        """Put back where it ran, unless it runs there still: how that was before is known only until now."""
        was = lease.binding
        if was.before and (found is None or (found.work, found.cgroup) != (was.work, was.cgroup)):
            self._lowered.pop(lease.lease_id, None)
            await self._offload(self._standing.put_back, lease.lease_id, was)

    def _tell(self, lease_id: str, target: str, why: str) -> None:
        if self._problems.get(lease_id) != why:
            log.warning("guarded_not_found", target=target, why=why)
        self._problems[lease_id] = why

    async def _settle(self, lease_id: str) -> None:
        """Give it the low weight that all leased work has, note how it was before, and watch it."""
        lease = self._ledger.state.leases.get(lease_id)
        if lease is None or not lease.is_live or lease.binding == UNBOUND:
            return
        if self._lowered.get(lease_id) == lease.binding and lease.binding.before:
            return
        lowered: Binding = await self._offload(self._standing.lower, lease_id, lease.binding)
        await self._ledger.execute(lambda state, stamp: guards.runs_at(state, stamp, lease_id, lowered))
        self._lowered[lease_id] = lowered
        now = self._ledger.state.leases.get(lease_id)
        if now is not None and now.is_live:
            self._leases.bindings.forget(lease_id)
            self._leases.bindings.follow(now)

    async def _end(self, lease_id: str, why: str) -> None:
        def decide(state: State, stamp: Stamp) -> Outcome:
            known = state.leases.get(lease_id)
            if known is None or not known.is_live:
                return Outcome()
            return life.release(state, known, stamp, self._leases.settings(), known.usage, why)

        await self._ledger.execute(decide)
        await self._give_back(lease_id)

    async def _give_back(self, lease_id: str) -> None:
        self._leases.bindings.forget(lease_id)
        self._problems.pop(lease_id, None)
        binding = self._lowered.pop(lease_id, None)
        if binding is not None:
            await self._offload(self._standing.put_back, lease_id, binding)

    async def _after_a_start(self) -> None:
        """A server before this one may have died between an end and what follows from it."""
        for lease in await self._leases.ended_lately(ENDED_LOOKED_AT):
            if lease.ask.guard is not None and lease.binding.before:
                held = guards.of_target(self._ledger.state, lease.ask.guard.target)
                if held is None:
                    await self._offload(self._standing.put_back, lease.lease_id, lease.binding)
