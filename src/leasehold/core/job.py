"""Jobs as people change them, as pure decisions (QUEUE-1…3, 10).

Submit, hold, cancel, put first, try again.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from leasehold.core import attempt, order, tenant
from leasehold.core import lease as life
from leasehold.core.attempt import job_id
from leasehold.core.jobs import unique_of
from leasehold.core.state import COLD_JOBS, JOBS, TERMS, Change, Outcome, Stamp, State
from leasehold.model.errors import Conflict
from leasehold.model.event import Event
from leasehold.model.ids import from_number
from leasehold.model.job import AT_WORK, End, Job, JobState, Terms
from leasehold.model.settings import PolicySettings

with_ = msgspec.structs.replace

ANYWAY_MS = 24 * 3_600_000
ANYWAY_SLACK_MS = 15 * 60_000
"""QUEUE-19: start_anyway_by is by default the lesser of a day from now and deadline - max(2 x p90, this)."""


class Draft(msgspec.Struct, frozen=True, gc=False):
    """A job as it is to be filed. `cold` is its encoded JobSpec; the rest is as in `Job`.

    `waits_for` are those of `after` that had not ended when it was looked up. `earlier` are the places among
    the drafts of the same commit of others that it comes after; they stand before it.
    """

    terms: Terms
    cold: bytes
    size: int = 0
    earliest_wall_ms: int = 0
    deadline_wall_ms: int = 0
    anyway_wall_ms: int = 0
    after: tuple[int, ...] = ()
    after_any: bool = False
    waits_for: tuple[int, ...] = ()
    unique: str = ""
    index: int = 0
    held: bool = False
    earlier: tuple[int, ...] = ()


class Filed(msgspec.Struct, frozen=True, gc=False):
    """What became of a draft: its job, and whether that was there already (`unique`)."""

    number: int
    state: JobState
    existing: bool = False


def submit(
    state: State,
    drafts: Sequence[Draft],
    actor: str,
    stamp: Stamp,
    settings: PolicySettings,
    outcome: Outcome,
) -> list[Filed]:
    """File jobs, all of them in one commit. A live one of the same unique key stands for its draft."""
    filed: list[Filed] = []
    line, now_ms, wall_ms = settings.line, stamp.now_ms, stamp.wall_ms
    changes, events = outcome.changes, outcome.events
    fresh_terms: set[str] = set()
    fresh_unique: dict[tuple[str, str, str], Filed] = {}
    number = stamp.number + outcome.numbers
    same: dict[int, int] = {}  # One object for equal times: a million jobs wait.
    for draft in drafts:
        terms = draft.terms
        key = (terms.ask.tenant, terms.ask.job_type, draft.unique) if draft.unique else None
        if key is not None:
            known = fresh_unique.get(key) or _live_of(state, key)
            if known is not None:
                filed.append(known)
                continue
        if terms.key not in state.terms and terms.key not in fresh_terms:
            fresh_terms.add(terms.key)
            changes.append(Change(TERMS, terms.key, terms))
        due_ms = order.static_due(terms.ask, now_ms, line, _lane_key(draft, now_ms, wall_ms))
        beside = tuple(filed[place].number for place in draft.earlier) if draft.earlier else ()
        job = Job(
            number,
            state.terms.get(terms.key, terms),
            JobState.HELD if draft.held else JobState.QUEUED,
            wall_ms,
            same.setdefault(due_ms, due_ms),
            0,
            0,
            0,
            0,
            draft.earliest_wall_ms,
            draft.deadline_wall_ms,
            same.setdefault(draft.anyway_wall_ms, draft.anyway_wall_ms),
            draft.after + beside,
            draft.after_any,
            draft.waits_for + beside,
            draft.unique,
            draft.size,
            draft.index,
        )
        changes.append(Change(JOBS, number, job))
        changes.append(Change(COLD_JOBS, number, draft.cold))
        events.append(Event("JobSubmitted", from_number("job", number), wall_ms, actor))
        one = Filed(number, job.state)
        filed.append(one)
        if key is not None:
            fresh_unique[key] = Filed(number, job.state, existing=True)
        number += 1
    outcome.numbers = number - stamp.number
    return filed


def _live_of(state: State, key: tuple[str, str, str]) -> Filed | None:
    number = state.queue.unique.get(key)
    return None if number is None else Filed(number, state.jobs[number].state, existing=True)


def _lane_key(draft: Draft | Job, now_ms: int, wall_ms: int) -> int:
    """The deadline that orders it within its lane, on the ledger's clock; 0: none (QUEUE-6, 19)."""
    by_ms = draft.deadline_wall_ms
    if draft.terms.time_sensitive and draft.anyway_wall_ms:
        by_ms = draft.anyway_wall_ms
    return now_ms + by_ms - wall_ms if by_ms else 0


def hold(state: State, job: Job, stamp: Stamp, actor: str, note: str) -> Outcome:
    """Keep a waiting job back until somebody resumes it."""
    if job.state is JobState.HELD:
        return Outcome(job)
    attempt.move(job, JobState.HELD)
    return _changed(with_(job, state=JobState.HELD), "JobHeld", stamp, actor, note=note)


