"""The service of leases:

what the edges call. It awaits the ledger, and does the effects that follow a commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

import structlog

from leasehold.control import answers, asks, codec
from leasehold.control.backpressure import Backpressure, Lane
from leasehold.control.bindings import Bindings
from leasehold.control.calls import Calls
from leasehold.control.counters import Counters
from leasehold.control.ledger import Ledger
from leasehold.control.line import LineService
from leasehold.control.lock import sized
from leasehold.control.recovery import full_time, set_deadlines
from leasehold.control.timers import Timers
from leasehold.core import admission
from leasehold.core import lease as life
from leasehold.core.capacity import UNITS_QUIET
from leasehold.core.state import CALLS, LEASES, WAITERS, Call, Outcome, Stamp, State
from leasehold.model.charge import Totals
from leasehold.model.errors import Conflict, LeaseholdError, NotFound, NotReady, StoreUnavailable
from leasehold.model.lease import UNBOUND, Ask, Binding, Lease, LeaseState
from leasehold.model.line import Waiter
from leasehold.model.principal import Principal
from leasehold.model.settings import PolicySettings
from leasehold.model.work import WorkQuery, WorkUse
from leasehold.ports.archive import Archive
from leasehold.wire import lease as wire

log = structlog.get_logger(__name__)

AGAIN_MS = 1_000
"""How long after the store refused it a change that nobody asked for is tried again."""

LOOK_AGAIN = "again "
"""Before a lease's id in the timers: its processes are to be looked at again, whatever its deadline."""


