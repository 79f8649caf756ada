"""What is looked at before a SQLite store is trusted, and what can still be read of a damaged one (INV-9)."""

from __future__ import annotations

import sqlite3
from typing import Any

from leasehold.ports.store import StoreCorrupt

CHECKED_ROWS = 50_000
"""Above this many live rows the check at the start is left to the load, which reads them all anyway (about
0.1 s of check).
"""


def meta(connection: sqlite3.Connection, path: str) -> tuple[int, int]:
    """`batch_seq` and the last event's number. StoreCorrupt: they can't be read, or contradict the events."""
    try:
        row = connection.execute("SELECT batch_seq, last_event FROM meta WHERE id = 1").fetchone()
        newest = connection.execute("SELECT max(last) FROM events").fetchone()[0]
    except sqlite3.DatabaseError as exc:
        raise corrupt(path, exc) from exc
    if row is None or not all(isinstance(number, int) for number in row):
        raise StoreCorrupt(
            f"{path}: the table meta holds {row!r} where two numbers are expected: restore a backup"
        )
    if newest is not None and newest > row[1]:
        raise StoreCorrupt(
            f"{path}: meta says that event {row[1]} is the last, but {newest} is there: restore a backup"
        )
    return int(row[0]), int(row[1])


def damage(connection: sqlite3.Connection) -> str:
    """What a quick check of the live records finds, in SQLite's words; empty: nothing, or too many rows."""
    try:
        low, high = connection.execute("SELECT min(id), max(id) FROM live").fetchone()
        if low is not None and high - low > CHECKED_ROWS:
            return ""
        found = [str(row[0]) for row in connection.execute("PRAGMA quick_check('live')")]
    except sqlite3.DatabaseError as exc:
        return str(exc)
    return "" if found == ["ok"] else "; ".join(found[:10])


def live_records(connection: sqlite3.Connection, path: str) -> list[tuple[str, bytes]]:
    """All live records, sorted by key. Of one whose value can't be read the key remains, with an empty value.

    Raises StoreCorrupt where not even the keys can be told for sure.
    """
    try:
        rows = connection.execute("SELECT key, value FROM live ORDER BY key").fetchall()
    except sqlite3.DatabaseError as exc:
        rows = _rescued(connection, path, exc)
    if all(type(key) is str and type(value) is bytes for key, value in rows):
        return rows
    return [(_key(key, path), _value(value)) for key, value in rows]


def _rescued(connection: sqlite3.Connection, path: str, exc: sqlite3.DatabaseError) -> list[tuple[Any, Any]]:
    """Keys by the index and values one by one; else all from the table alone."""
    try:
        keys = connection.execute("SELECT key FROM live INDEXED BY live_key ORDER BY key").fetchall()
    except sqlite3.DatabaseError:
        try:
            return sorted(connection.execute("SELECT key, value FROM live NOT INDEXED"))
        except (sqlite3.DatabaseError, TypeError):
            raise corrupt(path, exc) from exc
    return [(key, _one_value(connection, key)) for (key,) in keys]


def _one_value(connection: sqlite3.Connection, key: Any) -> Any:
    try:
        row = connection.execute("SELECT value FROM live WHERE key = ?", (key,)).fetchone()
    except sqlite3.DatabaseError:
        return None
    return row[0] if row is not None else None


def _key(key: Any, path: str) -> str:
    if isinstance(key, str):
        return key
    raise StoreCorrupt(
        f"{path}: a live record has lost its key (found {type(key).__name__}): restore a backup"
    )


def _value(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else b""


def corrupt(path: str, exc: sqlite3.Error) -> StoreCorrupt:
    """The error for a file that SQLite can't read."""
    return StoreCorrupt(
        f"{path} can't be read ({exc}): restore a backup, or move the file away to start empty"
    )
