"""`/api/events`: the one ordered stream of transitions, in pages."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from leasehold.api.endpoint import Call, Nothing, Table
from leasehold.wire.lease import EventPage

table = Table("events")


class EventsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`after` is the `next` of the page before."""

    after: Annotated[int, Meta(ge=0, lt=2**53)] = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


@table.endpoint("GET", "/api/events", verb="events:read", query=EventsQuery, answer=EventPage)
async def list_events(call: Call[None, EventsQuery, Nothing]) -> EventPage:
    """Events after the given one, oldest first."""
    return await call.services.scheduler.events(
        call.principal, after=call.query.after, limit=call.query.limit
    )
