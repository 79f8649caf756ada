"""Estimates: the dispatcher run forward says what the dispatcher then does, and factors learn from misses."""

from __future__ import annotations

import random
from collections.abc import Iterable

import msgspec
import pytest

from leasehold.core import estimate, forward
from leasehold.core.estimate import Estimator, Guess
from leasehold.core.forward import Forward, Scene
from leasehold.core.learn import observe
from leasehold.core.replay import Replay
from leasehold.core.spans import ONE, Span, Spans, share
from leasehold.core.state import State
from leasehold.model.charge import Charge, Totals
from leasehold.model.estimate import MILLION, Hits
from leasehold.model.learned import Learned, Sketch
from leasehold.model.lease import Ask, Usage
from leasehold.model.line import Waiter
from leasehold.model.replay import History, Past
from leasehold.model.settings import PolicySettings

pytestmark = pytest.mark.requirement("QUEUE-12")

POLICY = PolicySettings()
FOUR = Totals(4_000, 0, 0)
S = 1_000


def job(number: int, at_s: int, cores: int, runs_s: int, *, holder: str = "ann", told: bool = True) -> Past:
    bound_ms = runs_s * S if told else 0
    ask = Ask(holder, "test", Charge(0, cores * 1_000), "replay", quiet_gate=False, bound_ms=bound_ms)
    if told:
        ask = msgspec.structs.replace(ask, expected_ms=bound_ms)
    return Past(number, at_s * S, ask, runs_s * S)


def until(replay: Replay, at_s: int) -> State:
    """The state of a replay once everything up to this second has happened."""
    for _ in replay.steps():
        if replay.now_ms >= at_s * S:
            break
    return replay.state


def learned(*seconds: int, holder: str = "ann", job_type: str = "test") -> Learned:
    found = Learned(holder, job_type)
    for each in seconds:
        found = observe(found, Usage(), each * S)
    return found


def spans(*found: Learned) -> Spans:
    return Spans({f"{one.holder}/{one.job_type}": one for one in found})


def run(steps: Iterable[object]) -> None:
    for _ in steps:
        pass


@pytest.mark.parametrize("seed", range(30))
def test_a_way_forward_with_true_durations_is_what_happens_then(seed: int) -> None:
    """Random jobs of three holders, all here at second 60: each starts when the replay starts it."""
    dice = random.Random(seed)
    jobs = [
        job(number, dice.randrange(60), dice.randrange(1, 5), dice.randrange(1, 300), holder=f"h{number % 3}")
        for number in range(1, 40)
    ]
    runs = {each.number: each.runs_ms for each in jobs}
    replay = Replay(History("test", (*jobs, job(99, 60, 1, 1)), FOUR), POLICY)
    state = until(replay, 60)
    waiting = set(state.line.entries)
    scene = Scene(state, replay.now_ms, POLICY)
    run(scene.fill())
    way = Forward(scene, lambda number, ask, ran_ms: runs.get(number, S), work_max=100_000)
    run(way.steps())
    run(replay.steps())
    really = {each.past.number: each.started_ms for each in replay.runs()}
    assert way.is_over
    assert way.starts == {number: really[number] for number in waiting}


def test_a_way_forward_leaves_state_and_scene_as_they_were() -> None:
    """The ledger's state is untouched, and a second way from the same scene is the same as the first."""
    replay = Replay(History("test", tuple(job(n, n, 3, 50) for n in range(1, 8)), FOUR), POLICY)
    state = until(replay, 7)
    line, leases, units = set(state.line.entries), dict(state.leases), state.book.cpu_millicores
    scene = Scene(state, replay.now_ms, POLICY)
    run(scene.fill())
    ways = []
    for _ in range(2):
        way = Forward(scene, lambda number, ask, ran_ms: 50 * S, work_max=1_000)
        run(way.steps())
        ways.append(way.starts)
    assert ways[0] == ways[1]
    assert len(ways[0]) == 6
    assert (set(state.line.entries), state.leases, state.book.cpu_millicores) == (line, leases, units)


def estimator(state: State, now_ms: int, known: Spans, work_max: int = estimate.WORK_MAX) -> Estimator:
    found = Estimator(Scene(state, now_ms, POLICY), known, work_max=work_max)
    run(found.steps())
    return found


