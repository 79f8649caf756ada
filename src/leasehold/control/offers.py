"""Offers: what a worker that polls is offered, and that it takes it up (QUEUE-4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from leasehold.control import views
from leasehold.control.claims import RETRY_S, Claims, refuse_runner, worker_of
from leasehold.control.cold import ColdParts
from leasehold.control.demand import Demand, Taker, Wants
from leasehold.control.ledger import Ledger
from leasehold.core import execution
from leasehold.core import lease as life
from leasehold.core.attempt import job_id
from leasehold.core.state import JOBS, Outcome, Stamp, State
from leasehold.model.errors import Conflict, NotFound
from leasehold.model.job import Job, JobState
from leasehold.model.principal import Principal
from leasehold.model.refusal import Code, Reason
from leasehold.model.settings import PolicySettings
from leasehold.wire import claim as wire


class Offers:
    """Offers jobs to those who poll. One per server."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Callable[[], PolicySettings],
        cold: ColdParts,
        demand: Demand,
        claims: Claims,
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._cold = cold
        self._demand = demand
        self._claims = claims

    async def dispatchable(self, principal: Principal, wants: Wants, limit: int) -> wire.Dispatchable:
        """What is offered to this worker: offers that stand, and new ones where there is room (QUEUE-4)."""
        refuse_runner(wants.capabilities)
        worker = worker_of(principal, None)
        standing = self._offers_of(principal.name, worker)
        rests_ms = self._demand.rests_ms(worker, self._ledger.clock.now_ms())
        if rests_ms and not standing:
            rests_s = -(-rests_ms // 1000)
            sentence = f"{worker} let three offers lapse; nothing is offered to it for {rests_s} s"
            reason = Reason(Code.PROBATION, sentence, "take up what is offered", {}, rests_s)
            return wire.Dispatchable([], [views.reason(reason)], min(300, rests_s))
        if len(standing) < limit:
            taker = Taker(principal.name, worker, wants, limit - len(standing), offers=True)
            await self._claims.take(taker, 0)
            standing = self._offers_of(principal.name, worker)
        if not standing:
            self._claims.comes_back(worker, wants)
            return wire.Dispatchable([], retry_after_sec=RETRY_S)
        for job in standing:
            await self._ledger.record_settled(JOBS, job.number)
        specs = await self._cold.specs([job.number for job in standing])
        return wire.Dispatchable([self._offered(job, specs[job.number]) for job in standing[:limit]])

    def _offers_of(self, principal: str, worker: str) -> list[Job]:
        state, found = self._ledger.state, []
        for lease_id, under in state.queue.by_lease.items():
            lease = state.leases.get(lease_id)
            if lease is not None and lease.ask.principal == principal and lease.job:
                job = state.jobs[next(iter(under))]
                if lease_id != job.lease_id:
                    continue  # Another member of its gang.
                if job.state is JobState.DISPATCHING and job.worker == worker:
                    found.append(job)
        return found

    def _offered(self, job: Job, spec: Any) -> wire.Offered:
        state, clock = self._ledger.state, self._ledger.clock
        live = state.liveness.get(job.lease_id)
        until_ms = live.deadline_ms if live is not None else clock.now_ms()
        return wire.Offered(
            job_id(job.number),
            job.generation,
            spec.job_type,
            msgspec.Raw(spec.payload),
            job.lease_id,
            job.token,
            views.expires_at(until_ms, clock.now_ms(), clock.wall_ms()) or "",
        )

    async def ack(self, principal: Principal, number: int, body: wire.Ack) -> Job:
        """The worker takes up what it was offered. A repeat finds it taken up (QUEUE-4)."""

        def decide(state: State, stamp: Stamp) -> Outcome:
            job = state.jobs.get(number)
            if job is None:
                raise NotFound(
                    f"no job {job_id(number)} is live; see `leasehold get jobs`", job_id=job_id(number)
                )
            if job.lease_id != body.lease_id:
                raise Conflict(
                    f"{job_id(number)} is not offered with {body.lease_id}; ask for what is dispatchable "
                    "again",
                    job_id=job_id(number),
                )
            lease = life.own(state, body.lease_id, principal.name, token=body.fencing_token)
            if job.state is JobState.RUNNING:
                return Outcome(job)
            return execution.take_up(state, job, lease, stamp, self._settings())

        job: Job = await self._ledger.execute(decide)
        self._demand.took_up(job.worker)
        await self._ledger.record_settled(JOBS, number)
        return job
