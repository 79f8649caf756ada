"""When something that waits will start: by half of several ways forward (P50), and by nine in ten (P90).

The dispatcher is run forward `DRAWS` times (`core/forward.py`), each time with other durations out of what
was learned (`core/spans.py`). What such a run can't know, newcomers above all, makes it err to one side; so
its waiting times are multiplied by a factor that is learned from the estimates' own misses. After each start
the factor goes up where the estimate was missed and down where it was kept, in steps that balance at the
share which is promised. Source: Gibbs, Candès, *Adaptive Conformal Inference Under Distribution Shift*,
NeurIPS 2021; as a quantile tracker: Angelopoulos, Candès, Tibshirani, *Conformal PID Control for Time Series
Prediction*, NeurIPS 2023. Whatever the errors are like, the share that was kept goes to the promised one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from math import isqrt

import msgspec

from leasehold.core.forward import Forward, Scene, Takers
from leasehold.core.spans import ONE, Span, Spans, share
from leasehold.model.estimate import MILLION, Hits, Hour
from leasehold.model.lease import Ask

DRAWS = 16
"""Ways forward, a power of two."""

WORK_MAX = 16_000
"""Entries that the dispatcher looks at in all of them: 0.2 to 0.4 s of a core."""

SEED = 1993

SLACK_MS = 1_000
"""Added to a waiting time while it is multiplied: nothing times anything would stay nothing."""

STEPS_50, STEPS_90 = (57_000, 60_000), (18_000, 180_000)
"""How much, in millionths, a factor goes down after an estimate that was kept, and up after one that was
not, at first. They are multiplied, so their logarithms balance: at 50 %, and at 90 %.
"""

FULL_PACE, PACE_MIN = 20, MILLION // 10
"""After so many scores steps begin to shrink with the root of their number, to a tenth: what chance has moved
settles. Source: Angelopoulos, Barber, Bates, *Online Conformal Prediction with Decaying Step Sizes*, ICML
2024.
"""

FACTOR_MIN, FACTOR_MAX = MILLION // 20, 50 * MILLION

STARTS_FOR_RATE = 8
"""So many starts have to be seen in a run before its rate is used for those behind them."""

HOURS_KEPT, DAY_H, DAYS_KEPT = 24, 24, 31


class Guess(msgspec.Struct, frozen=True, gc=False):
    """Waiting times from the scene's instant on, as they came out of the runs."""

    wait50_ms: int
    wait90_ms: int


class Estimator:
    """Runs a scene forward; then `guess` tells of anybody who waits in it."""

    def __init__(
        self,
        scene: Scene,
        spans: Spans,
        takers: Callable[[], Takers | None] = lambda: None,
        *,
        draws: int = DRAWS,
        work_max: int = WORK_MAX,
    ) -> None:
        self.scene = scene
        self.unknown: Ask | None = None
        """Of something that runs or would, of which nobody knows how long it takes, where there is any."""
        self._spans = spans
        self._takers = takers
        self._draws = draws
        self._work_max = work_max
        self._runs: list[Forward] = []

    @property
    def complete(self) -> int:
        """How many of the runs are done."""
        return len(self._runs)

    def knows(self, number: int) -> bool:
        """Whether anything can be told of this one from what was run."""
        return self.scene.is_cut or number in self.scene.numbers

    def steps(self, wanted: Collection[int] = ()) -> Iterator[None]:
        """Run forward until all of `wanted` have started (none: all), a millisecond or two at a time."""
        yield from self.scene.fill()
        for draw in range(self._draws):
            run = Forward(
                self.scene, self._takes(draw), self._takers(), work_max=self._work_max // self._draws
            )
            yield from run.steps(wanted)
            self._runs.append(run)

    def _takes(self, draw: int) -> Callable[[int, Ask, int], int | None]:
        def takes(number: int, ask: Ask, age_ms: int) -> int | None:
            part = share(SEED, number, draw, self._draws)
            span = self._spans.own(ask)
            if span is None and ask.bound_ms:
                return _within(ask, age_ms, part)
            span = span or self._spans.of_others(ask)
            if span is None:
                self.unknown = ask
                return None
            return span.at(part, age_ms)

        return takes

    def guess(self, number: int, position: int = 0) -> Guess | None:
        """When this one starts; None where it does not start in nine of ten runs.

        `position` is its place in line, for those whom the runs did not reach: they wait as much longer as
        the runs' rate of starts says.
        """
        waits = sorted(self._wait(run, number, position) for run in self._runs)
        if not waits:
            return None
        at50, at90 = waits[_rank(len(waits), 50)], waits[_rank(len(waits), 90)]
        return None if at90 >= NEVER_MS else Guess(at50, at90)

    def _wait(self, run: Forward, number: int, position: int) -> int:
        start_ms = run.starts.get(number)
        if start_ms is not None:
            return start_ms - self.scene.now_ms
        started = len(run.starts)
        if not position or started < STARTS_FOR_RATE or (run.is_over and not self.scene.is_cut):
            return NEVER_MS
        so_far_ms = run.now_ms - self.scene.now_ms
        return so_far_ms + so_far_ms * max(1, position - started) // started


