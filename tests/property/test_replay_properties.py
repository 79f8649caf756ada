"""Replays of random histories: nothing lost, nothing over-committed, repeatable, and EASY to the second."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.core import capacity, replay_history
from leasehold.core.replay import Replay, Run
from leasehold.model.charge import Charge, Totals
from leasehold.model.lease import Ask
from leasehold.model.priority import Priority
from leasehold.model.replay import History, Past, Weather
from leasehold.model.settings import CapacitySettings, PolicySettings
from leasehold.testing.waiting import GIB
from tests import backfill_reference

pytestmark = pytest.mark.requirement("QUEUE-18")

NODE = Totals(16_000, 32 * GIB, 0, (("gpu:0", 1),))
POLICY = PolicySettings()
NAMED = [(), (), (), (("device:gpu:0", 1),), (("lock:db", 1),)]


def any_history(seed: int, count: int) -> History:
    """Jobs of every kind, and a machine that is not always quiet."""
    rng = random.Random(seed)
    jobs = []
    for number in range(1, count + 1):
        runs_ms = rng.choice([0, 1, 999, 5_000, 60_000, 3_600_000])
        bound_ms = rng.choice([0, runs_ms or 1, runs_ms * 2 + 1, max(1, runs_ms // 2)])
        ask = Ask(
            holder=rng.choice(["ann", "bob", "cy"]),
            job_type=rng.choice(["make", "test"]),
            charge=Charge(
                rng.choice([0, 1, 30, 90]),
                rng.choice([1, 2, 16, 20]) * 1_000,
                rng.choice([0, 8, 31]) * GIB,
                0,
                rng.choice(NAMED),
            ),
            node="somewhere",
            priority=rng.choice(list(Priority)),
            quiet_gate=rng.random() < 0.3,
            bound_ms=bound_ms,
            expected_ms=bound_ms or 60_000,
        )
        at_ms = rng.randrange(600_000)
        jobs.append(Past(number, at_ms, ask, runs_ms, rng.choice([0, 0, 0, at_ms + 90_000])))
    states = rng.choices(["QUIET", "NORMAL", "BUSY", "PANIC"], k=rng.randrange(8))
    score = {"QUIET": 95, "NORMAL": 60, "BUSY": 40, "PANIC": 10}
    weather = [Weather(at * 100_000, state, score[state]) for at, state in enumerate(states)]
    return History("random", tuple(jobs), NODE, (*weather, Weather(900_000, "QUIET", 100)) if weather else ())


def run(history: History, *, learning: bool = False) -> list[Run]:
    replay = Replay(history, POLICY, learning=learning)
    done = list(replay.steps())
    assert done == sorted(done), "jobs that were over came back"
    return replay.runs()


@given(st.integers(0, 1 << 32), st.integers(1, 60), st.booleans())
def test_each_job_runs_once_and_nothing_is_over_committed(seed: int, count: int, learning: bool) -> None:
    """Every job is told of, none starts before it came, and at no instant is more held than there is."""
    history = any_history(seed, count)
    runs = run(history, learning=learning)
    assert [each.past.number for each in runs] == list(range(1, count + 1))
    instants = []
    for each in runs:
        if each.started_ms is None:
            never = capacity.never_fits(each.past.ask.charge, NODE, POLICY.capacity)
            assert never or each.past.deadline_ms, "given up though it had no deadline"
            continue
        assert each.started_ms >= each.past.at_ms
        assert not each.past.deadline_ms or each.started_ms < each.past.deadline_ms
        instants.append(each.started_ms)
    for now_ms in instants:
        held = [
            each.past.ask.charge
            for each in runs
            if each.started_ms is not None and each.started_ms <= now_ms < each.started_ms + each.past.runs_ms
        ]
        assert sum(each.cpu_millicores for each in held) <= NODE.cpu_millicores
        assert sum(each.memory_bytes for each in held) <= NODE.memory_bytes
        assert sum(each.units for each in held) <= capacity.units_greatest(POLICY.capacity)
        for name in ("device:gpu:0", "lock:db"):
            assert sum(dict(each.named).get(name, 0) for each in held) <= 1


@given(st.integers(0, 1 << 32))
def test_the_same_history_gives_the_same_day(seed: int) -> None:
    """Twice the same, also where bounds are learned or drawn."""
    history = replay_history.overestimated(any_history(seed, 40), 3, seed)
    assert run(history) == run(history)
    assert run(history, learning=True) == run(history, learning=True)


def test_the_order_of_hashes_does_not_matter() -> None:
    """Other processes with other hash seeds come to the same starts."""
    code = (
        "from tests.property.test_replay_properties import any_history, run;"
        "print([r.started_ms for r in run(any_history(7, 120), learning=True)])"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in (1, 2)
    }
    assert len(told) == 1


jobs_of_one = st.lists(
    st.tuples(st.integers(0, 300), st.sampled_from([1, 2, 4, 8, 16]), st.integers(0, 8), st.integers(0, 2)),
    min_size=1,
    max_size=60,
)


@given(jobs_of_one)
def test_one_holder_is_served_as_easy_backfill_does(rows: list[tuple[int, int, int, int]]) -> None:
    """With nobody to be fair to, every job starts at the second at which the reference starts it.

    Times are powers of two, so that jobs of one shape are alike; estimates are up to four times too long.
    """
    told = [
        backfill_reference.Job(number, at, 1 << runs, width, 1 << (runs + more))
        for number, (at, width, runs, more) in enumerate(rows, 1)
    ]
    expected = backfill_reference.starts(told, 16, backfill=True)
    policy = PolicySettings(capacity=CapacitySettings(max_per_holder_per_node=256))
    replay = Replay(replay_history.as_one(of_reference(told)), policy)
    for _ in replay.steps():
        pass
    assert {each.past.number: each.started_ms for each in replay.runs()} == {
        number: start * 1000 for number, start in expected.items()
    }


def of_reference(told: list[backfill_reference.Job]) -> History:
    """The reference's jobs as a history."""
    jobs = [
        Past(
            each.number,
            round(each.submitted * 1000),
            Ask(
                holder=f"user-{each.number % 3}",
                job_type="test",
                charge=Charge(0, each.processors * 1000),
                node="replay",
                quiet_gate=False,
                bound_ms=round(each.estimate * 1000),
                expected_ms=round(each.estimate * 1000),
            ),
            round(each.runs * 1000),
        )
        for each in told
    ]
    return History("reference", tuple(jobs), Totals(16_000, 0, 0))
