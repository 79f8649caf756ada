"""Schedules: what is due after a while off under each policy, and when the clock is set."""

from __future__ import annotations

from datetime import datetime

import pytest
from msgspec.structs import replace

from leasehold.core import recurrence as core
from leasehold.model.owner import Rule
from leasehold.model.schedule import Missed, Run, RunOutcome, Runs, Schedule

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NIGHT = Rule(tuple(range(7)), 22 * 60, 6 * 60)


def at(text: str) -> int:
    """Wall ms of an ISO time with its offset."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def schedule(**given: object) -> Schedule:
    fields: dict[str, object] = {
        "schedule_id": "schedule-1",
        "name": "backup",
        "zone": "Europe/Berlin",
        "body": b"{}",
        "holder": "ann",
        "principal": "user:1000",
        "verbs": (),
        "created_wall_ms": 0,
        "cron": "30 2 * * *",
    }
    return Schedule(**{**fields, **given})  # type: ignore[arg-type]


def look(one: Schedule, runs: Runs, wall_ms: int) -> tuple[Runs, list[int]]:
    """Do what is due, and tell which nominal times ran."""
    runs, ran = core.set_back(runs, wall_ms), []
    while (due := core.due(one, runs, wall_ms)) is not None:
        run = None
        if due.run is not None:
            ran.append(due.run.nominal_ms)
            run = Run(due.run.nominal_ms, wall_ms, RunOutcome.SUBMITTED, job=len(ran))
        runs = core.decided(runs, due, run)
    return runs, ran


LAST_LOOK = at("2026-06-01T12:00+02:00")
BACK = at("2026-06-04T12:00+02:00")
NIGHTS = [at(f"2026-06-0{day}T02:30+02:00") for day in (2, 3, 4)]


@pytest.mark.requirement("QUEUE-17")
@pytest.mark.parametrize(
    ("missed", "ran"), [(Missed.SKIP, []), (Missed.LAST, NIGHTS[-1:]), (Missed.ALL, NIGHTS)]
)
def test_three_days_off_under_each_policy(missed: Missed, ran: list[int]) -> None:
    """None, the last, or all three runs are made up for, once; the next one is tomorrow's."""
    one = schedule(missed=missed)
    runs, found = look(one, Runs("schedule-1", LAST_LOOK), BACK)
    assert found == ran
    assert look(one, runs, BACK + HOUR_MS)[1] == []
    assert runs.left_out == 3 - len(ran)
    assert core.next_ms(one, runs, BACK) == at("2026-06-05T02:30+02:00")


@pytest.mark.requirement("QUEUE-17")
def test_a_run_that_is_a_little_late_was_not_missed() -> None:
    """A restart over the time of a run costs nobody the run, even where missed ones are skipped."""
    one = schedule(missed=Missed.SKIP)
    assert look(one, Runs("", LAST_LOOK), NIGHTS[0] + core.GRACE_MS)[1] == NIGHTS[:1]
    assert look(one, Runs("", LAST_LOOK), NIGHTS[0] + core.GRACE_MS + 1)[1] == []


@pytest.mark.requirement("QUEUE-17")
def test_a_run_starts_within_its_time_or_not_at_all() -> None:
    """`start_within` holds under every policy."""
    one = schedule(missed=Missed.ALL, start_within_ms=11 * HOUR_MS)
    runs, found = look(one, Runs("", LAST_LOOK), BACK)
    assert found == NIGHTS[-1:]
    assert runs.left_out == 2


@pytest.mark.requirement("QUEUE-17")
def test_years_of_minutes_are_bounded() -> None:
    """Two years off, every minute, all of them: the newest hundred are made up for, and nothing is slow."""
    one = schedule(cron="* * * * *", missed=Missed.ALL)
    runs, found = look(one, Runs("", LAST_LOOK - 730 * DAY_MS), LAST_LOOK)
    assert found == list(range(LAST_LOOK - 99 * 60_000, LAST_LOOK + 1, 60_000))
    assert len(runs.decided) <= core.DECIDED_MAX
    assert len(runs.last) <= core.LAST_MAX