def resume(state: State, job: Job, stamp: Stamp, actor: str) -> Outcome:
    """A held job stands in line again, where it stood."""
    if job.state is not JobState.HELD:
        raise Conflict(
            f"{job_id(job.number)} is {job.state}, not HELD; nothing keeps it back", state=str(job.state)
        )
    return _changed(with_(job, state=JobState.QUEUED), "JobResumed", stamp, actor)


def prioritise(
    state: State, job: Job, terms: Terms, stamp: Stamp, settings: PolicySettings, actor: str
) -> Outcome:
    """Another lane: `terms` are the job's own but for the priority. It keeps its number and its age."""
    outcome = Outcome()
    if terms.key not in state.terms:
        outcome.changes.append(Change(TERMS, terms.key, terms))
    age_ms = max(0, stamp.wall_ms - job.since_wall_ms)
    due_ms = order.static_due(
        terms.ask, stamp.now_ms - age_ms, settings.line, _lane_key(job, stamp.now_ms, stamp.wall_ms)
    )
    changed = with_(job, terms=state.terms.get(terms.key, terms), due_ms=due_ms)
    outcome.changes.append(Change(JOBS, job.number, changed))
    attempt.event(outcome, "JobPrioritised", job, stamp, actor, priority=terms.ask.priority.name)
    outcome.answer = changed
    return outcome


def cancel(
    state: State, job: Job, stamp: Stamp, settings: PolicySettings, actor: str, note: str, grace_ms: int
) -> Outcome:
    """End a job (QUEUE-10). What runs is asked to stop, and CANCELED when it has; all else is at once."""
    sentence = f"cancelled by {actor}" + (f": {note}" if note else "")
    outcome = Outcome()
    if job.state not in AT_WORK:
        outcome.answer = attempt.ended(outcome, job, JobState.CANCELED, End(sentence), stamp, actor)
        return outcome
    own = [lease for each in job.leases if (lease := state.leases.get(each)) and lease.job == job.number]
    if job.state is JobState.DISPATCHING:
        outcome.answer = attempt.ended(outcome, job, JobState.CANCELED, End(sentence), stamp, actor)
        for lease in own:
            usage = lease.usage
            over = life.release(
                state, lease, stamp, settings, usage, sentence, settled=job.number, flows=outcome.flows
            )
            join(outcome, over)
        return outcome
    if job.cancel:
        outcome.answer = job
        return outcome
    changed = with_(job, cancel=sentence, not_before_ms=stamp.now_ms + grace_ms)
    outcome.changes.append(Change(JOBS, job.number, changed))
    attempt.event(outcome, "JobCancelRequested", job, stamp, actor, note=note)
    for lease in own:
        join(outcome, life.revoke(state, lease, stamp, settings, by=actor, note=note, grace_ms=grace_ms))
    outcome.answer = changed
    return outcome


def retry(state: State, over: Job, stamp: Stamp, settings: PolicySettings, actor: str) -> Outcome:
    """A job that ended other than DONE gets one more attempt, with its history; `over` is as archived."""
    attempt.move(over, JobState.QUEUED)
    if over.number in state.jobs:
        raise Conflict(f"{job_id(over.number)} lives again already")
    if over.unique and unique_of(over) in state.queue.unique:
        other = state.queue.unique[unique_of(over)]
        raise Conflict(f"{job_id(other)} has the same unique key and is live; cancel it first")
    tenant.check_queue(state, {over.terms.ask.tenant: (1, over.size)})
    outcome = Outcome()
    terms = over.terms
    if terms.key not in state.terms:
        outcome.changes.append(Change(TERMS, terms.key, terms))
    due_ms = order.static_due(terms.ask, stamp.now_ms, settings.line)
    back = with_(
        over,
        terms=state.terms.get(terms.key, terms),
        state=JobState.QUEUED,
        due_ms=due_ms,
        attempts=min(over.attempts, terms.max_attempts - 1),
        lost=0,
        not_before_ms=0,
        earliest_wall_ms=0,
        deadline_wall_ms=0,
        anyway_wall_ms=stamp.wall_ms + ANYWAY_MS if over.anyway_wall_ms else 0,
        lease_id="",
        token=0,
        worker="",
        started_ms=0,
        started_wall_ms=0,
        ended_wall_ms=0,
        cancel="",
        end=None,
    )
    outcome.changes.append(Change(JOBS, over.number, back))
    attempt.event(outcome, "JobRetried", over, stamp, actor, after=str(over.state))
    outcome.answer = back
    return outcome


def join(outcome: Outcome, other: Outcome) -> None:
    """Both decisions as one commit."""
    outcome.changes += other.changes
    outcome.events += other.events
    outcome.deadlines += other.deadlines
    outcome.presences += other.presences
    outcome.numbers += other.numbers


def _changed(job: Job, kind: str, stamp: Stamp, actor: str, **details: object) -> Outcome:
    outcome = Outcome(job)
    outcome.changes.append(Change(JOBS, job.number, job))
    attempt.event(outcome, kind, job, stamp, actor, **details)
    return outcome
