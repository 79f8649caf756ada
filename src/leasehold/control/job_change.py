"""What people do to jobs: cancel, hold, pause, resume, put first, try again (QUEUE-3, 10)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from leasehold.control.drafts import named
from leasehold.control.ledger import Ledger
from leasehold.core import job as jobs
from leasehold.core.attempt import job_id, with_
from leasehold.core.state import Outcome, Stamp, State
from leasehold.model.errors import Conflict, Invalid, NotFound, NotPermitted
from leasehold.model.ids import to_number
from leasehold.model.job import AT_WORK, Job, JobState
from leasehold.model.principal import Principal
from leasehold.model.priority import Priority
from leasehold.model.settings import PolicySettings
from leasehold.wire import job as wire
from leasehold.wire.lease import Pause, Resume

Find = Callable[[int], Awaitable[Job]]


class Changes:
    """Changes jobs for people. Each answers with the number of the job, once that is durable."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Callable[[], PolicySettings],
        find: Find,
        ended: Callable[[Sequence[Job]], None],
        eligible: Callable[[], None],
    ) -> None:
        self.ledger = ledger
        self.settings = settings
        self.find = find
        self.ended = ended
        self.eligible = eligible
        self.pause_lease: Callable[[Principal, str, Pause], Awaitable[object]] | None = None
        self.resume_lease: Callable[[Principal, str, Resume], Awaitable[object]] | None = None

    async def pause(self, principal: Principal, ident: str, body: wire.Note) -> int:
        """What runs stands still until somebody resumes it; what waits is held."""
        job = await self._own(principal, ident)
        if not self._has_own_lease(job) or self.pause_lease is None:
            return await self.hold(principal, ident, body)
        await self.pause_lease(_for(principal), job.lease_id, Pause(note=body.note))
        return job.number

    async def resume(self, principal: Principal, ident: str, body: wire.Note) -> int:
        """A held job stands in line again; one that stands still goes on."""
        job = await self._own(principal, ident)
        if self._has_own_lease(job) and self.resume_lease is not None:
            await self.resume_lease(_for(principal), job.lease_id, Resume(note=body.note))
            return job.number
        return await self._unhold(principal, ident)

    async def _own(self, principal: Principal, ident: str) -> Job:
        job = await self.find(number_of(ident))
        check_owner(job, principal, "job:manage")
        return job

    def _has_own_lease(self, job: Job) -> bool:
        """Whether it runs under a lease of its own, not under a session's."""
        lease = self.ledger.state.leases.get(job.lease_id) if job.state is JobState.RUNNING else None
        return lease is not None and lease.job == job.number

    async def cancel(self, principal: Principal, ident: str, body: wire.Cancel) -> int:
        """End it: at once where nothing runs, else as soon as its worker has stopped."""
        limits = self.settings().lease
        grace_ms = limits.grace_ms if body.grace_sec is None else body.grace_sec * 1000

        def change(job: Job, state: State, stamp: Stamp) -> Outcome:
            return jobs.cancel(state, job, stamp, self.settings(), principal.name, body.note, grace_ms)

        return await self._change(principal, ident, change, "job:cancel")

    async def hold(self, principal: Principal, ident: str, body: wire.Note) -> int:
        """Keep a waiting job back until somebody resumes it."""

        def change(job: Job, state: State, stamp: Stamp) -> Outcome:
            return jobs.hold(state, job, stamp, principal.name, body.note)

        return await self._change(principal, ident, change, "job:manage")

    async def _unhold(self, principal: Principal, ident: str) -> int:

        def change(job: Job, state: State, stamp: Stamp) -> Outcome:
            return jobs.resume(state, job, stamp, principal.name)

        return await self._change(principal, ident, change, "job:manage")

    async def prioritise(self, principal: Principal, ident: str, body: wire.NewPriority) -> int:
        """Another lane; its age counts there as well."""
        try:
            priority = Priority.parse(body.priority)
        except ValueError as error:
            raise Invalid(f"priority: {error}", field="$.priority", expected=str(error)) from error
        if priority <= Priority.HIGH and not principal.may("lease:now"):
            raise NotPermitted(
                f"{principal.name} may not put work before others' (lease:now); NORMAL is the most"
            )

        def change(job: Job, state: State, stamp: Stamp) -> Outcome:
            if job.state in AT_WORK:
                raise Conflict(f"{job_id(job.number)} is {job.state}: it needs no place in line any more")
            terms = named(with_(job.terms, ask=with_(job.terms.ask, priority=priority)))
            return jobs.prioritise(state, job, terms, stamp, self.settings(), principal.name)

        return await self._change(principal, ident, change, "job:manage")

    async def retry(self, principal: Principal, ident: str, body: wire.Note) -> int:
        """A job that has ended other than DONE gets one more attempt."""
        over = await self.find(number_of(ident))
        check_owner(over, principal, "job:manage")

        def decide(state: State, stamp: Stamp) -> Outcome:
            return jobs.retry(state, over, stamp, self.settings(), principal.name)

        await self.ledger.execute(decide)
        self.eligible()
        return number_of(ident)

    async def _change(
        self,
        principal: Principal,
        ident: str,
        change: Callable[[Job, State, Stamp], Outcome],
        verb: str,
    ) -> int:
        number = number_of(ident)

        def decide(state: State, stamp: Stamp) -> Outcome:
            job = state.jobs.get(number)
            if job is None:
                raise _Ended
            check_owner(job, principal, verb)
            return change(job, state, stamp)

        try:
            after, durable = self.ledger.submit(decide)
        except _Ended:
            over = await self.find(number)
            raise Conflict(
                f"{job_id(number)} has ended {over.state}", job_id=job_id(number), state=str(over.state)
            ) from None
        if after.number not in self.ledger.state.jobs:
            self.ended([after])
        if durable is not None:
            await durable
        self.eligible()
        return number_of(ident)


def _for(principal: Principal) -> Principal:
    """The owner of a job acts, under his own name, on the lease that its worker holds."""
    return with_(principal, verbs=principal.verbs | {"lease:revoke"})


class _Ended(Exception):
    """The job is not live."""


def check_owner(job: Job, principal: Principal, verb: str) -> None:
    """Raise NotPermitted where the job is somebody else's and the caller lacks the right."""
    if job.terms.ask.principal != principal.name and not principal.may(verb):
        raise NotPermitted(
            f"{job_id(job.number)} is {job.terms.ask.holder}'s; others' jobs take the right {verb}",
            job_id=job_id(job.number),
        )


def may_see(job: Job, principal: Principal) -> bool:
    """Whether what it was given and what it gave is for this caller's eyes (QUEUE-4)."""
    ask = job.terms.ask
    return ask.holder == principal.acts_as or ask.principal == principal.name or principal.may("job:manage")


def number_of(ident: str) -> int:
    """The number of a job id. Raises NotFound."""
    number = to_number("job", ident)
    if number is None:
        raise NotFound(f"no job {ident[:64]} is known; see `leasehold queue`", job_id=ident[:64])
    return number
