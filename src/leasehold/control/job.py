"""The service of jobs, as the edges call it (QUEUE-3, 4, 5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from leasehold.control import job_views, views
from leasehold.control.calls import Calls
from leasehold.control.claims import Claims
from leasehold.control.cold import ColdParts
from leasehold.control.demand import Demand, Wants
from leasehold.control.dependencies import Dependencies
from leasehold.control.drafts import Drafts, Users
from leasehold.control.estimates.service import EstimateService
from leasehold.control.job_bulk import BulkActions
from leasehold.control.job_care import JobCare, forget_terms
from leasehold.control.job_change import Changes, check_owner, may_see, number_of
from leasehold.control.job_list import JobList, Wanted, states_of
from leasehold.control.job_search import JobSearch, add_members
from leasehold.control.job_stats import JobStats
from leasehold.control.job_submit import Submissions
from leasehold.control.limiter import EMPTY_COST, Tier
from leasehold.control.live import LiveLeases
from leasehold.control.lock import GROUP, forget_groups
from leasehold.control.offers import Offers
from leasehold.control.results import Results
from leasehold.core.attempt import job_id
from leasehold.core.state import JOBS
from leasehold.model.charge import LOCK
from leasehold.model.errors import Invalid, LeaseholdError, NotFound, QueueFull
from leasehold.model.job import ENDED, RUNNER, Job, JobState
from leasehold.model.principal import Principal
from leasehold.model.refusal import Reason
from leasehold.model.run import RunKey
from leasehold.ports.runner import RunFailed, Runner
from leasehold.ports.store import StoreError
from leasehold.wire import claim as claim_wire
from leasehold.wire import job as wire

FORGOTTEN_AT_ONCE = 200
"""Slices of terms that nobody has any more, forgotten in a minute: as many as a busy server makes, where each
job has its own label.
"""

ARGUMENTS_SHOWN, ARGUMENT_SHOWN = 16, 256
"""So much of a command stands in a list: all of it is up to 192 KiB."""


class Listing(Protocol):
    """What a list is asked for."""

    state: str
    job_type: str
    holder: str
    tenant: str
    group: str
    label: str
    worker: str
    text: str
    fold: bool
    limit: int
    cursor: str | None


class LogQuery(Protocol):
    """Which piece of an output; `attempt` 0: the last one's; `rank`: which member's of a gang."""

    offset: int
    limit: int
    wait_sec: int
    attempt: int
    rank: int


class Poll(Protocol):
    """What a poller can do."""

    job_types: str
    capabilities: str
    limit: int


class JobService:
    """What callers do with jobs. One instance per server."""

    def __init__(self, leases: LiveLeases, calls: Calls, disk_of: Callable[[str], str], users: Users) -> None:
        self.ledger = leases.ledger
        self.settings = leases.settings
        self.leases = leases
        self.demand = Demand()
        self.cold = ColdParts(leases.ledger, leases.archive)
        self.claims = Claims(leases, self.cold, self.demand)
        self.dependencies = Dependencies(leases.ledger, self.cold, self.eligible)
        self.offers = Offers(leases.ledger, leases.settings, self.cold, self.demand, self.claims)
        self.results = Results(leases.ledger, leases.settings, self.cold, self.ended)
        self.care = JobCare(leases.ledger, leases.settings, self.ended)
        self.listed = JobList(leases.ledger, self.cold)
        self.searched = JobSearch(self.listed, self.cold)
        self.drafts = Drafts(leases.settings, lambda: leases.totals, disk_of, users)
        self._submissions = Submissions(
            leases.ledger, leases.settings, self.drafts, self.cold, self.dependencies, calls, self.eligible
        )
        self.changes = Changes(leases.ledger, leases.settings, self.find, self.ended, self.eligible)
        self.estimates = EstimateService(leases.ledger, leases.settings, self.demand)
        self.counts = JobStats(leases.ledger, leases.settings, self.demand, self.estimates)
        self.claims.on_started = self.counts.started
        self._bulk = BulkActions(leases.ledger, self.listed, self.changes)
        self.room_for = self._submissions.room_for
        self.within_quotas = self._submissions.within_quotas
        self.complete_many = self.results.complete_many
        self.runner: Runner | None = None
        """Where the output of commands is."""
        leases.line.takers = self.claims
        self._looks_again = False

    # -- time and consequences

    async def recovered(self) -> None:
        """After a start, once jobs may be changed: what a crash left undone."""
        self.care.recovered()
        await self.dependencies.recover()

    def store_is_back(self) -> None:
        """What could not be written meanwhile, or was taken back, is looked for anew."""
        self._looks_again = True

    async def _look_again(self) -> None:
        try:
            await self.recovered()
        except (StoreError, LeaseholdError):
            self._looks_again = True  # The next tick tries again.

    def tick(self) -> None:
        """What is due by time, and what could not be written before."""
        if self._looks_again:
            self._looks_again = False
            self.leases.spawn(self._look_again())
        self.dependencies.work()
        if self.care.tick():
            self.eligible()

    async def tidy(self) -> None:
        """Each minute: workers that are gone, terms that nobody has."""
        self.demand.forget(self.ledger.clock.now_ms() - self.settings().queue.demand_ms)
        for _ in range(FORGOTTEN_AT_ONCE):
            if not self.ledger.state.queue.unused:
                break
            await self.ledger.execute(forget_terms)
        if any(key.startswith(LOCK + GROUP) for key in self.ledger.state.semaphores):
            await self.ledger.execute(forget_groups)

    def eligible(self) -> None:
        """More jobs may start than before."""
        self.leases.line.dispatch()
        self.claims.more_may_start()

    def ended(self, over: Sequence[Job]) -> None:
        """These have just ended, or gone back into the line."""
        self.dependencies.ended(over)
        self.counts.ended(over)

    # -- looking

    async def get(self, principal: Principal, ident: str) -> wire.JobOut:
        """One job as it is now, live or ended, with its place and what it waits for.

        What it was given and what it gave is its owner's, and theirs who may manage others' jobs.
        """
        return await self._now(principal, number_of(ident))

    async def _now(self, principal: Principal, number: int) -> wire.JobOut:
        job = await self.find(number)
        out = (await self.shown([job], principal, with_payload=True))[0]
        places = self._places([job])
        reasons = self._why(job, places)
        out.reasons = [views.reason(reason) for reason in reasons]
        out.reason = reasons[0].sentence if reasons else ""
        out.position = places.get(job.number)
        return out

    async def find(self, number: int) -> Job:
        """A job, live or ended, with nothing in it that could still be taken back. Raises NotFound."""
        self.ledger.refuse_unknown()
        while True:
            await self.ledger.record_settled(JOBS, number)
            job = self.ledger.state.jobs.get(number)
            if job is not None:
                return job
            over = await self.cold.ended(number)
            if number in self.ledger.state.jobs:
                continue
            if over is None:
                raise NotFound(
                    f"no job {job_id(number)} is known; see `leasehold queue`", job_id=job_id(number)
                )
            return over

    async def shown(
        self, found: Sequence[Job], principal: Principal, *, with_payload: bool = False
    ) -> list[wire.JobOut]:
        """Jobs as the wire shows them to this caller."""
        clock = self.ledger.clock
        specs = await self.cold.specs([job.number for job in found])
        state, now_ms, wall_ms = self.ledger.state, clock.now_ms(), clock.wall_ms()
        rows = [job_views.shown(job, specs.get(job.number), state, now_ms, wall_ms) for job in found]
        for job, row in zip(found, rows, strict=True):
            if not may_see(job, principal):
                job_views.hide(row, specs.get(job.number))
        if not with_payload:
            for row in rows:
                row.payload = row.result = None
                row.command = [each[:ARGUMENT_SHOWN] for each in row.command[:ARGUMENTS_SHOWN]]
        return rows

    async def page(
        self, principal: Principal, wanted: Wanted, limit: int, cursor: str | None
    ) -> wire.JobPage:
        """Jobs that match, newest first: live ones, then those that have ended."""
        found, following = await self.searched.page(
            wanted, limit, cursor, lambda job: may_see(job, principal)
        )
        rows = await self.shown(found, principal)
        places = self._places(found)
        for job, row in zip(found, rows, strict=True):
            if job.state in (JobState.QUEUED, JobState.HELD):
                reasons = self._why(job, places)
                row.reason = reasons[0].sentence if reasons else ""
                row.position = places.get(job.number)
        if wanted.fold:
            add_members(rows, self.ledger.state)
        return wire.JobPage(rows, following)

    def _places(self, found: Sequence[Job]) -> dict[int, int]:
        """The places of those that stand in line."""
        state = self.ledger.state
        return state.line.positions([job.number for job in found], state.flows, self.settings().line)

    def _why(self, job: Job, places: Mapping[int, int]) -> list[Reason]:
        clock = self.ledger.clock
        return job_views.why(
            job,
            self.ledger.state,
            self.settings(),
            clock.now_ms(),
            clock.wall_ms(),
            lambda one: self.demand.exists(one.terms.ask),
            places,
        )

    # -- as the edge calls it

    async def submit(
        self,
        principal: Principal,
        body: wire.Submit,
        *,
        idempotency_key: str | None = None,
        body_hash: bytes = b"",
    ) -> wire.Submitted:
        """File jobs; those that can't be taken say why, each for itself. Raises RateLimited, QueueFull."""
        self._counted(principal)
        try:
            return await self._submissions.submit(
                principal, body, idempotency_key=idempotency_key, body_hash=body_hash
            )
        except QueueFull as full:
            self._denied(principal, full)
            raise

    async def claim(self, principal: Principal, body: claim_wire.Claim) -> claim_wire.ClaimOut:
        """Up to `max` jobs for this worker. Raises RateLimited."""
        self._counted(principal)
        found = await self.claims.claim(principal, body)
        if not found.jobs and not body.wait_sec:
            self._got_nothing(principal)
        return found

    def _counted(self, principal: Principal) -> None:
        """One call of the tier `bulk`, however many jobs it is about (LEASE-27)."""
        refused = self.leases.limiter.refused(principal, Tier.BULK, self.ledger.clock.now_ms())
        if refused is not None:
            self._denied(principal, refused)
            raise refused

    def _denied(self, principal: Principal, error: LeaseholdError) -> None:
        clock = self.ledger.clock
        retry_until_ms = clock.now_ms() + (error.retry_after_s or 1) * 1000
        self.leases.counters.denied(
            principal.acts_as, error.code, error.message, clock.wall_ms(), retry_until_ms
        )

    def _got_nothing(self, principal: Principal) -> None:
        """It did not wait either: asking so again and again is dear."""
        now_ms = self.ledger.clock.now_ms()
        self.leases.limiter.charge(principal, Tier.BULK, EMPTY_COST - 1, now_ms)

    async def listing(self, principal: Principal, query: Listing) -> wire.JobPage:
        """A page of jobs. Raises Invalid for a state that there is none of."""
        wanted = Wanted(
            states_of(query.state),
            query.job_type,
            query.holder,
            query.tenant,
            query.group,
            query.label,
            query.worker,
            query.text,
            query.fold,
        )
        return await self.page(principal, wanted, query.limit, query.cursor)

    async def cancel(self, principal: Principal, ident: str, body: wire.Cancel) -> wire.JobOut:
        return await self._now(principal, await self.changes.cancel(principal, ident, body))

    async def hold(self, principal: Principal, ident: str, body: wire.Note) -> wire.JobOut:
        return await self._now(principal, await self.changes.hold(principal, ident, body))

    async def pause(self, principal: Principal, ident: str, body: wire.Note) -> wire.JobOut:
        return await self._now(principal, await self.changes.pause(principal, ident, body))

    async def resume(self, principal: Principal, ident: str, body: wire.Note) -> wire.JobOut:
        return await self._now(principal, await self.changes.resume(principal, ident, body))

    async def prioritise(self, principal: Principal, ident: str, body: wire.NewPriority) -> wire.JobOut:
        return await self._now(principal, await self.changes.prioritise(principal, ident, body))

    async def retry(self, principal: Principal, ident: str, body: wire.Note) -> wire.JobOut:
        return await self._now(principal, await self.changes.retry(principal, ident, body))

    async def stats(self) -> wire.QueueStats:
        """Depth, rates, waiting times, why jobs wait."""
        return await self.ledger.read(self.counts.stats)

    async def explain(self, principal: Principal, ident: str) -> wire.JobExplained:
        """Why a job does not start, its place in line, and when it will (QUEUE-12)."""
        return await self.estimates.explain(await self.get(principal, ident))

    async def bulk(self, principal: Principal, body: wire.Bulk) -> wire.BulkOut:
        """One action on everything that matches."""
        wanted = Wanted(
            states_of(",".join(body.state)),
            body.job_type or "",
            body.holder or "",
            body.tenant or "",
            body.group or "",
            body.label or "",
        )
        if not body.ids and wanted == Wanted():
            raise Invalid(
                "which jobs? name a filter, or ids", field="$.ids", expected="a filter, or ids of jobs"
            )
        return await self._bulk.do(principal, body, wanted)

    async def events(self, ident: str) -> wire.JobEvents:
        """What has happened to a job, the oldest first."""
        job = await self.find(number_of(ident))
        return wire.JobEvents(job_views.timeline(job, self.ledger.state))

    async def log(self, principal: Principal, ident: str, query: LogQuery) -> wire.LogPage:
        """A piece of a command's output, waiting up to `wait_sec` for more of it. Raises NotFound."""
        job = await self.find(number_of(ident))
        check_owner(job, principal, "job:manage")
        key = RunKey(job.number, query.attempt or job.generation, query.rank)
        if self.runner is None or RUNNER not in job.terms.ask.needs:
            raise NotFound(f"{ident} is no command: its worker has its output", job_id=ident)
        try:
            if query.wait_sec:
                await self.runner.more(key, query.offset, query.wait_sec)
            part = await self.runner.log(key, query.offset, query.limit)
        except RunFailed as error:
            if job.state is JobState.QUEUED or not job.started_ms:
                return wire.LogPage([], 0, job.state in ENDED)
            raise NotFound(f"the output of {ident} is not kept any more: {error.sentence}") from error
        chunks = [
            wire.LogChunkOut(each.offset, views.rfc3339(each.wall_ms), str(each.stream), each.data)
            for each in part.chunks
        ]
        return wire.LogPage(chunks, part.next_offset, part.is_over, part.dropped_bytes)

    async def poll(self, principal: Principal, query: Poll) -> claim_wire.Dispatchable:
        """What is offered to this worker."""
        wants = Wants(_names(query.job_types), _names(query.capabilities))
        self._counted(principal)
        found = await self.offers.dispatchable(principal, wants, query.limit)
        if not found.jobs:
            self._got_nothing(principal)
        return found

    async def ack(self, principal: Principal, ident: str, body: claim_wire.Ack) -> wire.JobOut:
        return await self._now(principal, (await self.offers.ack(principal, number_of(ident), body)).number)

    async def complete(
        self, principal: Principal, ident: str, body: claim_wire.Completion
    ) -> claim_wire.Completed:
        return await self.results.complete(principal, number_of(ident), body)


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]
