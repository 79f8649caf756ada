"""How an attempt of a job ends, as pure decisions (QUEUE-2, 10, 11).

Done, failed and tried again, lost, cancelled, out of time.

Each adds to an outcome that may hold the end of the lease too: both are one commit (QUEUE-9).
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from leasehold.core.state import JOBS, Change, Outcome, Stamp, State
from leasehold.model.errors import Conflict
from leasehold.model.event import Event
from leasehold.model.ids import from_number
from leasehold.model.job import AT_WORK, ENDED, RUNNER, TRANSITIONS, Attempt, End, ErrorClass, Job, JobState
from leasehold.model.lease import Lease

LOSSES_FREE = 3
"""So often the loss of a node or lease does not count as an attempt; then it does (poison protection)."""

PAST_MAX = 20
"""Attempts that a job remembers; the oldest go first."""

NOT_STARTED_MS = 10_000
"""How long a command waits that could not be started for want of something of the machine's."""

ERROR_MAX = 500
"""Letters of an error that an attempt which is over keeps."""

SPREAD, MASK = 0x9E3779B97F4A7C15, (1 << 64) - 1
"""Fibonacci hashing: numbers in a row lie far apart. Source: Knuth, TAOCP 3, section 6.4."""

NOTHING_SEEN = End()

with_ = msgspec.structs.replace


def job_id(number: int) -> str:
    return from_number("job", number)


def move(job: Job, to: JobState) -> None:
    """Raise Conflict where the table of transitions has no such step."""
    if to not in TRANSITIONS[job.state]:
        raise Conflict(
            f"{job_id(job.number)} is {job.state} and can't become {to}",
            job_id=job_id(job.number),
            state=str(job.state),
        )


def event(outcome: Outcome, kind: str, job: Job, stamp: Stamp, actor: str = "", **details: object) -> None:
    outcome.events.append(Event(kind, job_id(job.number), stamp.wall_ms, actor, details=details))


def ended(outcome: Outcome, job: Job, to: JobState, end: End, stamp: Stamp, actor: str = "") -> Job:
    """The job is over: its record goes to the archive with all that its end tells."""
    move(job, to)
    past = job.past
    if job.started_ms and to is not JobState.DONE:
        past = _remembered(job, str(to), end, stamp)
    over = with_(
        job,
        state=to,
        end=end,
        past=past,
        ended_wall_ms=stamp.wall_ms,
        lease_id="",
        waits_for=(),
        cancel=job.cancel,
    )
    assert to in ENDED, f"{to} is no end"
    outcome.changes.append(Change(JOBS, job.number, over, finished=True))
    details: dict[str, object] = {"generation": job.generation, "job_type": job.terms.ask.job_type}
    if end.error:
        details["error"] = end.error[:ERROR_MAX]
    outcome.events.append(
        Event(f"Job{to.capitalize()}", job_id(job.number), stamp.wall_ms, actor, details=details)
    )
    return over


def done(outcome: Outcome, job: Job, end: End, stamp: Stamp) -> Job:
    """The hot path of `ended`: a job that is done."""
    over = Job(
        job.number,
        job.terms,
        JobState.DONE,
        job.since_wall_ms,
        job.due_ms,
        job.generation,
        job.attempts,
        job.lost,
        job.not_before_ms,
        job.earliest_wall_ms,
        job.deadline_wall_ms,
        job.anyway_wall_ms,
        job.after,
        job.after_any,
        (),
        job.unique,
        job.size,
        job.index,
        "",
        job.token,
        job.worker,
        job.started_ms,
        job.started_wall_ms,
        stamp.wall_ms,
        job.cancel,
        job.memory_bytes,
        end,
        job.past,
    )
    outcome.changes.append(Change(JOBS, job.number, over, True))
    outcome.events.append(Event("JobDone", from_number("job", job.number), stamp.wall_ms, job.worker))
    return over


