"""Asking for a lease: granted at once, or held in line, or told no with a ticket (LEASE-4, 7, 8)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from leasehold.control import answers, asks
from leasehold.control.calls import Calls
from leasehold.control.limiter import Tier
from leasehold.control.live import LiveLeases
from leasehold.control.lock import sized
from leasehold.core import admission
from leasehold.core import lease as life
from leasehold.core import waiter as waiting
from leasehold.core.state import CALLS, WAITERS, Call, Outcome, Stamp, State
from leasehold.model.errors import Conflict
from leasehold.model.lease import UNBOUND, Ask, Binding, Lease
from leasehold.model.line import Waiter
from leasehold.model.principal import Principal
from leasehold.model.settings import PolicySettings
from leasehold.wire import lease as wire


class RequestService:
    """May this run here, now? One instance per server, on the live leases that it adds to."""

    def __init__(self, leases: LiveLeases, disk_of: Callable[[str], str]) -> None:
        self._leases = leases
        self.ledger = leases.ledger
        self.settings = leases.settings
        self.bindings = leases.bindings
        self.counters = leases.counters
        self.line = leases.line
        self.calls = Calls(leases.settings)
        self.limiter = leases.limiter
        self._disk_of = disk_of

    def ask_for(self, principal: Principal, body: wire.HeavyLeaseRequest) -> Ask:
        """The request as it will be judged (LEASE-1, 24)."""
        return asks.build(
            principal,
            body,
            self.ledger.state,
            self.settings(),
            totals=self._leases.totals,
            disk_of=self._disk_of,
            binding=self.binding(principal, body.bind),
        )

    def binding(self, principal: Principal, bind: wire.Bind | None) -> Binding:
        """What a request is bound to from its start.

        What it names, else the process behind the Unix socket (LEASE-7).
        """
        if bind is not None and (bind.pids or bind.cgroup):
            self.bindings.check_cgroup(principal, bind.cgroup)
            return Binding(work=self.bindings.check(principal, bind.pids), cgroup=bind.cgroup or "")
        caller = self.bindings.caller_of(principal)
        return UNBOUND if caller is None else Binding(caller=caller)

    async def request(
        self,
        principal: Principal,
        body: wire.HeavyLeaseRequest,
        *,
        idempotency_key: str | None = None,
        body_hash: bytes = b"",
    ) -> wire.HeavyLeaseResponse:
        """May this run here, now? Waits up to `wait_sec` where the answer would be no (LEASE-7, LEASE-8)."""
        now_ms = self.ledger.clock.now_ms()
        call = self.calls.call_of(principal, idempotency_key, body_hash, now_ms)
        if call is not None:
            await self.ledger.record_settled(CALLS, call.key)
            known = self.calls.known(self.ledger.state, call)
            if known is not None:
                return await self._as_it_is(known)
        ask = self.ask_for(principal, body)
        limited = self.limiter.refused(principal, Tier.REQUEST, now_ms)
        if limited is not None:
            self._count_denial(ask, limited.code, limited.message, limited.retry_after_s or 1)
            raise limited
        if call is None:
            return await self._request(principal, body, ask, None, body.ticket)
        with self.calls.in_flight(call) as flight:
            return await self._request(principal, body, ask, call, body.ticket or flight.ticket)

    async def _request(
        self,
        principal: Principal,
        body: wire.HeavyLeaseRequest,
        ask: Ask,
        call: Call | None,
        ticket: str | None,
    ) -> wire.HeavyLeaseResponse:
        decided, durable = self.ledger.submit(partial(self._decide, ask, body, call, ticket))
        if isinstance(decided, Lease):
            assert durable is not None
            await durable
            self._leases.started(decided)
            decided = await self._leases.contained(decided)
            return answers.approved(decided, self.ledger, self.settings())
        if isinstance(decided, list):
            self._count_denial(ask, str(decided[0].code), decided[0].sentence, 0)
            return answers.denied(
                decided, None, self.ledger.state, self.settings(), self.ledger.clock.now_ms(), 0
            )
        return await self._wait(principal, body, decided, durable, call)

    def _decide(
        self,
        ask: Ask,
        body: wire.HeavyLeaseRequest,
        call: Call | None,
        ticket: str | None,
        state: State,
        stamp: Stamp,
    ) -> Outcome:
        """Grant at once, refuse for ever, or stand in line.

        The answer: a lease, reasons without a place, or a waiter.
        """
        settings = self.settings()
        outcome = Outcome()
        sized(state, body.slots, ask.principal, stamp, settings, outcome)
        waiter = state.waiters.get(ticket) if ticket else None
        if waiter is not None and waiter.ask.principal != ask.principal:
            raise Conflict(f"{ticket} belongs to somebody else; ask without a ticket")
        if (
            waiter is None
            and not (len(state.line) and self.line.claims(stamp.now_ms))
            and admission.admissible(state, ask, stamp.now_ms, settings)
        ):
            outcome.answer = life.grant(state, ask, stamp, settings, outcome, call=call)
            return outcome
        impossible = admission.never(state, ask, settings)
        if impossible:
            outcome.answer = [*admission.disabled(state, ask), *impossible]
            return outcome
        if waiter is None:
            self._room_in_line(state, ask, settings)
            waiter = waiting.join(ask, stamp, settings, outcome, call=call)
        else:
            waiter = waiting.rejoin(waiter, ask, outcome, call=call)
        outcome.answer = waiter
        return outcome

    @staticmethod
    def _room_in_line(state: State, ask: Ask, settings: PolicySettings) -> None:
        line = settings.line
        if (
            len(state.waiters) >= line.waiters_max
            or state.waiters_of.get(ask.holder, 0) >= line.waiters_per_holder_max
        ):
            raise answers.line_is_full(ask.holder, line)

    async def _wait(
        self,
        principal: Principal,
        body: wire.HeavyLeaseRequest,
        waiter: Waiter,
        durable: asyncio.Future[None] | None,
        call: Call | None,
    ) -> wire.HeavyLeaseResponse:
        """Stand in line, held for as long as the caller said; then keep the place for its ticket."""
        clock = self.ledger.clock
        retry_s: int | None = None
        future = self.line.hold(waiter, clock.now_ms())
        if call is not None:
            self.calls.waits(call, waiter.ticket)
        try:
            self.line.dispatch()
            if durable is not None:
                await durable
            if body.wait_sec:
                await asyncio.wait({future}, timeout=body.wait_sec)
            await self._grant_under_way(waiter, future)
            if future.cancelled():
                raise Conflict(
                    "a later call with the same Idempotency-Key or ticket took over this place in line"
                )
            if future.done():
                granted = await self._leases.contained(future.result())
                return answers.approved(granted, self.ledger, self.settings(), waiter.ask.notice)
            self.ledger.refuse_unknown()
            now_ms = clock.now_ms()
            denial = answers.denied(
                answers.why(self.ledger.state, waiter, now_ms, self.settings()),
                waiter,
                self.ledger.state,
                self.settings(),
                now_ms,
                self.ledger.ids.seed(),
            )
            retry_s = denial.retry_after_sec
            self._count_denial(waiter.ask, denial.reasons[0].code, denial.reason, retry_s or 0)
            return denial
        finally:
            self.line.let_go(waiter.ticket, future, clock.now_ms(), retry_s)

    async def _grant_under_way(self, waiter: Waiter, future: asyncio.Future[Lease]) -> None:
        """Whoever has left the line is being granted: that is told once it is durable, never a denial."""
        if future.done() or waiter.ticket in self.ledger.state.waiters:
            return
        await self.ledger.record_settled(WAITERS, waiter.ticket)
        await asyncio.sleep(0)  # The grant's own answer comes in the turn after it became durable.
        if not future.done() and waiter.ticket not in self.ledger.state.waiters:
            raise Conflict(f"{waiter.ticket} has been given up by a later call; ask again without a ticket")

    def _count_denial(self, ask: Ask, code: str, sentence: str, retry_s: int) -> None:
        clock = self.ledger.clock
        self.counters.denied(ask.holder, code, sentence, clock.wall_ms(), clock.now_ms() + retry_s * 1000)

    async def _as_it_is(self, call: Call) -> wire.HeavyLeaseResponse:
        """The lease that a remembered call made, as it is now (LEASE-8)."""
        lease = await self._leases.as_durable(
            self.ledger.state.leases.get(call.lease_id) or await self._leases.find(call.lease_id)
        )
        return answers.approved(lease, self.ledger, self.settings())
