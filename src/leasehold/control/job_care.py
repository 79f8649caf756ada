"""What time does to jobs (QUEUE-8, 10, 19).

Starts that come due, deadlines, runtime limits, ends of grace, terms that nobody has.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import structlog

from leasehold.control.ledger import Ledger
from leasehold.core import attempt
from leasehold.core import lease as life
from leasehold.core.brake import stood_ms
from leasehold.core.job import join
from leasehold.core.state import TERMS, Change, Outcome, Stamp, State
from leasehold.core.wheel import SLOT_BITS
from leasehold.model.errors import LeaseholdError
from leasehold.model.job import AT_WORK, End, Job, JobState
from leasehold.model.settings import PolicySettings

log = structlog.get_logger(__name__)

AT_ONCE = 500
"""Jobs that one look at the wheels handles: a few milliseconds."""

ROUNDS_MAX, BUSY_MS, SLOT_MS = 20, 25, 1 << SLOT_BITS
"""It looks again where more is due, so often at most and not for longer: many may start at ten."""


class JobCare:
    """Called each half second; finds by time what is to be done, and costs nothing where nothing is."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Callable[[], PolicySettings],
        on_ended: Callable[[Sequence[Job]], None],
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._on_ended = on_ended

    def recovered(self) -> None:
        """The clock may have been set back while no server ran: no back-off is longer than it can have been.

        What is stored is a time of the ledger's clock, which begins where the wall clock stands at a start.
        """
        state, now_ms = self._ledger.state, self._ledger.clock.now_ms()
        for number in list(state.queue.later):
            job = state.jobs[number]
            if job.not_before_ms - now_ms > attempt.longest_wait_ms(job):
                state.queue.wheel.add(now_ms, number)

    def tick(self) -> bool:
        """Look at what is due. True where jobs have become eligible."""
        state, clock = self._ledger.state, self._ledger.clock
        if self._ledger.read_only:
            return False
        now_ms, wall_ms = clock.now_ms(), clock.wall_ms()
        ripe = False
        for turn in range(ROUNDS_MAX):
            past_ms = SLOT_MS if turn else 0  # What is filed again stands in the slot that has just begun.
            due = state.queue.wheel.due(now_ms - past_ms, AT_ONCE)
            due += state.queue.wheel_wall.due(wall_ms - past_ms, AT_ONCE)
            for number in due:
                job = state.jobs.get(number)
                if job is not None:
                    ripe |= self._look(job, now_ms, wall_ms)
            if len(due) < AT_ONCE or clock.now_ms() - now_ms > BUSY_MS:
                break
        return ripe

    def _look(self, job: Job, now_ms: int, wall_ms: int) -> bool:
        if job.state in AT_WORK:
            if not self._cancelled(job, now_ms):
                self._runtime(job, now_ms)
            return False
        queue = self._ledger.state.queue
        if job.deadline_wall_ms and job.deadline_wall_ms <= wall_ms:
            self._expire(job)
            return False
        ripe = False
        wait_ms = job.not_before_ms - now_ms
        is_over = wait_ms <= 0 or wait_ms > attempt.longest_wait_ms(job)
        if job.state is JobState.QUEUED and is_over and job.earliest_wall_ms <= wall_ms:
            lifted = bool(job.anyway_wall_ms) and job.anyway_wall_ms <= wall_ms
            ripe = queue.ripe(job, lifted=lifted)
        self._file_again(job, now_ms, wall_ms)
        return ripe

    def _file_again(self, job: Job, now_ms: int, wall_ms: int) -> None:
        """What lies ahead stands in the wheel again: a slot begins a little before its times."""
        queue = self._ledger.state.queue
        if job.not_before_ms > now_ms:
            queue.wheel.add(job.not_before_ms, job.number)
        for due_ms in (job.earliest_wall_ms, job.anyway_wall_ms, job.deadline_wall_ms):
            if due_ms > wall_ms:
                queue.wheel_wall.add(due_ms, job.number)

    def _expire(self, job: Job) -> None:
        def decide(state: State, stamp: Stamp) -> Outcome:
            outcome = Outcome([])
            end = End("it had not started when its deadline came")
            outcome.answer = [attempt.ended(outcome, job, JobState.EXPIRED, end, stamp)]
            return outcome

        self._submit(job, decide)

    def _cancelled(self, job: Job, now_ms: int) -> bool:
        """A job under a session whose worker has not stopped it in its grace: it is over, and fenced off."""
        if not job.cancel:
            return False
        lease = self._ledger.state.leases.get(job.lease_id)
        if lease is not None and lease.job == job.number:
            return True  # Its own lease is being revoked: its end is the job's.
        if job.not_before_ms > now_ms:
            self._ledger.state.queue.wheel.add(job.not_before_ms, job.number)
            return True

        def decide(state: State, stamp: Stamp) -> Outcome:
            outcome = Outcome([])
            over = attempt.ended(outcome, state.jobs[job.number], JobState.CANCELED, End(job.cancel), stamp)
            outcome.answer = [over]
            return outcome

        self._submit(job, decide)
        return True

    def _runtime(self, job: Job, now_ms: int) -> None:
        """Past its runtime limit its lease is taken back; what becomes of it is decided at that one's end."""
        limit_ms = job.terms.max_runtime_ms
        lease = self._ledger.state.leases.get(job.lease_id)
        if not limit_ms or not job.started_ms or lease is None:
            return  # Offered anew since the wheel was told.
        ends_ms = job.started_ms + limit_ms + stood_ms(lease, now_ms)
        if ends_ms > now_ms:
            self._ledger.state.queue.wheel.add(ends_ms, job.number)
            return
        if lease.job == job.number:
            self._submit(job, partial(self._take_back, job.number))
        else:
            self._submit(job, partial(self._out_of_time, job.number))

    def _take_back(self, number: int, state: State, stamp: Stamp) -> Outcome:
        job = state.jobs[number]
        lease = state.leases[job.lease_id]
        settings = self._settings()
        outcome = Outcome([])
        note = f"it ran longer than its limit of {job.terms.max_runtime_ms // 1000} s"
        revoked = life.revoke(
            state, lease, stamp, settings, by="its runtime limit", note=note, grace_ms=settings.lease.grace_ms
        )
        join(outcome, revoked)
        return outcome

    def _out_of_time(self, number: int, state: State, stamp: Stamp) -> Outcome:
        outcome = Outcome([])
        outcome.answer = [attempt.ran_out_of_time(outcome, state.jobs[number], stamp, state)]
        return outcome

    def _submit(self, job: Job, decide: Callable[[State, Stamp], Outcome]) -> None:
        try:
            over, _ = self._ledger.submit(decide)
        except LeaseholdError as error:
            log.info("put_off", job=job.number, why=str(error))
            self._ledger.state.queue.wheel.add(self._ledger.clock.now_ms() + 1_000, job.number)
            return
        if over:
            self._on_ended(over)


def forget_terms(state: State, stamp: Stamp) -> Outcome:
    """Drop terms that no live job has: at most 500 a round."""
    outcome = Outcome()
    outcome.changes.extend(Change(TERMS, key, None) for key in list(state.queue.unused)[:500])
    return outcome
