"""Jobs between the line and their end, as pure decisions: offered, taken up, claimed, completed (QUEUE-4, 9).

A job and its lease change in one commit. Under a session's lease a job has no lease of its own: its
generation fences it (LEASE-27).
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable

from leasehold.core import attempt, capacity, order
from leasehold.core import lease as life
from leasehold.core.attempt import job_id
from leasehold.core.job import join
from leasehold.core.state import FLOWS, JOBS, Change, Outcome, Stamp, State
from leasehold.model.errors import Conflict, StaleToken
from leasehold.model.event import Event
from leasehold.model.ids import from_number
from leasehold.model.job import AT_WORK, End, Job, JobState
from leasehold.model.lease import Ask, Lease, Usage
from leasehold.model.line import Flow
from leasehold.model.settings import PolicySettings

with_ = attempt.with_


def _grants(
    state: State,
    job: Job,
    ask: Ask,
    stamp: Stamp,
    settings: PolicySettings,
    outcome: Outcome,
    *,
    taken: bool,
) -> Lease:
    """The lease of its attempt, or one for each member of its gang, tokens in a row. Returns the first."""
    granted = [
        life.grant(state, ask, stamp, settings, outcome, job=job.number, taken=taken)
        for _ in range(job.terms.gang)
    ]
    return granted[0]


def offer(
    state: State, job: Job, ask: Ask, worker: str, stamp: Stamp, settings: PolicySettings, outcome: Outcome
) -> tuple[Job, Lease]:
    """Dispatch: the lease, charged, and the job that waits for its worker's word, in one commit (QUEUE-9).

    `ask` is what one member of it is charged.
    """
    before = len(outcome.deadlines)
    lease = _grants(state, job, ask, stamp, settings, outcome, taken=False)
    outcome.deadlines[before:] = [
        (lease_id, stamp.now_ms + settings.queue.offer_ms) for lease_id, _ in outcome.deadlines[before:]
    ]
    offered = with_(
        job,
        state=JobState.DISPATCHING,
        generation=job.generation + 1,
        lease_id=lease.lease_id,
        token=lease.token,
        worker=worker,
        not_before_ms=0,
        earliest_wall_ms=0,
    )
    outcome.changes.append(Change(JOBS, job.number, offered))
    attempt.event(outcome, "JobOffered", job, stamp, worker, lease_id=lease.lease_id)
    return offered, lease


def take_up(state: State, job: Job, lease: Lease, stamp: Stamp, settings: PolicySettings) -> Outcome:
    """The worker has it: RUNNING, an attempt that counts. Answer: the job."""
    outcome = life.renew(lease, stamp, settings)
    taken = taken_up(job, stamp)
    join(outcome, taken)
    outcome.answer = taken.answer
    return outcome


def taken_up(job: Job, stamp: Stamp) -> Outcome:
    """The job's part of that. Answer: the job."""
    if job.state is not JobState.DISPATCHING:
        raise Conflict(
            f"{job_id(job.number)} is {job.state}; it is not offered",
            job_id=job_id(job.number),
            state=str(job.state),
        )
    outcome = Outcome()
    running = _running(job, job.generation, job.lease_id, job.token, job.worker, stamp)
    outcome.changes.append(Change(JOBS, job.number, running))
    attempt.event(outcome, "JobStarted", running, stamp, job.worker, generation=job.generation)
    outcome.answer = running
    return outcome


def claim_own(
    state: State, job: Job, ask: Ask, worker: str, stamp: Stamp, settings: PolicySettings, outcome: Outcome
) -> tuple[Job, Lease]:
    """A claim is offer and word in one: the lease is ACTIVE, and its worker has one TTL to renew it."""
    lease = _grants(state, job, ask, stamp, settings, outcome, taken=True)
    running = _running(job, job.generation + 1, lease.lease_id, lease.token, worker, stamp)
    outcome.changes.append(Change(JOBS, job.number, running))
    attempt.event(outcome, "JobStarted", running, stamp, worker, generation=running.generation)
    return running, lease


