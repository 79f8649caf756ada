"""`/api/scheduler/locks`: named locks and counted semaphores (LEASE-21)."""

from __future__ import annotations

import msgspec

from leasehold.api.endpoint import Call, Nothing, Table
from leasehold.api.rest.lease import WRITES
from leasehold.model import errors
from leasehold.wire.lease import LockName
from leasehold.wire.lock import LockOut, Locks, LockSize

table = Table("locks")


class LockPath(msgspec.Struct, frozen=True):
    name: LockName


@table.endpoint("GET", "/api/scheduler/locks", verb="lease:read", answer=Locks)
async def list_locks(call: Call[None, Nothing, Nothing]) -> Locks:
    """All locks and semaphores, with who holds them."""
    return await call.services.locks.locks(call.principal)


@table.endpoint(
    "PUT",
    "/api/scheduler/locks/{name:path}",
    verb="lock:set",
    path_params=LockPath,
    body=LockSize,
    answer=LockOut,
    errors=(errors.Conflict, *WRITES),
    lane="normal",
)
async def set_lock(call: Call[LockSize, Nothing, LockPath]) -> LockOut:
    """Set how many may hold it at once."""
    return await call.services.locks.set_lock(call.principal, call.path.name, call.body)


@table.endpoint(
    "DELETE",
    "/api/scheduler/locks/{name:path}",
    verb="lock:set",
    path_params=LockPath,
    errors=(errors.NotFound, errors.Conflict, *WRITES),
    lane="normal",
)
async def delete_lock(call: Call[None, Nothing, LockPath]) -> None:
    """Forget a semaphore that nobody holds or waits for."""
    await call.services.locks.delete_lock(call.principal, call.path.name)
