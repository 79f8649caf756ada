"""Forecasts of quiet: what was said of each day, and how good it was (SENSE-18, 19).

Probabilities and shares are basis points: 10,000 is certain, or all of the time.
"""

from __future__ import annotations

import msgspec


class HourForecast(msgspec.Struct, frozen=True, gc=False):
    """One hour of a day: what was said of it beforehand, by us and by the naive ways, and what happened.

    `seen_s` is how much of it was measured, `quiet_bp` the share of that which was QUIET.
    """

    start_ms: int
    forecast_bp: int
    overall_bp: int
    of_day_bp: int
    last_week_bp: int
    seen_s: int = 0
    quiet_bp: int = 0


class DayForecast(msgspec.Struct, frozen=True):
    """What was said of one day of the zone, before it began or from `made_ms` on, and what came of it.

    `start_ms` is its midnight. `hindsight`: made afterwards, from what was known before the day.
    """

    start_ms: int
    end_ms: int
    made_ms: int
    zone: str
    hours: tuple[HourForecast, ...]
    scored: bool = False
    hindsight: bool = False


class Scores(msgspec.Struct, frozen=True, gc=False):
    """Mean squared errors over all that was measured, in millionths: 250,000 is what a coin's are."""

    forecast: int
    overall: int
    of_day: int
    last_week: int
    seen_s: int
