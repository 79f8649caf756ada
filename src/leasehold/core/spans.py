"""How long work takes, drawn from what was learned of its like (QUEUE-12).

Drawn are whole numbers, by a seed, the work's number, and which draw it is: the same question has the same
answer on every machine. The draws of one piece of work are spread over its distribution, one in each of as
many equal parts (Latin hypercube sampling: McKay, Beckman, Conover, *Technometrics* 21, 1979), so that few of
them tell much.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import nlargest

from leasehold.core.learn import top_of
from leasehold.model.learned import Learned, Sketch
from leasehold.model.lease import Ask

ONE_BITS = 16
ONE = 1 << ONE_BITS
"""Shares are of this."""

MASK = (1 << 64) - 1

POOLED_MAX = 200
"""Kinds of work that stand together for one of which too little is known: those seen most often."""

PRIOR = 1
"""Work of other kinds counts as so many of its own kind: what was seen twice may take longer the third
time."""


def mixed(number: int) -> int:
    """64 bits that tell nothing of the number. Source: Steele, Lea, Flood, *Fast Splittable Pseudorandom
    Number Generators*, OOPSLA 2014 (SplitMix64).
    """
    number = (number + 0x9E3779B97F4A7C15) & MASK
    number = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    number = ((number ^ (number >> 27)) * 0x94D049BB133111EB) & MASK
    return number ^ (number >> 31)


def share(seed: int, number: int, draw: int, draws: int) -> int:
    """Where in its distribution the work of this number lies in one of `draws` (a power of two), of `ONE`.

    Each of as many equal parts is hit once, in an order of the number's own.
    """
    bits = mixed(seed ^ number * 0x9E3779B97F4A7C15)
    part = (draw * (bits | 1) + (bits >> 32)) % draws
    within = mixed(bits ^ draw) & (ONE - 1)
    return ((part << ONE_BITS) + within) // draws


class Span:
    """A distribution of durations: of each step how many lie below its end."""

    __slots__ = ("_ends", "_passed", "_total")

    def __init__(self, weighed: Iterable[tuple[Sketch, int]]) -> None:
        """Of sketches, each so many times."""
        hits: dict[int, int] = {}
        peak = 0
        for sketch, times in weighed:
            peak = max(peak, sketch.peak)
            for bucket, count in sketch.hits:
                hits[bucket] = hits.get(bucket, 0) + count * times
        self._ends: list[tuple[int, int]] = []
        self._passed: list[int] = []
        total = 0
        for bucket in sorted(hits):
            bottom = top_of(bucket - 1) + 1 if bucket else 0
            self._ends.append((bottom, max(bottom + 1, min(top_of(bucket), peak))))
            self._passed.append(total)
            total += hits[bucket]
        self._total = total

    def at(self, part: int, ran_ms: int = 0) -> int:
        """What takes longer than a `part` (of `ONE`) of all that takes longer than `ran_ms`.

        More than `ran_ms` in any case: what has run longer than anything before is taken to be half done, in
        the middle (after R. Gott, *Nature* 363, 1993: at a moment like any other).
        """
        below = self._below(ran_ms)
        if below >= self._total << ONE_BITS:
            part = min(part, ONE - ONE // 16)  # Else the last of many draws would take for ever.
            return ran_ms + max(1, ran_ms * part // (ONE - part))
        target = below + (((self._total << ONE_BITS) - below) * part >> ONE_BITS)
        return max(ran_ms + 1, self._value(target))

    def _below(self, value: int) -> int:
        """How many take no longer, in shares of one."""
        for at, (bottom, top) in enumerate(self._ends):
            if value < bottom:
                return self._passed[at] << ONE_BITS
            if value < top:
                return (self._passed[at] << ONE_BITS) + self._count(at) * ((value - bottom) << ONE_BITS) // (
                    top - bottom
                )
        return self._total << ONE_BITS

    def _count(self, at: int) -> int:
        after = self._passed[at + 1] if at + 1 < len(self._passed) else self._total
        return after - self._passed[at]

    def _value(self, target: int) -> int:
        for at in range(len(self._ends) - 1, -1, -1):
            passed = self._passed[at] << ONE_BITS
            if target >= passed:
                bottom, top = self._ends[at]
                return bottom + (target - passed) * (top - bottom) // (self._count(at) << ONE_BITS)
        return self._ends[0][0]


class Spans:
    """What is known of how long work takes, by holder and job type."""

    def __init__(self, learned: Mapping[str, Learned]) -> None:
        self._learned = learned
        self._known: dict[tuple[str, str], Span | None] = {}
        self._like: dict[tuple[str, str], Span | None] = {}
        self._pools: dict[tuple[str, str], Sketch | None] = {}
        self._of_type: dict[str, list[Learned]] = {}
        self._of_holder: dict[str, list[Learned]] = {}
        for one in learned.values():
            self._of_type.setdefault(one.job_type, []).append(one)
            self._of_holder.setdefault(one.holder, []).append(one)

    def own(self, ask: Ask) -> Span | None:
        """How long work of this holder and type takes, beside a little of what others of its like took;
        None where none of it has been seen.
        """
        key = (ask.holder, ask.job_type)
        if key not in self._known:
            own = self._learned.get(f"{ask.holder}/{ask.job_type}")
            if own is None or not own.duration_ms.hits:
                self._known[key] = None
            else:
                others = self._others(*key)
                count = sum(count for _, count in others.hits)
                self._known[key] = Span([(own.duration_ms, count), (others, PRIOR)])
        return self._known[key]

    def of_others(self, ask: Ask) -> Span | None:
        """How long others of its type took, else others of its holder, else anything at all; None where
        nothing has been learned.
        """
        key = (ask.holder, ask.job_type)
        if key not in self._like:
            others = self._others(*key)
            self._like[key] = Span([(others, 1)]) if others.hits else None
        return self._like[key]

    def _others(self, holder: str, job_type: str) -> Sketch:
        return self._pool("", job_type) or self._pool(holder, "") or self._pool("", "") or Sketch()

    def _pool(self, holder: str, job_type: str) -> Sketch | None:
        """All that is known of this holder, or of this job type, or at all; None where it is nothing."""
        key = (holder, job_type)
        if key not in self._pools:
            among: Iterable[Learned] = self._learned.values()
            if job_type:
                among = self._of_type.get(job_type, ())
            elif holder:
                among = self._of_holder.get(holder, ())
            found = nlargest(POOLED_MAX, among, key=lambda one: (one.count, one.holder, one.job_type))
            hits: dict[int, int] = {}
            for one in found:
                for bucket, count in one.duration_ms.hits:
                    hits[bucket] = hits.get(bucket, 0) + count
            peak = max((one.duration_ms.peak for one in found), default=0)
            self._pools[key] = Sketch(tuple(sorted(hits.items())), peak) if hits else None
        return self._pools[key]