class LeaseService:
    """Request, keep, report, end. One instance per server.

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
        self.ledger = ledger
        self.settings = settings
        self.bindings = bindings
        self.archive = archive
        self.counters = counters
        self.timers = Timers()
        self.line = LineService(ledger, settings, self._granted_in_line)
        self.backpressure = Backpressure(settings)
        self.calls = Calls(settings)
        self._totals_at_start = totals
        self._disk_of = disk_of
        self._background: set[asyncio.Task[None]] = set()

    # -- asking

    def admit(self, principal: Principal, body_bytes: int, lane: Lane) -> Callable[[], None]:
        """Back-pressure, before a body is parsed (OPS-31).

        Returns what to call when the answer has gone. Raises Overloaded.
        """
        return self.backpressure.admit(principal, body_bytes, lane)

    def ask_for(self, principal: Principal, body: wire.HeavyLeaseRequest) -> Ask:
        """The request as it will be judged (LEASE-1, 24)."""
        return asks.build(
            principal,
            body,
            self.ledger.state,
            self.settings(),
            totals=self.totals,
            disk_of=self._disk_of,
            binding=self._binding(principal, body.bind),
        )

    @property
    def totals(self) -> Totals:
        """The node's totals: as last measured, or as read at start."""
        view = self.ledger.state.view
        return view.totals if view is not None else self._totals_at_start

    def _binding(self, principal: Principal, bind: wire.Bind | None) -> Binding:
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
        limited = self.calls.rate_limited(principal, now_ms)
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
            self._started(decided)
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
        sized(state, body, ask, stamp, settings, outcome)
        waiter = state.waiters.get(ticket) if ticket else None
        if waiter is not None and waiter.ask.principal != ask.principal:
            raise Conflict(f"{ticket} belongs to somebody else; ask without a ticket")
        if (
            waiter is None
            and not len(state.line)
            and admission.admissible(state, ask, stamp.now_ms, settings)
        ):
            outcome.answer = life.grant(state, ask, stamp, settings, outcome, call=call)
            return outcome
        impossible = admission.never(state, ask, settings)
        if impossible:
            outcome.answer = impossible
            return outcome
        if waiter is None:
            self._room_in_line(state, ask, settings)
            waiter = life.join(ask, stamp, settings, outcome, call=call)
        else:
            waiter = life.rejoin(waiter, ask, outcome, call=call)
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
                return answers.approved(future.result(), self.ledger, self.settings(), self._notice(waiter))
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

    @staticmethod
    def _notice(waiter: Waiter) -> str:
        return waiter.ask.notice

    def _count_denial(self, ask: Ask, code: str, sentence: str, retry_s: int) -> None:
        clock = self.ledger.clock
        self.counters.denied(ask.holder, code, sentence, clock.wall_ms(), clock.now_ms() + retry_s * 1000)

    def _granted_in_line(self, waiter: Waiter, lease: Lease) -> None:
        self._started(lease)

    def _started(self, lease: Lease) -> None:
        """The effects of a durable grant.

        The time that it is offered for begins now, however slow the disk was; its processes are watched.
        """
        if self.ledger.state.leases.get(lease.lease_id) is lease:
            now_ms = self.ledger.clock.now_ms()
            offered = [(lease.lease_id, now_ms + self.settings().lease.offer_ms)]
            set_deadlines(self.ledger.state, offered, self.ledger.clock.wall_ms())
            self.timers.set(*offered[0])
        if lease.binding is UNBOUND:
            return
        self.bindings.follow(lease)
        if lease.binding.work and not lease.binding.cgroup:
            self.spawn(self._contain(lease))

    async def _contain(self, lease: Lease) -> None:
        admitted = await self.bindings.admit(lease, lease.binding.work)
        if not admitted.cgroup:
            return

        def decide(state: State, stamp: Stamp) -> Outcome:
            now = state.leases.get(lease.lease_id)
            return Outcome() if now is None else life.place(now, admitted.cgroup)

        await self.ledger.execute(decide)

    def spawn(self, work: object) -> None:
        """Run an effect beside the calls; what it raises is logged."""
        task = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._background.add(task)
        task.add_done_callback(self._spawned)

    def _spawned(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.warning("effect_failed", why=str(task.exception()))

    async def _as_it_is(self, call: Call) -> wire.HeavyLeaseResponse:
        """The lease that a remembered call made, as it is now (LEASE-8)."""
        lease = await self._as_durable(
            self.ledger.state.leases.get(call.lease_id) or await self.find(call.lease_id)
        )
        return answers.approved(lease, self.ledger, self.settings())

    # -- keeping

    async def heartbeat(
        self, principal: Principal, lease_id: str, body: wire.Heartbeat
    ) -> wire.HeartbeatAnswer:
        """Renew; the first one makes an offer ACTIVE.

        `bind` adds processes and puts them at low weight (LEASE-10, 22).
        """
        lease = await self._own(principal, lease_id, body.fencing_token)
        work: tuple[object, ...] = ()
        cgroup = low_weight = ""
        if body.bind is not None:
            self.bindings.check_cgroup(principal, body.bind.cgroup)
            found = self.bindings.check(principal, body.bind.pids)
            admitted = await self.bindings.admit(lease, found)
            work, cgroup, low_weight = admitted.work, body.bind.cgroup or admitted.cgroup, admitted.low_weight
            await self._own(principal, lease_id, body.fencing_token)
        renewed = await self._renew(principal, lease_id, body.fencing_token, work=work, cgroup=cgroup)
        if work:
            self.bindings.follow(renewed)
        return answers.heartbeat(renewed, self.ledger, self.settings(), low_weight)

    async def _renew(self, principal: Principal, lease_id: str, token: int, **bound: object) -> Lease:
        def decide(state: State, stamp: Stamp) -> Outcome:
            lease = life.own(state, lease_id, principal.name, token=token)
            outcome = life.renew(lease, stamp, self.settings(), **bound)  # type: ignore[arg-type]
            if self.ledger.read_only and not any(
                bound.values()
            ):  # Answered all the same (OPS-17); what it would write waits for the next one.
                outcome.changes.clear()
                outcome.events.clear()
                outcome.answer = lease
            return outcome

        renewed = await self._as_durable(await self.ledger.execute(decide))
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
        live = self.ledger.state.liveness.get(lease_id)
        if live is not None:
            answers.take_report(live, body)
        return self._view(lease, principal)

    # -- ending

    async def release(self, principal: Principal, lease_id: str, body: wire.Release) -> wire.LeaseOut:
        """The work is done. Idempotent (LEASE-12); remembered while the store refuses writes (OPS-17)."""
        lease = await self._held(lease_id)
        if lease is None:
            lease = await self.find(lease_id)
            life.check_holder(lease, principal.name, any_holder=False)
            if lease.token != body.fencing_token:
                raise life.stale(lease)
            if lease.state is LeaseState.RELEASED:
                return self._view(lease, principal)
            raise life.ended(lease)
        usage = answers.usage_of(self.ledger.state.liveness.get(lease_id), body.metrics)

        def decide(state: State, stamp: Stamp) -> Outcome:
            held = life.own(state, lease_id, principal.name, token=body.fencing_token)
            return life.release(state, held, stamp, self.settings(), usage, body.outcome or "")

        try:
            ended, durable = self.ledger.submit(decide)
            self._after_end(lease_id)
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
        lease = await self._held(lease_id) or await self.find(lease_id)
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

        return self._view(await self._as_durable(await self.ledger.execute(decide)), principal)

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
                life.leave(waiter, outcome)
            return outcome

        await self.ledger.execute(decide)
        self.line.dispatch()

    # -- looking

    async def get(self, principal: Principal, lease_id: str) -> wire.LeaseOut:
        """A lease as it is now, live or ended (LEASE-12: 404 unknown)."""
        lease = await self._as_durable(await self._held(lease_id) or await self.find(lease_id))
        return self._view(lease, principal)

    async def find(self, lease_id: str) -> Lease:
        """An ended lease, from memory or the archive. Raises NotFound."""
        if not self.ledger.ready:
            raise NotReady("recovery is not done, so nothing is known of it yet", retry_after_s=1)
        lease = self.ledger.state.ended.get(lease_id)
        if lease is None:
            value = await self.archive.find(codec.store_key(LEASES, lease_id))
            if value is None:
                raise NotFound(f"no lease {lease_id} is known; see `leasehold get leases`", lease_id=lease_id)
            lease = codec.decode(LEASES, lease_id, value)
        return lease

    async def _own(self, principal: Principal, lease_id: str, token: int) -> Lease:
        if await self._held(lease_id) is None:
            ended = await self.find(lease_id)
            life.check_holder(ended, principal.name, any_holder=False)
            raise life.ended(ended)
        return life.own(self.ledger.state, lease_id, principal.name, token=token)

    async def _held(self, lease_id: str) -> Lease | None:
        """The lease, where it is held; that it is not is only said once it can't be taken back (INV-4)."""
        lease = self.ledger.state.leases.get(lease_id)
        while lease is None and self.ledger.is_pending(LEASES, lease_id):
            await self.ledger.record_settled(LEASES, lease_id)
            lease = self.ledger.state.leases.get(lease_id)
        return lease

    async def _as_durable(self, lease: Lease) -> Lease:
        """The lease as an answer may show it: with nothing in it that could still be taken back (INV-4)."""
        while self.ledger.is_pending(LEASES, lease.lease_id):
            await self.ledger.record_settled(LEASES, lease.lease_id)
            lease = self.ledger.state.leases.get(lease.lease_id) or await self.find(lease.lease_id)
        return lease

    def _view(self, lease: Lease, principal: Principal) -> wire.LeaseOut:
        return answers.lease(lease, self.ledger, with_token=lease.ask.principal == principal.name)

    # -- what time and processes bring

    def due(self, key: str, now_ms: int) -> None:
        """A time has come: a deadline of a lease or ticket, or to look at a lease's processes again."""
        if key.startswith(LOOK_AGAIN):
            self.process_ended(key.removeprefix(LOOK_AGAIN))
            return
        if key.startswith("tkt-"):
            next_ms = self.line.due(key, now_ms)
            if next_ms is not None:
                self.timers.set(key, next_ms)
            return
        live = self.ledger.state.liveness.get(key)
        lease = self.ledger.state.leases.get(key)
        if live is None or lease is None:
            return
        if lease.state is LeaseState.OFFERED and self.ledger.is_pending(LEASES, key):
            self.timers.set(key, now_ms + AGAIN_MS)  # Nobody can have heard of it yet.
            return
        if live.deadline_ms > now_ms or self.ledger.read_only:
            self.timers.set(
                key, max(live.deadline_ms, now_ms + 1000) if self.ledger.read_only else live.deadline_ms
            )
            return
        self._by_itself(key, key, partial(life.due, work_lives=self.bindings.work_lives(lease)))

    def process_ended(self, lease_id: str) -> None:
        """A bound process has ended."""
        lease = self.ledger.state.leases.get(lease_id)
        if lease is None:
            return
        caller, work = self.bindings.caller_lives(lease), self.bindings.work_lives(lease)
        ended = partial(life.processes_ended, caller_lives=caller, work_lives=work)
        self._by_itself(lease_id, LOOK_AGAIN + lease_id, ended)

    def _by_itself(self, lease_id: str, again: str, change: Callable[..., Outcome]) -> None:
        """Submit a change that nobody asked for. What can't be written now is tried again, as `again`."""

        def decide(state: State, stamp: Stamp) -> Outcome:
            lease = state.leases.get(lease_id)
            return Outcome() if lease is None else change(state, lease, stamp, self.settings())

        try:
            _, durable = self.ledger.submit(decide)
        except LeaseholdError as error:
            log.info("put_off", lease_id=lease_id, why=str(error))
            self.timers.set(again, self.ledger.clock.now_ms() + AGAIN_MS)
            return
        if durable is not None:
            durable.add_done_callback(partial(self._tried, lease_id, again))
        self._after_end(lease_id)

    def _tried(self, lease_id: str, again: str, done: asyncio.Future[None]) -> None:
        if done.cancelled() or done.exception() is not None:
            self.timers.set(again, self.ledger.clock.now_ms() + AGAIN_MS)
        elif lease_id not in self.ledger.state.leases:
            self.bindings.forget(lease_id)

    def _after_end(self, lease_id: str) -> None:
        """Room may have come.

        Whoever is next is decided in the same turn, and committed in the same batch.
        """
        if lease_id not in self.ledger.state.leases:
            self.timers.drop(lease_id)
            self.line.dispatch()

    def to_measure(self) -> list[WorkQuery]:
        """What the collectors measure.

        The work of every live lease, and the wrappers that wait for it (SENSE-6).
        """
        cores = self.totals.cpu_millicores
        leases = self.ledger.state.leases.values()
        return [_query(lease, cores) for lease in leases if lease.ask.charge.is_work]

    def take_use(self, uses: Mapping[str, WorkUse]) -> None:
        """What the work of each lease has used so far.

        Volatile, kept for the end and for learning (LEASE-15).
        """
        for lease_id, use in uses.items():
            live = self.ledger.state.liveness.get(lease_id)
            if live is not None:
                live.cpu_ms = max(live.cpu_ms, use.cpu_ms)
                live.memory_bytes = use.memory_bytes
                live.memory_peak_bytes = max(live.memory_peak_bytes, use.memory_bytes)

    def stalled(self, _gap_ms: int) -> None:
        """After a stall, a suspend, or a time without a store each live lease has one full time to live
        (LEASE-10).
        """
        now_ms = self.ledger.clock.now_ms()
        deadlines = full_time(self.ledger.state, now_ms, self.settings().lease.ttl_ms)
        set_deadlines(self.ledger.state, deadlines, self.ledger.clock.wall_ms())
        for lease_id, due_ms in deadlines:
            self.timers.set(lease_id, due_ms)

    def reloaded(self, state: State) -> None:
        """The state was read from the store.

        Everyone gets a full time, places are kept, processes are watched again.
        """
        self.ledger.state = state
        self.stalled(0)
        self.line.kept_after_restart(self.ledger.clock.now_ms())
        for lease in list(state.leases.values()):
            self.bindings.follow(lease)


def _query(lease: Lease, cores_millicores: int) -> WorkQuery:
    """Units alone imply their share of the cores (LEASE-24)."""
    charge, binding = lease.ask.charge, lease.binding
    return WorkQuery(
        lease.lease_id,
        charge.cpu_millicores or min(cores_millicores, cores_millicores * charge.units // UNITS_QUIET),
        charge.memory_bytes,
        binding.work,
        (binding.caller,) if binding.caller is not None else (),
        binding.cgroup,
    )
