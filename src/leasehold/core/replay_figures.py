"""What a replay came to: waiting, slowdown, use, deadlines, and disturbance (QUEUE-18).

Bounded slowdown is max(1, (waited + ran) / max(ran, 10 s)): without the bound the shortest jobs decide the
mean alone. Source: Feitelson, Rudolph, Schwiegelshohn, Sevcik, Wong, *Theory and Practice in Parallel Job
Scheduling*, JSSPP 1997; the 10 s are from Feitelson, *Metrics for Parallel Job Scheduling and Their
Convergence*, JSSPP 2001. Percentiles are nearest ranks: a value that some job really had.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import msgspec

from leasehold.core import capacity
from leasehold.core.replay import Run
from leasehold.model.charge import Totals
from leasehold.model.replay import Weather
from leasehold.model.settings import CapacitySettings

SHORT_MS = 10_000
"""The threshold of bounded slowdown."""

PRESSED = frozenset({"BUSY", "PANIC"})
"""States of the machine in which others press it: work that runs then shares it with people who need it."""


class Spread(msgspec.Struct, frozen=True):
    """Mean, median, 95th percentile and maximum of what each job had."""

    mean: float = 0.0
    p50: float = 0.0
    p95: float = 0.0
    max: float = 0.0


class Figures(msgspec.Struct, frozen=True):
    """One variant's result.

    `waiting_sec` and `slowdown` are over the jobs that started; `never_started` were given up at their
    deadline or can't fit the node. `span_sec` is from the first arrival to the last end. `use_pct` is the
    mean use over it of each dimension that anybody asked for. A deadline is missed by whoever ended after it
    or never. `disturbed_sec` is leased time while others pressed the machine, weighed by its share of the
    node; `disturbed_pct` its part of all leased time. Both are None where nothing was measured.
    """

    jobs: int
    started: int
    never_started: int
    waited: int
    waiting_sec: Spread
    slowdown: Spread
    span_sec: float
    use_pct: dict[str, float]
    deadlines: int
    deadlines_missed: int
    disturbed_sec: float | None = None
    disturbed_pct: float | None = None


def spread(values: Sequence[float]) -> Spread:
    """All zero for no values."""
    if not values:
        return Spread()
    rising = sorted(values)
    count = len(rising)

    def rank(percent: int) -> float:
        return round(rising[max(0, -(-count * percent // 100) - 1)], 3)

    return Spread(round(sum(rising) / count, 3), rank(50), rank(95), round(rising[-1], 3))


def bounded_slowdown(waited_ms: int, ran_ms: int) -> float:
    """How many times as long as alone it took from arrival to end; jobs under 10 s count as 10 s."""
    return max(1.0, (waited_ms + ran_ms) / max(ran_ms, SHORT_MS))


def figures(
    runs: Sequence[Run], totals: Totals, settings: CapacitySettings, weather: Sequence[Weather] = ()
) -> Figures:
    """What `runs` came to on a node of these totals."""
    waits = []
    slowdowns = []
    for run in runs:
        if run.started_ms is not None:
            waited_ms = run.started_ms - run.past.at_ms
            waits.append(waited_ms / 1000)
            slowdowns.append(bounded_slowdown(waited_ms, run.past.runs_ms))
    ends = [run.ended_ms for run in runs if run.ended_ms is not None]
    span_ms = max(ends, default=0) - min((run.past.at_ms for run in runs), default=0) if ends else 0
    disturbed_ms, leased_ms = _disturbed(runs, totals, weather)
    return Figures(
        jobs=len(runs),
        started=len(waits),
        never_started=len(runs) - len(waits),
        waited=sum(1 for each in waits if each > 0),
        waiting_sec=spread(waits),
        slowdown=spread(slowdowns),
        span_sec=span_ms / 1000,
        use_pct=_use(runs, totals, settings, span_ms),
        deadlines=sum(1 for run in runs if run.past.deadline_ms),
        deadlines_missed=sum(1 for run in runs if _missed(run)),
        disturbed_sec=round(disturbed_ms / 1000, 1) if weather else None,
        disturbed_pct=(round(100 * disturbed_ms / leased_ms, 2) if leased_ms else 0.0) if weather else None,
    )


def _missed(run: Run) -> bool:
    if not run.past.deadline_ms:
        return False
    return run.ended_ms is None or run.ended_ms > run.past.deadline_ms


def _use(runs: Sequence[Run], totals: Totals, settings: CapacitySettings, span_ms: int) -> dict[str, float]:
    """Per dimension: what was held, times how long, of what there was."""
    held = {"units": 0, "cpu": 0, "memory": 0}
    for run in runs:
        if run.started_ms is not None:
            charge = run.past.ask.charge
            held["units"] += charge.units * run.past.runs_ms
            held["cpu"] += charge.cpu_millicores * run.past.runs_ms
            held["memory"] += charge.memory_bytes * run.past.runs_ms
    there = {
        "units": capacity.units_greatest(settings),
        "cpu": totals.cpu_millicores,
        "memory": totals.memory_bytes,
    }
    return {
        name: round(100 * held[name] / (there[name] * span_ms), 2)
        for name in held
        if held[name] and there[name] and span_ms
    }


def _disturbed(runs: Sequence[Run], totals: Totals, weather: Sequence[Weather]) -> tuple[float, float]:
    """(leased time while others pressed, all leased time), each weighed by the share of the node, in ms."""
    if not weather:
        return 0.0, 0.0
    pressed = _Pressed(weather)
    disturbed = leased = 0.0
    for run in runs:
        if run.started_ms is None or run.ended_ms is None or not run.past.ask.charge.is_work:
            continue
        share = capacity.dominant_share_cost(run.past.ask.charge, totals) / 100
        leased += share * run.past.runs_ms
        disturbed += share * (pressed.until(run.ended_ms) - pressed.until(run.started_ms))
    return disturbed, leased


class _Pressed:
    """How much of the time up to an instant others pressed the machine."""

    def __init__(self, weather: Sequence[Weather]) -> None:
        self._starts = [each.at_ms for each in weather]
        self._pressed = [each.state in PRESSED for each in weather]
        self._before = [0]
        for at in range(1, len(weather)):
            length_ms = self._starts[at] - self._starts[at - 1] if self._pressed[at - 1] else 0
            self._before.append(self._before[-1] + length_ms)

    def until(self, at_ms: int) -> int:
        """Milliseconds under pressure before `at_ms`."""
        at = bisect_right(self._starts, at_ms) - 1
        if at < 0:
            return 0
        return self._before[at] + (at_ms - self._starts[at] if self._pressed[at] else 0)


def recorded(jobs: Sequence[Run]) -> list[Run] | None:
    """How it really went, where the history tells it of every job; else None."""
    if not jobs or any(run.past.started_ms is None for run in jobs):
        return None
    return [Run(run.past, run.past.started_ms) for run in jobs]