def test_an_estimate_spans_what_was_learned() -> None:
    """Work that took 60 to 120 s before runs for 10 s: who waits for it starts in between, P50 before P90."""
    jobs = (job(1, 0, 4, 90, told=False), job(2, 10, 4, 5, told=False))
    replay = Replay(History("test", jobs, FOUR), POLICY)
    state = until(replay, 10)
    known = spans(learned(60, 70, 80, 90, 100, 110, 120))
    found = estimator(state, replay.now_ms, known).guess(2)
    assert found is not None
    assert 45 * S < found.wait50_ms < found.wait90_ms < 125 * S
    assert estimator(state, replay.now_ms, known).guess(2) == found


def test_where_nothing_was_learned_nothing_is_invented() -> None:
    """No kind of work has ended here and no bound was told: it is not known, and by whom."""
    jobs = (job(1, 0, 4, 90, told=False), job(2, 10, 4, 5))
    replay = Replay(History("test", jobs, FOUR), POLICY)
    state = until(replay, 10)
    found = estimator(state, replay.now_ms, spans())
    assert found.guess(2) is None
    assert found.unknown is not None
    assert found.unknown.job_type == "test"


def test_a_bound_alone_is_an_upper_limit() -> None:
    """Nothing learned, but all bounds told: the wait is within the bound of what runs."""
    replay = Replay(History("test", (job(1, 0, 4, 100), job(2, 10, 4, 5)), FOUR), POLICY)
    state = until(replay, 10)
    found = estimator(state, replay.now_ms, spans()).guess(2)
    assert found is not None
    assert 0 < found.wait50_ms < found.wait90_ms <= 90 * S


def test_what_fits_now_starts_now() -> None:
    """Nothing has to end first, so it does not matter that nobody knows how long anything takes."""
    replay = Replay(History("test", (job(1, 0, 1, 90, told=False), job(2, 10, 4, 5)), FOUR), POLICY)
    state = until(replay, 10)
    scene = Scene(state, replay.now_ms, POLICY)
    newcomer = job(3, 10, 1, 5)
    scene.coming.append((replay.now_ms, 3, Waiter("3", 3, newcomer.ask, replay.now_ms, replay.now_ms)))
    found = Estimator(scene, spans(learned(5, holder="bob")))
    run(found.steps())
    assert found.guess(3) == Guess(0, 0)


def test_behind_what_was_run_the_rate_tells() -> None:
    """A hundred wait and the runs end early: the last one's wait follows from its place and the rate."""
    jobs = tuple(job(n, 0, 4, 10, told=False) for n in range(1, 102))
    replay = Replay(History("test", jobs, FOUR), POLICY)
    state = until(replay, 0)
    found = estimator(state, replay.now_ms, spans(learned(*[10] * 20)), work_max=16 * 40)
    last = found.guess(101, 100)
    assert last is not None
    assert 800 * S < last.wait50_ms < 1_200 * S
    assert found.guess(101) is None


def test_a_gate_that_tells_its_end_is_waited_for_and_another_is_not() -> None:
    """After a panic the cool-down is known; when a busy machine becomes quiet is not."""
    replay = Replay(History("test", (job(1, 0, 4, 90), job(2, 10, 4, 5)), FOUR), POLICY)
    state = until(replay, 10)
    assert state.view is not None
    now_ms = replay.now_ms
    cooling = msgspec.structs.replace(
        state.view, always=False, cooldown_until_ms=now_ms + 300 * S, measured_ms=now_ms
    )
    panic = msgspec.structs.replace(cooling, state="PANIC")
    waits = []
    for view in (cooling, panic):
        found = Estimator(Scene(state, now_ms, POLICY, view=view), spans())
        run(found.steps())
        waits.append(found.guess(2))
    assert waits[0] is not None
    assert waits[0].wait50_ms == 300 * S
    assert waits[1] is None


