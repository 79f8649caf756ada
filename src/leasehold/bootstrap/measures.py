"""Where `/metrics` reads the figures of the server as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasehold import __version__
from leasehold.control import figures

if TYPE_CHECKING:
    from leasehold.bootstrap.program import Program


def publish_figures(program: Program) -> None:
    """Name the source of each metric of the server as a whole."""
    started_s, telemetry = program.clock.wall_ms() / 1_000, program.telemetry
    figures.publish(telemetry, program.leases, program.supervisor, program.sense)
    telemetry.source("leasehold_info", lambda: [((__version__, program.settings.quiet.preset), 1)])
    telemetry.figure("leasehold_start_time_seconds", lambda: started_s)
    telemetry.figure("leasehold_loop_lag_seconds", lambda: program.server.loop_lag_s)
    telemetry.figure("leasehold_log_lines_dropped_total", lambda: program.logs.dropped)
    telemetry.figure("leasehold_http_in_flight", lambda: program.requests.in_flight)
    telemetry.source("leasehold_http_requests_total", program.requests.totals)
    telemetry.source(
        "leasehold_http_connections",
        lambda: [((kind,), count) for kind, count in program.server.connections().items()],
    )
