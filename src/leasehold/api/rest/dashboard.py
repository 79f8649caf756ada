"""`/api/dashboard`: what the first page shows, whole and live (OPS-3)."""

from __future__ import annotations

from leasehold.api.endpoint import Call, Nothing, Stream, Table
from leasehold.model import errors
from leasehold.wire.dashboard import DashboardState

table = Table("dashboard")

EVENT_STREAM = "text/event-stream"


@table.endpoint("GET", "/api/dashboard/state", verb="events:read", answer=DashboardState)
async def get_dashboard(call: Call[None, Nothing, Nothing]) -> DashboardState:
    """Everything that the page shows, as it is now."""
    return await call.services.dashboard.state()  # type: ignore[no-any-return]


@table.endpoint(
    "GET",
    "/api/dashboard/stream",
    verb="events:read",
    answer=Stream,
    media_type=EVENT_STREAM,
    errors=(errors.Overloaded,),
    hot=True,
)
async def stream_dashboard(call: Call[None, Nothing, Nothing]) -> Stream:
    """The state, and then each change of it as it happens, as server-sent events.

    `state` has all of it, `patch` what differs, `bye` the reason for the end; a comment each 15 s of silence.
    Whoever comes back gets a `state` first.
    """
    return Stream(EVENT_STREAM, call.services.dashboard.watch(call.principal))
