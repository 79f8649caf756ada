"""The service of leases, as the edges call it: ask, keep, report, end, look."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from leasehold.control import answers
from leasehold.control.backpressure import Backpressure, Lane
from leasehold.control.bindings import Bindings
from leasehold.control.counters import Counters
from leasehold.control.ledger import Ledger
from leasehold.control.live import LiveLeases
from leasehold.control.request import RequestService
from leasehold.core import lease as life
from leasehold.core import overtime
from leasehold.core import waiter as waiting
from leasehold.core.state import Outcome, Stamp, State
from leasehold.model.charge import Totals
from leasehold.model.errors import Conflict, LeaseholdError, NotFound, StoreUnavailable
from leasehold.model.lease import UNLIMITED, Ask, Lease, LeaseState
from leasehold.model.principal import Principal
from leasehold.model.settings import PolicySettings
from leasehold.ports.archive import Archive
from leasehold.wire import lease as wire


class LeaseService(LiveLeases):
    """What callers do with leases. One instance per server.

    Every method takes the authenticated caller first and raises errors of `model.errors`. Bounds: held calls
    are bounded by the line (`waiters_max`), commands in flight by `Backpressure`, remembered calls by
    `Calls`.
    """

    def __init__(
        self,
        ledger: Ledger,
        settings: Callable[[], PolicySettings],
        bindings: Bindings,
        archive: Archive,
        counters: Counters,
        *,
        totals: Totals,
        disk_of: Callable[[str], str],
    ) -> None:
        super().__init__(ledger, settings, bindings, archive, counters, totals)
        self.backpressure = Backpressure(settings)
        self._requests = RequestService(self, disk_of)
        self.calls = self._requests.calls
        self.ask_for: Callable[[Principal, wire.HeavyLeaseRequest], Ask] = self._requests.ask_for
        self.request = self._requests.request

    def admit(self, principal: Principal, body_bytes: int, lane: Lane) -> Callable[[], None]:
        """Back-pressure, before a body is parsed (OPS-31).

        Returns what to call when the answer has gone. Raises Overloaded.
        """
        return self.backpressure.admit(principal, body_bytes, lane)

    # -- keeping

    async def heartbeat(
        self, principal: Principal, lease_id: str, body: wire.Heartbeat
    ) -> wire.HeartbeatAnswer:
        """Renew; the first one makes an offer ACTIVE.

        `bind` adds processes and puts them at low weight (LEASE-10, 22).
        """
        lease = await self._own(principal, lease_id, body.fencing_token)
        work: tuple[object, ...] = ()
        cgroup = low_weight = unlimited = ""
        limits = UNLIMITED
        if body.bind is not None:
            self.bindings.check_cgroup(principal, body.bind.cgroup)
            found = self.bindings.check(principal, body.bind.pids)
            admitted = await self.bindings.admit(lease, found)
            work, cgroup, low_weight = admitted.work, body.bind.cgroup or admitted.cgroup, admitted.low_weight
            limits, unlimited = admitted.limits, admitted.unlimited
            await self._own(principal, lease_id, body.fencing_token)
        renewed = await self._renew(
            principal,
            lease_id,
            body.fencing_token,
            work=work,
            cgroup=cgroup,
            limits=limits,
            unlimited=unlimited,
        )
        if work:
            self.bindings.follow(renewed)
        live = self.ledger.state.liveness.get(lease_id)
        caller = renewed.binding.caller
        if live is not None and caller is not None and principal.pid == caller.pid:
            live.by_caller = True
        if live is not None and live.told_ms is None and renewed.state is LeaseState.REVOKING:
            live.told_ms = self.ledger.clock.now_ms()
        return answers.heartbeat(renewed, self.ledger, self.settings(), low_weight)

    async def _renew(self, principal: Principal, lease_id: str, token: int, **bound: object) -> Lease:
        def decide(state: State, stamp: Stamp) -> Outcome:
            lease = life.own(state, lease_id, principal.name, token=token)
            outcome = life.renew(lease, stamp, self.settings(), **bound)  # type: ignore[arg-type]
            if (
                self.ledger.read_only and not is_bound
            ):  # Answered all the same (OPS-17); what it would write waits for the next one.
                outcome.changes.clear()
                outcome.events.clear()
                outcome.answer = lease
            return outcome

        is_bound = bool(bound.get("work") or bound.get("cgroup"))
        renewed: Lease
        renewed, durable = self.ledger.submit(decide)
        if is_bound or renewed.state is not LeaseState.ACTIVE:
            if durable is not None:
                await durable
            renewed = await self.as_durable(renewed)
        # That an offer was taken up is written, and not waited for: like any renewal it is volatile, and a
        # recovery that finds the offer gives it a full time to live (LEASE-10).
        if not renewed.is_live:
            raise life.ended(renewed)
        return renewed

    async def heartbeat_many(
        self, principal: Principal, body: wire.BulkHeartbeat
    ) -> wire.BulkHeartbeatAnswer:
        """Renew many; each has its own outcome, in the order asked."""
        items = []
        for lease_id, token in body.ids.items():
            try:
                answer = await self.heartbeat(principal, lease_id, wire.Heartbeat(fencing_token=token))
                items.append(wire.BulkItem(lease_id, answer))
            except LeaseholdError as error:
                items.append(wire.BulkItem(lease_id, code=error.code, detail=error.message))
        return wire.BulkHeartbeatAnswer(items)

    async def report(self, principal: Principal, lease_id: str, body: wire.Report) -> wire.LeaseOut:
        """Take in progress and figures: volatile, and no renewal (LEASE-11). It makes an offer ACTIVE."""
        lease = await self._own(principal, lease_id, body.fencing_token)
        if lease.state is LeaseState.OFFERED:
            lease = await self._renew(principal, lease_id, body.fencing_token)
        if lease.state is not LeaseState.ACTIVE:
            lease = await self.as_durable(lease)
        live = self.ledger.state.liveness.get(lease_id)
        if live is not None:
            answers.take_report(live, body)
        return self._view(lease, principal)

    # -- ending

    async def release(self, principal: Principal, lease_id: str, body: wire.Release) -> wire.LeaseOut:
        """The work is done. Idempotent (LEASE-12); remembered while the store refuses writes (OPS-17)."""
        lease = await self.held(lease_id)
        if lease is None:
            lease = await self.find(lease_id)
            life.check_holder(lease, principal.name, any_holder=False)
            if lease.token != body.fencing_token:
                raise life.stale(lease)
            if lease.state is LeaseState.RELEASED:
                return self._view(lease, principal)
            raise life.ended(lease)
        usage = answers.usage_of(self.ledger.state.liveness.get(lease_id), body.metrics)
        kills = self.bindings.memory_kills(lease)
        if kills:
            usage = msgspec.structs.replace(usage, memory_kills=kills)

        def decide(state: State, stamp: Stamp) -> Outcome:
            held = life.own(state, lease_id, principal.name, token=body.fencing_token)
            return life.release(state, held, stamp, self.settings(), usage, body.outcome or "")

        try:
            ended, durable = self.ledger.submit(decide)
            self.after_end(lease_id)
            assert durable is not None
            await durable
        except StoreUnavailable as error:
            life.own(self.ledger.state, lease_id, principal.name, token=body.fencing_token)
            self.ledger.remember(f"release {lease_id}", decide)
            raise StoreUnavailable(
                f"{error.message}; this release is remembered and will be committed first",
                retry_after_s=2,
                remembered=True,
            ) from error
        self.bindings.forget(lease_id)
        return self._view(ended, principal)

    async def revoke(self, principal: Principal, lease_id: str, body: wire.Revoke) -> wire.LeaseOut:
        """Take a lease back.

        With a grace period, its charge staying (LEASE-13). Also settles a record that can't be read.
        """
        state = self.ledger.state
        if lease_id in state.unsettled and principal.may("lease:revoke"):
            await self.ledger.execute(partial(life.settle, lease_id))
            self.line.dispatch()
            raise NotFound(
                f"{lease_id} could not be read; its record has been set aside and nothing is charged for it"
            )
        lease = await self.held(lease_id) or await self.find(lease_id)
        life.own(
            self.ledger.state,
            lease.lease_id,
            principal.name,
            token=None,
            any_holder=principal.may("lease:revoke"),
        )
        limits = self.settings().lease
        grace_ms = (
            limits.grace_ms if body.grace_sec is None else min(body.grace_sec * 1000, limits.grace_max_ms)
        )

        def decide(state: State, stamp: Stamp) -> Outcome:
            held = life.own(state, lease_id, principal.name, token=None, any_holder=True)
            return life.revoke(
                state, held, stamp, self.settings(), by=principal.name, note=body.note, grace_ms=grace_ms
            )

        while True:
            revoked = await self.as_durable(await self.ledger.execute(decide))
            if revoked.state not in (LeaseState.OFFERED, LeaseState.ACTIVE):
                return self._view(revoked, principal)
            # It was being revoked by somebody else, and that has been taken back: it is still to be done.

    async def overtime(
        self, principal: Principal, lease_id: str, body: wire.Overtime
    ) -> wire.HeavyLeaseResponse:
        """The work of a lost lease goes on: it is charged again, whether there is room or not (LEASE-28).

        Idempotent. Raises NotFound, NotPermitted, StaleToken, LeaseEnded where the work was to end, Conflict
        where the lease is not lost.
        """
        lost = await self.held(lease_id) or await self.find(lease_id)
        life.check_holder(lost, principal.name, any_holder=False)
        if lost.token != body.fencing_token:
            raise life.stale(lost)
        binding = self._requests.binding(principal, body.bind)

        def decide(state: State, stamp: Stamp) -> Outcome:
            return overtime.grant(state, lost, stamp, self.settings(), binding)

        granted, durable = self.ledger.submit(decide)
        if durable is not None:
            await durable
            self.started(granted)
        granted = await self.as_durable(await self.contained(granted))
        return answers.approved(granted, self.ledger, self.settings())

    async def abandon(self, principal: Principal, ticket: str) -> None:
        """Give up a place in line. Idempotent."""
        waiter = self.ledger.state.waiters.get(ticket)
        if waiter is None:
            return
        if waiter.ask.principal != principal.name and not principal.may("lease:revoke"):
            raise Conflict(f"{ticket} belongs to somebody else")

        def decide(state: State, stamp: Stamp) -> Outcome:
            outcome = Outcome()
            if ticket in state.waiters:
                waiting.leave(waiter, outcome)
            return outcome

        await self.ledger.execute(decide)
        self.line.dispatch()

    # -- looking

    async def get(self, principal: Principal, lease_id: str) -> wire.LeaseOut:
        """A lease as it is now, live or ended (LEASE-12: 404 unknown)."""
        lease = await self.as_durable(await self.held(lease_id) or await self.find(lease_id))
        return self._view(lease, principal)

    async def _own(self, principal: Principal, lease_id: str, token: int) -> Lease:
        if await self.held(lease_id) is None:
            ended = await self.find(lease_id)
            life.check_holder(ended, principal.name, any_holder=False)
            raise life.ended(ended)
        return life.own(self.ledger.state, lease_id, principal.name, token=token)

    def _view(self, lease: Lease, principal: Principal) -> wire.LeaseOut:
        return answers.lease(lease, self.ledger, with_token=lease.ask.principal == principal.name)
