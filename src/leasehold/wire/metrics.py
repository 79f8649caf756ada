"""Messages of `/api/metrics`: what the server is doing, for people (OPS-12)."""

from __future__ import annotations

import msgspec

from leasehold.wire.lease import Dimension


class Latency(msgspec.Struct):
    """Of what ended within `window_sec`; null where nothing did. Each figure is at most a fifth off."""

    window_sec: int
    count: int
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None


class QueueMetrics(msgspec.Struct):
    """`in_line` jobs wait for their turn, `waiting` are requests in the line of leases.

    `change` is by how much more stand in line than `over_minutes` minutes ago (0: not known yet), `trend`
    growing, shrinking or steady, `rises` how many minutes in a row it has grown.
    """

    states: dict[str, int]
    in_line: int
    waiting: int
    oldest_sec: float | None
    change: int
    over_minutes: int
    trend: str
    rises: int
    workers_online: int
    workers_known: int


class Latencies(msgspec.Struct):
    """How long it takes: to answer a request (of those that do not wait on purpose), to commit, from a job's
    submission to its start, and from there to its end.
    """

    requests: Latency
    commits: Latency
    job_wait: Latency
    job_run: Latency


class Utilisation(msgspec.Struct):
    """Capacity by dimension, and what the machine and the server use. Null: not measured."""

    capacity: dict[str, Dimension]
    cpu_pct: float | None
    memory_pct: float | None
    quiet_state: str
    quiet_score: int | None
    server_cpu_pct: float | None
    server_memory_bytes: int | None
    loop_lag_sec: float


class ErrorRates(msgspec.Struct):
    """Requests of the last minute that failed, in percent; and within an hour: jobs that ended, by how, the
    share of them that failed or expired, calls that made no sense, lines of the level error.
    """

    server_error_pct: float
    client_error_pct: float
    jobs_ended: dict[str, int]
    job_failure_pct: float | None
    invalid_calls: int
    log_errors: int


class StorageHealth(msgspec.Struct):
    """`trouble` says why the store takes no writes, "" where it does. Null: not known now."""

    trouble: str
    file_bytes: int | None
    empty_pct: float | None
    journal_bytes: int | None
    disk_free_pct: float | None
    commits_per_sec: float
    quarantined: int


class MetricsSnapshot(msgspec.Struct):
    """`GET /api/metrics`: one look at everything, made anew at most every 10 s; `at` is when."""

    at: str
    queue: QueueMetrics
    latencies: Latencies
    utilisation: Utilisation
    errors: ErrorRates
    storage: StorageHealth
