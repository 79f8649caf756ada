"""Messages of `/api/system-stats` (SENSE-1, 8, 12, 15…17)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from leasehold.model.snapshot import ApiStats, HostStats, ProcessStats
from leasehold.wire.addon import AddonStatsSnapshot
from leasehold.wire.duration import Duration
from leasehold.wire.lease import Input

State = Literal["QUIET", "NORMAL", "BUSY", "PANIC", "UNKNOWN"]
Aggregate = Literal["mean", "min", "max", "last", "count"]
Name = Annotated[str, Meta(min_length=1, max_length=200)]


class QuietOut(msgspec.Struct):
    """How quiet the node is. `score_raw` is of this instant; `quiet_score` follows the state's hysteresis."""

    quiet_score: int | None
    state: State
    reasons: list[str]
    inputs: dict[str, float | None]
    since: str
    score_raw: int | None
    preset: str
    cooldown_until: str | None = None


class SystemStatsSnapshot(msgspec.Struct):
    """`GET /api/system-stats/current`. A figure that the platform lacks is null, never zero."""

    collected_at: str | None
    host: HostStats | None
    process: ProcessStats | None
    api: ApiStats | None
    addons: dict[str, AddonStatsSnapshot]
    quiet: QuietOut | None
    errors: dict[str, str]


class AddonsOut(msgspec.Struct):
    """`GET /api/system-stats/addons`, by add-on id."""

    addons: dict[str, AddonStatsSnapshot]


class StreakOut(msgspec.Struct):
    """One unbroken span of QUIET. `open` while it lasts."""

    start_time: str
    end_time: str
    duration_sec: int
    avg_score: float
    min_score: int
    open: bool = False


class StreaksOut(msgspec.Struct):
    """`GET /api/system-stats/streaks`, oldest first."""

    range_sec: int
    quiet_sec: int
    streaks: list[StreakOut]


class StatsHealth(msgspec.Struct):
    """`GET /api/system-stats/health`. Old data is never ok."""

    status: Literal["ok", "warn", "error"]
    reasons: list[str]
    collected_at: str | None
    age_sec: float | None
    state: State
    quiet_score: int | None
    streaks_24h: StreaksOut | None


class CollectorOut(msgspec.Struct):
    """One collector (SENSE-8)."""

    name: str
    interval_ms: int
    runs: int
    last_start: str | None
    last_duration_ms: int | None
    last_error: str | None
    consecutive_failures: int
    next_run: str | None
    late_ms: int


class CollectorsOut(msgspec.Struct):
    """`GET /api/system-stats/debug/collectors`."""

    collectors: list[CollectorOut]


class HistoryQuery(Input, frozen=True):
    """What is asked of history.

    Without `metric` the group's headline, without `step` one that suits the range.
    """

    group: Name
    metric: Name | None = None
    range: Duration = "1h"
    step: Duration | None = None
    agg: Aggregate = "mean"


class HistoryGroup(msgspec.Struct):
    """One metric group of which anything is kept: its figures, and the one that is meant without a name."""

    group: str
    headline: str
    metrics: list[str]


class HistoryGroups(msgspec.Struct):
    """`GET /api/system-stats/history/groups`. How often samples are written, and how long what is kept."""

    sample_sec: int
    raw_days: int
    minute_days: int
    hour_days: int
    groups: list[HistoryGroup]


class RangeQuery(Input, frozen=True):
    """How far back."""

    range: Duration = "24h"


class HistoryOut(msgspec.Struct):
    """`GET /api/system-stats/history`. `values[i]` begins at `start + i × step_sec`; a gap is null."""

    group: str
    metric: str
    agg: Aggregate
    start: str
    end: str
    step_sec: float
    values: list[float | None]