def _remembered(job: Job, outcome: str, end: End, stamp: Stamp) -> tuple[Attempt, ...]:
    kept = with_(end, error=end.error[:ERROR_MAX], result=b"") if end.error or end.result else end
    attempt = Attempt(job.generation, job.worker, job.started_wall_ms, stamp.wall_ms, outcome, kept)
    return (*job.past, attempt)[-PAST_MAX:]


def requeued(
    outcome: Outcome, job: Job, why: str, end: End, stamp: Stamp, *, not_before_ms: int = 0, **fields: object
) -> Job:
    """Back into the line, with its place: whoever held it is fenced off by the next generation."""
    if job.state not in AT_WORK:
        raise Conflict(f"{job_id(job.number)} is {job.state}; nobody works on it", state=str(job.state))
    past = _remembered(job, why, end, stamp) if job.started_ms else job.past
    back = with_(
        job,
        state=JobState.QUEUED,
        past=past,
        not_before_ms=not_before_ms,
        earliest_wall_ms=0,
        lease_id="",
        token=0,
        worker="",
        started_ms=0,
        started_wall_ms=0,
        **fields,
    )
    outcome.changes.append(Change(JOBS, job.number, back))
    details = {"why": why, "error": end.error[:ERROR_MAX], "generation": job.generation}
    event(outcome, "JobRequeued", job, stamp, job.worker, **details)
    return back


def failed(
    outcome: Outcome, job: Job, end: End, state: State, stamp: Stamp, *, reserve_bytes: int = 0
) -> Job:
    """An attempt failed: another one after a back-off where that may help, else the dead letter.

    `reserve_bytes` of a node's memory are given to nobody.
    """
    permanent = end.error_class is ErrorClass.PERMANENT
    if permanent or job.attempts >= job.terms.max_attempts:
        return ended(outcome, job, JobState.FAILED, end, stamp)
    memory_bytes = job.memory_bytes
    if end.error_class is ErrorClass.OUT_OF_MEMORY:
        memory_bytes = more_memory(job, end, state, reserve_bytes)
    wait_ms = back_off_ms(job, stamp.seed)
    return requeued(
        outcome,
        job,
        "FAILED",
        end,
        stamp,
        not_before_ms=stamp.now_ms + wait_ms if wait_ms else 0,
        memory_bytes=memory_bytes,
    )


def back_off_ms(job: Job, seed: int) -> int:
    """A random time up to min(cap, base · 2^(attempts - 1)): full jitter (see `Retry`).

    Jobs that fail in one decision have one seed: their numbers set them apart.
    """
    return ((seed << 1 ^ job.number * SPREAD) & MASK) * (_back_off_most_ms(job) + 1) >> 64


def _back_off_most_ms(job: Job) -> int:
    retry = job.terms.retry
    return min(retry.cap_ms, retry.base_ms << min(40, max(0, job.attempts - 1)))


def longest_wait_ms(job: Job) -> int:
    """How long a job that goes back into the line may be kept from starting, at most."""
    return max(NOT_STARTED_MS, _back_off_most_ms(job))


def more_memory(job: Job, end: End, state: State, reserve_bytes: int) -> int:
    """Half as much again as it was given or had used, up to all that the greatest node can give to it."""
    given = job.memory_bytes or job.terms.ask.charge.memory_bytes
    wanted = max(given, end.usage.memory_peak_bytes) * 3 // 2
    if not wanted or state.view is None:
        return job.memory_bytes
    most = (state.view.totals.memory_bytes - reserve_bytes) // job.terms.gang
    return max(given, min(wanted, most))