NEVER_MS = 1 << 60


def _rank(count: int, percent: int) -> int:
    return min(count - 1, -(-count * percent // 100) - 1)


def _within(ask: Ask, age_ms: int, part: int) -> int:
    """Nothing is known but what was promised: any time up to it is as likely as any other.

    Source: the f-model of Feitelson and Weil, *Utilization and Predictability in Scheduling the IBM SP2 with
    Backfilling*, IPPS 1998. Who is past its bound takes as long again as it has run, more or less (see
    `Span.at`).
    """
    if age_ms >= ask.bound_ms:
        return NOTHING_KNOWN.at(part, age_ms)
    return age_ms + max(1, (ask.bound_ms - age_ms) * part // ONE)


NOTHING_KNOWN = Span(())


# -- learning from misses


def told(guess: Guess, hits: Hits) -> Guess:
    """The guess as it is given to people: with the factors that past ones have taught."""
    wait50_ms = _times(guess.wait50_ms, hits.factor50)
    wait90_ms = _times(guess.wait90_ms, hits.factor90)
    return Guess(min(wait50_ms, wait90_ms), max(wait50_ms, wait90_ms))


def _times(wait_ms: int, factor: int) -> int:
    return max(0, (wait_ms + SLACK_MS) * factor // MILLION - SLACK_MS)


def scored(hits: Hits, kept50: bool, kept90: bool, wall_ms: int) -> Hits:
    """One more that has started: whether by its P50, and by its P90."""
    hour = Hour(wall_ms // 3_600_000, 1, int(kept50), int(kept90))
    pace = _pace(hits.scored + 1)
    return Hits(
        _moved(hits.factor50, kept50, STEPS_50, pace),
        _moved(hits.factor90, kept90, STEPS_90, pace),
        _with(hits.hours, hour),
        hits.scored + 1,
    )


def _pace(scored: int) -> int:
    """What steps are multiplied by, in millionths: less and less, never nothing, for the world changes."""
    return min(MILLION, max(PACE_MIN, isqrt(FULL_PACE * MILLION * MILLION // scored)))


def _moved(factor: int, kept: bool, steps: tuple[int, int], pace: int) -> int:
    down, up = (step * pace // MILLION for step in steps)
    moved = factor - factor * down // MILLION if kept else factor + factor * up // MILLION
    return min(FACTOR_MAX, max(FACTOR_MIN, moved))


def _with(hours: tuple[Hour, ...], one: Hour) -> tuple[Hour, ...]:
    """Counted in its hour; hours before the last day stand together in days, and go after a month."""
    counts: dict[int, tuple[int, int, int]] = {}
    for each in (*hours, one):
        at = each.hour if each.hour > one.hour - HOURS_KEPT else each.hour - each.hour % DAY_H
        if at > one.hour - DAY_H * DAYS_KEPT:
            before = counts.get(at, (0, 0, 0))
            counts[at] = (before[0] + each.scored, before[1] + each.kept50, before[2] + each.kept90)
    return tuple(Hour(at, *counts[at]) for at in sorted(counts))


def over(hits: Hits, wall_ms: int, hours: int) -> Hour:
    """The sums of the last so many hours (exact to an hour within a day, beyond it to a day)."""
    first = wall_ms // 3_600_000 - hours
    found = [each for each in hits.hours if each.hour > first]
    return Hour(
        first + 1,
        sum(each.scored for each in found),
        sum(each.kept50 for each in found),
        sum(each.kept90 for each in found),
    )
