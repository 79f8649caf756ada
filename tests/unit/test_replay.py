"""The replay on histories small enough to be followed by hand, and what it makes of them."""

from __future__ import annotations

import pytest

from leasehold.core import replay_history
from leasehold.core.replay import Replay, Run
from leasehold.core.replay_figures import bounded_slowdown, figures, recorded, spread
from leasehold.model.charge import Charge, Totals
from leasehold.model.lease import Ask
from leasehold.model.priority import Priority
from leasehold.model.replay import History, Past, Weather
from leasehold.model.settings import CapacitySettings, LineSettings, PolicySettings
from tests import backfill_reference

pytestmark = pytest.mark.requirement("QUEUE-18")

POLICY = PolicySettings()
FOUR = Totals(4_000, 0, 0)
S = 1_000


def job(
    number: int,
    at_s: int,
    cores: int,
    runs_s: int,
    *,
    holder: str = "ann",
    told_s: int | None = None,
    quiet: bool = False,
    by_s: int = 0,
    started_s: int | None = None,
    units: int = 0,
) -> Past:
    """A job; it says how long it takes unless `told_s` says otherwise (0: says nothing)."""
    bound_ms = (runs_s if told_s is None else told_s) * S
    ask = Ask(
        holder=holder,
        job_type="test",
        charge=Charge(units, cores * 1000),
        node="replay",
        quiet_gate=quiet,
        bound_ms=bound_ms,
        expected_ms=bound_ms or 60 * S,
    )
    started_ms = None if started_s is None else started_s * S
    return Past(number, at_s * S, ask, runs_s * S, by_s * S, started_ms)


def history(*jobs: Past, weather: tuple[Weather, ...] = ()) -> History:
    return History("test", jobs, FOUR, weather)


def replayed(
    of: History,
    policy: PolicySettings = POLICY,
    totals: Totals | None = None,
    *,
    learning: bool = False,
) -> dict[int, float | None]:
    """When each job started, in seconds."""
    replay = Replay(of, policy, totals, learning=learning)
    for _ in replay.steps():
        pass
    return {run.past.number: None if run.started_ms is None else run.started_ms / S for run in replay.runs()}


def test_backfill_lets_pass_what_does_not_delay_the_first() -> None:
    """A short job goes before the wide one that waits; one that would delay it does not."""
    found = replayed(
        history(job(1, 0, 3, 10), job(2, 1, 4, 10), job(3, 2, 1, 5), job(4, 3, 1, 20), job(5, 4, 1, 3))
    )
    # 3 ends at 7, in time for the shadow at 10; 4 would not. 5 fits once 3 has ended.
    assert found == {1: 0, 2: 10, 3: 2, 4: 20, 5: 7}


def test_the_reference_says_the_same() -> None:
    """The reference's EASY starts them at the same times; first come, first served lets nobody pass."""
    jobs = [
        backfill_reference.Job(number, at, runs, cores, runs)
        for number, at, cores, runs in (
            (1, 0, 3, 10),
            (2, 1, 4, 10),
            (3, 2, 1, 5),
            (4, 3, 1, 20),
            (5, 4, 1, 3),
        )
    ]
    assert backfill_reference.starts(jobs, 4, backfill=True) == {1: 0, 2: 10, 3: 2, 4: 20, 5: 7}
    assert backfill_reference.starts(jobs, 4, backfill=False) == {1: 0, 2: 10, 3: 20, 4: 20, 5: 20}


def test_holders_take_turns_where_one_asked_for_much() -> None:
    """Who comes late with one job does not stand behind ten of another, unless they are one holder's."""
    jobs = [job(number, 0, 4, 10) for number in range(1, 11)] + [job(11, 5, 4, 10, holder="bob")]
    fair = replayed(history(*jobs))
    assert fair[11] == 20, "one of the others held the room already when it came"
    assert replayed(replay_history.as_one(history(*jobs)))[11] == 100


def test_where_a_promise_is_broken_it_is_looked_again() -> None:
    """Who runs past its bound puts the promise off by a minute, and a short job passes in that moment."""
    found = replayed(history(job(1, 0, 3, 1_000, told_s=10), job(2, 1, 4, 10), job(3, 5, 1, 30)))
    assert found == {1: 0, 2: 1_000, 3: 10}


