"""A batch as SQLite gets it: texts of keys and places, and joined values. Built on the loop."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TypeAlias

import msgspec

from leasehold.ports.store import Batch

Row: TypeAlias = tuple[int, str, bytes, str, bytes, str, bytes, int, int, int]

_encode = msgspec.json.encode


def packed(batch: Batch, wall_ms: int) -> Row:
    """The parameters of `sqlite_schema.COMMIT`."""
    puts, put_values = _joined(batch.puts)
    finishes, finish_values = _joined(batch.finishes)
    deletes = _encode(batch.deletes).decode() if batch.deletes else "[]"
    return (
        batch.seq,
        puts,
        put_values,
        finishes,
        finish_values,
        deletes,
        batch.events,
        batch.first_event,
        batch.last_event,
        wall_ms,
    )


def _joined(rows: Sequence[tuple[str, bytes]]) -> tuple[str, bytes]:
    if not rows:
        return "{}", b""
    values = [value for _, value in rows]
    lengths = list(map(len, values))
    places = [(end - length) << 24 | length for end, length in zip(accumulate(lengths), lengths, strict=True)]
    index = dict(zip((key for key, _ in rows), places, strict=True))
    return _encode(index).decode(), b"".join(values) or b"\0"  # substr of an empty blob is NULL, not empty.
