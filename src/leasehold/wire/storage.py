"""Messages of `/api/admin/backups`, `/restore`, `/compact` and `/storage` (OPS-15, OPS-16)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from leasehold.wire.lease import Input

BackupId = Annotated[str, Meta(min_length=1, max_length=40, pattern=r"^[A-Za-z0-9-]+$")]


class BackupOut(msgspec.Struct, omit_defaults=True):
    """One backup. `made_at` is the instant whose state it holds, `proven_at` when it was restored on trial.

    `problem`: it can't be used, and why. `records` are the live ones. `reason`: `schedule` or `command`.
    """

    backup_id: str
    made_at: str | None = None
    proven_at: str | None = None
    bytes: int = 0
    records: int = 0
    jobs: int = 0
    reason: str = ""
    version: str = ""
    samples: bool = False
    unreadable: int = 0
    problem: str = ""


class Backups(msgspec.Struct, omit_defaults=True):
    """All backups, the newest first. `next_at` is when the next one by schedule is due."""

    folder: str
    keep: int
    enabled: bool
    backups: list[BackupOut]
    next_at: str | None = None
    running: str = ""


class BackupIn(Input, frozen=True):
    """`POST /api/admin/backups`: make one now. It is answered once it is proven."""


class RestoreIn(Input, frozen=True):
    """`POST /api/admin/restore`: put a backup in the place of the store.

    `dry_run` changes nothing, and tells what would be lost. Otherwise the server checks the backup, stops,
    puts it in place, and starts anew within seconds.
    """

    backup_id: BackupId
    dry_run: bool = False


class Loss(msgspec.Struct, omit_defaults=True):
    """What was written since a backup, and would not be there any more; None: it can't be told."""

    events: int = 0
    by_kind: dict[str, int] = {}
    runs_again: int = 0
    """Jobs that wait in the backup and have ended since: they would run again."""


class RestoreOut(msgspec.Struct, omit_defaults=True):
    """What is restored. `restarting`: the server does it now, and is back when `/ready` says so again."""

    backup: BackupOut
    loss: Loss | None = None
    restarting: bool = False
    restore_id: str = ""
    kept: str = ""


class CompactIn(Input, frozen=True):
    """`POST /api/admin/compact`: give free pages back now, in slices, after a fresh proven backup."""


class CareOut(msgspec.Struct, omit_defaults=True):
    """One piece of care as it ended. `bytes`: what a backup takes, or what a compaction gave back."""

    run_id: str
    care: Literal["backup", "check", "compaction", "restore"]
    outcome: Literal["done", "failed"]
    began_at: str
    ended_at: str
    by: str
    reason: str
    backup_id: str = ""
    bytes: int = 0
    why: str = ""
    kept: str = ""


class StorageOut(msgspec.Struct, omit_defaults=True):
    """`GET /api/admin/storage`: what is stored takes, how it is cared for, and the last runs, newest first.

    `fragmentation` is the share of the file that holds nothing, 0 to 1. `in_slices`: that can be given back
    while the server runs; else `leasehold store compact` does it on a stopped one, in about `rewrite_sec`.
    """

    file_bytes: int
    free_bytes: int
    fragmentation: float
    journal_bytes: int
    samples_bytes: int
    disk_free_bytes: int
    in_slices: bool
    read_only: str = ""
    rewrite_sec: float = 0.0
    last_good_backup: BackupOut | None = None
    last_failure: CareOut | None = None
    running: str = ""
    runs: list[CareOut] = []
