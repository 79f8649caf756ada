"""A state with jobs in it, and every decision about jobs by name: for tests of the pure core."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from leasehold.control.batch import OpenBatch
from leasehold.control.recovery import set_deadlines
from leasehold.core import attempt, execution
from leasehold.core import job as jobs
from leasehold.core import lease as life
from leasehold.core.job import Draft, Filed
from leasehold.core.line import plain_cost
from leasehold.core.state import JOBS, LEASES, Outcome, Stamp, State
from leasehold.model.errors import LeaseholdError
from leasehold.model.job import End, ErrorClass, Job, JobState, Retry, Terms
from leasehold.model.lease import Lease, Usage
from leasehold.model.priority import Priority
from leasehold.model.settings import PolicySettings
from leasehold.testing import waiting as factories

SETTINGS = PolicySettings()
WORKER = "worker"
DOES_NOTHING = -1

Decide = Callable[[Job, Stamp], Outcome]


def terms(units: int = 1, **fields: Any) -> Terms:
    """Terms with a key that is made of the rest, as far as tests tell them apart."""
    made = Terms("", msgspec.structs.replace(factories.ask(units), principal=WORKER, is_job=True), **fields)
    return msgspec.structs.replace(made, key=str(hash((units, *sorted(map(str, fields.items()))))))


class JobTable:
    """A state and its clock. `ended` are the jobs whose records have gone to the archive."""

    def __init__(self) -> None:
        self.state = State("node")
        self.state.view = factories.quiet(always=True)
        self.number, self.now_ms = 1, 1_000_000
        self.ended: dict[int, Job] = {}
        self.batch = OpenBatch()

    # -- making decisions

    def do(self, decide: Callable[[Stamp], Outcome]) -> Any:
        """Decide and apply: the answer."""
        stamp = Stamp(self.now_ms, self.now_ms, self.number, 7)
        outcome = decide(stamp)
        self.number += outcome.numbers
        self.batch.add(outcome, self.state)
        set_deadlines(self.state, outcome.deadlines, self.now_ms)
        for change in outcome.changes:
            if change.table == JOBS:
                self.ended.pop(change.key, None)
                if change.finished:
                    self.ended[change.key] = change.record
        return outcome.answer

    def submit(self, of: Terms | None = None, **fields: Any) -> int:
        """File a job: its number."""

        def decide(stamp: Stamp) -> Outcome:
            outcome = Outcome()
            draft = Draft(of or terms(), b"cold", **fields)
            outcome.answer = jobs.submit(self.state, [draft], "ann", stamp, SETTINGS, outcome)
            return outcome

        filed: list[Filed] = self.do(decide)
        return filed[0].number

    def session(self) -> str:
        """A lease that jobs may run under: its id."""

        def decide(stamp: Stamp) -> Outcome:
            outcome = Outcome()
            ask = msgspec.structs.replace(factories.ask(1), principal=WORKER)
            outcome.answer = life.grant(self.state, ask, stamp, SETTINGS, outcome, taken=True).lease_id
            return outcome

        lease_id: str = self.do(decide)
        return lease_id

    def job(self, number: int) -> Job:
        """As it is, live or ended."""
        found = self.state.jobs.get(number)
        return found if found is not None else self.ended[number]

    def act(self, name: str, number: int, session: str = "") -> JobState:
        """One action by its name: the job's state after it. Raises what the decision raises."""
        before = self.job(number)
        self.do(lambda stamp: getattr(self, f"_{name}")(before, stamp, session))
        return self.job(number).state

    def tried(self, name: str, number: int, session: str = "") -> JobState | None:
        """The state after it; None where it was refused."""
        try:
            return self.act(name, number, session)
        except LeaseholdError:
            return None

    # -- the actions: what people, workers, time and leases do

    def _hold(self, job: Job, stamp: Stamp, _: str) -> Outcome:
        return jobs.hold(self.state, job, stamp, "ann", "")

    def _resume(self, job: Job, stamp: Stamp, _: str) -> Outcome:
        return jobs.resume(self.state, job, stamp, "ann")

    def _cancel(self, job: Job, stamp: Stamp, _: str) -> Outcome:
        return jobs.cancel(self.state, job, stamp, SETTINGS, "ann", "", 5_000)

    def _prioritise(self, job: Job, stamp: Stamp, _: str) -> Outcome:
        ask = msgspec.structs.replace(job.terms.ask, priority=Priority.HIGH)
        changed = msgspec.structs.replace(job.terms, ask=ask, key=f"{job.terms.key} HIGH")
        return jobs.prioritise(self.state, job, changed, stamp, SETTINGS, "ann")

    def _retry(self, job: Job, stamp: Stamp, _: str) -> Outcome:
        return jobs.retry(self.state, job, stamp, SETTINGS, "ann")

    def _offer(self, job: Job, stamp: Stamp, _: str) -> Outcome:
        outcome = Outcome()
        execution.offer(self.state, job, job.terms.ask, WORKER, stamp, SETTINGS, outcome)
        return outcome

    def _take_up(self, job: Job, stamp: Stamp, _: str) -> Outcome:
        lease = self.state.leases.get(job.lease_id)
        if lease is None:
            return execution.taken_up(job, stamp)
        return execution.take_up(self.state, job, lease, stamp, SETTINGS)

    def _claim(self, job: Job, stamp: Stamp, _: str) -> Outcome:
        outcome = Outcome()
        execution.claim_own(self.state, job, job.terms.ask, WORKER, stamp, SETTINGS, outcome)
        return outcome

    def _claim_under(self, job: Job, stamp: Stamp, session: str) -> Outcome:
        outcome = Outcome()
        execution.claim_under(self.state.leases[session], [job], WORKER, stamp, outcome)
        return outcome

    def _done(self, job: Job, stamp: Stamp, _: str) -> Outcome:
        return self._complete(job, stamp, "DONE", End(result=b"1"))

    def _failed(self, job: Job, stamp: Stamp, _: str) -> Outcome:
        return self._complete(job, stamp, "FAILED", End("no"))

    def _failed_for_good(self, job: Job, stamp: Stamp, _: str) -> Outcome:
        return self._complete(job, stamp, "FAILED", End("no", ErrorClass.PERMANENT))

    def _returned(self, job: Job, stamp: Stamp, _: str) -> Outcome:
        return self._complete(job, stamp, "RETURNED", End())

    def _complete(self, job: Job, stamp: Stamp, what: str, end: End) -> Outcome:
        outcome = Outcome()
        execution.check(job, job.generation, job.token)
        execution.complete(self.state, job, what, end, stamp, SETTINGS, outcome)
        return outcome

    def _lease_lost(self, job: Job, stamp: Stamp, _: str) -> Outcome:
        return life.due(self.state, self._lease(job), stamp, SETTINGS, work_lives=False)

    def _lease_released(self, job: Job, stamp: Stamp, _: str) -> Outcome:
        return life.release(self.state, self._lease(job), stamp, SETTINGS, Usage(), "")

    def _lease_revoked(self, job: Job, stamp: Stamp, _: str) -> Outcome:
        lease = self._lease(job)
        return life.revoke(self.state, lease, stamp, SETTINGS, by="ann", note="", grace_ms=1_000)

    def _out_of_time(self, job: Job, stamp: Stamp, _: str) -> Outcome:
        outcome = Outcome()
        over = attempt.ran_out_of_time(outcome, job, stamp, self.state)
        execution.release(self.state, job, "out of time", over_usage(over), stamp, SETTINGS, outcome)
        return outcome

    def _expired(self, job: Job, stamp: Stamp, _: str) -> Outcome:
        outcome = Outcome()
        attempt.ended(outcome, job, JobState.EXPIRED, End("late"), stamp)
        return outcome

    def _lease(self, job: Job) -> Lease:
        return life.own(self.state, job.lease_id, WORKER, token=None)

    # -- looking

    def dump(self) -> dict[str, Any]:
        """Everything that a decision could see. What stands in the line and what is to be put there by the
        wheel are one: a recovery tells them apart anew, by time.
        """
        state, queue = self.state, self.state.queue
        walk, order = state.line.walk(state.flows, SETTINGS.line, 0, plain_cost), []
        while (entry := walk.next()) is not None:
            order.append(entry.number)
            walk.take()
        return {
            "jobs": {number: state.jobs[number] for number in state.jobs},
            "terms": dict(state.terms),
            "leases": dict(state.leases),
            "flows": dict(state.flows),
            "ended": list(state.ended),
            "used": state.book.used,
            "alive": sorted(state.liveness),
            "waiting": sorted({*order, *queue.later}),
            "order": [number for number in order if state.jobs[number].not_before_ms == 0],
            "by lease": {lease_id: sorted(under) for lease_id, under in queue.by_lease.items()},
            "unique": dict(queue.unique),
            "dependants": {number: sorted(others) for number, others in queue.dependants.items()},
            "waiting on": sorted(queue.waiting_on),
            "depth": dict(queue.depth),
            "terms used": dict(queue.terms_used),
            "unused": sorted(queue.unused),
            "per holder": dict(queue.per_holder),
            "bytes": queue.bytes,
        }


def over_usage(job: Job) -> Usage:
    return job.end.usage if job.end is not None else Usage()


def leases_of(table: JobTable, number: int) -> list[Lease]:
    """The live leases that are this job's own."""
    return [lease for lease in table.state.leases.values() if lease.job == number]


__all__ = ["JOBS", "LEASES", "JobTable", "Retry", "leases_of", "terms"]
