"""A copy of an SQLite file as it is at one instant, made beside its writer (sqlite.org/backup.html).

The copy reads from one snapshot of a connection of its own, slice by slice: in WAL mode that holds no commit
up. What it does hold is the journal, which can't begin again while somebody reads from it; so a copy that
makes the journal grow too long gives up.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from leasehold.adapters.stores.sqlite_schema import version
from leasehold.model.storage import Numbers
from leasehold.ports.storage import BackupFailed
from leasehold.runtime.faults import fault

SLICE_PAGES = 512
"""2 MiB: between two slices a copy can be stopped."""

FLUSHED_SLICES = 8
"""What is written is flushed every 16 MiB: one flush of all of it would hold up those of the journal."""

JOURNAL_BYTES_MAX = 512 << 20
"""The journal may grow so far while a copy is made."""

COUNTED = ("live", "jobs", "cold", "finished", "events", "folds", "audit")


class Stopped(BackupFailed):
    """Somebody wants the copy to end; it is made again later."""


def copied(source: Path, target: Path, check: Callable[[], None]) -> tuple[Numbers, dict[str, int]]:
    """Copy the store; return what it counts at that instant. `check` may raise between two slices.

    Raises BackupFailed, sqlite3.Error, OSError.
    """
    with contextlib.closing(reading(source)) as connection:
        connection.execute("BEGIN")
        version(connection)  # Also begins the snapshot.
        numbers, counts = numbers_of(connection), counts_of(connection)
        _copy(connection, source, target, check)
        connection.execute("ROLLBACK")
    return numbers, counts


def copied_plain(source: Path, target: Path, check: Callable[[], None]) -> None:
    """Copy any other SQLite file, like the history of measurements."""
    with contextlib.closing(reading(source)) as connection:
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        _copy(connection, source, target, check)
        connection.execute("ROLLBACK")


def reading(path: Path) -> sqlite3.Connection:
    """A connection that reads, and can join the journal of a file that nobody has open. Raises OSError."""
    path.stat()  # Where there is none, none is made.
    return sqlite3.connect(
        f"{path.resolve().as_uri()}?mode=rw", 5.0, uri=True, isolation_level=None, check_same_thread=False
    )


def numbers_of(connection: sqlite3.Connection) -> Numbers:
    """Batch and event numbers; the incarnation is a record, and nothing that is known here."""
    row = connection.execute("SELECT batch_seq, last_event FROM meta WHERE id = 1").fetchone()
    return Numbers(0, int(row[0]), int(row[1]))


def counts_of(connection: sqlite3.Connection) -> dict[str, int]:
    """Rows by table, of the tables that this schema has."""
    there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return {
        table: int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608
        for table in COUNTED
        if table in there
    }


def _copy(connection: sqlite3.Connection, source: Path, target: Path, check: Callable[[], None]) -> None:
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    journal = Path(f"{source}-wal")
    slices = 0

    def between(_status: int, _left: int, _all: int) -> None:
        nonlocal slices
        slices += 1
        fault("backup.copying")
        check()
        if slices % FLUSHED_SLICES == 0:
            os.fdatasync(descriptor)
        with contextlib.suppress(FileNotFoundError):
            if journal.stat().st_size > JOURNAL_BYTES_MAX:
                raise BackupFailed(
                    f"the copy takes too long for what is written meanwhile: the journal {journal} has grown "
                    f"to {JOURNAL_BYTES_MAX >> 20} MiB; choose a faster disk (backup.dir), or a quieter hour"
                )

    try:
        # Nobody else knows this name yet, and where locks don't work (a network share) none are needed.
        with contextlib.closing(
            sqlite3.connect(
                f"{target.resolve().as_uri()}?nolock=1",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
            )
        ) as copy:
            copy.execute("PRAGMA journal_mode = OFF").fetchall()
            copy.execute("PRAGMA synchronous = OFF").fetchall()
            connection.backup(copy, pages=SLICE_PAGES, progress=between)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