@pytest.mark.requirement("QUEUE-7", "QUEUE-8")
def test_many_who_can_not_start_do_not_hide_one_who_can() -> None:
    """Behind 60 shapes that ask for too much or too long a short one is found by eight looks."""
    wide = [job(n, 2, 2, 1 << n // 2) for n in range(10, 40)]
    long = [job(n, 3, 1, 1 << n // 4) for n in range(40, 70)]
    jobs = [job(1, 0, 3, 1_000), job(2, 1, 4, 10), *wide, *long, job(999, 5, 1, 10)]
    few = PolicySettings(line=LineSettings(looked_at=8))
    for each in (history(*jobs), replay_history.as_one(history(*jobs))):
        found = replayed(each, few)
        assert found[2] == 1_000
        assert found[999] == 5


def test_another_policy_decides_otherwise() -> None:
    """With a weight of its own a holder gets as much more."""
    jobs = [job(n, 0, 4, 10, holder="ann" if n % 2 else "bob") for n in range(1, 25)]
    heavy = PolicySettings(line=LineSettings(holder_weights={"bob": 3}))
    plain, weighed = replayed(history(*jobs)), replayed(history(*jobs), heavy)

    def first_twelve(found: dict[int, float | None]) -> int:
        return sum(1 for n, at in found.items() if n % 2 == 0 and (at or 0) < 120)

    assert (first_twelve(plain), first_twelve(weighed)) == (6, 9)


def test_another_node_holds_more_or_never() -> None:
    """On eight cores both run at once; what asks for more than there is never starts."""
    two = history(job(1, 0, 4, 10), job(2, 0, 4, 10))
    assert replayed(two) == {1: 0, 2: 10}
    assert replayed(two, totals=Totals(8_000, 0, 0)) == {1: 0, 2: 0}
    assert replayed(two, totals=Totals(2_000, 0, 0)) == {1: None, 2: None}


def test_work_waits_for_a_quiet_machine_as_it_did() -> None:
    """What waits for QUIET starts when it was; nothing starts in PANIC, nor while nobody looked."""
    weather = (
        Weather(0, "BUSY", 40),
        Weather(30 * S, "QUIET", 95),
        Weather(60 * S, "PANIC", 5),
        Weather(90 * S, "UNKNOWN", None),
        Weather(120 * S, "QUIET", 90),
    )
    jobs = (
        job(1, 0, 1, 1, quiet=True),
        job(2, 0, 1, 1),
        job(3, 61, 1, 1),
        job(4, 91, 1, 1),
        job(5, 500, 1, 1, quiet=True),
    )
    assert replayed(history(*jobs, weather=weather)) == {1: 30, 2: 0, 3: 120, 4: 120, 5: 500}


def test_the_curve_gives_fewer_units_while_others_work() -> None:
    """Half of the units at a score of 50: two of 40 units run one after the other."""
    weather = (Weather(0, "NORMAL", 50),)
    jobs = (job(1, 0, 0, 10, units=40), job(2, 0, 0, 10, units=40))
    assert replayed(history(*jobs, weather=weather)) == {1: 0, 2: 10}
    assert replayed(history(*jobs)) == {1: 0, 2: 0}
    flat = PolicySettings(capacity=CapacitySettings(curve=((0, 10_000), (100, 10_000))))
    assert replayed(history(*jobs, weather=weather), flat) == {1: 0, 2: 0}


def test_weather_that_never_clears_ends_the_replay() -> None:
    """A job that waits for QUIET in a history that never was is told as never started."""
    weather = (Weather(0, "BUSY", 40),)
    assert replayed(history(job(1, 0, 1, 1, quiet=True), weather=weather)) == {1: None}


def test_past_its_deadline_a_job_is_given_up() -> None:
    """One that has not started by then never does; one that starts in time may still end too late."""
    jobs = (job(1, 0, 4, 10), job(2, 1, 4, 10, by_s=9), job(3, 1, 4, 10, by_s=15), job(4, 30, 1, 1, by_s=99))
    assert replayed(history(*jobs)) == {1: 0, 2: None, 3: 10, 4: 30}
    replay = Replay(history(*jobs), POLICY)
    for _ in replay.steps():
        pass
    told = figures(replay.runs(), FOUR, POLICY.capacity)
    assert (told.deadlines, told.deadlines_missed, told.never_started) == (3, 2, 1)


def test_bounds_are_learned_where_nobody_says_them() -> None:
    """After three runs of ten seconds the fourth passes a waiter whose turn comes in a minute."""
    seen = [job(n, n * 100, 1, 10, told_s=0) for n in (1, 2, 3)]
    jobs = (*seen, job(4, 1_000, 3, 60), job(5, 1_001, 4, 10), job(6, 1_002, 1, 10, told_s=0))
    assert replayed(history(*jobs), learning=True)[6] == 1_002
    assert replayed(history(*jobs))[6] == 1_070, "of which nothing is known may take for ever"


def test_jobs_that_take_no_time_at_all() -> None:
    """They start, end, and hold nobody up."""
    assert replayed(history(job(1, 0, 4, 0), job(2, 0, 4, 0), job(3, 0, 4, 5))) == {1: 0, 2: 0, 3: 0}


def test_bounded_slowdown_is_as_defined() -> None:
    """max(1, (waited + ran) / max(ran, 10 s))."""
    assert bounded_slowdown(0, 5 * S) == 1.0
    assert bounded_slowdown(5 * S, 5 * S) == 1.0
    assert bounded_slowdown(15 * S, 5 * S) == 2.0
    assert bounded_slowdown(100 * S, 100 * S) == 2.0


def test_percentiles_are_ranks_that_exist() -> None:
    """Nearest rank, also of one value and of none."""
    told = spread([float(n) for n in range(1, 101)])
    assert (told.mean, told.p50, told.p95, told.max) == (50.5, 50.0, 95.0, 100.0)
    assert spread([7.0]).p95 == 7.0
    assert spread([]).max == 0.0


def test_figures_of_a_day() -> None:
    """Waiting, use, deadlines and disturbance, added up by hand."""
    weather = (Weather(0, "QUIET", 100), Weather(10 * S, "BUSY", 40), Weather(15 * S, "QUIET", 100))
    runs = [
        Run(job(1, 0, 2, 20, units=50, by_s=30), 0),
        Run(job(2, 0, 4, 10, units=100, by_s=30), 20 * S),
        Run(job(3, 5, 1, 10, by_s=8), None),
    ]
    told = figures(runs, FOUR, CapacitySettings(), weather)
    assert (told.jobs, told.started, told.never_started, told.waited) == (3, 2, 1, 1)
    assert (told.waiting_sec.mean, told.waiting_sec.max, told.span_sec) == (10.0, 20.0, 30.0)
    assert told.use_pct == {"units": round(100 * 2_000 / (90 * 30), 2), "cpu": round(100 * 80 / 120, 2)}
    assert (told.deadlines, told.deadlines_missed) == (3, 1)
    assert told.disturbed_sec == 2.5, "half of the node for five seconds"
    assert told.disturbed_pct == 12.5
    assert figures(runs, FOUR, CapacitySettings()).disturbed_sec is None
    assert figures([], FOUR, CapacitySettings()).span_sec == 0


def test_what_really_happened_stands_beside_it_only_where_it_is_known() -> None:
    """A column of the record needs the start of every job."""
    known = [Run(job(1, 0, 1, 5, started_s=3), None)]
    told = recorded(known)
    assert told is not None
    assert told[0].started_ms == 3 * S
    assert recorded([*known, Run(job(2, 0, 1, 5), None)]) is None
    assert recorded([]) is None


def test_a_history_is_changed_before_it_is_replayed() -> None:
    """Estimates, spacing, one holder, the first few: each says what it did."""
    told = history(job(1, 10, 1, 5, told_s=0, by_s=30), job(2, 20, 1, 7, told_s=0, started_s=21))
    exact = replay_history.exact(told)
    assert [(each.ask.bound_ms, each.ask.expected_ms) for each in exact.jobs] == [
        (5_000, 5_000),
        (7_000, 7_000),
    ]
    closer = replay_history.spaced(told, 0.5)
    assert [(each.at_ms, each.deadline_ms, each.started_ms) for each in closer.jobs] == [
        (5_000, 25_000, None),
        (10_000, 0, None),
    ]
    assert {each.ask.holder for each in replay_history.as_one(told).jobs} == {"everybody"}
    assert {each.ask.priority for each in replay_history.as_one(told).jobs} == {Priority.NORMAL}
    assert [each.number for each in replay_history.first(told, 1).jobs] == [1]
    assert closer.notes == ("times between arrivals × 0.5",)


def test_overestimates_are_drawn_by_the_seed() -> None:
    """The same seed gives the same bounds, another one others, all between once and five times too long."""
    jobs = history(*[job(n, n, 1, 100, told_s=0) for n in range(200)])
    one, again, other = (replay_history.overestimated(jobs, 5, seed) for seed in (1, 1, 2))
    bounds = [each.ask.bound_ms for each in one.jobs]
    assert one == again
    assert one != other
    assert all(100 * S <= bound <= 500 * S for bound in bounds)
    assert max(bounds) - min(bounds) > 300 * S