def claim_under(
    session: Lease, jobs: Iterable[Job], worker: str, stamp: Stamp, outcome: Outcome
) -> list[Job]:
    """Start jobs under a session's lease, which was charged for all of them (LEASE-27)."""
    changes, events, started = outcome.changes, outcome.events, list[Job]()
    for job in jobs:
        running = _running(job, job.generation + 1, session.lease_id, session.token, worker, stamp)
        changes.append(Change(JOBS, job.number, running))
        events.append(Event("JobStarted", from_number("job", job.number), stamp.wall_ms, worker))
        started.append(running)
    return started


def _running(job: Job, generation: int, lease_id: str, token: int, worker: str, stamp: Stamp) -> Job:
    """Spelled out: it is made thousands of times a second."""
    return Job(
        job.number,
        job.terms,
        JobState.RUNNING,
        job.since_wall_ms,
        job.due_ms,
        generation,
        job.attempts + 1,
        job.lost,
        0,
        0,
        job.deadline_wall_ms,
        job.anyway_wall_ms,
        job.after,
        job.after_any,
        (),
        job.unique,
        job.size,
        job.index,
        lease_id,
        token,
        worker,
        stamp.now_ms,
        stamp.wall_ms,
        0,
        job.cancel,
        job.memory_bytes,
        None,
        job.past,
    )


def check(job: Job, generation: int, token: int) -> None:
    """Fencing: only who holds this attempt may speak for it (INV-3). Raises StaleToken, Conflict."""
    if job.state not in AT_WORK:
        raise Conflict(
            f"{job_id(job.number)} is {job.state}; nobody works on it",
            state=str(job.state),
            job_id=job_id(job.number),
        )
    if job.generation != generation or job.token != token:
        raise StaleToken(
            f"{job_id(job.number)} has been handed out again (generation {job.generation}); drop this result",
            job_id=job_id(job.number),
            generation=job.generation,
        )
    if job.state is JobState.DISPATCHING:
        raise Conflict(
            f"{job_id(job.number)} was offered and not taken up; ack it first", job_id=job_id(job.number)
        )


def complete(
    state: State,
    job: Job,
    outcome_of: str,
    end: End,
    stamp: Stamp,
    settings: PolicySettings,
    outcome: Outcome,
) -> Job:
    """Its worker says how it ended: DONE, FAILED, or RETURNED (not worked on, and no attempt).

    Its own lease is released in the same commit; a session's stays. Returns the job as it is then.
    """
    if job.cancel and outcome_of != "DONE":
        over = attempt.ended(outcome, job, JobState.CANCELED, with_(end, error=job.cancel), stamp)
    elif outcome_of == "RETURNED":
        over = attempt.requeued(outcome, job, "RETURNED", end, stamp, attempts=max(0, job.attempts - 1))
    elif outcome_of == "DONE":
        over = attempt.done(outcome, job, end, stamp)
    else:
        over = attempt.failed(
            outcome, job, end, state, stamp, reserve_bytes=settings.capacity.memory_reserve_bytes
        )
    release(state, job, f"its job is {over.state}", end.usage, stamp, settings, outcome)
    return over


def release(
    state: State, job: Job, note: str, usage: Usage, stamp: Stamp, settings: PolicySettings, outcome: Outcome
) -> None:
    """Release the leases that are the job's own, whose end has just been decided."""
    for lease_id in job.leases:
        lease = state.leases.get(lease_id)
        if lease is not None and lease.job == job.number:
            over = life.release(
                state, lease, stamp, settings, usage, note, settled=job.number, flows=outcome.flows
            )
            join(outcome, over)


def charge_flows(
    state: State, outcome: Outcome, work: dict[int, tuple[Ask, int, int]], settings: PolicySettings
) -> None:
    """Correct the flows by what jobs under a session really took: per terms (ask, expected, real ms)."""
    if state.view is None:
        return
    for ask, expected_ms, real_ms in work.values():
        cost = capacity.dominant_share_cost(ask.charge, state.view.totals)
        flows = ChainMap(outcome.flows, state.flows)
        for flow in order.corrected(flows, ask, cost, expected_ms, real_ms, settings.line):
            outcome.flows[flow.key] = flow
    outcome.changes.extend(Change(FLOWS, key, flow) for key, flow in outcome.flows.items())


def take_flows(flows: Iterable[Flow], outcome: Outcome) -> None:
    """The flows as a claim has charged them."""
    for flow in flows:
        outcome.flows[flow.key] = flow
        outcome.changes.append(Change(FLOWS, flow.key, flow))


NOTHING_USED = Usage()
