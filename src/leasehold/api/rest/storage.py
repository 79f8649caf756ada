"""`/api/admin/…` about what is stored: backups, restore, compaction, figures (OPS-15, OPS-16)."""

from __future__ import annotations

import msgspec

from leasehold.api.endpoint import Call, Nothing, Table
from leasehold.model import errors
from leasehold.wire.storage import (
    BackupId,
    BackupIn,
    BackupOut,
    Backups,
    CareOut,
    CompactIn,
    RestoreIn,
    RestoreOut,
    StorageOut,
)

table = Table("storage")


class BackupPath(msgspec.Struct, frozen=True):
    backup_id: BackupId


@table.endpoint(
    "GET", "/api/admin/backups", verb="storage:read", answer=Backups, errors=(errors.Unavailable,)
)
async def list_backups(call: Call[None, Nothing, Nothing]) -> Backups:
    """The backups that are there, newest first, and when the next one is due."""
    return await call.services.storage.backups()


@table.endpoint(
    "POST",
    "/api/admin/backups",
    verb="storage:care",
    body=BackupIn,
    answer=BackupOut,
    errors=(errors.Conflict, errors.Unavailable),
)
async def make_backup(call: Call[BackupIn, Nothing, Nothing]) -> BackupOut:
    """Make a backup now; answered once it has been restored on trial and stamped."""
    made = await call.services.storage.backup(call.principal)
    call.names(backup_id=made.backup_id)
    return made


@table.endpoint(
    "POST",
    "/api/admin/backups/{backup_id}/check",
    verb="storage:care",
    path_params=BackupPath,
    answer=BackupOut,
    errors=(errors.NotFound, errors.Conflict, errors.Unavailable),
)
async def check_backup(call: Call[None, Nothing, BackupPath]) -> BackupOut:
    """Restore a backup on trial again: every byte, every live record."""
    return await call.services.storage.check(call.principal, call.path.backup_id)


@table.endpoint(
    "POST",
    "/api/admin/restore",
    verb="storage:restore",
    body=RestoreIn,
    answer=RestoreOut,
    errors=(errors.NotFound, errors.Conflict, errors.Unavailable),
)
async def restore_backup(call: Call[RestoreIn, Nothing, Nothing]) -> RestoreOut:
    """Put a backup in the place of the store: the server stops, does it, and starts anew."""
    call.names(backup_id=call.body.backup_id)
    return await call.services.storage.restore(call.principal, call.body)


@table.endpoint(
    "POST",
    "/api/admin/compact",
    verb="storage:care",
    body=CompactIn,
    answer=CareOut,
    errors=(errors.Conflict, errors.Unavailable),
)
async def compact_store(call: Call[CompactIn, Nothing, Nothing]) -> CareOut:
    """Give the free pages of the store back, in slices, after a fresh proven backup."""
    return await call.services.storage.compact(call.principal)


@table.endpoint(
    "GET", "/api/admin/storage", verb="storage:read", answer=StorageOut, errors=(errors.Unavailable,)
)
async def get_storage(call: Call[None, Nothing, Nothing]) -> StorageOut:
    """What is stored takes, how fragmented it is, and how it is cared for."""
    return await call.services.storage.report()
