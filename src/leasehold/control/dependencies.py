"""What ended jobs mean for those that come after them (QUEUE-1, 10).

A level effect: it follows from the records, in commits of its own, and a recovery derives again what a crash
left undone. So a job may have any number of dependants.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from itertools import islice

import structlog

from leasehold.control.cold import ColdParts
from leasehold.control.ledger import Ledger
from leasehold.core import attempt
from leasehold.core.attempt import job_id
from leasehold.core.state import JOBS, Change, Outcome, Stamp, State
from leasehold.model.errors import Conflict, Invalid, LeaseholdError
from leasehold.model.event import Event
from leasehold.model.job import End, Job, JobState

log = structlog.get_logger(__name__)

SLICE = 500
"""About so many dependants are changed by one commit."""


class Dependencies:
    """Which jobs wait for which, and what becomes of them."""

    def __init__(self, ledger: Ledger, cold: ColdParts, eligible: Callable[[], None]) -> None:
        self._ledger = ledger
        self._cold = cold
        self._eligible = eligible
        self._is_at_work = False

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
        """Jobs have ended, or gone back into the line: whoever waits for an end is looked at."""
        self.work()

    def committed(self, events: Sequence[Event]) -> None:
        """Jobs end in many ways, some with their lease: whoever waits for them hears of it."""
        self.work()

    def work(self) -> None:
        """Do a slice of what is due; the next one once that is durable, so that whatever number depends on a
        job, nobody else waits for it. What can't be written now is done by a later call.
        """
        if not self._ledger.state.queue.over or self._is_at_work or self._ledger.read_only:
            return
        try:
            _, durable = self._ledger.submit(self._decide)
        except LeaseholdError as error:
            log.info("put_off", what="dependants", why=str(error))
            return
        if durable is not None and self._ledger.state.queue.over:
            self._is_at_work = True
            durable.add_done_callback(self._go_on)
        self._eligible()

    def _go_on(self, done: asyncio.Future[None]) -> None:
        self._is_at_work = False
        if not done.cancelled() and done.exception() is None:
            self.work()

    @staticmethod
    def _decide(state: State, stamp: Stamp) -> Outcome:
        """Free, or cancel, those that come after jobs that have ended, and those that come after these."""
        outcome = Outcome()
        queue = state.queue
        over = deque(queue.over.items())
        now: dict[int, Job] = {}
        while over and len(now) < SLICE:
            number, done = over.popleft()
            for dependant in islice(queue.dependants.get(number, ()), SLICE):
                job = now.get(dependant) or state.jobs[dependant]
                if number not in job.waits_for:
                    continue  # It was cancelled in this slice.
                if done or job.after_any:
                    left = tuple(other for other in job.waits_for if other != number)
                    now[dependant] = attempt.with_(job, waits_for=left)
                    outcome.changes.append(Change(JOBS, dependant, now[dependant]))
                    continue
                end = End(f"{job_id(number)}, which it comes after, was not DONE")
                now[dependant] = attempt.ended(outcome, job, JobState.CANCELED, end, stamp, job_id(number))
                if dependant in queue.dependants:
                    over.append((dependant, False))
        return outcome

    async def recover(self) -> None:
        """After a start, and after a time without a store: jobs that ended before what follows from it was
        written.
        """
        state = self._ledger.state
        orphaned = [number for number in state.queue.dependants if number not in state.jobs]
        for number in orphaned:
            over = await self._cold.ended(number)
            queue = self._ledger.state.queue
            if number not in self._ledger.state.jobs and number in queue.dependants:
                queue.over[number] = over is not None and over.state is JobState.DONE
        self.work()
