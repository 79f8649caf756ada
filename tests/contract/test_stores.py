"""The contract suites over every store that ships."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from leasehold.adapters.stores.memory import Disk, Fate, Faults, MemoryStore
from leasehold.adapters.stores.memory_archive import MemoryArchive
from leasehold.adapters.stores.sqlite import FILE_NAME, SqliteStore
from leasehold.adapters.stores.sqlite_archive import SqliteArchive
from leasehold.ports.archive import Archive
from leasehold.ports.store import Batch, Store
from leasehold.testing.archive_contract import ArchiveContract
from leasehold.testing.store_contract import StoreContract, Trouble
from tests.contract.etcd_subject import behind_a_network


class _ArmedFaults(Faults):
    def __init__(self) -> None:
        self.armed: Trouble | None = None
        self.broken = ""

    def fate(self, batch: Batch) -> Fate:
        armed, self.armed = self.armed, None
        if armed is None:
            return Fate.COMMITTED
        if armed is Trouble.FAILED:
            return Fate.FAILED
        self.broken = "the disk does not answer"
        return Fate.UNKNOWN_COMMITTED if armed is Trouble.UNKNOWN_COMMITTED else Fate.UNKNOWN_LOST

    def unreadable(self) -> str:
        return self.broken


class MemorySubject:
    def __init__(self) -> None:
        self.wall_ms = 0
        self.disk = Disk(lambda: self.wall_ms)
        self.faults = _ArmedFaults()

    def store(self) -> Store:
        return MemoryStore(self.disk, faults=self.faults)

    def archive(self, store: Store) -> Archive:
        return MemoryArchive(self.disk)

    async def close_archive(self, archive: Archive) -> None:
        pass

    def arm(self, trouble: Trouble) -> None:
        self.faults.armed = trouble

    def heal(self) -> None:
        self.faults.broken = ""

    def damage(self, key: str) -> None:
        self.disk.live[key] = b"\xc1 spoilt"


def _disk_error(name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError(f"injected {name}")
    error.sqlite_errorcode = getattr(sqlite3, name)
    error.sqlite_errorname = name
    return error


class SqliteSubject:
    """A real file; trouble comes from a connection that fails as SQLite would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.wall_ms = 0
        self.armed: Trouble | None = None
        self.broken = False

    def store(self) -> Store:
        return SqliteStore(self.folder, wall_ms=lambda: self.wall_ms, factory=_troubled(self))

    def archive(self, store: Store) -> Archive:
        assert isinstance(store, SqliteStore)
        return SqliteArchive(store)

    async def close_archive(self, archive: Archive) -> None:
        assert isinstance(archive, SqliteArchive)
        await archive.close()

    def arm(self, trouble: Trouble) -> None:
        self.armed = trouble

    def heal(self) -> None:
        self.broken = False

    def damage(self, key: str) -> None:
        with sqlite3.connect(self.folder / FILE_NAME) as connection:
            for table in ("live", "jobs"):
                connection.execute(f"UPDATE {table} SET value = 17 WHERE key = ?", (key,))
        connection.close()

    def meet(self, statement: str, run: Callable[[], Any]) -> Any:
        """Run a statement of the store, or let it meet what is armed."""
        if self.broken:
            raise _disk_error("SQLITE_IOERR_FSYNC")
        if not statement.startswith("INSERT INTO batch"):
            return run()
        armed, self.armed = self.armed, None
        if armed is None:
            return run()
        if armed is Trouble.FAILED:
            raise _disk_error("SQLITE_FULL")
        if armed is Trouble.UNKNOWN_COMMITTED:
            run()
        self.broken = True
        raise _disk_error("SQLITE_IOERR_FSYNC")


def _troubled(subject: SqliteSubject) -> type[sqlite3.Connection]:
    class Troubled(sqlite3.Connection):
        def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
            cursor: sqlite3.Cursor = subject.meet(
                statement, lambda: sqlite3.Connection.execute(self, statement, *parameters)
            )
            return cursor

    return Troubled


class TestMemory(StoreContract, ArchiveContract):
    @pytest.fixture
    def subject(self) -> MemorySubject:
        return MemorySubject()


@pytest.mark.requirement("PROVE-1")
class TestSqlite(StoreContract, ArchiveContract):
    @pytest.fixture
    def subject(self, tmp_path: Path) -> SqliteSubject:
        return SqliteSubject(tmp_path / "data")


@pytest.fixture(scope="module")
def etcd_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with behind_a_network(tmp_path_factory.mktemp("etcd"), with_tls=True) as network:
        yield network


@pytest.mark.requirement("PROVE-1", "CLUSTER-21", "CLUSTER-28")
class TestEtcd(StoreContract):
    """A real etcd with default settings, over mutual TLS."""
