"""`/api/scheduler`: the state of things, what would be decided, what was decided, and giving up a place."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from leasehold.api.endpoint import Call, Nothing, Table
from leasehold.api.rest.lease import WRITES
from leasehold.model import errors
from leasehold.wire.cost import Costs
from leasehold.wire.duration import Duration, duration_s
from leasehold.wire.lease import Decisions, Explanation, HeavyLeaseRequest, Name, SchedulerStatus

table = Table("scheduler")


class DecisionsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    range: Duration = "24h"
    holder: Name | None = None


class CostsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    holder: Name | None = None
    job_type: Name | None = None
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 200


class TicketPath(msgspec.Struct, frozen=True):
    ticket: Annotated[str, Meta(min_length=1, max_length=64)]


@table.endpoint("GET", "/api/scheduler/status", verb="lease:read", answer=SchedulerStatus)
async def get_status(call: Call[None, Nothing, Nothing]) -> SchedulerStatus:
    """May heavy work run now, who holds what, who waits."""
    return await call.services.scheduler.status(call.principal)


@table.endpoint(
    "POST",
    "/api/scheduler/explain",
    verb="lease:read",
    body=HeavyLeaseRequest,
    answer=Explanation,
    errors=(errors.NotFound, errors.NotPermitted, errors.Conflict, errors.NeverFits),
    quiet=True,
)
async def explain(call: Call[HeavyLeaseRequest, Nothing, Nothing]) -> Explanation:
    """The decision for a request, without making it."""
    return await call.services.scheduler.explain(call.principal, call.body)


@table.endpoint("GET", "/api/scheduler/decisions", verb="events:read", query=DecisionsQuery, answer=Decisions)
async def get_decisions(call: Call[None, DecisionsQuery, Nothing]) -> Decisions:
    """How often each holder got which answer, and the last one."""
    return await call.services.scheduler.decisions(
        call.principal, holder=call.query.holder, range_sec=duration_s(call.query.range)
    )


@table.endpoint("GET", "/api/scheduler/costs", verb="lease:read", query=CostsQuery, answer=Costs)
async def get_costs(call: Call[None, CostsQuery, Nothing]) -> Costs:
    """What each kind of work asked and really used, with a suggested cost."""
    query = call.query
    return await call.services.scheduler.costs(
        holder=query.holder or "", job_type=query.job_type or "", limit=query.limit
    )


@table.endpoint(
    "DELETE",
    "/api/scheduler/ticket/{ticket}",
    verb="lease:request",
    path_params=TicketPath,
    errors=(errors.NotFound, errors.NotPermitted, *WRITES),
    lane="reserved",
)
async def abandon_ticket(call: Call[None, Nothing, TicketPath]) -> None:
    """Give up waiting, and with it the place in line."""
    await call.services.leases.abandon(call.principal, call.path.ticket)
