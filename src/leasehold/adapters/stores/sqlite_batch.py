"""A batch as SQLite gets it: texts of keys and places, and joined values. Built on the loop."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import accumulate
from typing import TypeAlias

import msgspec

from leasehold.adapters.stores.sqlite_schema import COLD_UNIT, JOBS, ROW_BYTES
from leasehold.ports.store import COLD, Batch

Row: TypeAlias = tuple[int | str | bytes, ...]

_encode = msgspec.json.encode


def packed(batch: Batch, wall_ms: int) -> Row:
    """The parameters of `sqlite_schema.COMMIT`."""
    puts, jobs, colds = _parted(batch.puts)
    gone, gone_jobs, gone_cold = _parted_keys([*(key for key, _ in batch.finishes), *batch.deletes])
    finishes, finish_values = _joined(batch.finishes)
    events_bytes = len(batch.events) + ROW_BYTES if batch.events else 0
    return (
        batch.seq,
        *_joined(puts),
        *_joined(jobs, _sizes(colds) if jobs and colds else {}),
        *_joined(colds),
        finishes,
        finish_values,
        _listed(gone),
        _listed(gone_jobs),
        _listed(gone_cold),
        batch.events,
        batch.first_event,
        batch.last_event,
        wall_ms,
        events_bytes + len(finish_values) + ROW_BYTES * len(batch.finishes),
    )


def _parted(rows: Sequence[tuple[str, bytes]]) -> tuple[list[tuple[str, bytes]], ...]:
    """Rows of `live`, of `jobs`, and of `cold`."""
    jobs = [row for row in rows if row[0].startswith(JOBS)]
    if len(jobs) == len(rows):
        return [], jobs, []
    colds = [row for row in rows if row[0].startswith(COLD)]
    if len(jobs) + len(colds) == len(rows):
        return [], jobs, colds
    return [row for row in rows if not row[0].startswith((JOBS, COLD))], jobs, colds


def _parted_keys(keys: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Keys of `live`, of `jobs`, and of `cold`."""
    jobs = [key for key in keys if key.startswith(JOBS)]
    colds = [key for key in keys if key.startswith(COLD)]
    if len(jobs) + len(colds) == len(keys):
        return [], jobs, colds
    return [key for key in keys if not key.startswith((JOBS, COLD))], jobs, colds


def _sizes(colds: Sequence[tuple[str, bytes]]) -> dict[str, int]:
    """How large the cold rows of jobs are, in units, by the jobs' own keys (and others that nobody asks for).

    A batch has less than 8 MiB, so it is under 2^16 units: there is room for that above a place.
    """
    skipped = len(COLD) - 1
    return {key[skipped:]: len(value) // COLD_UNIT for key, value in colds}


def _listed(keys: Sequence[str]) -> str:
    return _encode(keys).decode() if keys else "[]"


def _joined(rows: Sequence[tuple[str, bytes]], sizes: dict[str, int] | None = None) -> tuple[str, bytes]:
    """Keys with the places of their values, and the values; above each place what `sizes` says of the key."""
    if not rows:
        return "{}", b""
    keys, values = zip(*rows, strict=True)
    lengths = list(map(len, values))
    places = [(end - length) << 24 | length for end, length in zip(accumulate(lengths), lengths, strict=True)]
    index = dict(zip(keys, places, strict=True))
    if sizes:
        index = {key: sizes.get(key, 0) << 47 | place for key, place in index.items()}
    return _encode(index).decode(), b"".join(values) or b"\0"  # substr of an empty blob is NULL, not empty.


def read_rows(connection: sqlite3.Connection, keys: Sequence[str]) -> dict[str, bytes]:
    """The values of these keys, of live and of cold rows."""
    found: dict[str, bytes] = {}
    for table, asked in zip(("live", "jobs", "cold"), _parted_keys(keys), strict=True):
        if asked:
            query = f"SELECT key, value FROM {table} WHERE key IN (SELECT value FROM json_each(?))"  # noqa: S608
            found.update(connection.execute(query, (_listed(asked),)).fetchall())
    return found
