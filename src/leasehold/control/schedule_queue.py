"""Runs of schedules as jobs of the queue (QUEUE-17)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from leasehold.control import job_views
from leasehold.control.job import JobService
from leasehold.control.lock import sized
from leasehold.control.schedule_views import Told
from leasehold.core import job as jobs
from leasehold.core.attempt import with_
from leasehold.core.state import COLD_JOBS, JOBS, Change, Outcome, Stamp, State
from leasehold.model.errors import NotPermitted
from leasehold.model.job import Job
from leasehold.model.principal import Principal
from leasehold.wire.job import JobIn


class QueuedRuns:
    """`schedule_runs.Submits` over the service of jobs."""

    def __init__(self, service: JobService) -> None:
        self._service = service

    def check(self, principal: Principal, body: JobIn) -> None:
        ledger = self._service.ledger
        _check_right(principal)
        self._service.drafts.make(
            principal, body, ledger.state, ledger.clock.now_ms(), ledger.clock.wall_ms(), allow_unfit=False
        )

    def submit(
        self,
        state: State,
        stamp: Stamp,
        principal: Principal,
        body: JobIn,
        after: Sequence[int],
        outcome: Outcome,
    ) -> int:
        _check_right(principal)
        self._service.room_for([body])
        draft = self._service.drafts.make(
            principal, body, state, stamp.now_ms, stamp.wall_ms, allow_unfit=False
        )
        self._service.within_quotas([draft])
        if after:
            draft = with_(draft, after=tuple(after), after_any=True, waits_for=tuple(after))
        settings = self._service.settings()
        sized(state, body.slots, principal.name, stamp, settings, outcome)
        filed = jobs.submit(state, [draft], principal.name, stamp, settings, outcome)
        return filed[0].number

    def cancel(self, state: State, stamp: Stamp, number: int, note: str, outcome: Outcome) -> bool:
        job = state.jobs[number]
        settings = self._service.settings()
        actor = job.terms.ask.principal
        found = jobs.cancel(state, job, stamp, settings, actor, note, settings.lease.grace_ms)
        jobs.join(outcome, found)
        return any(change.table == JOBS and change.finished for change in found.changes)

    def decided(self, changes: Sequence[Change]) -> None:
        over: list[Job] = []
        for change in changes:
            if change.table == JOBS and change.finished:
                over.append(change.record)
            elif change.table == COLD_JOBS and change.record is not None:
                self._service.cold.remember(change.key, change.record)
        if over:
            self._service.ended(over)
        self._service.eligible()

    async def told(self, numbers: Sequence[int]) -> Mapping[int, Told]:
        found: dict[int, Told] = {}
        for number in numbers:
            state = self._service.ledger.state
            job = state.jobs.get(number) or await self._service.cold.ended(number)
            if job is not None:
                end = job.end
                found[number] = Told(
                    str(job_views.state_of(job, state)),
                    job.ended_wall_ms,
                    "" if end is None else end.error,
                    None if end is None else end.exit_code,
                )
        return found


def _check_right(principal: Principal) -> None:
    if not principal.may("job:submit"):
        raise NotPermitted(
            f"{principal.name} may not submit jobs (job:submit), and so no schedule of its can"
        )
