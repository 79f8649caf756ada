"""What the tests of the SQLite store share."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from leasehold.adapters.stores import sqlite_audit, sqlite_schema
from leasehold.adapters.stores.sqlite import FILE_NAME, SqliteStore
from leasehold.adapters.stores.sqlite_archive import SqliteArchive
from leasehold.model.audit import Called, Wanted
from leasehold.ports.archive import Fold
from leasehold.ports.store import Snapshot


def store_in(folder: Path, **more: Any) -> SqliteStore:
    return SqliteStore(folder, wall_ms=lambda: 0, **more)


def meeting(meet: Callable[[str], None]) -> type[sqlite3.Connection]:
    """A connection that hands each statement to `meet` before it is run."""

    class Meeting(sqlite3.Connection):
        def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
            meet(statement)
            return super().execute(statement, *parameters)

    return Meeting


def edit(folder: Path, *statements: str) -> None:
    connection = sqlite3.connect(folder / FILE_NAME, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


OLD_LIVE = [(f"/leases/lease-{number:05}", b"live-%d" % number) for number in range(300)]
OLD_ENDED = [(f"/leases/ended-{number:05}", b"ended-%d" % number * 20) for number in range(5_000)]
OLD_EVENTS = [b"events-%d" % number for number in range(1, 201)]
OLD_SEQ = 77


def old_store(folder: Path, version: int, *, in_journal: bool = True) -> Path:
    """A store as a program of that schema left it when it was killed: the last rows only in the journal."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / FILE_NAME
    made = folder / "made"
    connection = sqlite3.connect(made, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    sqlite_schema.migrate(connection, sqlite_schema.MIGRATIONS[:version])
    connection.execute("BEGIN")
    connection.executemany("INSERT INTO live (key, value) VALUES (?, ?)", OLD_LIVE[:-1])
    ended = [("/leases/", key, value, number) for number, (key, value) in enumerate(OLD_ENDED)]
    connection.executemany("INSERT INTO finished (noun, key, value, wall_ms) VALUES (?, ?, ?, ?)", ended)
    connection.executemany(
        "INSERT INTO events VALUES (?, ?, 5, ?)", [(n, n, record) for n, record in enumerate(OLD_EVENTS, 1)]
    )
    connection.execute("INSERT INTO folds VALUES (0, 'h', 'BUSY', 1, 2, 3, 'sentence')")
    if version >= 2:
        sqlite_audit.add(connection, [Called("ann", "PUT /x", 200, n, n) for n in range(1, 4)])
    connection.execute("COMMIT")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("INSERT INTO live (key, value) VALUES (?, ?)", OLD_LIVE[-1])
    connection.execute("UPDATE meta SET batch_seq = ?, last_event = ?", (OLD_SEQ, len(OLD_EVENTS)))
    if not in_journal:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(made, path)
    shutil.copy(f"{made}-wal", f"{path}-wal")
    connection.close()
    made.unlink()
    return path


async def check_old(store: SqliteStore, version: int) -> None:
    """An open store holds all that `old_store` wrote, in the ways that a server asks for it."""
    assert await store.load() == Snapshot(OLD_SEQ, len(OLD_EVENTS), OLD_LIVE)
    archive = SqliteArchive(store)
    try:
        assert list(await archive.finished("/leases/", limit=1_000)) == OLD_ENDED[:-1_001:-1]
        for key, value in OLD_ENDED[::499]:
            assert await archive.find(key) == value
        assert list(await archive.events(after=0, limit=1_000)) == OLD_EVENTS
        assert await archive.folds(holder=None, since_wall_ms=0) == [Fold("h", "BUSY", 1, 2, 3, "sentence")]
        assert len(await archive.recorded(Wanted())) == (3 if version >= 2 else 0)
        assert await archive.find("/leases/none") is None
    finally:
        await archive.close()
