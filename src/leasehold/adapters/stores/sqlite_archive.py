"""The archive in the store's own SQLite file: own connections to read, the store's writer to write."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from leasehold.adapters.stores import sqlite_audit
from leasehold.adapters.stores.folding import FOLDS_MAX, PAGE_MAX, PRUNED_ROWS, bucket_of
from leasehold.adapters.stores.sqlite import SqliteStore
from leasehold.adapters.stores.sqlite_readers import Readers
from leasehold.model.audit import Called, Wanted
from leasehold.ports.archive import Fold
from leasehold.ports.store import COLD, cold_key

_PAGE = (
    "SELECT key, value FROM finished WHERE {noun} id < ? AND substr(key, 1, ?) = ? ORDER BY id DESC LIMIT ?"
)

_PLACE = """
WITH RECURSIVE segment (number) AS (
    SELECT (SELECT max(id) FROM finished) >> 11
    UNION ALL SELECT number - 1 FROM segment WHERE number > (SELECT min(id) FROM finished) >> 11)
SELECT (SELECT max(id) FROM finished INDEXED BY finished_key
    WHERE id >> 11 = number AND substr(key, -6) = substr(?1, -6) AND +key = ?1) AS place
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

    async def prune(self, *, before_wall_ms: int, bytes_max: int) -> int:
        return await self._store.write(lambda connection: _prune(connection, before_wall_ms, bytes_max))

    async def close(self) -> None:
        """End the readers. Idempotent."""
        await self._readers.close()


def _finished(
    connection: sqlite3.Connection, prefix: str, limit: int, before: str | None
) -> list[tuple[str, bytes]]:
    below = 1 << 62
    if before is not None:
        place = connection.execute(_PLACE, (before,)).fetchone()
        if place is None:
            return []
        below = place[0]
    end_of_noun = prefix.find("/", 1) + 1
    if end_of_noun:
        query, values = _PAGE.format(noun="noun = ? AND"), [prefix[:end_of_noun]]
    else:
        query, values = _PAGE.format(noun=""), []
    return connection.execute(query, (*values, below, len(prefix), prefix, limit)).fetchall()


def _find(connection: sqlite3.Connection, key: str) -> bytes | None:
    place = connection.execute(_PLACE, (key,)).fetchone()
    if place is None:
        return None
    row = connection.execute("SELECT value FROM finished WHERE id = ?", place).fetchone()
    return row[0] if row is not None else None  # None: pruned between the two looks.


def _prune(connection: sqlite3.Connection, before_wall_ms: int, bytes_max: int) -> int:
    """One slice from the old end of each table: what is past its time, or all while the file is too large."""
    pages, free, page_bytes = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_count", "freelist_count", "page_size")
    )
    until = (1 << 62) if (pages - free) * page_bytes > bytes_max else before_wall_ms
    dropped = 0
    for table, order, shown in (("finished", "id", "key"), ("events", "last", "NULL")):
        gone = connection.execute(
            f"DELETE FROM {table} WHERE wall_ms < ? AND {order} <= "  # noqa: S608  (names from the line above)
            f"(SELECT max({order}) FROM (SELECT {order} FROM {table} ORDER BY {order} LIMIT ?)) "
            f"RETURNING {shown}",
            (until, PRUNED_ROWS),
        ).fetchall()
        dropped += len(gone)
        if table == "finished":
            _prune_cold(connection, [key for (key,) in gone])
    dropped += connection.execute(
        "DELETE FROM folds WHERE (bucket_ms, holder, code) IN (SELECT bucket_ms, holder, code FROM folds "
        "WHERE bucket_ms < ? ORDER BY bucket_ms LIMIT ?)",
        (bucket_of(before_wall_ms), PRUNED_ROWS),
    ).rowcount
    return dropped + sqlite_audit.prune(connection, before_wall_ms)


def _prune_cold(connection: sqlite3.Connection, keys: Sequence[str]) -> None:
    """Drop the cold rows of what has left the archive, unless the key lives again or ended once more."""
    rows = connection.execute(
        "SELECT id, substr(key, ?2) FROM cold WHERE key IN (SELECT value FROM json_each(?1)) "
        "AND NOT EXISTS (SELECT 1 FROM live WHERE live.key = substr(cold.key, ?2))",
        (msgspec.json.encode([cold_key(key) for key in keys]).decode(), len(COLD)),
    ).fetchall()
    gone = [(number,) for number, key in rows if connection.execute(_PLACE, (key,)).fetchone() is None]
    connection.executemany("DELETE FROM cold WHERE id = ?", gone)
