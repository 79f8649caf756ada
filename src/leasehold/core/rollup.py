"""Many samples of one figure told as one: least, mean, greatest, last and how many (SENSE-14)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

MINUTE_S, HOUR_S = 60, 3_600
STEPS_S = (MINUTE_S, HOUR_S)
"""The steps at which history is kept beside what was sampled."""

Aggregate = Literal["mean", "min", "max", "last", "count"]
AGGREGATES: tuple[Aggregate, ...] = ("mean", "min", "max", "last", "count")


class Figures(msgspec.Struct, frozen=True, gc=False):
    """What a figure came to over a time in which it was sampled `count` times, at least once."""

    low: float
    mean: float
    high: float
    last: float
    count: int

    def told(self, how: Aggregate) -> float:
        """One of them by name."""
        match how:
            case "mean":
                return self.mean
            case "min":
                return self.low
            case "max":
                return self.high
            case "last":
                return self.last
            case "count":
                return self.count


def of(values: Sequence[float]) -> Figures:
    """Of samples in order of time; at least one."""
    return Figures(min(values), sum(values) / len(values), max(values), values[-1], len(values))


def merged(parts: Sequence[Figures]) -> Figures:
    """Of parts in order of time, at least one: as if all their samples were taken together."""
    if len(parts) == 1:
        return parts[0]
    count = sum(part.count for part in parts)
    return Figures(
        low=min(part.low for part in parts),
        mean=sum(part.mean * part.count for part in parts) / count,
        high=max(part.high for part in parts),
        last=parts[-1].last,
        count=count,
    )


def by_step(parts: Iterable[tuple[int, Figures]], step_ms: int) -> list[tuple[int, Figures]]:
    """Parts (start in ms, figures), in order, put together by steps; a step without any is left out."""
    found: list[tuple[int, list[Figures]]] = []
    for at_ms, figures in parts:
        start_ms = at_ms // step_ms * step_ms
        if found and found[-1][0] == start_ms:
            found[-1][1].append(figures)
        else:
            found.append((start_ms, [figures]))
    return [(start_ms, merged(group)) for start_ms, group in found]


def finest_s(range_s: int, sample_s: int, kept_days: tuple[int, int, int]) -> int:
    """The finest step that is still kept for all of a range that ends now.

    `kept_days`: how long samples, minutes and hours are kept.
    """
    for step_s, days in zip((sample_s, *STEPS_S), kept_days, strict=True):
        if range_s <= days * 86_400:
            return step_s
    return HOUR_S
