"""Free pages are given back slice by slice, and files of before learn to do so (OPS-16)."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from leasehold.adapters.stores import sqlite_schema, sqlite_space
from leasehold.adapters.stores.sqlite import FILE_NAME, SqliteStore
from leasehold.adapters.stores.sqlite_storage import SqliteStorage
from leasehold.ports.store import Batch
from tests.contract.backup_files import backups_of
from tests.contract.sqlite_files import check_old, old_store, store_in

ROWS = 400
SCHEMA = len(sqlite_schema.MIGRATIONS)

pytestmark = pytest.mark.requirement("OPS-16")


def kept_map(path: Path) -> int:
    connection = sqlite3.connect(path)
    (found,) = connection.execute("PRAGMA auto_vacuum").fetchone()
    connection.close()
    return int(found)


async def fragmented(data: Path) -> tuple[SqliteStore, SqliteStorage]:
    """An open store most of whose pages hold nothing any more."""
    store = store_in(data)
    await store.open()
    await store.commit(Batch(1, puts=[(f"/a/{number:05}", bytes(4_000)) for number in range(ROWS)]))
    await store.commit(Batch(2, deletes=[f"/a/{number:05}" for number in range(ROWS - 10)]))
    return store, SqliteStorage(store, backups_of(data, data / "backups"))


async def test_a_new_store_gives_its_free_pages_back_in_slices(tmp_path: Path) -> None:
    """Each slice is a transaction of its own, between which commits go on; the rest stays as it is."""
    store, storage = await fragmented(tmp_path)
    before = await storage.sizes()
    assert before.in_slices
    assert before.fragmentation > 0.8
    left, seq = before.free_pages, 2
    while left:
        now = await storage.compact(64)
        assert 0 <= now < left
        assert left - now <= 64
        assert now == 0 or left - now > 32, "a slice is worth its flush"
        left, seq = now, seq + 1
        await store.commit(Batch(seq, puts=[("/b", str(seq).encode())]))
    after = await storage.sizes()
    assert (after.free_pages, after.pages) == (0, before.pages - before.free_pages)
    assert len((await store.load()).records) == 11
    await storage.close()
    await store.close()
    assert (tmp_path / FILE_NAME).stat().st_size == after.file_bytes


async def test_a_small_file_of_before_is_written_anew_at_the_start(tmp_path: Path) -> None:
    """From then on its free pages can be given back while it serves; all is there as ever."""
    old_store(tmp_path, SCHEMA)
    assert kept_map(tmp_path / FILE_NAME) == 0
    store = store_in(tmp_path)
    await store.open()
    await check_old(store, SCHEMA)
    await store.close()
    assert kept_map(tmp_path / FILE_NAME) == sqlite_space.INCREMENTAL


async def test_a_large_file_of_before_is_left_until_somebody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start is not held up by it; on a stopped server it is written anew in one piece."""
    monkeypatch.setattr(sqlite_space, "AT_START_PAGES", 10)
    version = SCHEMA
    path = old_store(tmp_path, version)
    store = store_in(tmp_path)
    await store.open()
    storage = SqliteStorage(store, backups_of(tmp_path, tmp_path / "backups"))
    assert not (await storage.sizes()).in_slices
    await storage.close()
    await store.close()
    before, after = sqlite_space.rewrite(path)
    assert (before, after) == (before, path.stat().st_size)
    assert kept_map(path) == sqlite_space.INCREMENTAL
    await store.open()
    await check_old(store, version)
    await store.close()


async def test_a_damaged_file_is_not_written_anew(tmp_path: Path) -> None:
    """What can still be rescued of it by its index would be lost: it is left as it is, and told."""
    path = old_store(tmp_path, SCHEMA, in_journal=False)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = DELETE")
    (page,) = connection.execute(
        "SELECT max(pageno) FROM dbstat WHERE name = 'live' AND pagetype = 'leaf'"
    ).fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096 + 2_000)
        file.write(b"\xff" * 600)
    store = store_in(tmp_path)
    await store.open()
    assert store.damage
    await store.close()
    assert kept_map(path) == 0
