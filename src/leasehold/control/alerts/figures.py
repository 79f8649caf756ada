"""Where `/metrics` reads the figures of alerts, workers and commits (OPS-12)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from leasehold.control.alerts.measures import Measures
from leasehold.control.alerts.pulse import Pulse
from leasehold.control.alerts.service import AlertService
from leasehold.ports.clock import Clock
from leasehold.runtime.telemetry import Labels, Telemetry
from leasehold.runtime.windows import Durations

Rows = Iterator[tuple[Labels, float]]


def publish(
    telemetry: Telemetry,
    alerts: AlertService,
    pulse: Pulse,
    measures: Measures,
    commits: Durations,
    clock: Clock,
    log_errors: Callable[[], int],
) -> None:
    """Name the source of each metric of these parts."""

    def workers() -> Rows:
        found = pulse.workers(clock.now_ms())
        yield ("online",), found.online
        yield ("known",), found.known

    telemetry.source("leasehold_alert_level", lambda: (((name,), level) for name, level in alerts.levels()))
    telemetry.figure("leasehold_alert_checks_total", lambda: alerts.checks)
    telemetry.source("leasehold_workers", workers)
    telemetry.source("leasehold_commit_seconds", commits.histogram)
    telemetry.figure("leasehold_log_errors_total", log_errors)
    telemetry.figure("leasehold_measured_age_seconds", lambda: pulse.unmeasured_ms(clock.now_ms()) / 1000)
    telemetry.figure("leasehold_certificate_end_seconds", measures.certificate_end_s)
