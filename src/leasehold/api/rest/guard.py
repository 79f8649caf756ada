"""`/api/guards`: software that runs by itself and gives way (LEASE-26)."""

from __future__ import annotations

from leasehold.api.endpoint import Call, Nothing, Table
from leasehold.api.rest.lease import WRITES, LeasePath
from leasehold.model import errors
from leasehold.wire.guard import GuardIn, GuardOut, Guards

table = Table("guards")


@table.endpoint("GET", "/api/guards", verb="lease:read", answer=Guards)
async def list_guards(call: Call[None, Nothing, Nothing]) -> Guards:
    """All guards, whether what they guard runs, and what it uses."""
    return await call.services.guards.guards()


@table.endpoint(
    "POST",
    "/api/guards",
    verb="lease:request",
    body=GuardIn,
    answer=GuardOut,
    errors=(
        errors.NotPermitted,
        errors.NotFound,
        errors.Conflict,
        errors.Unavailable,
        errors.Overloaded,
        *WRITES,
    ),
    lane="normal",
)
async def guard(call: Call[GuardIn, Nothing, Nothing]) -> GuardOut:
    """Guard a container, unit, cgroup or process, or change how it gives way."""
    found = await call.services.guards.guard(call.principal, call.body)
    call.names(lease_id=found.lease_id)
    return found


@table.endpoint(
    "DELETE",
    "/api/guards/{lease_id}",
    verb="lease:request",
    path_params=LeasePath,
    errors=(errors.NotPermitted, errors.NotFound, *WRITES),
    lane="normal",
)
async def remove_guard(call: Call[None, Nothing, LeasePath]) -> None:
    """Guard it no more; it goes on as it was before."""
    await call.services.guards.remove(call.principal, call.path.lease_id)
