"""The few statistics that the benchmarks report. A percentile is a value that was measured."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest measured value that at least `share` (0–1) of `values` do not exceed (nearest rank).

    Raises ValueError when there is no value: a percentile of nothing must not read as a fast one.
    """
    if not values:
        raise ValueError("no values were measured, so there is no percentile")
    if not 0 <= share <= 1:
        raise ValueError(f"expected a share from 0 to 1, got {share}")
    ordered = sorted(values)
    rank = -(-len(ordered) * round(share * 10_000) // 10_000)
    return ordered[max(0, min(len(ordered), rank) - 1)]


def median(values: Sequence[float]) -> float:
    """The middle of `values`; ValueError when there are none."""
    if not values:
        raise ValueError("no values were measured, so there is no median")
    return statistics.median(values)


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The median of the rounds' own ratios, which cancels what drifts between rounds (the disk, mostly)."""
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} rounds of ours cannot be paired with {len(theirs)} of theirs")
    return median([a / b for a, b in zip(ours, theirs, strict=True)])


def spread(values: Sequence[float]) -> str:
    """`low..high`, so that a reader sees whether the rounds agreed."""
    return f"{min(values):,.4g}..{max(values):,.4g}"
