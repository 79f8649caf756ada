"""What ended jobs mean for those that come after them (QUEUE-1, 10).

A level effect: it follows from the records, in commits of its own, and a recovery derives again what a crash
left undone. So a job may have any number of dependants.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import partial

import structlog

from leasehold.control.cold import ColdParts
from leasehold.control.ledger import Ledger
from leasehold.core import attempt
from leasehold.core.attempt import job_id
from leasehold.core.state import JOBS, Change, Outcome, Stamp, State
from leasehold.model.errors import Conflict, Invalid, LeaseholdError
from leasehold.model.event import Event
from leasehold.model.ids import to_number
from leasehold.model.job import End, Job, JobState

log = structlog.get_logger(__name__)

ENDS = frozenset({"JobDone", "JobFailed", "JobCanceled", "JobExpired"})

SLICE = 500
"""Dependants that one commit changes."""


class Dependencies:
    """Which jobs wait for which, and what becomes of them."""

    def __init__(self, ledger: Ledger, cold: ColdParts, eligible: Callable[[], None]) -> None:
        self._ledger = ledger
        self._cold = cold
        self._eligible = eligible
        self._due: deque[tuple[int, bool]] = deque()

    async def open_ones(self, after: Collection[int], any_end: bool) -> tuple[int, ...]:
        """Those of `after` that live yet. Raises Invalid for unknown ones, Conflict for one that failed."""
        open_ones = []
        for number in after:
            if number in self._ledger.state.jobs:
                open_ones.append(number)
                continue
            over = await self._cold.ended(number)
            if over is None:
                raise Invalid(
                    f"after: no job {job_id(number)} is known", field="$.after", expected="ids of known jobs"
                )
            if over.state is not JobState.DONE and not any_end:
                raise Conflict(
                    f"after: {job_id(number)} has ended {over.state} and will not be DONE; retry it first, "
                    "or say after_any"
                )
        return tuple(open_ones)

    def ended(self, jobs: Sequence[Job]) -> None:
        """These have ended: whoever waits for them is looked at, slice by slice."""
        dependants = self._ledger.state.queue.dependants
        for job in jobs:
            if job.number in dependants:
                self._due.append((job.number, job.state is JobState.DONE))
        self.work()

    def committed(self, events: Sequence[Event]) -> None:
        """Jobs end in many ways, some with their lease: whoever waits for one of these hears of it."""
        state = self._ledger.state
        for event in events if state.queue.dependants else ():
            number = to_number("job", event.subject) if event.kind in ENDS else None
            if number is not None and number in state.queue.dependants and number not in state.jobs:
                self._due.append((number, event.kind == "JobDone"))
        if self._due:
            self.work()

    def work(self) -> None:
        """Do what is due. What can't be written now is done by a later call."""
        while self._due:
            number, done = self._due[0]
            if number not in self._ledger.state.queue.dependants:
                self._due.popleft()
                continue
            try:
                cancelled, _ = self._ledger.submit(partial(self._decide, number, done))
            except LeaseholdError as error:
                log.info("put_off", what="dependants", why=str(error))
                return
            for job in cancelled:
                if job.number in self._ledger.state.queue.dependants:
                    self._due.append((job.number, False))
        self._eligible()

    def _decide(self, number: int, done: bool, state: State, stamp: Stamp) -> Outcome:
        outcome = Outcome([])
        for dependant in list(state.queue.dependants.get(number, ()))[:SLICE]:
            job = state.jobs[dependant]
            if not done and not job.after_any:
                end = End(f"{job_id(number)}, which it comes after, was not DONE")
                outcome.answer.append(
                    attempt.ended(outcome, job, JobState.CANCELED, end, stamp, job_id(number))
                )
                continue
            left = tuple(other for other in job.waits_for if other != number)
            outcome.changes.append(Change(JOBS, dependant, attempt.with_(job, waits_for=left)))
        return outcome

    async def recover(self) -> None:
        """After a start, and a time without a store: dependants of jobs that ended before what follows was
        written.
        """
        state = self._ledger.state
        orphaned = [number for number in state.queue.dependants if number not in state.jobs]
        for number in orphaned:
            over = await self._cold.ended(number)
            if number not in self._ledger.state.jobs:
                self._due.append((number, over is not None and over.state is JobState.DONE))
        self.work()
