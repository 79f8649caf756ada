"""`/api/system-stats`: what the machine is doing (SENSE-1, 8, 15…19)."""

from __future__ import annotations

from leasehold.api.endpoint import Call, Nothing, Table
from leasehold.model import errors
from leasehold.wire.forecast import ForecastOut, ForecastQuery, HeatmapOut, ScoresOut, ScoresQuery
from leasehold.wire.metrics import MetricsSnapshot
from leasehold.wire.stats import (
    AddonsOut,
    CollectorsOut,
    HistoryGroups,
    HistoryOut,
    HistoryQuery,
    RangeQuery,
    StatsHealth,
    StreaksOut,
    SystemStatsSnapshot,
)

table = Table("system-stats")

STATS = "/api/system-stats"
OF_HISTORY = (errors.Unavailable, errors.Overloaded)


@table.endpoint("GET", f"{STATS}/current", verb="stats:read", answer=SystemStatsSnapshot)
async def get_current_stats(call: Call[None, Nothing, Nothing]) -> SystemStatsSnapshot:
    """The newest snapshot: host, process, requests, quiet assessment, and what could not be collected."""
    return call.services.stats.current()  # type: ignore[no-any-return]


@table.endpoint("GET", f"{STATS}/addons", verb="stats:read", answer=AddonsOut)
async def get_addon_stats(call: Call[None, Nothing, Nothing]) -> AddonsOut:
    """Figures of each add-on."""
    return call.services.stats.addons()  # type: ignore[no-any-return]


@table.endpoint("GET", f"{STATS}/health", verb="stats:read", answer=StatsHealth, errors=OF_HISTORY)
async def get_stats_health(call: Call[None, Nothing, Nothing]) -> StatsHealth:
    """Whether the figures can be trusted.

    Ok, warn or error with reasons, and the quiet streaks of the last day.
    """
    return await call.services.stats.health()  # type: ignore[no-any-return]


@table.endpoint(
    "GET", f"{STATS}/history", verb="stats:read", query=HistoryQuery, answer=HistoryOut, errors=OF_HISTORY
)
async def get_stats_history(call: Call[None, HistoryQuery, Nothing]) -> HistoryOut:
    """One metric of one group over time, by steps; a step without a sample is null."""
    return await call.services.stats.history(call.query)  # type: ignore[no-any-return]


@table.endpoint("GET", f"{STATS}/history/groups", verb="stats:read", answer=HistoryGroups, errors=OF_HISTORY)
async def get_history_groups(call: Call[None, Nothing, Nothing]) -> HistoryGroups:
    """Which groups and metrics history has, and for how long what is kept."""
    return await call.services.stats.history_groups()  # type: ignore[no-any-return]


@table.endpoint(
    "GET", f"{STATS}/streaks", verb="stats:read", query=RangeQuery, answer=StreaksOut, errors=OF_HISTORY
)
async def get_quiet_streaks(call: Call[None, RangeQuery, Nothing]) -> StreaksOut:
    """Unbroken spans of QUIET, oldest first."""
    return await call.services.stats.streaks(call.query)  # type: ignore[no-any-return]


@table.endpoint("GET", f"{STATS}/heatmap", verb="stats:read", answer=HeatmapOut)
async def get_quiet_heatmap(call: Call[None, Nothing, Nothing]) -> HeatmapOut:
    """How likely quiet is at each hour of the week, and how sure that is."""
    return call.services.forecast.heatmap()  # type: ignore[no-any-return]


@table.endpoint(
    "GET",
    f"{STATS}/forecast",
    verb="stats:read",
    query=ForecastQuery,
    answer=ForecastOut,
)
async def get_quiet_forecast(call: Call[None, ForecastQuery, Nothing]) -> ForecastOut:
    """The best times to come for work of a length, each hour until then, and how good it was so far."""
    return call.services.forecast.forecast(call.query)  # type: ignore[no-any-return]


@table.endpoint(
    "GET",
    f"{STATS}/forecast/scores",
    verb="stats:read",
    query=ScoresQuery,
    answer=ScoresOut,
)
async def get_forecast_scores(call: Call[None, ScoresQuery, Nothing]) -> ScoresOut:
    """What was forecast of each hour of the last days, beside what happened, with its error."""
    return call.services.forecast.scores(call.query)  # type: ignore[no-any-return]


@table.endpoint("GET", f"{STATS}/debug/collectors", verb="stats:read", answer=CollectorsOut)
async def get_collectors(call: Call[None, Nothing, Nothing]) -> CollectorsOut:
    """How each collector last ran."""
    return call.services.stats.collectors()  # type: ignore[no-any-return]


@table.endpoint("GET", "/api/metrics", verb="stats:read", answer=MetricsSnapshot)
async def get_metrics_snapshot(call: Call[None, Nothing, Nothing]) -> MetricsSnapshot:
    """The figures that people look at: queue, latencies, utilisation, errors, storage. At most 10 s old."""
    return await call.services.metrics_snapshot()
