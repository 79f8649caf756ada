"""Metrics: the committed list of names, labels and budgets, and their text for Prometheus (OPS-12).

A metric is read where the figure lives, when somebody asks: it costs nothing on the way of a request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric as Family

Labels = tuple[str, ...]
Read = Callable[[], Iterable[tuple[Labels, float]]]


class Metric(msgspec.Struct, frozen=True):
    """One committed metric. `series_max` is its budget: more than that are not exported, and counted.

    A histogram is read as rows of `le`: how many were at most that, rising, `+Inf` last, and `sum` for all.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: Labels = ()
    series_max: int = 1


METRICS: tuple[Metric, ...] = (
    Metric(
        "leasehold_info",
        "gauge",
        "Always 1; the version and the preset are its labels.",
        ("version", "preset"),
    ),
    Metric("leasehold_ready", "gauge", "1 while commands are accepted."),
    Metric("leasehold_read_only", "gauge", "1 while the store refuses writes."),
    Metric("leasehold_start_time_seconds", "gauge", "Unix time of the start."),
    Metric("leasehold_loop_lag_seconds", "gauge", "Worst lateness of the event loop in the last minute."),
    Metric("leasehold_events_total", "counter", "Committed events by kind.", ("kind",), 64),
    Metric(
        "leasehold_audit_calls_total",
        "counter",
        "Changing and denied calls by outcome; `lost`: records that could not be kept.",
        ("outcome",),
        4,
    ),
    Metric("leasehold_commits_total", "counter", "Batches committed to the store."),
    Metric(
        "leasehold_commit_seconds",
        "histogram",
        "From the hand-over of a batch to the answer.",
        ("le",),
        16,
    ),
    Metric("leasehold_records_quarantined", "gauge", "Records that could not be read at the start."),
    Metric(
        "leasehold_alert_level",
        "gauge",
        "By rule: 0 where nothing stands, 1 for a warning, 2 for critical.",
        ("rule",),
        64,
    ),
    Metric("leasehold_alert_checks_total", "counter", "Looks at all rules."),
    Metric("leasehold_leases", "gauge", "Live leases by state.", ("state",), 8),
    Metric(
        "leasehold_leases_braked", "gauge", "Leases that give way, by what holds them back.", ("level",), 4
    ),
    Metric("leasehold_guards", "gauge", "Guarded targets."),
    Metric("leasehold_waiters", "gauge", "Requests in the waiting line, held or polling.", ("kind",), 2),
    Metric("leasehold_denials_total", "counter", "Denied requests by decisive reason.", ("code",), 32),
    Metric("leasehold_dispatch_attempts_total", "counter", "Tries to start who waits.", ("outcome",), 8),
    Metric("leasehold_jobs", "gauge", "Live jobs by state.", ("state",), 8),
    Metric("leasehold_jobs_oldest_seconds", "gauge", "Age of the oldest job that waits; 0 where none does."),
    Metric("leasehold_jobs_payload_bytes", "gauge", "Bytes of the payloads of live jobs."),
    Metric("leasehold_jobs_submitted_total", "counter", "Jobs that were taken in."),
    Metric("leasehold_jobs_started_total", "counter", "Attempts that began."),
    Metric("leasehold_jobs_ended_total", "counter", "Jobs that ended, by how.", ("state",), 4),
    Metric(
        "leasehold_job_wait_seconds",
        "histogram",
        "From a job's submission to the start of an attempt.",
        ("le",),
        16,
    ),
    Metric(
        "leasehold_job_run_seconds",
        "histogram",
        "From the start of a job's last attempt to its end.",
        ("le",),
        16,
    ),
    Metric("leasehold_workers", "gauge", "Workers that are here, and that were within a day.", ("state",), 2),
    Metric("leasehold_schedules", "gauge", "Schedules that run, and that are paused.", ("state",), 2),
    Metric("leasehold_tenants", "gauge", "Tenants."),
    Metric("leasehold_tokens", "gauge", "Tokens that are in force or expired, and not revoked."),
    Metric("leasehold_notifications", "gauge", "Deliveries of notifications by state.", ("state",), 2),
    Metric("leasehold_estimates_open", "gauge", "Estimates of jobs that still wait."),
    Metric("leasehold_estimates_scored_total", "counter", "Estimates whose jobs have started."),
    Metric(
        "leasehold_estimates_kept_total",
        "counter",
        "Estimates whose jobs started in time, by quantile.",
        ("quantile",),
        2,
    ),
    Metric(
        "leasehold_estimate_hit_ratio",
        "gauge",
        "Share of estimates of the last 7 days that were kept; NaN without any.",
        ("quantile",),
        2,
    ),
    Metric("leasehold_capacity", "gauge", "Capacity by dimension.", ("dimension", "part"), 64),
    Metric(
        "leasehold_calls_waiting", "gauge", "Calls at the ledger's door, from before parsing to the answer."
    ),
    Metric("leasehold_bytes_waiting", "gauge", "Bytes of the bodies of those calls."),
    Metric("leasehold_quiet_score", "gauge", "The quiet score, 0 to 100; missing while it is unknown."),
    Metric("leasehold_quiet_state", "gauge", "1 for the state that the machine is in.", ("state",), 5),
    Metric("leasehold_measured_age_seconds", "gauge", "Since the machine was measured last."),
    Metric("leasehold_host_cpu_ratio", "gauge", "Processor time in use by all, 0 to 1."),
    Metric("leasehold_host_memory_bytes", "gauge", "Memory of the machine.", ("part",), 2),
    Metric("leasehold_disk_bytes", "gauge", "Local file systems.", ("mount", "part"), 128),
    Metric("leasehold_collector_failures", "gauge", "Failures in a row by collector.", ("collector",), 32),
    Metric("leasehold_addon_up", "gauge", "1 for an enabled add-on that answers, else 0.", ("addon",), 64),
    Metric("leasehold_http_requests_total", "counter", "Answered requests.", ("route", "status"), 512),
    Metric("leasehold_http_in_flight", "gauge", "Requests that are being answered."),
    Metric("leasehold_http_connections", "gauge", "Open connections by kind of socket.", ("socket",), 3),
    Metric("leasehold_backups", "gauge", "Backups that are there, usable or not.", ("state",), 2),
    Metric(
        "leasehold_backup_last_success_timestamp_seconds",
        "gauge",
        "Unix time of the state that the newest proven backup holds; 0 where there is none.",
    ),
    Metric(
        "leasehold_storage_last_failure_timestamp_seconds",
        "gauge",
        "Unix time of the last run of this care of the store where it failed; 0 where it went well.",
        ("care",),
        4,
    ),
    Metric("leasehold_store_bytes", "gauge", "Bytes of what is stored, by part.", ("part",), 4),
    Metric("leasehold_store_fragmentation_ratio", "gauge", "Share of the store's file that holds nothing."),
    Metric("leasehold_pages_open", "gauge", "Open streams of the page."),
    Metric("leasehold_certificate_end_seconds", "gauge", "Unix time; missing where none is served."),
    Metric("leasehold_log_errors_total", "counter", "Log lines of the level error and above."),
    Metric(
        "leasehold_log_lines_dropped_total", "counter", "Log lines lost because the disk did not keep up."
    ),
    Metric(
        "leasehold_metric_series_dropped", "gauge", "Series above the budget of their metric, in this answer."
    ),
    Metric("process_resident_memory_bytes", "gauge", "Resident memory of the server."),
    Metric("process_cpu_seconds_total", "counter", "Processor time of the server."),
    Metric("process_open_fds", "gauge", "Open files of the server."),
)
"""The committed list: a test holds what is exported against it."""

