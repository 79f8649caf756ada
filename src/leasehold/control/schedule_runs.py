"""How a run of a schedule becomes a job, in whose name, and as one commit with it (QUEUE-17)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec
import structlog
from msgspec.structs import replace

from leasehold.control.schedule_views import Told
from leasehold.control.views import rfc3339
from leasehold.core import recurrence
from leasehold.core import schedule as decisions
from leasehold.core.recurrence import Instant
from leasehold.core.state import Change, Outcome, Stamp, State
from leasehold.model.errors import LeaseholdError, QueueFull, RateLimited, Unavailable
from leasehold.model.principal import Principal
from leasehold.model.schedule import Run, RunOutcome, Schedule
from leasehold.wire.job import JobIn

log = structlog.get_logger(__name__)


class Submits(Protocol):
    """What submits jobs: the queue."""

    def check(self, principal: Principal, body: JobIn) -> None:
        """Raises what submitting it now would raise: Invalid, NotPermitted, NotFound, NeverFits."""
        ...

    def submit(
        self,
        state: State,
        stamp: Stamp,
        principal: Principal,
        body: JobIn,
        after: Sequence[int],
        outcome: Outcome,
    ) -> int:
        """Add a job to a commit, and return its number. It starts when those in `after` have ended.

        Raises a LeaseholdError, with the outcome as it was: Unavailable where another time may do.
        """
        ...

    def cancel(self, state: State, stamp: Stamp, number: int, note: str, outcome: Outcome) -> bool:
        """Add the cancellation of a live job to a commit. True where it has ended with that."""
        ...

    def decided(self, changes: Sequence[Change]) -> None:
        """A commit that `submit` and `cancel` added to has been decided: carry out what follows from it."""
        ...

    async def told(self, numbers: Sequence[int]) -> Mapping[int, Told]:
        """What is known of jobs, live or ended."""
        ...


class ScheduleRuns:
    """Decides on runs. `rights` are the verbs of a role by its name, as far as they are known."""

    def __init__(self, jobs: Submits, rights: Callable[[], Mapping[str, frozenset[str]]]) -> None:
        self._jobs = jobs
        self._rights = rights

    def decide(self, schedule_id: str, state: State, stamp: Stamp) -> Outcome:
        """One run of a schedule, with its job, as one commit. Answer: its changes."""
        schedule, before = state.schedules.get(schedule_id), state.schedule_runs.get(schedule_id)
        if schedule is None or before is None:
            return Outcome()
        runs = recurrence.set_back(before, stamp.wall_ms)
        due = recurrence.due(schedule, runs, stamp.wall_ms)
        if due is None:
            return Outcome()
        if gone := self.owner_gone(state, schedule, stamp.wall_ms):
            paused = decisions.pause(schedule, stamp, "", gone)
            paused.answer = paused.changes
            return paused
        runs = replace(runs, live=decisions.live_of(state, runs))
        outcome = Outcome()
        outcome.answer = outcome.changes
        run = None if due.run is None else self._run(state, stamp, schedule, runs.live, due.run, outcome)
        decisions.ran(schedule, runs, due, run, outcome, stamp)
        return outcome

    def _run(
        self,
        state: State,
        stamp: Stamp,
        schedule: Schedule,
        live: tuple[int, ...],
        due: Instant,
        outcome: Outcome,
    ) -> Run:
        way = decisions.way(schedule, live)
        if way.left_out:
            return Run(due.nominal_ms, stamp.wall_ms, RunOutcome.OVERLAP, why=way.left_out)
        try:
            number = self.submit(state, stamp, schedule, due, way, outcome)
        except (Unavailable, RateLimited, QueueFull):
            raise
        except LeaseholdError as error:
            log.warning("schedule_refused", schedule_id=schedule.schedule_id, why=error.message)
            why = error.message[: decisions.WHY_CHARS_MAX]
            return Run(due.nominal_ms, stamp.wall_ms, RunOutcome.REFUSED, why=why)
        return Run(due.nominal_ms, stamp.wall_ms, RunOutcome.SUBMITTED, number)

    def submit(
        self,
        state: State,
        stamp: Stamp,
        schedule: Schedule,
        due: Instant,
        way: decisions.Way,
        outcome: Outcome,
    ) -> int:
        """Add a run's job to a commit. Raises what the queue raises, with the outcome as it was."""
        from_ms, by_ms = recurrence.times(schedule, due, stamp.wall_ms)
        body = replace(
            body_of(schedule),
            earliest_start_at=rfc3339(from_ms) if from_ms > stamp.wall_ms else None,
            deadline_at=rfc3339(by_ms) if by_ms else None,
        )
        note = f"replaced by the next run of {schedule.name}"
        both = Outcome()
        ended = {number for number in way.cancel if self._jobs.cancel(state, stamp, number, note, both)}
        after = [number for number in way.after if number not in ended]
        number = self._jobs.submit(state, stamp, self._principal(state, schedule), body, after, both)
        outcome.changes += both.changes
        outcome.events += both.events
        outcome.deadlines += both.deadlines
        outcome.presences += both.presences
        outcome.flows.update(both.flows)
        outcome.numbers += both.numbers
        return number

    def _principal(self, state: State, schedule: Schedule) -> Principal:
        """Its maker, with the rights it was made with as far as the role of a token still has them."""
        verbs, role = frozenset(schedule.verbs), schedule.role
        token = state.tokens.get(_token_id(schedule))
        if token is not None:
            role = token.role
            verbs &= self._rights().get(role, frozenset())
        uid = schedule.uid if schedule.uid >= 0 else None
        holder = "" if schedule.holder == schedule.principal else schedule.holder
        return Principal(
            schedule.principal,
            role,
            verbs,
            local=uid is not None,
            uid=uid,
            holder=holder,
            tenant=schedule.tenant,
        )

    def owner_gone(self, state: State, schedule: Schedule, wall_ms: int) -> str:
        """Why nothing may be submitted in its maker's name any more; "" where it may."""
        token_id = _token_id(schedule)
        token = state.tokens.get(token_id)
        if not token_id or (token is not None and not token.has_expired(wall_ms)):
            return ""
        return f"the token that made it, {token_id}, is no more"


def _token_id(schedule: Schedule) -> str:
    """The id of the token that made it; "" where no such token did."""
    if not schedule.principal.startswith("token:"):
        return ""
    return schedule.principal.rpartition("/")[2] if "/" in schedule.principal else ""


def body_of(schedule: Schedule) -> JobIn:
    """What it submits, but for the times of a run."""
    return msgspec.json.decode(schedule.body, type=JobIn)
