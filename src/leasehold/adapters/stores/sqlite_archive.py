"""The archive in the store's own SQLite file: own connections to read, the store's writer to write."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from leasehold.adapters.stores import sqlite_audit
from leasehold.adapters.stores.folding import FOLDS_MAX, PAGE_MAX, PRUNED_ROWS, bucket_of
from leasehold.adapters.stores.sqlite import SqliteStore
from leasehold.adapters.stores.sqlite_check import corrupt
from leasehold.model.audit import Called, Wanted
from leasehold.ports.archive import Fold
from leasehold.ports.store import StoreError

T = TypeVar("T")

READERS = 2
"""Threads, each with a connection of its own: one long answer does not hold up all others."""

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
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix="leasehold-archive")
        self._here = threading.local()
        self._connections: list[sqlite3.Connection] = []

    async def finished(
        self, prefix: str, *, limit: int, before: str | None = None
    ) -> Sequence[tuple[str, bytes]]:
        return await self._read(
            lambda connection: _finished(connection, prefix, min(limit, PAGE_MAX), before)
        )

    async def find(self, key: str) -> bytes | None:
        return await self._read(lambda connection: _find(connection, key))

    async def events(self, *, after: int, limit: int) -> Sequence[bytes]:
        rows = await self._read(
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
        rows = await self._read(
            lambda connection: connection.execute(_FOLDS, (since_wall_ms, holder, FOLDS_MAX)).fetchall()
        )
        return [Fold(*row) for row in rows]

    async def record(self, calls: Sequence[Called]) -> None:
        await self._store.write(lambda connection: sqlite_audit.add(connection, calls))

    async def recorded(self, wanted: Wanted) -> Sequence[Called]:
        return await self._read(lambda connection: sqlite_audit.find(connection, wanted))

    async def prune(self, *, before_wall_ms: int, bytes_max: int) -> int:
        return await self._store.write(lambda connection: _prune(connection, before_wall_ms, bytes_max))

    async def close(self) -> None:
        """End the readers. Idempotent."""
        await asyncio.to_thread(self._pool.shutdown)
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._ask, query)

    def _ask(self, query: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return query(self._connection())
        except sqlite3.OperationalError as exc:
            raise StoreError(f"{self._store.path} can't be read: {exc}") from exc
        except sqlite3.DatabaseError as exc:
            raise corrupt(str(self._store.path), exc) from exc

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._here, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                f"{self._store.path.resolve().as_uri()}?mode=ro",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
            )
            connection.execute("PRAGMA cache_size = -1000")
            self._here.connection = connection
            self._connections.append(connection)
        return connection


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
    for table, order in (("finished", "id"), ("events", "last")):
        dropped += connection.execute(
            f"DELETE FROM {table} WHERE wall_ms < ? AND {order} <= "  # noqa: S608  (names from the line above)
            f"(SELECT max({order}) FROM (SELECT {order} FROM {table} ORDER BY {order} LIMIT ?))",
            (until, PRUNED_ROWS),
        ).rowcount
    dropped += connection.execute(
        "DELETE FROM folds WHERE (bucket_ms, holder, code) IN (SELECT bucket_ms, holder, code FROM folds "
        "WHERE bucket_ms < ? ORDER BY bucket_ms LIMIT ?)",
        (bucket_of(before_wall_ms), PRUNED_ROWS),
    ).rowcount
    return dropped + sqlite_audit.prune(connection, before_wall_ms)
