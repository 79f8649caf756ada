"""How an estimate is said (QUEUE-12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasehold.cli.amounts import roughly, spell

if TYPE_CHECKING:
    from leasehold.wire.estimate import EstimateOut, EstimateStats, HitsOut

SOON_S = 1.5
"""Below this it is about to start."""

ENOUGH = 10
"""So many estimates have to have been scored before their share is said in a sentence."""


def sentence(estimate: EstimateOut) -> str:
    """When it will start, and how far that may be trusted."""
    if estimate.p50_sec is None or estimate.p90_sec is None:
        return f"when it will start is not known: {estimate.note}"
    if estimate.p90_sec < SOON_S and not estimate.after_quiet:
        return "it should start at once"
    first = "once the machine is quiet " if estimate.after_quiet else ""
    latest = f"{roughly(estimate.p90_sec)} at the latest, nine times in ten"
    return f"{first}expected to start in {roughly(estimate.p50_sec)}; {latest}{_trust(estimate.hit_rate)}"


def brief(estimate: EstimateOut) -> str:
    """As a figure among others."""
    if estimate.p50_sec is None or estimate.p90_sec is None:
        return f"not known: {estimate.note}"
    when = " once the machine is quiet" if estimate.after_quiet else ""
    return f"in {roughly(estimate.p50_sec)} (P50), {roughly(estimate.p90_sec)} (P90){when}"


def kept(stats: EstimateStats | None) -> str | None:
    """How well estimates did, in the shortest window that has enough of them; None without any."""
    ranges = stats.ranges if stats is not None else []
    for one in ranges:
        if one.scored >= ENOUGH or (one is ranges[-1] and one.scored):
            span = f"{one.scored:,} in {spell(one.range_sec)}"
            return f"{one.p50_pct:g} % kept by P50, {one.p90_pct:g} % by P90, {span}"
    return None


def _trust(hits: HitsOut | None) -> str:
    if hits is None or hits.scored < ENOUGH or hits.p90_pct is None:
        return " (too few estimates have been put to the test yet to say how good they are)"
    return f" (of the last {hits.scored} such estimates {hits.p90_pct:.0f} % were kept)"
