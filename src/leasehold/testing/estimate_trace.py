"""How good estimates are on a recorded trace: `python -m leasehold.testing.estimate_trace TRACE` (QUEUE-12).

The trace is replayed by the real decision core, with durations learned on the way. Of the jobs that could not
start at once every so manieth is told when it will start, from what stood then, and scored when it does.
Until `--from-day` durations and factors are only learned; from then on they are scored twice: with everything
as it was learned by that day, and with factors that go on learning, as a server's do. Durations are those of
that day in both. Nothing is drawn but by fixed seeds: the same trace gives the same figures everywhere.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from leasehold.adapters.traces import swf
from leasehold.core import estimate, replay_history
from leasehold.core.estimate import Estimator, Guess
from leasehold.core.forward import Scene
from leasehold.core.replay import Replay
from leasehold.core.spans import Spans
from leasehold.model.estimate import Hits
from leasehold.model.replay import History, Past
from leasehold.model.settings import PolicySettings

DAY_MS = 86_400_000
POLICY = PolicySettings()


class Told(msgspec.Struct, frozen=True):
    """One estimate as the runs gave it, and how long the job really waited."""

    number: int
    at_ms: int
    guess: Guess
    waited_ms: int


class Score(msgspec.Struct, frozen=True):
    """What became of the estimates after the day: shares that were kept, medians in seconds."""

    scored: int
    p50_pct: float
    p90_pct: float
    median_p90_sec: float
    median_width_sec: float
    median_waited_sec: float


class Result(msgspec.Struct, frozen=True):
    """`waited` of the `jobs` after the day could not start at once; scores are of those that were told."""

    spacing: float
    jobs: int
    waited: int
    unknown: int
    learned_before: int
    as_learned: Score | None
    learning_on: Score | None


def told(history: History, from_ms: int, every: int) -> tuple[list[Told], int, int]:
    """The estimates, how many jobs after `from_ms` waited, and of how many nothing could be told."""
    replay = Replay(history, POLICY, learning=True)
    made: dict[int, tuple[int, Guess]] = {}
    waited = seen = unknown = 0
    spans: Spans | None = None
    for past in _waiting(replay, history):
        at_ms = replay.now_ms
        if at_ms >= from_ms:
            waited += 1
            spans = spans or Spans(dict(replay.state.learned))
        seen += 1
        if seen % every:
            continue
        guess = _guess(replay, past.number, spans or Spans(dict(replay.state.learned)))
        if guess is None:
            unknown += 1
        else:
            made[past.number] = (at_ms, guess)
    starts = {run.past.number: run.started_ms for run in replay.runs()}
    found = []
    for number, (at_ms, guess) in made.items():
        start_ms = starts[number]
        if start_ms is not None:
            found.append(Told(number, at_ms, guess, start_ms - at_ms))
    return found, waited, unknown


def _waiting(replay: Replay, history: History) -> Iterator[Past]:
    """Each job that could not start in the instant in which it came, in that instant."""
    jobs = iter(sorted(history.jobs, key=lambda job: (job.at_ms, job.number)))
    job = next(jobs, None)
    for _ in replay.steps():
        while job is not None and job.at_ms <= replay.now_ms:
            if job.number in replay.state.line:
                yield job
            job = next(jobs, None)


def _guess(replay: Replay, number: int, spans: Spans) -> Guess | None:
    state = replay.state
    estimator = Estimator(Scene(state, replay.now_ms, POLICY), spans)
    for _ in estimator.steps([number]):
        pass
    return estimator.guess(number, state.line.position(number, state.flows, POLICY.line))


def score(found: list[Told], from_ms: int, *, learning_on: bool) -> Score | None:
    """Tell and score in the order of time: a miss teaches from the job's start on."""
    events = [(each.at_ms, 1, each) for each in found]
    events += [(each.at_ms + each.waited_ms, 0, each) for each in found]
    hits, given = Hits(), dict[int, Guess]()
    kept, waits = [0, 0], list[tuple[int, int, int]]()
    for at_ms, is_telling, each in sorted(events, key=lambda event: (event[0], event[1], event[2].number)):
        if is_telling:
            given[each.number] = estimate.told(each.guess, hits)
            continue
        guess = given.get(each.number)
        if guess is None:
            continue
        kept50, kept90 = each.waited_ms <= guess.wait50_ms, each.waited_ms <= guess.wait90_ms
        if learning_on or at_ms < from_ms:
            hits = estimate.scored(hits, kept50, kept90, at_ms)
        if each.at_ms >= from_ms:
            kept = [kept[0] + kept50, kept[1] + kept90]
            waits.append((guess.wait90_ms, guess.wait90_ms - guess.wait50_ms, each.waited_ms))
    if not waits:
        return None
    shares = [round(100 * count / len(waits), 1) for count in kept]
    medians = [sorted(column)[len(waits) // 2] / 1000 for column in zip(*waits, strict=True)]
    return Score(len(waits), *shares, *medians)


def result(trace: Path, spacing: float, from_day: int, every: int) -> Result:
    """The figures of one load: times between arrivals are multiplied by `spacing`."""
    history = replay_history.spaced(swf.read(trace), spacing)
    from_ms = round(from_day * DAY_MS * spacing)
    found, waited, unknown = told(history, from_ms, every)
    return Result(
        spacing,
        sum(1 for job in history.jobs if job.at_ms >= from_ms),
        waited,
        unknown,
        sum(1 for each in found if each.at_ms < from_ms),
        score(found, from_ms, learning_on=False),
        score(found, from_ms, learning_on=True),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("trace", type=Path, help="a trace in the Standard Workload Format")
    parser.add_argument("--spacing", type=float, default=1.0, help="times between arrivals × this")
    parser.add_argument("--from-day", type=int, default=61, help="score from this day on")
    parser.add_argument("--every", type=int, default=1, help="tell every so manieth job that waits")
    wanted = parser.parse_args()
    found = result(wanted.trace, wanted.spacing, wanted.from_day, wanted.every)
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
