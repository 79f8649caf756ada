"""The embedded store: one SQLite file, one writer thread, one statement and one flush per batch.

WAL with synchronous=FULL: a commit is in the journal and flushed before it is answered. What a failed
commit has left in the journal beyond the last commit may come back after a crash, so no outcome is called
certain before it is (see `_judge`).
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from leasehold.adapters.stores import (
    sqlite_check,
    sqlite_journal,
    sqlite_migrate,
    sqlite_schema,
    sqlite_space,
)
from leasehold.adapters.stores.data_folder import LeaderLock, flush_folder, prepare
from leasehold.adapters.stores.limits import checked_keys, checked_size, without_cold
from leasehold.adapters.stores.sqlite_batch import Row, packed, read_rows
from leasehold.adapters.stores.sqlite_journal import Journal
from leasehold.adapters.stores.sqlite_readers import Readers
from leasehold.adapters.stores.trail import Trail
from leasehold.adapters.stores.writer import WriterThread
from leasehold.ports.store import Batch, CommitFailed, CommitUnknown, Fenced, Limits, Snapshot, StoreError

T = TypeVar("T")

FILE_NAME = "leasehold.sqlite3"

LIMITS = Limits(keys=5_000, bytes=8 << 20, commands=5_000)
"""CLUSTER-21. Such a batch is written in about 50 ms."""

BUSY_S = 5.0
"""How long another program's lock on the file (a backup, a shell) is waited for."""

DEFINITE = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_MISMATCH,
    }
)
"""Errors that come before the mark that makes a commit valid is written whole."""