def lost(outcome: Outcome, job: Job, why: str, state: State, stamp: Stamp, seen: End = NOTHING_SEEN) -> Job:
    """Its lease or node was lost: not its fault, until that has happened too often.

    `seen` is how its command ended, where that was seen.
    """
    end = with_(seen, error=why, error_class=ErrorClass.LOST)
    if job.cancel:
        return ended(outcome, job, JobState.CANCELED, with_(end, error=job.cancel), stamp)
    if job.lost < LOSSES_FREE:
        return requeued(outcome, job, "LOST", end, stamp, lost=job.lost + 1, attempts=job.attempts - 1)
    if job.attempts >= job.terms.max_attempts:
        return ended(outcome, job, JobState.FAILED, end, stamp)
    wait_ms = back_off_ms(job, stamp.seed)
    return requeued(outcome, job, "LOST", end, stamp, lost=job.lost + 1, not_before_ms=stamp.now_ms + wait_ms)


def worker_lost(
    outcome: Outcome, state: State, lease: Lease, under: Collection[int], reason: str, stamp: Stamp
) -> None:
    """Nothing was heard of who worked on the jobs under a lease. Commands of this server have no worker."""
    ask = lease.ask
    if ask.principal == RUNNER:
        return
    worker = next((job.worker for number in under if (job := state.jobs.get(number))), "") or ask.holder
    details: dict[str, object] = {"lease_id": lease.lease_id, "jobs": len(under), "reason": reason}
    outcome.events.append(Event("WorkerLost", worker, stamp.wall_ms, ask.principal, details=details))


def lapsed(outcome: Outcome, job: Job, stamp: Stamp) -> Job:
    """An offer that nobody took up: no attempt (QUEUE-4)."""
    if job.cancel:
        return ended(outcome, job, JobState.CANCELED, End(job.cancel), stamp)
    return requeued(outcome, job, "LAPSED", End("the offer was not taken up"), stamp)


def ran_out_of_time(outcome: Outcome, job: Job, stamp: Stamp, state: State, seen: End = NOTHING_SEEN) -> Job:
    """It ran longer than its limit: another attempt where it has one left, else EXPIRED (QUEUE-10)."""
    if job.cancel:
        return ended(outcome, job, JobState.CANCELED, with_(seen, error=job.cancel), stamp)
    if not job.started_ms:
        raise Conflict(f"{job_id(job.number)} is {job.state}; it does not run", state=str(job.state))
    limit_s = job.terms.max_runtime_ms // 1000
    end = with_(seen, error=f"it ran longer than its limit of {limit_s} s", error_class=ErrorClass.RETRYABLE)
    if job.attempts < job.terms.max_attempts:
        return failed(outcome, job, end, state, stamp)
    return ended(outcome, job, JobState.EXPIRED, end, stamp)


def taken_back(
    outcome: Outcome, job: Job, why: str, state: State, stamp: Stamp, seen: End, stood_ms: int
) -> Job:
    """Its lease was revoked, and it has stopped: back into the line, or over its runtime limit.

    `stood_ms`: so long it has stood still, which is no runtime (LEASE-14).
    """
    limit_ms = job.terms.max_runtime_ms
    if limit_ms and job.started_ms + limit_ms + stood_ms <= stamp.now_ms:
        return ran_out_of_time(outcome, job, stamp, state, seen)
    return lost(outcome, job, f"its lease ended: {why or 'revoked'}", state, stamp, seen)


def lease_ended(
    outcome: Outcome,
    state: State,
    number: int,
    how: str,
    reason: str,
    stamp: Stamp,
    stood_ms: int = 0,
) -> None:
    """The lease of a job's attempt has ended by itself: expired, revoked, or released without a result.

    `how` is the lease's last state. In the same commit as that end (QUEUE-9, 10).
    """
    job = state.jobs.get(number)
    if job is None:
        return
    if job.state is JobState.DISPATCHING:
        lapsed(outcome, job, stamp)
    elif job.cancel:
        ended(outcome, job, JobState.CANCELED, End(job.cancel), stamp)
    elif how == "REVOKED":
        taken_back(outcome, job, reason, state, stamp, NOTHING_SEEN, stood_ms)
    elif how == "RELEASED":
        failed(outcome, job, End("NO_RESULT: its lease was released without a result"), state, stamp)
    else:
        lost(outcome, job, f"its lease ended: {reason or how}", state, stamp)
