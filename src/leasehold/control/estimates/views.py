"""Estimates as the wire shows them."""

from __future__ import annotations

from leasehold.control import views
from leasehold.control.estimates.book import EstimateBook
from leasehold.control.estimates.told import Told
from leasehold.core import estimate
from leasehold.core.state import State
from leasehold.model.estimate import MILLION, Hits
from leasehold.wire import estimate as wire

RANGES_H = (24, 7 * 24, 30 * 24)
WEEK_H = RANGES_H[1]


def told(found: Told, hits: Hits, wall_ms: int) -> wire.EstimateOut:
    """One job's estimate."""
    out = wire.EstimateOut(after_quiet=found.after_quiet, note=found.note)
    if found.wait50_ms is None or found.wait90_ms is None:
        return out
    out.p50_sec, out.p90_sec = found.wait50_ms / 1000, found.wait90_ms / 1000
    out.hit_rate = _over(hits, wall_ms, WEEK_H)
    if not found.after_quiet:
        out.p50_at = views.rfc3339(wall_ms + found.wait50_ms)
        out.p90_at = views.rfc3339(wall_ms + found.wait90_ms)
    return out


def hits(book: EstimateBook, state: State, wall_ms: int) -> wire.EstimateStats:
    """How well past estimates did."""
    found = book.hits(state)
    return wire.EstimateStats(
        book.open(state),
        [_over(found, wall_ms, hours) for hours in RANGES_H],
        {"p50": round(found.factor50 / MILLION, 3), "p90": round(found.factor90 / MILLION, 3)},
    )


def _over(found: Hits, wall_ms: int, hours: int) -> wire.HitsOut:
    sums = estimate.over(found, wall_ms, hours)
    out = wire.HitsOut(hours * 3_600, sums.scored)
    if sums.scored:
        out.p50_pct = round(100 * sums.kept50 / sums.scored, 1)
        out.p90_pct = round(100 * sums.kept90 / sums.scored, 1)
    return out
