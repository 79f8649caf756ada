"""What past leases really used, and what to ask for next time (LEASE-15, 24; QUEUE-7 for bounds).

A sketch counts values in logarithmic buckets, four to each doubling, so a quantile read from it is at most a
quarter above the true one and never below (the idea of Masson et al., *DDSketch*, VLDB 2019, with powers of
two so that integers suffice). It keeps at most 10 buckets, folding the lowest two into one when there are
more: high quantiles stay sharp. When 64 leases have been counted all counts are halved, so that what a
program used last month fades.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from leasehold.core.capacity import units_of
from leasehold.model.charge import Totals
from leasehold.model.learned import Asked, Learned, Sketch
from leasehold.model.lease import Ask, Usage

BUCKETS_MAX = 10
COUNT_MAX = 64
ENOUGH = 3
"""Leases observed before anything is suggested."""

VALUE_MAX = (1 << 52) - 1
"""4 PiB, or 140,000 years in milliseconds: larger values are counted as this one."""


class Quantiles(msgspec.Struct, frozen=True, gc=False):
    """p50 and p95 as upper ends of their buckets (never above the peak), and the greatest value ever seen."""

    p50: int
    p95: int
    peak: int


class Suggestion(msgspec.Struct, frozen=True, gc=False):
    """What was used, and what to ask for: `cost_units` for the p95 of cores, `bound_ms` that of duration."""

    count: int
    cost_units: int
    bound_ms: int
    cpu_millicores: Quantiles
    memory_bytes: Quantiles
    duration_ms: Quantiles


def bucket_of(value: int) -> int:
    """The bucket of a value: 0 to 3 stand for themselves, then four buckets for each doubling."""
    value = min(max(0, value), VALUE_MAX)
    if value < 4:
        return value
    shift = value.bit_length() - 3
    return 4 * (shift + 1) + ((value >> shift) & 3)


def top_of(bucket: int) -> int:
    """The greatest value that falls into a bucket."""
    if bucket < 4:
        return bucket
    shift = bucket // 4 - 1
    return ((4 + (bucket & 3) + 1) << shift) - 1


def _folded(hits: dict[int, int], peak: int) -> Sketch:
    rising = sorted(hits.items())
    while len(rising) > BUCKETS_MAX:
        (_, lowest), (bucket, next_lowest) = rising[0], rising[1]
        rising[:2] = [(bucket, lowest + next_lowest)]
    return Sketch(tuple(rising), peak)


def seen(sketch: Sketch, value: int) -> Sketch:
    """The sketch with one value more."""
    hits = dict(sketch.hits)
    bucket = bucket_of(value)
    hits[bucket] = hits.get(bucket, 0) + 1
    return _folded(hits, max(sketch.peak, min(max(0, value), VALUE_MAX)))


def united(one: Sketch, other: Sketch) -> Sketch:
    """Both sketches in one; the order of the two does not matter."""
    hits = dict(one.hits)
    for bucket, count in other.hits:
        hits[bucket] = hits.get(bucket, 0) + count
    return _folded(hits, max(one.peak, other.peak))


def quantile(sketch: Sketch, percent: int) -> int:
    """The least bucket's top below which at least `percent` of the values lie; 0 for an empty sketch."""
    total = sum(count for _, count in sketch.hits)
    needed = -(-total * percent // 100)
    for bucket, count in sketch.hits:
        needed -= count
        if needed <= 0:
            return min(top_of(bucket), sketch.peak)
    return sketch.peak


def _halved(sketch: Sketch) -> Sketch:
    """Every count halved, rounded down: what was seen once only is forgotten, apart from the peak."""
    return Sketch(tuple((bucket, count // 2) for bucket, count in sketch.hits if count > 1), sketch.peak)


def _faded(learned: Learned) -> Learned:
    """Halve until few enough: recent leases weigh more than old ones."""
    while learned.count > COUNT_MAX:
        learned = Learned(
            learned.holder,
            learned.job_type,
            (learned.count + 1) // 2,
            _halved(learned.cpu_millicores),
            _halved(learned.memory_bytes),
            _halved(learned.duration_ms),
            learned.asked,
        )
    return learned


def asked(ask: Ask) -> Asked:
    """What a lease is charged, to be shown beside what it used."""
    charge = ask.charge
    return Asked(charge.units, charge.cpu_millicores, charge.memory_bytes, ask.expected_ms)


def observe(learned: Learned, usage: Usage, duration_ms: int, ask: Ask | None = None) -> Learned:
    """Add one lease that ended: what it used in all, over how long, and what it had asked."""
    duration_ms = max(1, duration_ms)
    return _faded(
        Learned(
            learned.holder,
            learned.job_type,
            learned.count + 1,
            seen(learned.cpu_millicores, usage.cpu_ms * 1000 // duration_ms),
            seen(learned.memory_bytes, usage.memory_peak_bytes),
            seen(learned.duration_ms, duration_ms),
            asked(ask) if ask is not None else learned.asked,
        )
    )


def merge(one: Learned, other: Learned) -> Learned:
    """What two ledgers learned of the same (holder, job_type)."""
    assert (one.holder, one.job_type) == (other.holder, other.job_type), "only like may be merged with like"
    return _faded(
        Learned(
            one.holder,
            one.job_type,
            one.count + other.count,
            united(one.cpu_millicores, other.cpu_millicores),
            united(one.memory_bytes, other.memory_bytes),
            united(one.duration_ms, other.duration_ms),
            max(one.asked, other.asked, key=msgspec.structs.astuple),
        )
    )


def _quantiles(sketch: Sketch) -> Quantiles:
    return Quantiles(quantile(sketch, 50), quantile(sketch, 95), sketch.peak)


@lru_cache(maxsize=1_024)
def suggest(learned: Learned, totals: Totals) -> Suggestion | None:
    """What to ask for next time on a node of these totals; None until enough leases were observed."""
    if learned.count < ENOUGH:
        return None
    cpu, duration = _quantiles(learned.cpu_millicores), _quantiles(learned.duration_ms)
    return Suggestion(
        learned.count,
        units_of(cpu.p95, False, totals),
        duration.p95,
        cpu,
        _quantiles(learned.memory_bytes),
        duration,
    )
