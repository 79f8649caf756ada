"""What happened lately, in true windows of time: counts and durations, in constant memory (OPS-12).

Time goes by slots. A window is the full slots that lie in it, and what there is of the newest; what is older
counts no more, however little has happened since.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from math import log2

import msgspec

from leasehold.runtime.request_stats import LEAST_MS, PER_DOUBLING, percentile_ms

BUCKETS = 72
"""Two a doubling, from 0.125 ms to about 40 days."""


class Counts:
    """How often something happened within `span_ms`, to a slot."""

    def __init__(self, span_ms: int, slot_ms: int) -> None:
        self._slot_ms = slot_ms
        self._slots: deque[list[int]] = deque(maxlen=span_ms // slot_ms + 1)

    def add(self, now_ms: int, count: int = 1) -> None:
        """It happened. `now_ms` never falls."""
        number = now_ms // self._slot_ms
        if not self._slots or self._slots[-1][0] != number:
            self._slots.append([number, 0])
        self._slots[-1][1] += count

    def within(self, now_ms: int) -> int:
        """How often, in the window that ends now."""
        oldest = now_ms // self._slot_ms - (self._slots.maxlen or 1) + 1
        return sum(count for number, count in self._slots if number >= oldest)


class Follower:
    """Counts what a total that only grows has grown by; one that falls has begun anew."""

    def __init__(self, span_ms: int, slot_ms: int) -> None:
        self._counts = Counts(span_ms, slot_ms)
        self._total: float | None = None

    def saw(self, now_ms: int, total: float) -> None:
        """The total is this by now; what it was at the first look is not counted."""
        before, self._total = self._total, total
        if before is not None:
            self._counts.add(now_ms, int(total - before if total >= before else total))

    def within(self, now_ms: int) -> int:
        return self._counts.within(now_ms)


class Quantiles(msgspec.Struct, frozen=True):
    """Of `count` durations; None where there was none. Each is at most a fifth off."""

    count: int
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None


class Durations:
    """Durations within `span_ms`, and a histogram of all since the start by the bounds that are given."""

    def __init__(self, span_ms: int, slot_ms: int, bounds_ms: Sequence[float] = ()) -> None:
        self.span_ms = span_ms
        self._slot_ms = slot_ms
        self._slots: deque[tuple[int, list[int]]] = deque(maxlen=span_ms // slot_ms + 1)
        self._number = -1
        self._newest: list[int] = []
        self._bounds_ms = tuple(bounds_ms)
        self._all = [0] * (len(self._bounds_ms) + 1)
        self._sum_ms = 0.0

    def add(self, now_ms: int, duration_ms: float) -> None:
        """One that is over. `now_ms` never falls."""
        number = now_ms // self._slot_ms
        if number != self._number:
            self._number, self._newest = number, [0] * BUCKETS
            self._slots.append((number, self._newest))
        bucket = 0  # As `bucket_of` has it; a busy queue comes here thousands of times a second.
        if duration_ms > LEAST_MS:
            bucket = min(BUCKETS - 1, 1 + int(PER_DOUBLING * log2(duration_ms / LEAST_MS)))
        self._newest[bucket] += 1
        self._all[bisect_left(self._bounds_ms, duration_ms)] += 1
        self._sum_ms += duration_ms

    def quantiles(self, now_ms: int) -> Quantiles:
        """Of the window that ends now."""
        oldest = now_ms // self._slot_ms - (self._slots.maxlen or 1) + 1
        recent = [buckets for number, buckets in self._slots if number >= oldest]
        total = [sum(column) for column in zip(*recent, strict=True)] or [0]
        return Quantiles(sum(total), *(percentile_ms(total, percent) for percent in (50, 90, 99)))

    def histogram(self) -> Iterable[tuple[tuple[str], float]]:
        """Rows of `le` in seconds, over all since the start, as `telemetry.Metric` has them."""
        upto = 0
        for bound_ms, count in zip((*self._bounds_ms, None), self._all, strict=True):
            upto += count
            yield ("+Inf" if bound_ms is None else f"{bound_ms / 1000:g}",), upto
        yield ("sum",), self._sum_ms / 1000