BY_NAME: Mapping[str, Metric] = {metric.name: metric for metric in METRICS}

DROPPED = "leasehold_metric_series_dropped"


class Telemetry:
    """What is exported: a function per metric, which gives label values and figures."""

    def __init__(self) -> None:
        self._reads: dict[str, Read] = {}
        self._registry: CollectorRegistry | None = None

    def source(self, name: str, read: Read) -> None:
        """Read the committed metric `name` by `read`. Raises KeyError for a name that is not committed."""
        self._reads[BY_NAME[name].name] = read

    def figure(self, name: str, read: Callable[[], float | None]) -> None:
        """The same for a metric without labels; None exports nothing."""

        def one() -> Iterator[tuple[Labels, float]]:
            value = read()
            if value is not None:
                yield (), value

        self.source(name, one)

    def prepare(self) -> None:
        """Import what `render` needs: too long for the event loop, and not needed by the first answer."""
        from prometheus_client import CollectorRegistry

        if self._registry is None:
            self._registry = CollectorRegistry(auto_describe=False)
            self._registry.register(self)

    def render(self) -> bytes:
        """The text format of Prometheus."""
        from prometheus_client import generate_latest

        self.prepare()
        assert self._registry is not None
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Family]:
        """All families, each within its budget: what `CollectorRegistry` calls."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        dropped = 0
        for metric in METRICS:
            if metric.kind == "histogram":
                rows = {labels[0]: value for labels, value in self._reads.get(metric.name, tuple)()}
                total = rows.pop("sum", 0.0)
                histogram = HistogramMetricFamily(metric.name, metric.help)
                if rows:
                    histogram.add_metric([], list(rows.items()), total)
                yield histogram
                continue
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = kind(metric.name, metric.help, labels=metric.labels)
            series = [] if metric.name == DROPPED else list(self._reads.get(metric.name, tuple)())
            dropped += max(0, len(series) - metric.series_max)
            for labels, value in series[: metric.series_max]:
                family.add_metric([str(label) for label in labels], value)
            if metric.name == DROPPED:
                family.add_metric([], dropped)
            yield family
