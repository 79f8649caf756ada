"""How the archive's tables lose their old end: a slice a call, between two commits (LEASE-16, QUEUE-14)."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

import msgspec

from leasehold.adapters.stores import sqlite_audit
from leasehold.adapters.stores.folding import PRUNED_ROWS, bucket_of
from leasehold.adapters.stores.sqlite_schema import COLD_UNIT, JOBS, ROW_BYTES
from leasehold.ports.store import COLD, cold_key

EVER = 1 << 62

_NOUNS = """
WITH RECURSIVE each (noun) AS (SELECT min(noun) FROM finished
    UNION ALL SELECT (SELECT min(noun) FROM finished WHERE noun > each.noun) FROM each WHERE noun IS NOT NULL)
SELECT noun FROM each WHERE noun IS NOT NULL
"""
"""A probe for each noun that has ended, however many rows there are."""

_ENDS = "DELETE FROM finished WHERE wall_ms < ? AND id IN ({oldest}) RETURNING key, length(value)"
_OLDEST = "SELECT id FROM finished ORDER BY id LIMIT ?"
_OLDEST_OF = "SELECT id FROM finished WHERE noun = ? ORDER BY id LIMIT ?"

_EVENTS = """
DELETE FROM events WHERE wall_ms < ? AND last IN (SELECT last FROM events ORDER BY last LIMIT ?)
RETURNING length(record)
"""

_FOLDS = """
DELETE FROM folds WHERE (bucket_ms, holder, code) IN
    (SELECT bucket_ms, holder, code FROM folds WHERE bucket_ms < ? ORDER BY bucket_ms LIMIT ?)
"""

_COLD = """
DELETE FROM cold WHERE key IN (SELECT value FROM json_each(?1))
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.key = substr(cold.key, ?2))
    AND NOT EXISTS (SELECT 1 FROM live WHERE live.key = substr(cold.key, ?2))
    AND NOT EXISTS (SELECT 1 FROM finished INDEXED BY finished_job
        WHERE noun = '/jobs/' AND finished.key = substr(cold.key, ?2))
RETURNING key, length(value)
"""
"""The cold rows of what has gone, unless the key lives again or ended once more."""


def prune(
    connection: sqlite3.Connection, before_wall_ms: int, bytes_max: int, apart: Mapping[str, int]
) -> int:
    """One slice from the old end of each table: what is past its time, or all while they are too large."""
    archived = connection.execute("SELECT archived FROM meta").fetchone()[0]
    is_over = archived > bytes_max
    if is_over:
        ended = connection.execute(_ENDS.format(oldest=_OLDEST), (EVER, PRUNED_ROWS)).fetchall()
    else:
        ended = list(_past_their_time(connection, before_wall_ms, apart))
    until = EVER if is_over else before_wall_ms
    events = connection.execute(_EVENTS, (until, PRUNED_ROWS)).fetchall()
    freed = sum(size + ROW_BYTES for _, size in ended) + sum(size + ROW_BYTES for (size,) in events)
    freed += _drop_cold(connection, [key for key, _ in ended])
    if freed:
        connection.execute("UPDATE meta SET archived = max(0, archived - ?)", (freed,))
    folds = connection.execute(_FOLDS, (bucket_of(before_wall_ms), PRUNED_ROWS)).rowcount
    return len(ended) + len(events) + folds + sqlite_audit.prune(connection, before_wall_ms)


def _past_their_time(
    connection: sqlite3.Connection, before_wall_ms: int, apart: Mapping[str, int]
) -> Iterable[tuple[str, int]]:
    for (noun,) in connection.execute(_NOUNS).fetchall():
        until = apart.get(noun, before_wall_ms)
        yield from connection.execute(_ENDS.format(oldest=_OLDEST_OF), (until, noun, PRUNED_ROWS)).fetchall()


def _drop_cold(connection: sqlite3.Connection, keys: list[str]) -> int:
    """Drop what belongs to these ends alone; return how much of it counted as the archive's."""
    if not keys:
        return 0
    asked = msgspec.json.encode([cold_key(key) for key in keys]).decode()
    gone = connection.execute(_COLD, (asked, len(COLD))).fetchall()
    of_jobs = cold_key(JOBS)
    return sum(size // COLD_UNIT * COLD_UNIT for key, size in gone if key.startswith(of_jobs))
