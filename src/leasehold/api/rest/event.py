"""`/api/events`: the one ordered stream of transitions, in pages."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from leasehold.api.endpoint import Call, Nothing, Table
from leasehold.control.event import Wanted
from leasehold.model.errors import Invalid
from leasehold.wire.event import EventPage

table = Table("events")

Topic = Literal["leases", "jobs", "schedules", "nodes", "addons", "locks", "tenants", "tokens", "alerts"]


class EventsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Those above `after`, or with `before` the newest below it; both are the `next` of the page before.

    Any number above the newest, like 9007199254740991, asks for the newest of all. `text` is looked for in
    kind, subject, actor, code and details, in any case of letters. With a filter some 20,000 events are
    looked at for a page, so one may hold few, or none, and have a `next`.
    """

    after: Annotated[int, Meta(ge=0, lt=2**53)] | None = None
    before: Annotated[int, Meta(ge=1, lt=2**53)] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    topic: Topic | None = None
    text: Annotated[str, Meta(max_length=128)] = ""


@table.endpoint(
    "GET", "/api/events", verb="events:read", query=EventsQuery, answer=EventPage, errors=(Invalid,)
)
async def list_events(call: Call[None, EventsQuery, Nothing]) -> EventPage:
    """Events after a number or before one, oldest first."""
    asked = call.query
    wanted = Wanted(asked.after, asked.before, asked.limit, asked.topic or "", asked.text)
    return await call.services.scheduler.events(call.principal, wanted)
