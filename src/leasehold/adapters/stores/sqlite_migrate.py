"""A store of an older schema becomes one of ours: on a copy, which takes its place once proven (OPS-16).

Until the copy has been renamed onto the file, nothing of the file has changed, so whatever ends this (an
error, a kill, the power) leaves a store that the version before can open and that the next start tries again.
The file before stays beside it.
"""

from __future__ import annotations

import contextlib
import hashlib
import heapq
import os
import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import msgspec
import structlog

from leasehold.adapters.stores import sqlite_schema
from leasehold.adapters.stores.data_folder import flush_folder
from leasehold.adapters.stores.sqlite_check import corrupt
from leasehold.ports.store import StoreCorrupt, StoreError
from leasehold.runtime.faults import fault

log = structlog.get_logger(__name__)

COPIED_PAGES = 4_096
"""Pages (4 KiB) of one step of the copy."""

SPARE_BYTES = 8 << 20
"""Room that is asked for beside one and a half times the file: what steps add, and the first journal."""

BESIDE = ("-journal", "-wal", "-shm")
COUNTED = ("finished", "events", "folds", "audit", "cold")

STEPS = ("settled", "copying", "copied", "migrated", "checked", "flushed", "kept", "placed", "done")
"""The points after which a test breaks in, as `store.migrate.<step>`."""


class Contents(msgspec.Struct, frozen=True):
    """What a migration must not change: numbers, live records (count and digest), rows of other tables."""

    numbers: list[tuple[object, ...]]
    records: tuple[int, str]
    rows: dict[str, int]


def copy_of(path: Path) -> Path:
    """Where the copy is made. What stands there at a start is left from one that did not end well."""
    return path.with_name(f"{path.name}.migrating")


def kept_of(path: Path, version: int) -> Path:
    """Where the file of an older schema is kept."""
    return path.with_name(f"{path.name}.schema-{version}")


def forward(path: Path, version: int, migrations: Sequence[str] = sqlite_schema.MIGRATIONS) -> Path:
    """Bring the file, of schema `version`, to ours; return where the file before is kept.

    The caller holds the leader's lock and has no connection open. Raises StoreError, with the file as it was.
    """
    copy = copy_of(path)
    log.info("store_migration_begins", path=str(path), schema=version, to=len(migrations))
    try:
        discard(path)
        _settle(path)
        fault("store.migrate.settled")
        _refuse_without_room(path, version)
        before = _copied(path, copy)
        fault("store.migrate.copied")
        _migrate(copy, before, migrations)
        _flush(copy)
        fault("store.migrate.flushed")
        kept = _keep(path, version)
        fault("store.migrate.kept")
        _refuse_if_open(path)
        os.replace(copy, path)
    except BaseException as exc:
        _undo(path, version)
        if isinstance(exc, sqlite3.DatabaseError | OSError):
            raise _told(path, version, exc) from exc
        raise
    fault("store.migrate.placed")
    flush_folder(path.parent)
    _forget_older(path, kept)
    fault("store.migrate.done")
    log.info(
        "store_migrated",
        path=str(path),
        schema=len(migrations),
        before=version,
        kept=str(kept),
        note="the file before is kept there; it may be removed once all works, or put back to go back",
    )
    return kept


def discard(path: Path) -> None:
    """Remove what a migration that did not come to its end has left."""
    copy = copy_of(path)
    for name in (copy, *(Path(f"{copy}{suffix}") for suffix in BESIDE)):
        name.unlink(missing_ok=True)


