"""Proves that a copy of a store can be restored: what the scratch process of each backup runs (OPS-15).

It reads every byte back from the disk, has SQLite check the whole file, and takes every live record up as a
server does at its start, invariants included. What it finds it prints as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
import sys
import tempfile
from pathlib import Path

import msgspec
import structlog

from leasehold.adapters.stores import backup_folder, sqlite_check, sqlite_copy, sqlite_schema
from leasehold.adapters.stores.samples import FILE as SAMPLES
from leasehold.adapters.stores.sqlite import FILE_NAME, SqliteStore
from leasehold.control import recovery
from leasehold.core.state import State
from leasehold.model.errors import LeaseholdError
from leasehold.model.storage import Proof
from leasehold.ports.storage import BackupFailed
from leasehold.ports.store import Snapshot, StoreError

COMMAND = (sys.executable, "-m", "leasehold.bootstrap.proof")


class Image:
    """The part of a store that recovery needs, on a file that nobody writes."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = str(path)

    async def load(self) -> Snapshot:
        seq, last_event = sqlite_check.meta(self._connection, self._path)
        return Snapshot(seq, last_event, sqlite_check.live_records(self._connection, self._path))


def proof_of(folder: Path) -> Proof:
    """What is in the copy. Raises BackupFailed, StoreError, LeaseholdError, sqlite3.Error, OSError."""
    names = [name for name in (FILE_NAME, SAMPLES) if (folder / name).exists()]
    files = {name: backup_folder.sum_of(folder / name) for name in names}
    for name in names:
        with contextlib.closing(_image(folder / name)) as connection:
            _check_whole(connection, name)
    with contextlib.closing(_image(folder / FILE_NAME)) as connection:
        schema = sqlite_schema.version(connection)
        if schema > len(sqlite_schema.MIGRATIONS):
            raise BackupFailed(
                f"it has schema {schema}, and this version of leasehold knows "
                f"{len(sqlite_schema.MIGRATIONS)}: use the newer version"
            )
        numbers, counts = sqlite_copy.numbers_of(connection), sqlite_copy.counts_of(connection)
        if schema == len(sqlite_schema.MIGRATIONS):
            state, start = asyncio.run(recovery.load(Image(connection, folder / FILE_NAME), State("proof")))
        else:
            state, start = asyncio.run(_migrated(folder / FILE_NAME))
    return Proof(
        files=files,
        schema=schema,
        batch_seq=numbers.batch_seq,
        last_event=numbers.last_event,
        incarnation=start.incarnation - 1,
        counts=counts,
        unreadable=state.quarantined_count,
    )


async def _migrated(path: Path) -> tuple[State, recovery.Start]:
    """One of an older schema is restored as a start would do it: on a copy, which is migrated."""
    with tempfile.TemporaryDirectory(dir=path.parent.parent, prefix=backup_folder.PARTIAL) as scratch:
        shutil.copyfile(path, Path(scratch) / FILE_NAME)
        store = SqliteStore(Path(scratch), wall_ms=lambda: 0)
        await store.open()
        try:
            return await recovery.load(store, State("proof"))
        finally:
            await store.close()


def _image(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?immutable=1", uri=True, isolation_level=None)


def _check_whole(connection: sqlite3.Connection, name: str) -> None:
    said = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(10)")]
    if said != ["ok"]:
        raise BackupFailed(f"{name} is damaged: {'; '.join(said)}")


def _stand_back() -> None:
    """Whatever else wants the processor comes first."""
    with contextlib.suppress(OSError):
        os.nice(19)
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def main(arguments: list[str]) -> int:
    """Prove the folder that is named; 0 and the proof, else 1 and the reason on standard error."""
    _stand_back()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    try:
        proof = proof_of(Path(arguments[0]))
    except (StoreError, LeaseholdError, sqlite3.Error, UnicodeDecodeError, OSError) as error:
        sys.stderr.write(f"{str(error) or type(error).__name__}\n")
        return 1
    sys.stdout.write(msgspec.json.encode(proof).decode())
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
