"""Care of what is stored: backups, what a restore leaves behind, and runs of all that (OPS-15, OPS-16)."""

from __future__ import annotations

from enum import StrEnum

import msgspec

FORMAT = 1
"""Of the manifest. One of a later format is refused, never guessed at."""

RUNS_KEPT = 20
"""Of each kind of care."""


class Care(StrEnum):
    """What was done for the store."""

    BACKUP = "backup"
    CHECK = "check"
    COMPACTION = "compaction"
    RESTORE = "restore"


class FileSum(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of a backup: its size and the SHA-256 of its bytes, in hexadecimal digits."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a backup is, as its `manifest.json` tells. It is written last, once the backup is proven.

    `number` grows with each backup of a folder, whatever the clock says. `made_wall_ms` is the instant whose
    state it holds. `counts` are rows by table; `unreadable` how many live records could not be decoded when
    it was made, and could not in the store either. `sha256` is that of all the rest of the manifest.
    """

    backup_id: str
    number: int
    reason: str
    made_wall_ms: int
    proven_wall_ms: int
    version: str
    schema: int
    batch_seq: int
    last_event: int
    incarnation: int
    counts: dict[str, int]
    files: dict[str, FileSum]
    unreadable: int = 0
    format: int = FORMAT
    sha256: str = ""

    @property
    def bytes(self) -> int:
        """Of all its files."""
        return sum(one.bytes for one in self.files.values())


class Listed(msgspec.Struct, frozen=True):
    """One folder among the backups. `problem`: its manifest can't be used, and why; then there is none."""

    backup_id: str
    manifest: Manifest | None
    problem: str = ""


class Proof(msgspec.Struct, frozen=True):
    """What a scratch process found when it restored a copy: all of it is read back from the disk."""

    files: dict[str, FileSum]
    schema: int
    batch_seq: int
    last_event: int
    incarnation: int
    counts: dict[str, int]
    unreadable: int = 0


class Sizes(msgspec.Struct, frozen=True):
    """The store's files. `in_slices`: its free pages can be given back while it serves."""

    page_bytes: int
    pages: int
    free_pages: int
    journal_bytes: int
    samples_bytes: int
    disk_free_bytes: int
    in_slices: bool

    @property
    def file_bytes(self) -> int:
        return self.page_bytes * self.pages

    @property
    def free_bytes(self) -> int:
        return self.page_bytes * self.free_pages

    @property
    def fragmentation(self) -> float:
        """The share of the file's pages that hold nothing, 0 to 1."""
        return self.free_pages / self.pages if self.pages else 0.0


class StorageRun(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One piece of care, as it ended. `why` is empty where it went well.

    `bytes` is what a backup takes, or what a compaction gave back. `fresh`: a restore whose store no server
    has opened yet, so its live leases are not marked yet. `kept` is where the replaced store stands.
    """

    run_id: str
    care: Care
    began_wall_ms: int
    ended_wall_ms: int
    by: str
    reason: str
    backup_id: str = ""
    why: str = ""
    bytes: int = 0
    made_wall_ms: int = 0
    kept: str = ""
    fresh: bool = False


class Intent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A restore that was asked for and is to be finished, by whoever opens the data folder next.

    `folder` is that of the backup; `kept` the name that the replaced store gets.
    """

    restore_id: str
    backup_id: str
    folder: str
    kept: str
    by: str
    asked_wall_ms: int


class Numbers(msgspec.Struct, frozen=True):
    """What a store must never fall behind: tokens, batches and events count on from here (INV-3)."""

    incarnation: int
    batch_seq: int
    last_event: int


class Since(msgspec.Struct, frozen=True):
    """What a store has that a backup of it has not: records of events, and how many of the jobs that wait in
    the backup have ended meanwhile.
    """

    events: tuple[bytes, ...]
    runs_again: int