def _settle(path: Path) -> None:
    """Move the journal into the file and remove it: one that stayed would be replayed into the new file."""
    with contextlib.closing(_connected(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    _refuse_if_open(path)
    flush_folder(path.parent)


def _refuse_if_open(path: Path) -> None:
    if left := [suffix for suffix in BESIDE if Path(f"{path}{suffix}").exists()]:
        raise StoreError(
            f"{path} is of an older schema and can't be migrated while another program has it open "
            f"({path.name}{left[0]} is in use): end that program, and start again"
        )


def _refuse_without_room(path: Path, version: int) -> None:
    size = path.stat().st_size
    disk = os.statvfs(path.parent)
    free, needed = disk.f_bavail * disk.f_frsize, size * 3 // 2 + SPARE_BYTES
    if free < needed:
        raise StoreError(
            f"{path} is of schema {version} and is migrated on a copy of its {size >> 20:,} MiB: "
            f"{needed >> 20:,} MiB are needed on that disk and {free >> 20:,} MiB are free; make room and "
            "start again (nothing was changed)"
        )


def _copied(path: Path, copy: Path) -> Contents:
    """Copy the file with SQLite's own means; return what is in it."""
    os.close(os.open(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with contextlib.closing(_connected(path)) as source, contextlib.closing(_scratch(copy)) as target:
        source.backup(
            target, pages=COPIED_PAGES, progress=lambda status, left, pages: fault("store.migrate.copying")
        )
        return contents(source)


def _migrate(copy: Path, before: Contents, migrations: Sequence[str]) -> None:
    with contextlib.closing(_scratch(copy)) as connection:
        sqlite_schema.migrate(connection, migrations)
        fault("store.migrate.migrated")
        said = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(10)")]
        if said != ["ok"]:
            raise StoreCorrupt(
                f"a copy of the store was migrated and is damaged ({'; '.join(said)}): the store itself was "
                "not changed; run the version before, or restore a backup"
            )
        after = contents(connection)
    if not _is_all_there(before, after):
        raise StoreError(
            f"a copy of the store was migrated and is not what it was ({before} became {after}): the store "
            "itself was not changed; run the version before, and report this"
        )
    fault("store.migrate.checked")


def contents(connection: sqlite3.Connection) -> Contents:
    """What is in a store of any schema."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    numbers = connection.execute("SELECT batch_seq, last_event FROM meta WHERE id = 1").fetchall()
    live = [
        connection.execute(f"SELECT CAST(key AS BLOB), value FROM {table} ORDER BY key")  # noqa: S608
        for table in ("live", "jobs")
        if table in tables
    ]
    count, digest = 0, hashlib.blake2b(digest_size=16)
    for row in heapq.merge(*live, key=lambda row: row[0]):
        digest.update(repr(row).encode())
        count += 1
    rows = {
        table: int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608
        for table in COUNTED
        if table in tables
    }
    return Contents(numbers, (count, digest.hexdigest()), rows)


def _is_all_there(before: Contents, after: Contents) -> bool:
    """Whether nothing of it is missing; tables may have been added, empty."""
    rows = {table: before.rows.get(table, 0) for table in after.rows}
    return (before.numbers, before.records, rows) == (after.numbers, after.records, after.rows)


def _flush(name: Path) -> None:
    descriptor = os.open(name, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _keep(path: Path, version: int) -> Path:
    """Give the file a second name, which stays when the first one goes to the copy."""
    kept = kept_of(path, version)
    if kept.exists() and not kept.samefile(path):
        kept.unlink()
    if not kept.exists():
        try:
            os.link(path, kept)
        except OSError:  # A file system without second names.
            shutil.copy2(path, kept)
            _flush(kept)
    return kept


def _undo(path: Path, version: int) -> None:
    with contextlib.suppress(OSError):
        discard(path)
        kept = kept_of(path, version)
        if kept.exists() and kept.samefile(path):
            kept.unlink()


def _forget_older(path: Path, kept: Path) -> None:
    """One file of an older schema is enough."""
    for other in path.parent.glob(f"{path.name}.schema-*"):
        if other != kept:
            with contextlib.suppress(OSError):
                other.unlink()


def _connected(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def _scratch(copy: Path) -> sqlite3.Connection:
    """On a file that is thrown away when anything goes wrong: no journal, and one flush at the end."""
    connection = _connected(copy)
    connection.execute("PRAGMA journal_mode = OFF").fetchall()
    connection.execute("PRAGMA synchronous = OFF").fetchall()
    return connection


def _told(path: Path, version: int, exc: sqlite3.DatabaseError | OSError) -> StoreError:
    code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return corrupt(str(path), exc) if isinstance(exc, sqlite3.Error) else StoreError(str(exc))
    why = exc.strerror if isinstance(exc, OSError) else str(exc)
    return StoreError(
        f"{path} is of schema {version} and could not be migrated ({why}): nothing was changed; mend that "
        "and start again"
    )
