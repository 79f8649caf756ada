"""Schedules as the API shows them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from leasehold.control.views import rfc3339
from leasehold.core import calendar, recurrence
from leasehold.model.ids import from_number
from leasehold.model.schedule import Run, Runs, Schedule
from leasehold.wire import schedule as wire

NEXT_SHOWN = 5


class Told(msgspec.Struct, frozen=True):
    """What is known of a run's job: its state, and how it ended."""

    state: str
    ended_wall_ms: int = 0
    error: str = ""
    exit_code: int | None = None


def shown(
    schedule: Schedule, runs: Runs, live: tuple[int, ...], told: Mapping[int, Told], wall_ms: int, count: int
) -> wire.ScheduleOut:
    """One schedule with its next and last runs, at most `count` of each. One that is paused has no next."""
    upcoming = recurrence.upcoming(schedule, runs, wall_ms, count) if schedule.enabled else []
    return wire.ScheduleOut(
        schedule_id=schedule.schedule_id,
        name=schedule.name,
        holder=schedule.holder,
        by=schedule.principal,
        zone=schedule.zone,
        explained=recurrence.explained(schedule),
        enabled=schedule.enabled,
        missed=str(schedule.missed),
        overlap=str(schedule.overlap),
        next_runs=[rfc3339(one.nominal_ms) for one in upcoming],
        job=job_of(schedule),
        created_at=rfc3339(schedule.created_wall_ms) if schedule.created_wall_ms else None,
        cron=schedule.cron,
        nightly=_nightly(schedule),
        start_within_sec=schedule.start_within_ms // 1000 or None,
        note=schedule.note,
        stopped=schedule.stopped,
        live=[from_number("job", number) for number in live],
        last_runs=[_run(one, told.get(one.job)) for one in reversed(runs.last[-count:])],
        submitted=runs.submitted,
        left_out=runs.left_out,
    )


def job_of(schedule: Schedule) -> dict[str, object]:
    """What it submits, without the environment of a command: that is never shown (QUEUE-21)."""
    job: dict[str, object] = msgspec.json.decode(schedule.body)
    command = job.get("exec")
    if isinstance(command, dict):
        job["exec"] = {name: value for name, value in command.items() if name != "env"}
    return job


def hide(out: wire.ScheduleOut) -> None:
    """Take out what its jobs are given: that is its owner's (QUEUE-4)."""
    out.job = {name: value for name, value in out.job.items() if name not in ("exec", "payload")}


def _nightly(schedule: Schedule) -> wire.NightlyOut | None:
    rule = schedule.nightly
    if rule is None:
        return None
    return wire.NightlyOut(
        by=calendar.clock_shown(rule.end_min),
        start=calendar.clock_shown(rule.start_min),
        days=[calendar.DAYS[day] for day in rule.days],
    )


def _run(run: Run, told: Told | None) -> wire.RunOut:
    out = wire.RunOut(
        nominal_at=rfc3339(run.nominal_wall_ms),
        at=rfc3339(run.at_wall_ms),
        outcome=str(run.outcome),
        job_id=from_number("job", run.job) if run.job else "",
        why=run.why,
        by_hand=run.by_hand,
    )
    if told is not None:
        out.state, out.error, out.exit_code = told.state, told.error, told.exit_code
        out.ended_at = rfc3339(told.ended_wall_ms) if told.ended_wall_ms else None
    return out
