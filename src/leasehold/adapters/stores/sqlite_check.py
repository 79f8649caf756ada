"""What is looked at before a SQLite store is trusted, and what can still be read of a damaged one (INV-9)."""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

from leasehold.adapters.stores.records import Records
from leasehold.adapters.stores.sqlite_schema import JOBS
from leasehold.ports.store import StoreCorrupt

CHECKED_ROWS = 50_000
"""Above this many live rows the check at the start is left to the load, which reads them all anyway (about
0.1 s of check).
"""


UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What reading a damaged file may raise: what SQLite says of it may hold bytes of it that are no text."""


def meta(connection: sqlite3.Connection, path: str) -> tuple[int, int]:
    """`batch_seq` and the last event's number. StoreCorrupt: they can't be read, or contradict the events."""
    try:
        row = connection.execute("SELECT batch_seq, last_event FROM meta WHERE id = 1").fetchone()
        newest = connection.execute("SELECT max(last) FROM events").fetchone()[0]
    except UNREADABLE as exc:
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
    found: list[str] = []
    try:
        for table in ("live", "jobs"):
            rows = f"SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT {CHECKED_ROWS + 1})"  # noqa: S608
            if connection.execute(rows).fetchone()[0] <= CHECKED_ROWS:
                found += [str(row[0]) for row in connection.execute(f"PRAGMA quick_check('{table}')")]
    except UNREADABLE as exc:
        return str(exc)
    return "; ".join([said for said in found if said != "ok"][:10])


def live_records(connection: sqlite3.Connection, path: str) -> Records:
    """All live records, sorted by key. Of one whose value can't be read the key remains, with an empty value.

    Raises StoreCorrupt where not even the keys can be told for sure.
    """
    others = list(_readable(connection, path, "live"))
    place = bisect_left(others, (JOBS, b""))
    records = Records(others[:place])
    records.extend(_readable(connection, path, "jobs"))
    records.extend(others[place:])
    return records


def _readable(connection: sqlite3.Connection, path: str, table: str) -> Iterator[tuple[str, bytes]]:
    """The records of one table, as they are read; from where that fails, what can be rescued of them."""
    last = None
    try:
        for key, value in connection.execute(f"SELECT key, value FROM {table} ORDER BY key"):  # noqa: S608
            yield _key(key, path), _value(value)
            last = key
    except UNREADABLE as exc:
        for key, value in _rescued(connection, path, table, exc):
            if last is None or _key(key, path) > last:
                yield _key(key, path), _value(value)


def _rescued(connection: sqlite3.Connection, path: str, table: str, exc: Exception) -> list[tuple[Any, Any]]:
    """Keys by the index and values one by one; else all from the table alone."""
    try:
        keys = connection.execute(f"SELECT key FROM {table} ORDER BY key").fetchall()  # noqa: S608
    except UNREADABLE:
        try:
            return sorted(connection.execute(f"SELECT key, value FROM {table} NOT INDEXED"))  # noqa: S608
        except (*UNREADABLE, TypeError):
            raise corrupt(path, exc) from exc
    return [(key, _one_value(connection, table, key)) for (key,) in keys]


def _one_value(connection: sqlite3.Connection, table: str, key: Any) -> Any:
    try:
        row = connection.execute(f"SELECT value FROM {table} WHERE key = ?", (key,)).fetchone()  # noqa: S608
    except UNREADABLE:
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


def corrupt(path: str, exc: Exception) -> StoreCorrupt:
    """The error for a file that SQLite can't read."""
    return StoreCorrupt(
        f"{path} can't be read ({exc}): restore a backup, or move the file away to start empty"
    )
