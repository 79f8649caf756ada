"""When jobs will start, and how often that was right, as the wire shows it (QUEUE-12)."""

from __future__ import annotations

import msgspec


class HitsOut(msgspec.Struct, omit_defaults=True):
    """Of the estimates whose jobs started in this range: how many did by their P50 and P90."""

    range_sec: int
    scored: int
    p50_pct: float | None = None
    p90_pct: float | None = None


class EstimateStats(msgspec.Struct, omit_defaults=True):
    """How well estimates do (QUEUE-12): `open` are those given whose jobs still wait; `factors` is what
    waiting times are multiplied by, as past misses have taught.
    """

    open: int
    ranges: list[HitsOut]
    factors: dict[str, float]


class EstimateOut(msgspec.Struct, omit_defaults=True):
    """When a job will start (QUEUE-12): half of all such estimates should be kept by `p50`, nine in ten by
    `p90`. Neither is there where it is not known; `note` says why.

    `after_quiet`: the seconds count from the moment that the machine is quiet, and there are no times.
    `hit_rate` is of the last seven days.
    """

    p50_sec: float | None = None
    p90_sec: float | None = None
    p50_at: str | None = None
    p90_at: str | None = None
    after_quiet: bool = False
    note: str = ""
    hit_rate: HitsOut | None = None
