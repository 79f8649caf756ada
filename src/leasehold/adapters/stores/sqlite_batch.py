"""A batch as SQLite gets it: texts of keys and places, and joined values. Built on the loop."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import accumulate
from typing import TypeAlias

import msgspec

from leasehold.ports.store import COLD, Batch

Row: TypeAlias = tuple[int, str, bytes, str, bytes, str, bytes, str, str, bytes, int, int, int]

_encode = msgspec.json.encode


def packed(batch: Batch, wall_ms: int) -> Row:
    """The parameters of `sqlite_schema.COMMIT`."""
    puts, put_values = _joined([row for row in batch.puts if not row[0].startswith(COLD)])
    colds, cold_values = _joined([row for row in batch.puts if row[0].startswith(COLD)])
    finishes, finish_values = _joined(batch.finishes)
    deletes = _listed([key for key in batch.deletes if not key.startswith(COLD)])
    cold_deletes = _listed([key for key in batch.deletes if key.startswith(COLD)])
    return (
        batch.seq,
        puts,
        put_values,
        colds,
        cold_values,
        finishes,
        finish_values,
        deletes,
        cold_deletes,
        batch.events,
        batch.first_event,
        batch.last_event,
        wall_ms,
    )


def _listed(keys: Sequence[str]) -> str:
    return _encode(keys).decode() if keys else "[]"


def _joined(rows: Sequence[tuple[str, bytes]]) -> tuple[str, bytes]:
    if not rows:
        return "{}", b""
    values = [value for _, value in rows]
    lengths = list(map(len, values))
    places = [(end - length) << 24 | length for end, length in zip(accumulate(lengths), lengths, strict=True)]
    index = dict(zip((key for key, _ in rows), places, strict=True))
    return _encode(index).decode(), b"".join(values) or b"\0"  # substr of an empty blob is NULL, not empty.


def read_rows(connection: sqlite3.Connection, keys: Sequence[str]) -> dict[str, bytes]:
    """The values of these keys, of live and of cold rows."""
    found: dict[str, bytes] = {}
    for table, is_cold in (("live", False), ("cold", True)):
        asked = [key for key in keys if key.startswith(COLD) is is_cold]
        if asked:
            query = f"SELECT key, value FROM {table} WHERE key IN (SELECT value FROM json_each(?))"  # noqa: S608
            found.update(connection.execute(query, (_listed(asked),)).fetchall())
    return found