@pytest.mark.requirement("QUEUE-17")
def test_a_clock_that_is_set_back_repeats_nothing() -> None:
    """An hour back after the night's run: it does not run again, and the next night's does."""
    one = schedule()
    runs, found = look(one, Runs("", LAST_LOOK), NIGHTS[0] + 1_000)
    assert found == NIGHTS[:1]
    runs, found = look(one, runs, NIGHTS[0] - HOUR_MS)
    assert found == []
    assert core.next_ms(one, runs, NIGHTS[0] - HOUR_MS) == NIGHTS[1]
    assert look(one, runs, NIGHTS[1])[1] == NIGHTS[1:2]


@pytest.mark.requirement("QUEUE-17")
@pytest.mark.parametrize("missed", list(Missed))
def test_a_clock_that_stood_in_the_future_stops_nothing(missed: Missed) -> None:
    """A year ahead for an hour, as after an empty battery: back again, the coming nights have their runs."""
    one = schedule(missed=missed)
    runs, _ = look(one, Runs("", LAST_LOOK), LAST_LOOK + 365 * DAY_MS)
    runs, found = look(one, runs, LAST_LOOK + HOUR_MS)
    assert found == []
    for night in NIGHTS:
        runs, found = look(one, runs, night)
        assert found == [night]


@pytest.mark.requirement("QUEUE-17")
@pytest.mark.parametrize("missed", list(Missed))
def test_a_clock_that_stood_in_the_past_makes_nothing_up(missed: Missed) -> None:
    """Half a year back for a moment, as before the first answer of a time server: no run comes of it."""
    one = schedule(missed=missed)
    runs, found = look(one, Runs("", LAST_LOOK), LAST_LOOK - 180 * DAY_MS)
    assert found == []
    runs, found = look(one, runs, LAST_LOOK + HOUR_MS)
    assert found == []
    assert runs.left_out == 0
    assert look(one, runs, NIGHTS[0])[1] == NIGHTS[:1]


@pytest.mark.requirement("QUEUE-17")
def test_a_paused_schedule_makes_up_for_nothing() -> None:
    """What its time came for while it was paused was not missed: it goes on with the next run."""
    one = schedule(missed=Missed.ALL)
    paused = replace(one, enabled=False)
    runs = Runs("", LAST_LOOK)
    assert core.due(paused, runs, BACK) is None
    assert core.next_ms(paused, runs, BACK) is None
    assert look(one, core.resumed(runs, BACK), BACK + HOUR_MS)[1] == []


@pytest.mark.requirement("QUEUE-17")
def test_a_night_begins_when_it_is_said_and_ends_in_time() -> None:
    """One job a night: submitted at its beginning, to be done at its end; late at night it still is."""
    one = schedule(cron="", nightly=NIGHT, missed=Missed.SKIP)
    begin, end = at("2026-06-01T22:00+02:00"), at("2026-06-02T06:00+02:00")
    due = core.due(one, Runs("", LAST_LOOK), begin)
    assert due is not None
    assert due.run == core.Instant(begin, end)
    assert core.times(one, due.run, begin) == (begin, end)
    assert look(one, Runs("", LAST_LOOK), end - 1)[1] == [begin]
    assert look(one, Runs("", LAST_LOOK), end)[1] == []
    assert core.times(one, due.run, end) == (0, 0)


@pytest.mark.requirement("QUEUE-17")
@pytest.mark.parametrize(
    ("evening", "hours"), [("2026-03-28T12:00+01:00", 7), ("2026-10-24T12:00+02:00", 9), (None, 8)]
)
def test_a_night_over_a_change_of_the_clocks(evening: str | None, hours: int) -> None:
    """By 06:00 on the clocks: an hour less or more in those two nights."""
    one = schedule(cron="", nightly=NIGHT)
    begin, end = next(core.instants(one, at(evening) if evening else LAST_LOOK))
    assert end - begin == hours * HOUR_MS


@pytest.mark.requirement("QUEUE-17")
def test_the_next_runs_are_told() -> None:
    """Also those that are overdue, and none that was decided on."""
    one = schedule()
    found = core.upcoming(one, Runs("", LAST_LOOK, decided=(NIGHTS[1],)), BACK, 3)
    assert [each.nominal_ms for each in found] == [NIGHTS[0], NIGHTS[2], NIGHTS[2] + DAY_MS]
    assert core.explained(one) == "At 02:30 every day"
    assert core.explained(schedule(cron="", nightly=Rule((0, 4), 1320, 360))) == (
        "Once between 22:00 and 06:00, mon, fri, when it is quiet"
    )