class SqliteStore:
    """Durable state in `<folder>/leasehold.sqlite3`, held through `<folder>/leader.lock`.

    `wall_ms` stamps what finishes, for the archive. `before_open` is called once the folder is held and
    before the file is looked at. `factory` is the class of the writer's connection: a test's seam.
    """

    def __init__(
        self,
        folder: Path,
        *,
        wall_ms: Callable[[], int],
        before_open: Callable[[], None] = lambda: None,
        factory: type[sqlite3.Connection] = sqlite3.Connection,
    ) -> None:
        self.path = folder / FILE_NAME
        self.damage = ""
        self._folder = folder
        self._wall_ms = wall_ms
        self._before_open = before_open
        self._factory = factory
        self._lock = LeaderLock(folder)
        self._trail = Trail()
        self._writer: WriterThread | None = None
        self._readers: Readers | None = None
        self._connection: sqlite3.Connection | None = None
        self._journal: Journal | None = None
        self._inode = 0
        self._unsettled: Batch | None = None

    @property
    def limits(self) -> Limits:
        return LIMITS

    # -- the port, on the loop

    async def open(self) -> None:
        if self._writer is not None:
            raise StoreError(f"{self.path} is open already")
        self._writer = WriterThread("leasehold-store", after=self._tidy_soon, idle=self._tidy)
        try:
            self._trail.begin(await self._writer.call(self._open))
        except BaseException:
            await self.close()
            raise
        self._readers = Readers(self.path, "leasehold-reader")

    async def load(self) -> Snapshot:
        snapshot = await self._call(self._load)
        self._learn(snapshot.batch_seq)
        return snapshot

    async def read(self, keys: Sequence[str]) -> dict[str, bytes]:
        if self._readers is None:
            raise StoreError(f"{self.path} is not open")
        asked = list(checked_keys(keys))
        return await self._readers.ask(lambda connection: read_rows(connection, asked))

    async def commit(self, batch: Batch) -> None:
        size = checked_size(batch, LIMITS)
        row = packed(batch, self._wall_ms())
        durable = self._call(lambda: self._commit(batch, row))
        durable.add_done_callback(lambda done: self._follow(batch, size, done))
        await asyncio.shield(durable)

    async def batch_seq(self) -> int:
        seq = await self._call(self._read_seq)
        self._learn(seq)
        return seq

    def watch(self, after_seq: int) -> AsyncIterator[Batch]:
        return self._trail.follow(after_seq)

    async def close(self) -> None:
        writer, self._writer = self._writer, None
        readers, self._readers = self._readers, None
        if writer is not None:
            self._trail.close()
            if readers is not None:
                await readers.close()
            await writer.stop(self._close)

    # -- beyond the port: what the archive beside it needs

    async def write(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run `job` in a transaction of its own on the writer's thread. StoreError: nothing of it remains."""
        return await self._call(lambda: self._transaction(job))

    def hold_journal(self, held: bool) -> None:
        """Somebody reads from one snapshot for long, or does no more: the journal can't begin again then.

        May be called on any thread.
        """
        if self._journal is not None:
            self._journal.held = held

    def _call(self, job: Callable[[], T]) -> asyncio.Future[T]:
        if self._writer is None:
            raise StoreError(f"{self.path} is not open")
        return self._writer.call(job)

    def _follow(self, batch: Batch, size: int, done: asyncio.Future[None]) -> None:
        if not done.cancelled() and done.exception() is None:
            self._trail.add(*without_cold(batch, size))

    def _learn(self, seq: int) -> None:
        """A batch whose outcome was unknown turns out to be there."""
        batch, self._unsettled = self._unsettled, None
        if batch is not None and batch.seq == seq:
            self._trail.add(*without_cold(batch, checked_size(batch, LIMITS)))

    # -- on the writer's thread

    def _open(self) -> int:
        prepare(self._folder)
        self._lock.take()
        try:
            self._before_open()
            self._make_file()
            self._connection = connection = self._connect()
            version = sqlite_schema.version(connection)
            if 0 < version < len(sqlite_schema.MIGRATIONS):
                connection.close()
                sqlite_migrate.forward(self.path, version)
                self._connection = connection = self._connect()
            sqlite_space.keep_map(connection)
            self._configure(connection)
            sqlite_schema.migrate(connection)
            connection.executescript(sqlite_schema.COMMIT_STATEMENT)
            seq, _ = sqlite_check.meta(connection, str(self.path))
        except sqlite3.DatabaseError as exc:
            raise self._translated(exc) from exc
        except UnicodeDecodeError as exc:
            raise sqlite_check.corrupt(str(self.path), exc) from exc
        except OSError as exc:
            raise StoreError(f"{self.path} can't be opened: {exc.strerror}") from exc
        self.damage = sqlite_check.damage(connection)
        self._inode = os.stat(self.path).st_ino
        self._journal = Journal(self.path, self._configured)
        return seq

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(
            self.path, BUSY_S, isolation_level=None, check_same_thread=False, factory=self._factory
        )

    def _configured(self) -> sqlite3.Connection:
        connection = self._connect()
        self._configure(connection)
        return connection

    def _make_file(self) -> None:
        """Make the file private before SQLite copies its mode to the journal, and its name durable."""
        sqlite_migrate.discard(self.path)
        made = not self.path.exists()
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)
        if made:
            flush_folder(self._folder)

    def _configure(self, connection: sqlite3.Connection) -> None:
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise StoreError(
                f"{self.path} can't have a write-ahead log (SQLite says {mode}): choose another disk"
            )
        for setting in (
            "synchronous = FULL",
            "wal_autocheckpoint = 0",
            f"journal_size_limit = {sqlite_journal.CHECKPOINT_FRAMES * 4096}",
            "cache_size = -8000",
            "temp_store = MEMORY",
            "secure_delete = OFF",
            "cell_size_check = ON",
            "trusted_schema = OFF",
        ):
            connection.execute(f"PRAGMA {setting}").fetchall()

    def _held(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreError(f"{self.path} is not open")
        return self._connection

    def _load(self) -> Snapshot:
        connection = self._held()
        try:
            if self._unsettled is not None:
                self._settle(connection)
            connection.execute("BEGIN")
            try:
                seq, last_event = sqlite_check.meta(connection, str(self.path))
                return Snapshot(seq, last_event, sqlite_check.live_records(connection, str(self.path)))
            finally:
                connection.execute("ROLLBACK")
        except sqlite3.Error as exc:
            raise self._translated(exc) from exc

    def _commit(self, batch: Batch, row: Row) -> None:
        connection = self._held()
        self._refuse_if_replaced()
        if self._unsettled is not None:
            raise CommitUnknown(
                f"the outcome of batch {self._unsettled.seq} is not known yet: ask for batch_seq first"
            )
        try:
            connection.execute(sqlite_schema.COMMIT, row)
        except sqlite3.Error as exc:
            self._judge(connection, batch, exc)

    def _refuse_if_replaced(self) -> None:
        try:
            inode = os.stat(self.path).st_ino
        except OSError:
            inode = 0
        if inode != self._inode:
            raise CommitFailed(
                f"{self.path} was removed or replaced while open: stop the server, put it back, start again"
            )

    def _judge(self, connection: sqlite3.Connection, batch: Batch, exc: sqlite3.Error) -> None:
        """Decide what a failed commit is; return only where it did commit.

        A write that failed has not written the commit's last page, so nothing of it is valid. A flush that
        failed, or anything after it, may leave a valid commit in the journal that this process does not
        count and a crash would bring back. The next commit overwrites it: so one is made, and its success
        settles what is durable.
        """
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        code = getattr(exc, "sqlite_errorcode", 0)
        if str(exc) == "fenced":
            seq = connection.execute("SELECT batch_seq FROM meta").fetchone()[0]
            raise Fenced(
                f"batch {batch.seq} does not follow the store's batch {seq}: another writer was here"
            ) from exc
        if code & 0xFF in DEFINITE or code == sqlite3.SQLITE_IOERR_WRITE:
            if self._journal is not None and code & 0xFF == sqlite3.SQLITE_FULL:
                self._journal.shrink = True
            raise CommitFailed(f"{self.path}: {self._said(exc)}") from exc
        self._unsettled = batch
        try:
            durable_seq = self._settle(connection)
        except sqlite3.Error as again:
            raise CommitUnknown(f"{self.path}: {self._said(exc)}, and then {self._said(again)}") from exc
        self._unsettled = None
        if durable_seq != batch.seq:
            raise CommitFailed(f"{self.path}: {self._said(exc)}") from exc

    def _settle(self, connection: sqlite3.Connection) -> int:
        """Make what counts as committed now all that a crash could bring back; return its batch_seq."""
        row = connection.execute(
            "UPDATE meta SET settled = settled + 1 WHERE id = 1 RETURNING batch_seq"
        ).fetchall()[0]
        return int(row[0])

    def _read_seq(self) -> int:
        connection = self._held()
        try:
            if self._unsettled is not None:
                return self._settle(connection)
            return int(connection.execute("SELECT batch_seq FROM meta").fetchone()[0])
        except sqlite3.Error as exc:
            raise self._translated(exc) from exc

    def _transaction(self, job: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._held()
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                outcome = job(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return outcome
        except sqlite3.Error as exc:
            raise self._translated(exc) from exc

    def _close(self) -> None:
        """Everything that `_open` took, however far it came. The lock goes last."""
        connection, self._connection = self._connection, None
        journal, self._journal = self._journal, None
        try:
            if journal is not None:
                journal.close()
            if connection is not None:
                connection.close()
        finally:
            if journal is not None:
                journal.release()
            self._lock.release()

    # -- the journal

    def _tidy_soon(self) -> bool:
        if self._journal is None or self._connection is None:
            return False
        return self._journal.after(self._connection)

    def _tidy(self) -> None:
        if self._journal is not None and self._connection is not None:
            self._journal.tidy(self._connection)

    # -- errors

    def _said(self, exc: sqlite3.Error) -> str:
        return f"{exc} ({getattr(exc, 'sqlite_errorname', type(exc).__name__)})"

    def _translated(self, exc: sqlite3.Error) -> StoreError:
        code = getattr(exc, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return sqlite_check.corrupt(str(self.path), exc)
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY):
            return CommitFailed(f"{self.path}: {self._said(exc)}")
        return StoreError(f"{self.path}: {self._said(exc)}")
