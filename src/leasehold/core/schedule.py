"""The decisions about schedules: make, change, pause, remove, and what a run's time brings (QUEUE-17)."""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from leasehold.core import recurrence
from leasehold.core.recurrence import Due
from leasehold.core.state import SCHEDULE_RUNS, SCHEDULES, Change, Outcome, Stamp, State
from leasehold.model.errors import Conflict, Overloaded
from leasehold.model.event import Event
from leasehold.model.ids import from_number
from leasehold.model.schedule import Overlap, Run, RunOutcome, Runs, Schedule

SCHEDULES_MAX = 1_000
"""Of one server. Each keeps its job's submission in memory, up to BODY_BYTES_MAX."""

PER_HOLDER_MAX = 200

BODY_BYTES_MAX = 32_768
"""Payloads may be larger in the queue; what is submitted again and again names its data instead."""

LIVE_MAX = 100
"""Jobs of one schedule that have not ended: more of them are left out under any policy."""

WHY_CHARS_MAX = 256


# -- what people say


def create(state: State, schedule: Schedule, stamp: Stamp) -> Outcome:
    """A new schedule; its id comes from the stamp. Answer: the schedule. Raises Overloaded, Conflict."""
    _check_name(state, schedule)
    if len(state.schedules) >= SCHEDULES_MAX:
        raise Overloaded(f"there are {SCHEDULES_MAX} schedules; remove some first")
    if sum(one.holder == schedule.holder for one in state.schedules.values()) >= PER_HOLDER_MAX:
        raise Overloaded(f"{schedule.holder} has {PER_HOLDER_MAX} schedules; remove some first")
    made = replace(schedule, schedule_id=from_number("schedule", stamp.number))
    outcome = _changed(made, "ScheduleCreated", stamp, schedule.principal, {"name": made.name})
    outcome.changes.append(_runs(Runs(made.schedule_id, stamp.wall_ms)))
    outcome.numbers = 1
    return outcome


def change(state: State, old: Schedule, new: Schedule, stamp: Stamp, by: str) -> Outcome:
    """Put another one in its place. Where it says other times, what has passed is no concern of these."""
    _check_name(state, new)
    outcome = _changed(new, "ScheduleChanged", stamp, by, {"name": new.name})
    if _when(old) != _when(new) or (new.enabled and not old.enabled):
        runs = state.schedule_runs[new.schedule_id]
        outcome.changes.append(_runs(recurrence.resumed(runs, stamp.wall_ms)))
    return outcome


def _check_name(state: State, schedule: Schedule) -> None:
    for one in state.schedules.values():
        same = one.name == schedule.name and one.holder == schedule.holder
        if same and one.schedule_id != schedule.schedule_id:
            raise Conflict(
                f"{schedule.holder} has a schedule {one.name} already; change or remove {one.schedule_id}"
            )


def _when(schedule: Schedule) -> tuple[object, ...]:
    return schedule.cron, schedule.nightly, schedule.zone


def pause(schedule: Schedule, stamp: Stamp, by: str, why: str = "") -> Outcome:
    """It submits nothing until it is resumed. `why`: the server's reason, "" where a person pauses it."""
    if not schedule.enabled:
        return Outcome(schedule)
    paused = replace(schedule, enabled=False, stopped=why, changed_wall_ms=stamp.wall_ms)
    return _changed(paused, "SchedulePaused", stamp, by, {"why": why} if why else {})


def resume(state: State, schedule: Schedule, stamp: Stamp, by: str) -> Outcome:
    """It goes on with its next run; for those of the pause nothing is made up."""
    if schedule.enabled:
        return Outcome(schedule)
    resumed = replace(schedule, enabled=True, stopped="", changed_wall_ms=stamp.wall_ms)
    outcome = _changed(resumed, "ScheduleResumed", stamp, by)
    runs = state.schedule_runs[schedule.schedule_id]
    outcome.changes.append(_runs(recurrence.resumed(runs, stamp.wall_ms)))
    return outcome


