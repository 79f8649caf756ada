"""Where `/metrics` reads the figures of the server as a whole."""

from __future__ import annotations

from collections.abc import Callable

from leasehold import __version__
from leasehold.api.server import Server
from leasehold.runtime.logging import Logs
from leasehold.runtime.request_stats import RequestStats
from leasehold.runtime.telemetry import Telemetry


def publish_process(
    telemetry: Telemetry,
    server: Server,
    requests: RequestStats,
    logs: Logs,
    *,
    preset: Callable[[], str],
    started_s: float,
) -> None:
    """Name the source of each metric that is about the process and its edge; `started_s` is Unix time."""
    telemetry.source("leasehold_info", lambda: [((__version__, preset()), 1)])
    telemetry.figure("leasehold_start_time_seconds", lambda: started_s)
    telemetry.figure("leasehold_loop_lag_seconds", lambda: server.loop_lag_s)
    telemetry.figure("leasehold_log_lines_dropped_total", lambda: logs.dropped)
    telemetry.figure("leasehold_http_in_flight", lambda: requests.in_flight)
    telemetry.source("leasehold_http_requests_total", requests.totals)
    telemetry.source(
        "leasehold_http_connections",
        lambda: [((kind,), count) for kind, count in server.connections().items()],
    )
