"""The port of care on a running SQLite store: what blocks runs on threads, what writes on the writer's."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from leasehold.adapters.stores import sqlite_restore, sqlite_space
from leasehold.adapters.stores.backups import Backups
from leasehold.adapters.stores.samples import FILE as SAMPLES
from leasehold.adapters.stores.sqlite import SqliteStore
from leasehold.adapters.stores.sqlite_readers import Readers
from leasehold.model.storage import Intent, Listed, Manifest, Since, Sizes
from leasehold.ports.storage import BackupFailed
from leasehold.runtime.lanes import ThreadLane


class SqliteStorage:
    """Close it before its store."""

    def __init__(self, store: SqliteStore, backups: Backups) -> None:
        self._store = store
        self._backups = backups
        self._work = ThreadLane("backups")
        self._looks = ThreadLane("backups-list")
        self._readers = Readers(store.path, "leasehold-sizes")

    @property
    def folder(self) -> str:
        return str(self._backups.root())

    async def listed(self) -> Sequence[Listed]:
        return await self._looks.run(self._backups.listed)

    async def make(self, reason: str, *, samples: bool, unreadable: int) -> Manifest:
        return await self._work.run(self._make, reason, samples, unreadable)

    def _make(self, reason: str, samples: bool, unreadable: int) -> Manifest:
        self._store.hold_journal(True)
        try:
            return self._backups.make(reason, samples=samples, unreadable=unreadable)
        finally:
            self._store.hold_journal(False)

    async def check(self, backup_id: str) -> Manifest:
        return await self._work.run(self._backups.check, backup_id)

    async def since(self, backup_id: str) -> Since:
        return await self._looks.run(self._since, backup_id)

    def _since(self, backup_id: str) -> Since:
        try:
            return self._backups.since(backup_id)
        except (sqlite3.Error, UnicodeDecodeError, OSError) as error:
            raise BackupFailed(f"what was written since {backup_id} can't be told: {error}") from error

    async def drop(self, backup_id: str) -> None:
        await self._work.run(self._backups.drop, backup_id)

    async def intend(self, intent: Intent) -> None:
        await self._looks.run(self._intend, intent)

    def _intend(self, intent: Intent) -> None:
        try:
            sqlite_restore.intend(self._backups.data, intent)
        except OSError as error:
            raise BackupFailed(
                f"the restore could not be noted in {self._backups.data}: {error.strerror} (nothing was "
                "changed)"
            ) from error

    async def sizes(self) -> Sizes:
        samples = self._backups.data / SAMPLES
        return await self._readers.ask(
            lambda connection: sqlite_space.sizes(connection, self._store.path, samples)
        )

    async def compact(self, pages: int) -> int:
        return await self._store.write(lambda connection: _given_back(connection, pages))

    async def close(self) -> None:
        self._backups.stopped = True
        self._work.close()
        self._looks.close()
        await self._readers.close()


def _given_back(connection: sqlite3.Connection, pages: int) -> int:
    return sqlite_space.give_back(connection, pages)