def remove(schedule: Schedule, stamp: Stamp, by: str) -> Outcome:
    """Forget it. Jobs that it has submitted go on."""
    outcome = Outcome()
    outcome.changes.append(Change(SCHEDULES, schedule.schedule_id, None))
    outcome.changes.append(Change(SCHEDULE_RUNS, schedule.schedule_id, None))
    outcome.events.append(_event("ScheduleRemoved", schedule, stamp, by, {"name": schedule.name}))
    return outcome


# -- what time brings


class Way(NamedTuple):
    """How a run goes about jobs of earlier runs: `left_out` says why it does not run at all.

    Its job waits for the end of those in `after`; those in `cancel` are cancelled first.
    """

    left_out: str = ""
    after: tuple[int, ...] = ()
    cancel: tuple[int, ...] = ()


def way(schedule: Schedule, live: tuple[int, ...]) -> Way:
    """What the overlap policy makes of the jobs that have not ended."""
    if live and schedule.overlap is Overlap.SKIP:
        return Way(f"{from_number('job', live[-1])} of an earlier run has not ended")
    if len(live) >= LIVE_MAX and schedule.overlap is not Overlap.REPLACE:
        return Way(f"{len(live)} jobs of earlier runs have not ended")
    match schedule.overlap:
        case Overlap.QUEUE:
            return Way(after=live[-1:])
        case Overlap.REPLACE:
            return Way(after=live, cancel=live)
        case _:
            return Way()


def live_of(state: State, runs: Runs) -> tuple[int, ...]:
    """The jobs of earlier runs that have not ended."""
    return tuple(number for number in runs.live if number in state.jobs)


def ran(schedule: Schedule, runs: Runs, due: Due, run: Run | None, outcome: Outcome, stamp: Stamp) -> None:
    """Add to the commit of a run's job that the run has been decided on, and what was left out."""
    outcome.changes.append(_runs(recurrence.decided(runs, due, run)))
    if due.missed:
        details: dict[str, object] = {"count": due.missed, "at_least": due.more_missed}
        outcome.events.append(_event("ScheduleMissed", schedule, stamp, "", details))
    if run is not None:
        outcome.events.append(_run_event(schedule, run, stamp, ""))


def ran_by_hand(schedule: Schedule, runs: Runs, run: Run, outcome: Outcome, stamp: Stamp, by: str) -> None:
    """Somebody ran it now: its times stay as they are."""
    outcome.changes.append(_runs(recurrence.recorded(runs, run)))
    outcome.events.append(_run_event(schedule, run, stamp, by))


def turned_back(runs: Runs) -> Outcome:
    """The wall clock was set back: remember from where its times count again."""
    outcome = Outcome()
    outcome.answer = outcome.changes
    outcome.changes.append(_runs(runs))
    return outcome


def _run_event(schedule: Schedule, run: Run, stamp: Stamp, by: str) -> Event:
    details: dict[str, object] = {"nominal_ms": run.nominal_wall_ms, "outcome": str(run.outcome)}
    if run.job:
        details["job_id"] = from_number("job", run.job)
    if run.why:
        details["why"] = run.why
    kind = "ScheduleRan" if run.outcome is RunOutcome.SUBMITTED else "ScheduleSkipped"
    return _event(kind, schedule, stamp, by, details)


def _runs(runs: Runs) -> Change:
    return Change(SCHEDULE_RUNS, runs.schedule_id, runs)


def _changed(
    schedule: Schedule, kind: str, stamp: Stamp, by: str, details: dict[str, object] | None = None
) -> Outcome:
    outcome = Outcome(schedule)
    outcome.changes.append(Change(SCHEDULES, schedule.schedule_id, schedule))
    outcome.events.append(_event(kind, schedule, stamp, by, details or {}))
    return outcome


def _event(kind: str, schedule: Schedule, stamp: Stamp, by: str, details: dict[str, object]) -> Event:
    return Event(kind, schedule.schedule_id, stamp.wall_ms, by, details=details)
