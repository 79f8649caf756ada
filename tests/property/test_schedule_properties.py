"""Schedules under any sequence of looks at a wall clock: what ran, and how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.core import cron
from leasehold.core import recurrence as core
from leasehold.model.owner import Rule
from leasehold.model.schedule import Missed, Run, RunOutcome, Runs, Schedule

HOUR_MS = 3_600_000
START = 1_774_000_000_000  # 2026-03-20: a week later clocks are set in Europe.

whens = st.sampled_from(
    [
        {"cron": "30 2 * * *"},
        {"cron": "0 * * * *"},
        {"cron": "*/15 2-4 * * SUN"},
        {"nightly": Rule(tuple(range(7)), 22 * 60, 6 * 60)},
        {"nightly": Rule((5, 6), 2 * 60 + 10, 2 * 60 + 50)},
    ]
)
zones = st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"])


def schedule(when: dict[str, object], zone: str, missed: Missed) -> Schedule:
    return Schedule("schedule-1", "one", zone, b"{}", "ann", "user:1", (), 0, missed=missed, **when)  # type: ignore[arg-type]


def up_to(wall_ms: int, instants: Iterator[core.Instant]) -> Iterator[core.Instant]:
    return takewhile(lambda each: each.nominal_ms <= wall_ms, instants)


def look(one: Schedule, runs: Runs, wall_ms: int, ran: Counter[int]) -> Runs:
    runs = core.set_back(runs, wall_ms)
    while (due := core.due(one, runs, wall_ms)) is not None:
        run = None
        if due.run is not None:
            assert due.run.nominal_ms <= wall_ms
            ran[due.run.nominal_ms] += 1
            run = Run(due.run.nominal_ms, wall_ms, RunOutcome.SUBMITTED, job=1)
        runs = core.decided(runs, due, run)
    return runs


@pytest.mark.requirement("QUEUE-17")
@given(
    when=whens,
    zone=zones,
    missed=st.sampled_from(list(Missed)),
    hours=st.lists(st.integers(-400, 2_000).map(lambda tenths: tenths / 10), min_size=1, max_size=8),
)
def test_no_nominal_instant_runs_twice(
    when: dict[str, object], zone: str, missed: Missed, hours: list[float]
) -> None:
    """Whatever the wall clock does between looks, forwards and back, by minutes or by weeks."""
    one, ran = schedule(when, zone, missed), Counter[int]()
    runs, wall_ms = Runs("", START), START
    for step in hours:
        wall_ms += round(step * HOUR_MS)
        runs = look(one, runs, wall_ms, ran)
    assert all(count == 1 for count in ran.values())


@pytest.mark.requirement("QUEUE-17")
@given(
    when=whens,
    zone=zones,
    missed=st.sampled_from(list(Missed)),
    hours=st.lists(st.integers(-300, 900).map(lambda tenths: tenths / 10), min_size=1, max_size=8),
)
def test_all_of_them_run_where_all_are_made_up_for(
    when: dict[str, object], zone: str, missed: Missed, hours: list[float]
) -> None:
    """Under `all` every instant that the clock passed for the first time runs, and of those that it passes
    again only what is on time; under `last` the newest one that is new runs.
    """
    one, ran = schedule(when, zone, missed), Counter[int]()
    runs, wall_ms, latest = Runs("", START), START, START
    passed: set[int] = set()
    for step in hours:
        wall_ms += round(step * HOUR_MS)
        before = set(ran)
        new = [each.nominal_ms for each in up_to(wall_ms, core.instants(one, latest))]
        passed.update(new)
        latest = max(latest, wall_ms)
        runs = look(one, runs, wall_ms, ran)
        assert missed is not Missed.LAST or not new or new[-1] in ran
        for again in set(ran) - before - passed:
            night = next(core.instants(one, again - 1))
            assert wall_ms - again <= core.GRACE_MS or wall_ms < night.by_ms
    if missed is Missed.ALL and len(passed) <= core.MADE_UP_MAX:
        assert passed <= set(ran)


@pytest.mark.requirement("QUEUE-17")
@given(st.text("0123456789*/,-#LWMONFRIJAN @²١", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing that is typed breaks the parser, and what it takes has a next run."""
    try:
        found = cron.parse(text)
    except ValueError:
        return
    assert next(cron.instants(found, "Europe/Berlin", START)) > START
    assert found.explained()
