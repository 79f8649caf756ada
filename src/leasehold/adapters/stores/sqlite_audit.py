"""The audit's table: rows in, rows out. Functions over a connection; `sqlite_archive` owns it."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from leasehold.adapters.stores.folding import AUDIT_ROWS_MAX, PAGE_MAX, PRUNED_ROWS, added, place_of
from leasehold.model.audit import Called, Wanted

_COLUMNS = (
    "wall_ms, first_wall_ms, count, who, what, status, credential, credential_id, note, listener, address, "
    "pid, ids, code, request_id"
)

_ADD = f"INSERT INTO audit (place, outcome, {_COLUMNS}) VALUES (?{', ?' * 16})"  # noqa: S608

_FIND = f"""
SELECT seq, place IS NOT NULL, {_COLUMNS} FROM audit
WHERE seq > ?1 AND seq < ?2 AND +wall_ms >= ?3 AND (?5 IS NULL OR outcome = ?5)
    AND (?4 IS NULL OR credential_id = ?4 OR who IN (?4, 'user:' || ?4)
        OR instr(who, 'token:' || ?4 || '/') = 1)
ORDER BY seq {{order}} LIMIT ?6
"""  # noqa: S608  (names from above)

_DROP_OLD = "DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE wall_ms < ? LIMIT ?)"
_DROP_FIRST = "DELETE FROM audit WHERE seq IN (SELECT seq FROM audit ORDER BY seq LIMIT ?)"

_ids = msgspec.json.Decoder(dict[str, str])


def add(connection: sqlite3.Connection, calls: Sequence[Called]) -> None:
    """Write rows; one that has a place takes in, and the number past, the row that stands there."""
    for call in calls:
        place = place_of(call)
        if place is not None:
            before = connection.execute(
                "DELETE FROM audit WHERE place = ? RETURNING first_wall_ms, count", (place,)
            ).fetchall()
            for first_wall_ms, count in before:
                call = added(call, first_wall_ms=first_wall_ms, count=count)
        connection.execute(_ADD, (place, call.outcome, *_values(call)))


def _values(call: Called) -> tuple[object, ...]:
    return (
        call.last_wall_ms,
        call.first_wall_ms,
        call.count,
        call.who,
        call.what,
        call.status,
        call.credential,
        call.credential_id,
        call.note,
        call.listener,
        call.address,
        call.pid,
        msgspec.json.encode(call.ids).decode(),
        call.code,
        call.request_id,
    )


def find(connection: sqlite3.Connection, wanted: Wanted) -> list[Called]:
    """The rows that are wanted, by number."""
    forward = wanted.after is not None
    values = (
        wanted.after if wanted.after is not None else -1,
        wanted.before if wanted.before is not None else 1 << 62,
        wanted.since_wall_ms,
        wanted.who,
        wanted.outcome,
        min(wanted.limit, PAGE_MAX),
    )
    rows = connection.execute(_FIND.format(order="ASC" if forward else "DESC"), values).fetchall()
    found = [_called(row) for row in rows]
    return found if forward else found[::-1]


def _called(row: Sequence[object]) -> Called:
    (seq, folded, last_wall_ms, first_wall_ms, count, who, what, status, *rest) = row
    credential, credential_id, note, listener, address, pid, ids, code, request_id = rest
    return msgspec.convert(
        {
            "seq": seq,
            "folded": bool(folded),
            "last_wall_ms": last_wall_ms,
            "first_wall_ms": first_wall_ms,
            "count": count,
            "who": who,
            "what": what,
            "status": status,
            "credential": credential,
            "credential_id": credential_id,
            "note": note,
            "listener": listener,
            "address": address,
            "pid": pid,
            "ids": _ids.decode(str(ids)),
            "code": code,
            "request_id": request_id,
        },
        Called,
    )


def prune(connection: sqlite3.Connection, before_wall_ms: int, rows_max: int = AUDIT_ROWS_MAX) -> int:
    """One slice from the old end: what is past its time, and what is over `rows_max`."""
    dropped = connection.execute(_DROP_OLD, (before_wall_ms, PRUNED_ROWS)).rowcount
    over = connection.execute("SELECT count(*) FROM audit").fetchone()[0] - rows_max
    if over > 0:
        dropped += connection.execute(_DROP_FIRST, (min(over, PRUNED_ROWS),)).rowcount
    return dropped