def test_draws_of_one_job_are_spread_over_its_distribution() -> None:
    """Of sixteen draws one lies in each sixteenth, in another order for another job."""
    orders = set()
    for number in range(50):
        parts = [share(7, number, draw, 16) * 16 // ONE for draw in range(16)]
        assert sorted(parts) == list(range(16))
        orders.add(tuple(parts))
    assert len(orders) > 40


def test_what_has_run_for_a_while_takes_longer_than_that() -> None:
    """Drawn durations are beyond what has passed, also where it has run longer than anything before."""
    span = Span([(learned(10, 20, 40, 80).duration_ms, 1)])
    for part in range(0, ONE, ONE // 64):
        assert span.at(part) <= 100 * S
        assert span.at(part, 30 * S) > 30 * S
        assert span.at(part, 500 * S) > 500 * S
    assert span.at(ONE // 2, 500 * S) == 1_000 * S


def test_who_is_not_known_is_taken_for_others_of_its_type_first() -> None:
    """Own past, else others of the type, else others of the holder, else everything."""
    known = spans(
        learned(10, 10),
        learned(1_000, 1_000, holder="bob"),
        learned(100, job_type="other"),
        learned(*[7] * 9, holder="eve", job_type="x"),
    )

    def median(holder: str, job_type: str) -> int:
        ask = Ask(holder, job_type, Charge(1), "n")
        span = known.own(ask) or known.of_others(ask)
        assert span is not None
        return span.at(ONE // 2) // S

    assert median("ann", "test") <= 12
    assert median("eve", "test") >= 12  # bob's, of the same type, not her own 7 s
    assert 80 <= median("eve", "other") <= 125
    assert median("eve", "nothing") <= 8
    assert spans().of_others(Ask("ann", "test", Charge(1), "n")) is None
    assert forward.LINE_MAX > forward.FIRST


@pytest.mark.parametrize("true_factor", [0.3, 1.0, 4.0])
def test_the_factor_learns_until_nine_in_ten_are_kept(true_factor: float) -> None:
    """Waits that are really some times what the runs say, with noise: 85 to 95 % are kept in the end."""
    dice = random.Random(5)
    hits, kept50, kept90 = Hits(), 0, 0
    for at in range(1_200):
        guess = Guess(dice.randrange(10 * S, 900 * S), 0)
        told = estimate.told(Guess(guess.wait50_ms, guess.wait50_ms * 2), hits)
        really_ms = guess.wait50_ms * true_factor * dice.lognormvariate(0, 0.6)
        one, other = really_ms <= told.wait50_ms, really_ms <= told.wait90_ms
        hits = estimate.scored(hits, one, other, at * 60_000)
        if at >= 400:
            kept50, kept90 = kept50 + one, kept90 + other
    assert 0.85 <= kept90 / 800 <= 0.95
    assert 0.42 <= kept50 / 800 <= 0.58


def test_windows_are_true_and_the_record_stays_small() -> None:
    """A month of one start a minute, each tenth late: a day and a week tell just what was in them."""
    hits, minutes = Hits(), 45 * 24 * 60
    for at in range(0, minutes, 10):
        hits = estimate.scored(hits, kept50=True, kept90=at % 100 != 0, wall_ms=at * 60_000)
    day = estimate.over(hits, minutes * 60_000, 24)
    assert 24 * 6 - 6 <= day.scored <= 24 * 6
    assert 0.88 < day.kept90 / day.scored < 0.92
    week = estimate.over(hits, minutes * 60_000, 7 * 24)
    assert 6 * 24 * 6 <= week.scored <= 8 * 24 * 6
    assert estimate.over(hits, minutes * 60_000 + 90 * 86_400_000, 24).scored == 0
    assert len(msgspec.msgpack.encode(hits)) < 1_024
    assert hits.factor50 >= MILLION // 20


def test_nothing_is_drawn_from_an_empty_sketch() -> None:
    """A kind of work of which only faded counts are left is taken for others'."""
    faded = msgspec.structs.replace(learned(10), duration_ms=Sketch((), 10 * S))
    known = spans(faded, learned(50, holder="bob"))
    ask = Ask("ann", "test", Charge(1), "n")
    assert known.own(ask) is None
    found = known.of_others(ask)
    assert found is not None
    assert found.at(ONE // 2) > 30 * S
