"""Which run of a schedule is due, under its policies, and how far it has come then (QUEUE-17).

The wall clock may be set at any time, and the server may have been off: what is due is judged by nominal
instants that have been decided on, never by the time of the last look.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, takewhile
from typing import NamedTuple

from msgspec.structs import replace

from leasehold.core import calendar, cron
from leasehold.model.schedule import Missed, Run, RunOutcome, Runs, Schedule

GRACE_MS = 300_000
"""A run that is later was missed; a restart of the server takes less. A nightly one has its night."""

MADE_UP_MAX = 100
"""Of very many missed runs under `all` only so many are made up for, the newest ones."""

DECIDED_MAX = 128
"""More than MADE_UP_MAX: a clock that was wrong for a while pushes out no run that was right."""

LAST_MAX = 20
"""Runs that are shown."""

HOUR_MS = 3_600_000
DAY_MS = 86_400_000
YEARS_LOOKED_AT = 50


class Instant(NamedTuple):
    """A time that a schedule means, and until when its job is to be done, in wall ms (0: nothing said)."""

    nominal_ms: int
    by_ms: int = 0


class Due(NamedTuple):
    """What is to be done about a schedule now.

    `run` is to be submitted, None for nothing. Every nominal instant up to `settle_ms` is decided on then;
    `missed` of them (at least, where they are more than is worth counting) are left out.
    """

    run: Instant | None
    settle_ms: int
    missed: int
    more_missed: bool = False


# -- when


def instants(schedule: Schedule, after_ms: int) -> Iterator[Instant]:
    """The times that it means, later than an instant, ascending. It ends where there is none for long."""
    if schedule.nightly is None:
        for nominal_ms in cron.instants(cron.parse(schedule.cron), schedule.zone, after_ms):
            yield Instant(nominal_ms)
        return
    last_ms = after_ms
    for start_ms, end_ms in calendar.spans(
        schedule.nightly, schedule.zone, after_ms, days=366 * YEARS_LOOKED_AT
    ):
        if start_ms > last_ms:
            last_ms = start_ms
            yield Instant(start_ms, end_ms)


def upcoming(schedule: Schedule, runs: Runs, wall_ms: int, count: int) -> list[Instant]:
    """The next runs, also those that are overdue."""
    after_ms = _settled(runs, wall_ms)
    done = set(runs.decided)
    return list(islice((one for one in instants(schedule, after_ms) if one.nominal_ms not in done), count))


def next_ms(schedule: Schedule, runs: Runs, wall_ms: int) -> int | None:
    """When it is to be looked at next, in wall ms: maybe in the past. None: never, or it is paused."""
    found = upcoming(schedule, runs, wall_ms, 1) if schedule.enabled else []
    return found[0].nominal_ms if found else None


# -- what is due


def set_back(runs: Runs, wall_ms: int) -> Runs:
    """The same, after the wall clock was set back behind what was settled.

    The times between come again, but for those that were decided on: so a clock that stood in the future for
    a while stops nothing until then. They run on time or not at all: a clock that stands in the past for a
    moment makes nothing up. Of times before the oldest decision that is remembered none comes again.
    """
    settled_ms = _settled(runs, wall_ms)
    if settled_ms == runs.settled_wall_ms:
        return runs
    seen_ms = max(runs.seen_wall_ms, runs.settled_wall_ms)
    return replace(runs, settled_wall_ms=settled_ms, seen_wall_ms=seen_ms)


def _settled(runs: Runs, wall_ms: int) -> int:
    forgotten_ms = runs.decided[0] if len(runs.decided) >= DECIDED_MAX else 0
    return min(runs.settled_wall_ms, max(wall_ms, forgotten_ms))


def due(schedule: Schedule, runs: Runs, wall_ms: int) -> Due | None:
    """What is to be done now, one run at a time; None where nothing is. Called again until then.

    Precondition: `set_back` has been applied.
    """
    if not schedule.enabled:
        return None
    found, all_of_them = _behind(schedule, runs, wall_ms)
    if not found:
        return None
    chosen = [one for one in found if _is_made_up_for(schedule, runs, one, wall_ms)]
    if schedule.missed is Missed.ALL:
        run = chosen[0] if chosen else None
    else:
        run = found[-1] if found[-1] in chosen else None
    settle_ms = found[-1].nominal_ms if run is None else run.nominal_ms
    missed = sum(runs.seen_wall_ms < one.nominal_ms <= settle_ms and one != run for one in found)
    return Due(run, settle_ms, missed, more_missed=missed > 0 and not all_of_them)


def _is_made_up_for(schedule: Schedule, runs: Runs, one: Instant, wall_ms: int) -> bool:
    late_ms = wall_ms - one.nominal_ms
    if schedule.start_within_ms and late_ms > schedule.start_within_ms:
        return False
    if late_ms <= GRACE_MS or wall_ms < one.by_ms:
        return True
    return schedule.missed is not Missed.SKIP and one.nominal_ms > runs.seen_wall_ms


def _behind(schedule: Schedule, runs: Runs, wall_ms: int) -> tuple[list[Instant], bool]:
    """The newest instants that are due, at most MADE_UP_MAX, ascending; and whether these are all.

    Very many are looked for backwards, in stretches that double: years of minutes are not walked through.
    """
    settled_ms, done = runs.settled_wall_ms, set(runs.decided)
    first = list(islice(_between(schedule, settled_ms, wall_ms), MADE_UP_MAX + 1))
    if len(first) <= MADE_UP_MAX:
        return [one for one in first if one.nominal_ms not in done], True
    stretch_ms = HOUR_MS
    while True:
        after_ms = max(settled_ms, wall_ms - stretch_ms)
        found = [one for one in _between(schedule, after_ms, wall_ms) if one.nominal_ms not in done]
        if after_ms == settled_ms or len(found) > MADE_UP_MAX:
            return found[-MADE_UP_MAX:], after_ms == settled_ms and len(found) <= MADE_UP_MAX
        stretch_ms *= 2


def _between(schedule: Schedule, after_ms: int, until_ms: int) -> Iterator[Instant]:
    return takewhile(lambda one: one.nominal_ms <= until_ms, instants(schedule, after_ms))


# -- how far it has come


def resumed(runs: Runs, wall_ms: int) -> Runs:
    """From now on, with nothing to make up for."""
    return replace(runs, settled_wall_ms=max(set_back(runs, wall_ms).settled_wall_ms, wall_ms))


def decided(runs: Runs, due: Due, run: Run | None) -> Runs:
    """Record what was done about what was due; `run` tells of `due.run`, or of what was left out."""
    nominal = () if due.run is None else (due.run.nominal_ms,)
    known = tuple(sorted({*runs.decided, *nominal}))[-DECIDED_MAX:]
    runs = replace(
        runs,
        settled_wall_ms=max(runs.settled_wall_ms, due.settle_ms),
        decided=known,
        left_out=runs.left_out + due.missed,
    )
    return runs if run is None else recorded(runs, run)


def recorded(runs: Runs, run: Run) -> Runs:
    """Keep what came of a run, with its job among those that live."""
    submitted = run.outcome is RunOutcome.SUBMITTED
    return replace(
        runs,
        last=(*runs.last, run)[-LAST_MAX:],
        live=(*(each for each in runs.live if each != run.job), run.job) if submitted else runs.live,
        submitted=runs.submitted + submitted,
        left_out=runs.left_out + (not submitted),
    )


def times(schedule: Schedule, one: Instant, wall_ms: int) -> tuple[int, int]:
    """From when, and until when its job is to be done, in wall ms (0: nothing said).

    A night that is over can't be kept any more: what is made up for waits for quiet, like any other job.
    """
    if one.by_ms and wall_ms < one.by_ms:
        return one.nominal_ms, one.by_ms
    return 0, 0


def explained(schedule: Schedule) -> str:
    """When it runs, for people: `At 02:30 every day`."""
    if schedule.nightly is None:
        return cron.parse(schedule.cron).explained()
    rule = schedule.nightly
    span = f"{calendar.clock_shown(rule.start_min)} and {calendar.clock_shown(rule.end_min)}"
    days = "" if len(rule.days) == 7 else f", {calendar.days_shown(rule.days)}"
    return f"Once between {span}{days}, when it is quiet"
