"""The port of care for a store: copies of it, and the room that it takes (OPS-15, OPS-16)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from leasehold.model.storage import Intent, Listed, Manifest, Since, Sizes
from leasehold.ports.store import StoreError


class BackupFailed(StoreError):
    """A backup could not be made, or is not what its manifest says. The sentence says which and why."""


class Storage(Protocol):
    """Works on threads of its own; what it does never holds a commit up for longer than a slice.

    One call that makes, checks or drops a backup runs at a time; a second one waits for it.
    """

    @property
    def folder(self) -> str:
        """Where backups are kept."""
        ...

    async def listed(self) -> Sequence[Listed]:
        """All backups that are there, the newest first; none where the folder is not there yet."""
        ...

    async def make(self, reason: str, *, samples: bool, unreadable: int) -> Manifest:
        """Copy the store as it is at one instant, prove the copy in a process of its own, stamp it.

        `unreadable` live records are known to be damaged, and may be so in the copy. Raises BackupFailed;
        then nothing of it is left.
        """
        ...

    async def check(self, backup_id: str) -> Manifest:
        """Prove a backup again. Raises BackupFailed, which says what is wrong with it."""
        ...

    async def since(self, backup_id: str) -> Since:
        """What a restore of it would lose. Raises BackupFailed where that can't be told."""
        ...

    async def drop(self, backup_id: str) -> None:
        """Remove one. Raises BackupFailed."""
        ...

    async def intend(self, intent: Intent) -> None:
        """Note durably that a restore is to be finished before the store is opened again."""
        ...

    async def sizes(self) -> Sizes:
        """What the files take now."""
        ...

    async def compact(self, pages: int) -> int:
        """Give back up to so many free pages, in one short transaction; return how many are left."""
        ...

    async def close(self) -> None:
        """End what runs, soon. Idempotent."""
