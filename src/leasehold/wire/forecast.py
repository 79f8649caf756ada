"""Messages of `/api/system-stats/heatmap` and `/api/system-stats/forecast` (SENSE-18, 19).

A probability is a share from 0 to 1, to four digits: how much of that time is expected to be QUIET.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from leasehold.wire.duration import Duration
from leasehold.wire.lease import Input

Confidence = Literal["unsure", "fair", "sure"]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class HeatCell(msgspec.Struct):
    """One hour of the week. `known_hours`: how much of it was seen, older weeks counting for less."""

    probability: float
    known_hours: float
    confidence: Confidence


class HeatDay(msgspec.Struct):
    """One day of the week: 24 cells, from midnight on the clocks of the zone."""

    day: Weekday
    hours: list[HeatCell]


class HeatmapOut(msgspec.Struct):
    """`GET /api/system-stats/heatmap`: Monday to Sunday, 24 hours each, on the clocks of `zone`.

    `overall`: the share of all known time that was QUIET, older weeks counting for less. `known_days`: days
    of measurements learned from. `note` says why it is unsure; "" where it is not. `quiet_from`: from this
    probability on an hour belongs to a forecast window.
    """

    zone: str
    computed_at: str
    confidence: Confidence
    note: str
    overall: float
    known_days: float
    half_life_days: int
    quiet_from: float
    days: list[HeatDay]


class ForecastQuery(Input, frozen=True):
    """How long a window is wanted, and how far ahead to look (at most two weeks)."""

    duration: Duration = "2h"
    within: Duration = "24h"


class ForecastWindow(msgspec.Struct):
    """A time to come. `probability` is the mean of its time, `lowest` that of its worst quarter hour."""

    start: str
    end: str
    duration_sec: int
    probability: float
    lowest: float
    confidence: Confidence


class ForecastHour(msgspec.Struct):
    """One hour on the clocks of the zone; the first one has begun."""

    start: str
    probability: float
    confidence: Confidence


class Brier(msgspec.Struct):
    """Mean squared errors of forecasts made before, each held against every sample: 0 is perfect, 0.25 knows
    nothing. `forecast` is ours. The others say each time: `overall_mean` what the mean of all time was,
    `hour_of_day` what that hour of the day was, `last_week` what the same hour was a week before.
    """

    forecast: float
    overall_mean: float
    hour_of_day: float
    last_week: float


class ForecastScore(msgspec.Struct):
    """How good it was over the last days. `skill`: what share of the overall mean's error it spares (below 0:
    worse than that). `hindsight_days`: those whose forecast was made afterwards, from what was known before.
    """

    days: int
    hindsight_days: int
    known_hours: float
    brier: Brier
    skill: float
    beats: list[str]


class ForecastOut(msgspec.Struct):
    """`GET /api/system-stats/forecast`.

    `windows`: the best of `duration_sec` within `within_sec`, best first, apart from each other. `quiet`:
    whole spans in which quiet is likely enough, in order: the forecast windows of `start: window`. Neither
    lie in what the owner blocks. `hours` cover `within_sec`. `score` is null until a day was scored.
    """

    zone: str
    computed_at: str
    duration_sec: int
    within_sec: int
    confidence: Confidence
    note: str
    windows: list[ForecastWindow]
    quiet: list[ForecastWindow]
    hours: list[ForecastHour]
    score: ForecastScore | None


class ScoresQuery(Input, frozen=True):
    """How far back."""

    range: Duration = "28d"


class ScoredHour(msgspec.Struct):
    """One hour: what was forecast, and the share of it that was QUIET (null where it was not measured)."""

    start: str
    forecast: float
    actual: float | None


class ScoredDay(msgspec.Struct):
    """One day. `made_at`: when its forecast was made. `brier` is null until it is over, or if nothing was
    measured. `hindsight`: no forecast was made then; this one was made afterwards from what was known before.
    """

    day: str
    made_at: str
    hindsight: bool
    known_hours: float
    brier: Brier | None
    hours: list[ScoredHour]


class ScoresOut(msgspec.Struct):
    """`GET /api/system-stats/forecast/scores`: days, oldest first, today's last; forecast beside actuals."""

    zone: str
    score: ForecastScore | None
    days: list[ScoredDay]
