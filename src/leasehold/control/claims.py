"""Handing jobs out and taking their results in (QUEUE-4, LEASE-27).

A claim with leases of its own is a taker at the line: the dispatcher gives it what comes next and fits. One
under a session takes from the line directly, since its lease was charged before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

import msgspec

from leasehold.control import views
from leasehold.control.cold import ColdParts
from leasehold.control.demand import Demand, Round, Taker, Wants
from leasehold.control.live import LiveLeases
from leasehold.core import admission, capacity, claim, execution
from leasehold.core import lease as life
from leasehold.core.attempt import job_id
from leasehold.core.jobs import Entry
from leasehold.core.state import JOBS, Outcome, Stamp, State
from leasehold.model.errors import Invalid, NotPermitted
from leasehold.model.event import Event
from leasehold.model.ids import to_number
from leasehold.model.job import RUNNER, Job, JobState
from leasehold.model.lease import Lease, LeaseState
from leasehold.model.principal import Principal
from leasehold.model.refusal import Reason
from leasehold.model.settings import PolicySettings
from leasehold.runtime import context
from leasehold.wire import claim as wire

UNDER_SESSION_MAX = 1_000

CLAIM_BYTES = 8 << 20
"""Payloads of one claim: what is over it comes with the next."""

WAKES = frozenset({"JobRequeued", "LeaseThawed"})
"""After these who holds a call open under a session may get a job: one came back, or its own work goes on."""

RETRY_S = 5
"""When a poller that got nothing is told to come back; its place keeps room until then + 2 s."""

Handed = tuple[Job, Lease]


class Claims:
    """Offers, claims and completions. One per server."""

    def __init__(self, leases: LiveLeases, cold: ColdParts, demand: Demand) -> None:
        self._leases = leases
        self._ledger = leases.ledger
        self._settings = leases.settings
        self._cold = cold
        self.demand = demand
        self._sessions: dict[int, asyncio.Event] = {}
        self.on_started: Callable[[Sequence[Job]], None] = lambda jobs: None
        """Called with jobs that have just been claimed."""

    # -- the dispatcher's side (control/line.py)

    def round(self, now_ms: int) -> Round:
        """What is wanted during one pass of the dispatcher."""
        return self.demand.round(now_ms)

    def awaited(self, now_ms: int) -> bool:
        """Whether anybody takes jobs now, or is expected."""
        return self.demand.is_awaited(now_ms)

    def hand_out(
        self,
        state: State,
        entry: Job | Entry,
        taker: Taker,
        stamp: Stamp,
        settings: PolicySettings,
        outcome: Outcome,
    ) -> Handed:
        """The dispatcher's turn has come to this job: it goes to who waits for it, in the same commit."""
        job = state.jobs[entry.number]
        member = state.queue.ask_of(job, lifted=entry.ask.anyway)
        ask = msgspec.structs.replace(member, principal=taker.principal)
        begin = execution.offer if taker.offers else execution.claim_own
        handed = begin(state, job, ask, taker.worker, stamp, settings, outcome)
        taker.room -= 1
        taker.taken.append(handed)
        return handed

    def handed_out(self, taker: Taker, handed: Handed, failed: bool) -> None:
        """That is durable now, or was taken back."""
        if failed:
            taker.taken = [other for other in taker.taken if other is not handed]
            taker.room += 1
        else:
            self._leases.timers.set(handed[1].lease_id, self._deadline_ms(handed[1]))
            if taker.on_taken is not None:
                taker.taken.remove(handed)
                taker.on_taken(handed)
            taker.wake.set()

    def _deadline_ms(self, lease: Lease) -> int:
        live = self._ledger.state.liveness.get(lease.lease_id)
        return live.deadline_ms if live is not None else self._ledger.clock.now_ms()

    def more_may_start(self) -> None:
        """Jobs may be eligible that were not: whoever holds a call open under a session looks again."""
        for event in self._sessions.values():
            event.set()

    def committed(self, events: Sequence[Event]) -> None:
        """Whoever let an offer lapse is known; what came back into the line wakes those who wait for jobs."""
        if any(event.kind in WAKES for event in events):
            self.more_may_start()
        for event in events:
            if (
                event.kind == "JobRequeued"
                and event.details.get("why") == "LAPSED"
                and event.actor != life.RUNNER
            ):
                self.demand.lapsed(event.actor, self._ledger.clock.now_ms())

    # -- claims

    async def claim(self, principal: Principal, body: wire.Claim) -> wire.ClaimOut:
        """Up to `max` jobs for this worker, waiting up to `wait_sec` for the first one."""
        wants = Wants(body.job_types, body.capabilities)
        refuse_runner(wants.capabilities)
        worker = worker_of(principal, body.worker_id)
        context.bind(worker_id=worker)
        if body.session is not None:
            return await self._claim_under(principal, body, body.session, wants, worker)
        known = await self._not_known(principal, worker, wants, body.known, None)
        if len(known) >= body.max:
            return await self._claimed(known[: body.max], own=True)
        taker = Taker(principal.name, worker, wants, body.max - len(known))
        await self.take(taker, body.wait_sec if not known else 0)
        jobs = [job for job, _ in taker.taken]
        if not jobs and not known:
            self.comes_back(worker, wants)
            return wire.ClaimOut([], retry_after_sec=RETRY_S, ttl_sec=self._ttl_s)
        self.on_started(jobs)
        return await self._claimed([*known, *jobs], own=True)

    async def take(self, taker: Taker, wait_s: float) -> None:
        """Be a taker until something was taken, or the time is over; what was decided is waited for."""
        ident = self.demand.open(taker)
        try:
            self._leases.line.dispatch()
            if not taker.taken and wait_s:
                try:
                    async with asyncio.timeout(wait_s):
                        await taker.wake.wait()
                except TimeoutError:
                    pass
        finally:
            self.demand.close(ident)
            taker.room = 0
        for job, _ in list(taker.taken):
            await self._ledger.record_settled(JOBS, job.number)
        await asyncio.sleep(0)  # What was taken back is told in the turn after.

    def comes_back(self, worker: str, wants: Wants, *, keeps_room: bool = True) -> None:
        """It is demand for a minute, and room is kept for it until its next poll; none under a session."""
        now_ms = self._ledger.clock.now_ms()
        slack_ms = self._settings().line.reserve_slack_ms
        until_ms = now_ms + RETRY_S * 1000 + slack_ms if keeps_room else now_ms
        self.demand.polled(worker, wants, now_ms, until_ms)

    @property
    def _ttl_s(self) -> float:
        return self._settings().lease.ttl_ms / 1000

    async def _not_known(
        self,
        principal: Principal,
        worker: str,
        wants: Wants,
        known: list[str] | None,
        session: str | None,
    ) -> list[Job]:
        """Jobs that are this worker's and that it does not know of: an answer to it was lost.

        Only those that it asks for: another of its name may do other jobs.
        """
        if known is None:
            return []
        numbers = {to_number("job", each) for each in known}
        state = self._ledger.state
        found = []
        for lease_id, under in state.queue.by_lease.items():
            lease = state.leases.get(lease_id)
            if lease is None or lease.ask.principal != principal.name:
                continue
            if session is not None and lease_id != session:
                continue
            for number in under:
                job = state.jobs[number]
                if job.terms.gang > 1 and lease_id != job.lease_id:
                    continue
                if job.state is not JobState.RUNNING or job.worker != worker or number in numbers:
                    continue
                if wants.suits(job.terms.ask):
                    found.append(job)
        for job in found:
            await self._ledger.record_settled(JOBS, job.number)
        again = [job for job in found if state.jobs.get(job.number) is job]
        self._live_on(again)
        return again

    def _live_on(self, jobs: Sequence[Job]) -> None:
        """Whoever is told of its jobs once more is there, and is promised a full time: a renewal of each."""
        state, now_ms = self._ledger.state, self._ledger.clock.now_ms()
        due_ms = now_ms + self._settings().lease.ttl_ms
        for lease_id in (each for job in jobs for each in job.leases):
            lease, live = state.leases.get(lease_id), state.liveness.get(lease_id)
            if lease is not None and lease.job and lease.state is LeaseState.ACTIVE and live is not None:
                live.deadline_ms = max(live.deadline_ms, due_ms)
                self._leases.timers.set(lease_id, live.deadline_ms)

    async def _claim_under(
        self, principal: Principal, body: wire.Claim, session: wire.SessionIn, wants: Wants, worker: str
    ) -> wire.ClaimOut:
        known = await self._not_known(principal, worker, wants, body.known, session.lease_id)
        if len(known) >= body.max:
            return await self._claimed(known[: body.max], own=False)
        event = asyncio.Event()
        key = id(event)
        self._sessions[key] = event
        ends_ms = self._ledger.clock.now_ms() + body.wait_sec * 1000
        decide = partial(self._decide_under, principal, session, wants, worker, body.max - len(known))
        try:
            while True:
                event.clear()
                jobs, durable = self._ledger.submit(decide)
                if durable is not None:
                    await durable
                if jobs or known:
                    self.on_started(jobs)
                    return await self._claimed([*known, *jobs], own=False)
                left_ms = ends_ms - self._ledger.clock.now_ms()
                if left_ms <= 0:
                    self.comes_back(worker, wants, keeps_room=False)
                    return wire.ClaimOut([], retry_after_sec=RETRY_S, ttl_sec=self._ttl_s)
                try:
                    async with asyncio.timeout(min(left_ms / 1000, 5.0)):
                        await event.wait()
                except TimeoutError:
                    continue
        finally:
            del self._sessions[key]

    def _decide_under(
        self,
        principal: Principal,
        session: wire.SessionIn,
        wants: Wants,
        worker: str,
        limit: int,
        state: State,
        stamp: Stamp,
    ) -> Outcome:
        settings = self._settings()
        lease = life.own(state, session.lease_id, principal.name, token=session.fencing_token)
        if lease.state is LeaseState.REVOKING or lease.is_frozen:
            return Outcome([])
        if lease.job:
            raise Invalid(
                f"{lease.lease_id} is the lease of one job; ask for a lease of its own for a session",
                field="$.session.lease_id",
            )
        outcome = life.renew(lease, stamp, settings) if lease.state is LeaseState.OFFERED else Outcome()
        free = UNDER_SESSION_MAX - len(state.queue.by_lease.get(lease.lease_id, ()))
        if free <= 0 or state.view is None:
            outcome.answer = []
            return outcome
        fits = claim.Share(lease.ask.charge, session.concurrency)
        totals, jobs = state.view.totals, state.jobs

        def suits(entry: Any) -> bool:
            return wants.suits(entry.ask) and getattr(entry, "gang", 1) == 1

        def gate(entry: Any) -> Reason | None:
            stands = admission.gates(state, entry.ask, stamp.now_ms, settings)
            return stands[0] if stands else None

        entries, flows = claim.under_session(
            state.line,
            state.flows,
            settings.line,
            stamp.now_ms,
            lambda charge: capacity.dominant_share_cost(charge, totals),
            suits,
            gate,
            min(limit, free),
            holds=fits,
            bytes_of=lambda entry: jobs[entry.number].size,
            bytes_max=CLAIM_BYTES,
        )
        outcome.answer = execution.claim_under(
            lease, [jobs[entry.number] for entry in entries], worker, stamp, outcome
        )
        execution.take_flows(flows, outcome)
        return outcome

    async def _claimed(self, jobs: Sequence[Job], *, own: bool) -> wire.ClaimOut:
        specs = await self._cold.specs([job.number for job in jobs])
        shown = [claimed(job, specs[job.number], own=own) for job in jobs if job.number in specs]
        first = jobs[0] if jobs and not own else None
        return wire.ClaimOut(
            shown,
            lease_id=first.lease_id if first is not None else "",
            fencing_token=first.token if first is not None else 0,
            ttl_sec=self._ttl_s,
        )


def claimed(job: Job, spec: Any, *, own: bool) -> wire.Claimed:
    """A job as its worker gets it."""
    terms = job.terms
    return wire.Claimed(
        job_id(job.number),
        job.generation,
        spec.job_type,
        msgspec.Raw(spec.payload),
        job.lease_id if own else "",
        job.token if own else 0,
        job.attempts,
        views.rfc3339(job.deadline_wall_ms) if job.deadline_wall_ms else None,
        terms.max_runtime_ms // 1000 or None,
        job.memory_bytes or None,
        dict(terms.labels),
        spec.repo_url,
        [wire.Member(lease_id, job.token + rank) for rank, lease_id in enumerate(job.leases)]
        if terms.gang > 1 and own
        else [],
    )


def refuse_runner(capabilities: Collection[str]) -> None:
    if RUNNER in capabilities:
        raise NotPermitted("capabilities: `runner` is the built-in runner's alone; commands are done by it")


def worker_of(principal: Principal, wanted: str | None) -> str:
    """The name of a worker: the one that it says, else its principal's. Raises NotPermitted."""
    worker = wanted or principal.acts_as
    if worker == life.RUNNER:
        raise NotPermitted(f"worker_id: {worker} is the name of the built-in runner; say another one")
    return worker
