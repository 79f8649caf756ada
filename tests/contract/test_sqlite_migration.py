"""A store of an older schema becomes one of ours, whatever happens meanwhile (OPS-16)."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog.testing

from leasehold.adapters.stores import sqlite_migrate, sqlite_schema
from leasehold.adapters.stores.sqlite import FILE_NAME
from leasehold.adapters.stores.sqlite_migrate import STEPS, copy_of, kept_of
from leasehold.model.ids import sortable
from leasehold.ports.store import Batch, StoreCorrupt, StoreError, cold_key
from leasehold.runtime.faults import ARMED
from leasehold.testing.store_contract import awaited
from tests.contract.sqlite_files import check_old, edit, old_store, store_in

SCHEMA = len(sqlite_schema.MIGRATIONS)

pytestmark = pytest.mark.requirement("OPS-16")


@pytest.fixture
def armed() -> Iterator[None]:
    """Points that are armed in the test are disarmed after it."""
    yield
    ARMED.clear()


class Stopped(Exception):
    """The migration ends here."""


def stop() -> None:
    raise Stopped


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {"leader.lock"}


def version_of(path: Path) -> int:
    connection = sqlite3.connect(path)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    connection.close()
    return int(version)


@pytest.mark.parametrize("in_journal", [True, False])
@pytest.mark.parametrize("version", range(1, SCHEMA))
@awaited
async def test_every_schema_before_becomes_ours(tmp_path: Path, version: int, in_journal: bool) -> None:
    """All is there and works; the file before is kept, privately, and the log says where."""
    path = old_store(tmp_path, version, in_journal=in_journal)
    store = store_in(tmp_path)
    with structlog.testing.capture_logs() as logs:
        await store.open()
    (said,) = [entry for entry in logs if entry["event"] == "store_migrated"]
    kept = kept_of(path, version)
    assert (said["before"], said["schema"], said["kept"]) == (version, SCHEMA, str(kept))
    await check_old(store, version)
    job = f"/jobs/{sortable(5)}"
    await store.commit(Batch(78, puts=[(job, b"hot"), (cold_key(job), b"cold")]))
    assert await store.read([job, cold_key(job)]) == {job: b"hot", cold_key(job): b"cold"}
    await store.close()
    assert names(tmp_path) == {FILE_NAME, kept.name}
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in names(tmp_path)} == {0o600}
    assert (version_of(kept), version_of(path)) == (version, SCHEMA)


@awaited
async def test_the_file_that_was_kept_leads_back(tmp_path: Path) -> None:
    """Put back under the first name it is what it was, and can be migrated again; one file is kept."""
    path = old_store(tmp_path, 1)
    for _ in range(2):
        store = store_in(tmp_path)
        await store.open()
        await check_old(store, 1)
        await store.close()
        os.replace(kept_of(path, 1), path)
        assert version_of(path) == 1
    kept_of(path, 0).write_bytes(b"of a migration long ago")
    await store.open()
    await store.close()
    assert names(tmp_path) == {FILE_NAME, kept_of(path, 1).name}


@awaited
async def test_our_own_schema_is_not_copied(tmp_path: Path) -> None:
    """A start without a migration leaves one file, and removes what a killed migration left."""
    store = store_in(tmp_path)
    await store.open()
    await store.close()
    for suffix in ("", "-wal", "-shm", "-journal"):
        (tmp_path / f"{copy_of(store.path).name}{suffix}").write_bytes(b"half a copy")
    await store.open()
    await store.close()
    assert names(tmp_path) == {FILE_NAME}


@pytest.mark.usefixtures("armed")
@pytest.mark.parametrize("step", STEPS)
@awaited
async def test_an_error_at_any_step_loses_nothing(tmp_path: Path, step: str) -> None:
    """Before the copy takes its place the file is as it was, alone; after that it is the new one."""
    path = old_store(tmp_path, 1)
    ARMED[f"store.migrate.{step}"] = stop
    with pytest.raises(Stopped):
        await store_in(tmp_path).open()
    ARMED.clear()
    is_placed = step in ("placed", "done")
    assert version_of(path) == (SCHEMA if is_placed else 1)
    assert names(tmp_path) == ({FILE_NAME, kept_of(path, 1).name} if is_placed else {FILE_NAME})
    store = store_in(tmp_path)
    await store.open()
    await check_old(store, 1)
    await store.close()


@pytest.mark.usefixtures("armed")
@awaited
async def test_a_migration_that_loses_something_is_not_taken(tmp_path: Path) -> None:
    """A step that drops a live record, or a row of the archive, is noticed on the copy."""
    path = old_store(tmp_path, 2)
    for loss in (
        "DELETE FROM live WHERE id = 7;",
        "DELETE FROM finished WHERE id = 7;",
        "UPDATE meta SET last_event = 1;",
        "UPDATE live SET value = x'00' WHERE id = 9;",
    ):
        migrations = (*sqlite_schema.MIGRATIONS[:2], sqlite_schema.MIGRATIONS[2] + loss)
        with pytest.raises(StoreError, match="not what it was"):
            sqlite_migrate.forward(path, 2, migrations)
        assert version_of(path) == 2
        assert names(tmp_path) == {FILE_NAME}


@awaited
async def test_a_damaged_file_is_left_as_it_is(tmp_path: Path) -> None:
    """The check of the copy finds it; the version before may still read what is left."""
    path = old_store(tmp_path, 2, in_journal=False)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = DELETE")
    (page,) = connection.execute(
        "SELECT max(pageno) FROM dbstat WHERE name = 'live_key' AND pagetype = 'leaf'"
    ).fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096 + 2_000)
        file.write(b"\xff" * 600)
    before = path.read_bytes()
    with pytest.raises(StoreCorrupt, match="backup"):
        await store_in(tmp_path).open()
    assert path.read_bytes() == before
    assert names(tmp_path) == {FILE_NAME}


@awaited
async def test_who_else_has_the_file_open_is_refused(tmp_path: Path) -> None:
    """Its journal would be replayed into the new file: the sentence says what to do, and nothing changes."""
    path = old_store(tmp_path, 2)
    shell = sqlite3.connect(path)
    assert shell.execute("SELECT count(*) FROM live").fetchone()
    with pytest.raises(StoreError, match="another program has it open"):
        await store_in(tmp_path).open()
    shell.close()
    assert version_of(path) == 2
    store = store_in(tmp_path)
    await store.open()
    await check_old(store, 2)
    await store.close()


@awaited
async def test_too_little_room_is_told_in_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is needed and what is free, before anything is written."""
    path = old_store(tmp_path, 2)
    real = os.statvfs

    def nearly_full(place: Path) -> os.statvfs_result:
        fields = list(real(place))
        fields[4] = 3  # f_bavail
        return os.statvfs_result(fields)

    monkeypatch.setattr(os, "statvfs", nearly_full)
    with pytest.raises(StoreError, match=r"\d+ MiB are needed .* 0 MiB are free"):
        await store_in(tmp_path).open()
    monkeypatch.undo()
    assert names(tmp_path) == {FILE_NAME}
    assert version_of(path) == 2


@awaited
async def test_without_second_names_the_file_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems have no hard links: what is kept is then a copy."""

    def refuse(*names: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    path = old_store(tmp_path, 1)
    store = store_in(tmp_path)
    await store.open()
    await check_old(store, 1)
    await store.close()
    assert version_of(kept_of(path, 1)) == 1


@awaited
async def test_what_jobs_there_were_move_to_their_table(tmp_path: Path) -> None:
    """Keys of jobs in the one table of old are found in theirs."""
    old_store(tmp_path, 2)
    edit(tmp_path, "INSERT INTO live (key, value) VALUES ('/jobs/a', x'61'), ('/jobs0', x'62')")
    store = store_in(tmp_path)
    await store.open()
    records = dict((await store.load()).records)
    assert (records["/jobs/a"], records["/jobs0"]) == (b"a", b"b")
    await store.commit(Batch(78, finishes=[("/jobs/a", b"end")]))
    assert await store.read(["/jobs/a", "/jobs0"]) == {"/jobs0": b"b"}
    await store.close()
