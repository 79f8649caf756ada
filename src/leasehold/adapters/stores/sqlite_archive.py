"""The archive in the store's own SQLite file: own connections to read, the store's writer to write."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from leasehold.adapters.stores import sqlite_audit, sqlite_prune
from leasehold.adapters.stores.folding import FOLDS_MAX, PAGE_MAX, bucket_of
from leasehold.adapters.stores.sqlite import SqliteStore
from leasehold.adapters.stores.sqlite_readers import Readers
from leasehold.adapters.stores.sqlite_schema import JOBS
from leasehold.model.audit import Called, Wanted
from leasehold.ports.archive import Fold

_PAGE = (
    "SELECT key, value FROM finished WHERE {noun} id < ? AND substr(key, 1, ?) = ? {last} "
    "ORDER BY id DESC LIMIT ?"
)

_LAST_END = """AND NOT EXISTS (SELECT 1 FROM finished AS later INDEXED BY finished_job
    WHERE later.noun = '/jobs/' AND later.key = finished.key AND later.id > finished.id)"""
"""A job that ended more than once is shown once, as it last ended; so the cursor is one place."""

_PLACE_OF_JOB = "SELECT max(id) FROM finished INDEXED BY finished_job WHERE noun = '/jobs/' AND key = ?"

_PLACE = """
WITH RECURSIVE segment (number) AS (
    SELECT (SELECT max(id) FROM finished) >> 11
    UNION ALL SELECT number - 1 FROM segment WHERE number > (SELECT min(id) FROM finished) >> 11)
SELECT (SELECT max(id) FROM finished INDEXED BY finished_key
    WHERE noun <> '/jobs/' AND id >> 11 = number AND substr(key, -6) = substr(?1, -6) AND +key = ?1) AS place
FROM segment WHERE place IS NOT NULL LIMIT 1
"""
"""Segments come newest first, each made from the one before: the search ends at the newest end of the key.

The plus keeps SQLite from putting the asked key for `key` into the indexed expression, which then would not
match.
"""

_FOLD = """
INSERT INTO folds VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (bucket_ms, holder, code) DO UPDATE SET
    first_wall_ms = min(first_wall_ms, excluded.first_wall_ms), count = count + excluded.count,
    sentence = CASE WHEN excluded.last_wall_ms >= last_wall_ms THEN excluded.sentence ELSE sentence END,
    last_wall_ms = max(last_wall_ms, excluded.last_wall_ms)
"""

_FOLDS = """
SELECT holder, code, min(first_wall_ms), max(last_wall_ms) AS newest, sum(count), sentence FROM folds
WHERE last_wall_ms >= ?1 AND (?2 IS NULL OR holder = ?2)
GROUP BY holder, code ORDER BY newest DESC, holder, code LIMIT ?3
"""


class SqliteArchive:
    """Close it before its store: a store's last connection tidies the journal away."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        self._readers = Readers(store.path, "leasehold-archive")

    async def finished(
        self, prefix: str, *, limit: int, before: str | None = None
    ) -> Sequence[tuple[str, bytes]]:
        return await self._readers.ask(
            lambda connection: _finished(connection, prefix, min(limit, PAGE_MAX), before)
        )

    async def find(self, key: str) -> bytes | None:
        return await self._readers.ask(lambda connection: _find(connection, key))

    async def events(self, *, after: int, limit: int) -> Sequence[bytes]:
        rows = await self._readers.ask(
            lambda connection: connection.execute(
                "SELECT record FROM events WHERE last > ? ORDER BY last LIMIT ?",
                (after, min(limit, PAGE_MAX)),
            ).fetchall()
        )
        return [row[0] for row in rows]

    async def fold(self, folds: Sequence[Fold]) -> None:
        rows = [
            (
                bucket_of(f.last_wall_ms),
                f.holder,
                f.code,
                f.first_wall_ms,
                f.last_wall_ms,
                f.count,
                f.sentence,
            )
            for f in folds
        ]
        await self._store.write(lambda connection: connection.executemany(_FOLD, rows))

    async def folds(self, *, holder: str | None, since_wall_ms: int) -> Sequence[Fold]:
        rows = await self._readers.ask(
            lambda connection: connection.execute(_FOLDS, (since_wall_ms, holder, FOLDS_MAX)).fetchall()
        )
        return [Fold(*row) for row in rows]

    async def record(self, calls: Sequence[Called]) -> None:
        await self._store.write(lambda connection: sqlite_audit.add(connection, calls))

    async def recorded(self, wanted: Wanted) -> Sequence[Called]:
        return await self._readers.ask(lambda connection: sqlite_audit.find(connection, wanted))

    async def prune(
        self, *, before_wall_ms: int, bytes_max: int, apart: Mapping[str, int] | None = None
    ) -> int:
        return await self._store.write(
            lambda connection: sqlite_prune.prune(connection, before_wall_ms, bytes_max, apart or {})
        )

    async def close(self) -> None:
        """End the readers. Idempotent."""
        await self._readers.close()


def _finished(
    connection: sqlite3.Connection, prefix: str, limit: int, before: str | None
) -> list[tuple[str, bytes]]:
    below: int | None = 1 << 62
    if before is not None:
        below = place(connection, before)
    if below is None:
        return []
    end_of_noun = prefix.find("/", 1) + 1
    noun = [prefix[:end_of_noun]] if end_of_noun else []
    query = _PAGE.format(noun="noun = ? AND" if noun else "", last=_LAST_END if noun == [JOBS] else "")
    return connection.execute(query, (*noun, below, len(prefix), prefix, limit)).fetchall()


def _find(connection: sqlite3.Connection, key: str) -> bytes | None:
    found = place(connection, key)
    if found is None:
        return None
    row = connection.execute("SELECT value FROM finished WHERE id = ?", (found,)).fetchone()
    return row[0] if row is not None else None  # None: pruned between the two looks.


def place(connection: sqlite3.Connection, key: str) -> int | None:
    """The number of a key's newest end."""
    row = connection.execute(_PLACE_OF_JOB if key.startswith(JOBS) else _PLACE, (key,)).fetchone()
    return row[0] if row is not None else None
