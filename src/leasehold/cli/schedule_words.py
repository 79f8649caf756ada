"""How schedules are said: times in the schedule's own zone, and what came of runs."""

from __future__ import annotations

import shlex
from datetime import datetime
from typing import TYPE_CHECKING

from leasehold.cli.render import Out

if TYPE_CHECKING:
    from leasehold.wire.schedule import RunOut, ScheduleOut

HEAD = ("NAME", "WHEN", "NEXT", "LAST", "HOLDER", "NOTES")
RUNS_HEAD = ("TIME", "OUTCOME", "JOB", "STATE", "NOTES")
SHOWN_MAX = 5


def shown(wire_time: str, zone: str) -> str:
    """A time of the API on the clocks of a zone: `Sun 2026-03-29 03:00 CEST`."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    then = datetime.fromisoformat(wire_time)
    try:
        return f"{then.astimezone(ZoneInfo(zone)):%a %Y-%m-%d %H:%M %Z}"
    except (ZoneInfoNotFoundError, ValueError, OSError):  # This machine knows fewer zones than the server.
        return f"{then:%a %Y-%m-%d %H:%M} UTC"


def row(one: ScheduleOut) -> tuple[object, ...]:
    """A line of the list."""
    following = shown(one.next_runs[0], one.zone) if one.next_runs else "paused"
    last = _outcome(one.last_runs[0]) if one.last_runs else "-"
    notes = "; ".join(text for text in (one.stopped, one.note) if text)
    return one.name, one.cron or one.explained, following, last, one.holder, notes


def show_next(out: Out, one: ScheduleOut) -> None:
    """The next runs, a line each."""
    for number, each in enumerate(one.next_runs[:SHOWN_MAX]):
        out.text(f"{'next runs: ' if not number else '           '}{shown(each, one.zone)}")


def show(out: Out, one: ScheduleOut) -> None:
    """All about one."""
    command = one.job.get("exec")
    what = (
        shlex.join(map(str, command.get("argv", [])))
        if isinstance(command, dict)
        else one.job.get("job_type")
    )
    out.pairs(
        [
            ("schedule", f"{one.name} ({one.schedule_id})"),
            ("runs", what or "generic"),
            ("when", f"{one.explained} ({one.cron})" if one.cron else one.explained),
            ("zone", one.zone),
            ("state", "on" if one.enabled else f"paused{f': {one.stopped}' if one.stopped else ''}"),
            ("missed", one.missed),
            ("overlap", one.overlap),
            ("within", f"{one.start_within_sec} s" if one.start_within_sec else ""),
            ("made by", f"{one.by}, {shown(one.created_at, one.zone)}" if one.created_at else one.by),
            ("note", one.note),
            ("not ended", one.live),
            ("runs so far", f"{one.submitted} submitted, {one.left_out} left out"),
        ]
    )
    show_next(out, one)
    if one.last_runs:
        out.text("")
        out.table(RUNS_HEAD, [_run(each, one.zone) for each in one.last_runs])


def _run(run: RunOut, zone: str) -> tuple[object, ...]:
    state = run.state + (f" ({run.exit_code})" if run.exit_code else "")
    notes = "; ".join(text for text in ("by hand" if run.by_hand else "", run.why, run.error) if text)
    return shown(run.nominal_at, zone), run.outcome, run.job_id, state, notes


def _outcome(run: RunOut) -> str:
    return run.state or run.outcome
