"""`/api/scheduler/lease`: ask, renew, report, release, revoke, pause, resume, look (LEASE-9)."""

from __future__ import annotations

import msgspec

from leasehold.api.endpoint import Call, Nothing, Table
from leasehold.model import errors
from leasehold.wire.lease import (
    BulkHeartbeat,
    BulkHeartbeatAnswer,
    Heartbeat,
    HeartbeatAnswer,
    HeavyLeaseRequest,
    HeavyLeaseResponse,
    LeaseId,
    LeaseOut,
    Overtime,
    Pause,
    Release,
    Report,
    Resume,
    Revoke,
)

table = Table("leases")

LEASE = "/api/scheduler/lease"

WRITES = (errors.StoreUnavailable, errors.OutcomeUnknown, errors.InvariantBroken)
"""What may come of any command that changes the ledger."""

OF_ONE = (errors.NotFound, errors.NotPermitted, errors.Conflict, errors.StaleToken, errors.LeaseEnded)
"""What may come of a command on one lease (LEASE-12)."""


class LeasePath(msgspec.Struct, frozen=True):
    lease_id: LeaseId


@table.endpoint(
    "POST",
    f"{LEASE}/request",
    verb="lease:request",
    body=HeavyLeaseRequest,
    answer=HeavyLeaseResponse,
    errors=(
        *WRITES,
        errors.NotPermitted,
        errors.NotFound,
        errors.Conflict,
        errors.IdempotencyBusy,
        errors.IdempotencyMismatch,
        errors.NeverFits,
        errors.RateLimited,
        errors.LeaseEnded,
    ),
    lane="normal",
    hot=True,
    idempotent=True,
    holds=lambda body: body.wait_sec > 0,
)
async def request_lease(call: Call[HeavyLeaseRequest, Nothing, Nothing]) -> HeavyLeaseResponse:
    """Ask for a lease, and wait up to `wait_sec`; a denial is an answer too, with reasons and a ticket."""
    return await call.services.leases.request(
        call.principal, call.body, idempotency_key=call.idempotency_key, body_hash=call.body_hash
    )


@table.endpoint(
    "POST",
    f"{LEASE}/heartbeat",
    verb="lease:request",
    body=BulkHeartbeat,
    answer=BulkHeartbeatAnswer,
    lane="reserved",
    hot=True,
)
async def heartbeat_leases(call: Call[BulkHeartbeat, Nothing, Nothing]) -> BulkHeartbeatAnswer:
    """Renew up to 1,000 leases; each has its own outcome."""
    return await call.services.leases.heartbeat_many(call.principal, call.body)


@table.endpoint(
    "POST",
    f"{LEASE}/{{lease_id}}/heartbeat",
    verb="lease:request",
    path_params=LeasePath,
    body=Heartbeat,
    answer=HeartbeatAnswer,
    errors=(*OF_ONE, *WRITES),
    lane="reserved",
    hot=True,
)
async def heartbeat_lease(call: Call[Heartbeat, Nothing, LeasePath]) -> HeartbeatAnswer:
    """Renew a lease, and learn whether to continue, pause or stop."""
    return await call.services.leases.heartbeat(call.principal, call.path.lease_id, call.body)


@table.endpoint(
    "POST",
    f"{LEASE}/{{lease_id}}/report",
    verb="lease:request",
    path_params=LeasePath,
    body=Report,
    answer=LeaseOut,
    errors=(*OF_ONE, *WRITES),
    lane="reserved",
    hot=True,
)
async def report_lease(call: Call[Report, Nothing, LeasePath]) -> LeaseOut:
    """Report progress and use; it does not extend the lease."""
    return await call.services.leases.report(call.principal, call.path.lease_id, call.body)


@table.endpoint(
    "POST",
    f"{LEASE}/{{lease_id}}/release",
    verb="lease:request",
    path_params=LeasePath,
    body=Release,
    answer=LeaseOut,
    errors=(*OF_ONE, *WRITES),
    lane="reserved",
    hot=True,
)
async def release_lease(call: Call[Release, Nothing, LeasePath]) -> LeaseOut:
    """Give a lease back. A released lease answers again as it did."""
    return await call.services.leases.release(call.principal, call.path.lease_id, call.body)


@table.endpoint(
    "POST",
    f"{LEASE}/{{lease_id}}/revoke",
    verb="lease:request",
    path_params=LeasePath,
    body=Revoke,
    answer=LeaseOut,
    errors=(*OF_ONE, *WRITES),
    lane="normal",
)
async def revoke_lease(call: Call[Revoke, Nothing, LeasePath]) -> LeaseOut:
    """End a lease after its grace period; somebody else's takes the right `lease:revoke`."""
    return await call.services.leases.revoke(call.principal, call.path.lease_id, call.body)


@table.endpoint(
    "POST",
    f"{LEASE}/{{lease_id}}/overtime",
    verb="lease:request",
    path_params=LeasePath,
    body=Overtime,
    answer=HeavyLeaseResponse,
    errors=(*OF_ONE, *WRITES),
    lane="reserved",
)
async def overtime_lease(call: Call[Overtime, Nothing, LeasePath]) -> HeavyLeaseResponse:
    """A new lease for work that goes on after it lost its own: charged without admission, and flagged."""
    return await call.services.leases.overtime(call.principal, call.path.lease_id, call.body)


@table.endpoint(
    "POST",
    f"{LEASE}/{{lease_id}}/pause",
    verb="lease:request",
    path_params=LeasePath,
    body=Pause,
    answer=LeaseOut,
    errors=(*OF_ONE, *WRITES),
    lane="normal",
)
async def pause_lease(call: Call[Pause, Nothing, LeasePath]) -> LeaseOut:
    """Have its work stand still until a person resumes it; somebody else's takes the right `lease:revoke`."""
    answer: LeaseOut = await call.services.ladder.pause(call.principal, call.path.lease_id, call.body)
    return answer


@table.endpoint(
    "POST",
    f"{LEASE}/{{lease_id}}/resume",
    verb="lease:request",
    path_params=LeasePath,
    body=Resume,
    answer=LeaseOut,
    errors=(*OF_ONE, *WRITES),
    lane="normal",
)
async def resume_lease(call: Call[Resume, Nothing, LeasePath]) -> LeaseOut:
    """Have its work go on at once, also while the machine is busy, whoever held it back."""
    answer: LeaseOut = await call.services.ladder.resume(call.principal, call.path.lease_id, call.body)
    return answer


@table.endpoint(
    "GET",
    f"{LEASE}/{{lease_id}}",
    verb="lease:read",
    path_params=LeasePath,
    answer=LeaseOut,
    errors=(errors.NotFound, errors.NotPermitted, errors.Conflict),
)
async def get_lease(call: Call[None, Nothing, LeasePath]) -> LeaseOut:
    """One lease as it is now, live or ended."""
    return await call.services.leases.get(call.principal, call.path.lease_id)
