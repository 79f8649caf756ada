"""A restore is the store before or the restored one at every instant, and never falls behind (OPS-15)."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from leasehold.adapters.stores import sqlite_restore, sqlite_schema
from leasehold.adapters.stores.backup_folder import MANIFEST, read_manifest, sum_of, written
from leasehold.adapters.stores.samples import FILE as SAMPLES
from leasehold.adapters.stores.sqlite import FILE_NAME
from leasehold.adapters.stores.sqlite_restore import INTENT, REPLACED_KEPT, STEPS
from leasehold.control import recovery
from leasehold.core import storage as decisions
from leasehold.core.state import LEASES, Stamp
from leasehold.model.lease import Flag
from leasehold.model.storage import FileSum, Manifest
from leasehold.ports.storage import BackupFailed
from leasehold.ports.store import StoreCorrupt
from leasehold.runtime.faults import ARMED
from tests.contract.backup_files import (
    DAY_MS,
    MADE_MS,
    awaited,
    backups_of,
    batch,
    filled,
    finish,
    intent_of,
    lease_row,
    records_of,
    restore,
    revoked_row,
    state_of,
)
from tests.contract.sqlite_files import old_store, store_in

SEED = 1515
DAMAGES = 200

pytestmark = pytest.mark.requirement("OPS-15")


@pytest.fixture
def armed() -> Iterator[None]:
    """Points that are armed in the test are disarmed after it."""
    yield
    ARMED.clear()


class Stopped(Exception):
    """The restore ends here."""


def stop() -> None:
    raise Stopped


def files(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()} - {"leader.lock"}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    """A data folder with a backup, and more in the store since."""
    folder = tmp_path_factory.mktemp("template")

    async def make() -> Manifest:
        data = folder / "data"
        await (await filled(data, 40)).close()
        manifest = backups_of(data, folder / "kept").make("command", samples=False)
        store = store_in(data)
        await store.open()
        seq = await store.batch_seq()
        for number in range(100, 120):
            seq += 1
            await store.commit(batch(seq, lease_row(number)))
        await store.commit(batch(seq + 1, revoked_row(1)))
        await store.close()
        return manifest

    return folder, asyncio.run(make())


@pytest.fixture
def made(template: tuple[Path, Manifest], tmp_path: Path) -> tuple[Path, Path, Manifest]:
    """The same for this test alone."""
    folder, manifest = template
    for name in ("data", "kept"):
        shutil.copytree(folder / name, tmp_path / name)
    return tmp_path / "data", tmp_path / "kept", manifest


Made = tuple[Path, Path, Manifest]


@pytest.mark.requirement("INV-3")
@awaited
async def test_a_restored_store_is_the_backup_and_never_falls_behind(made: Made) -> None:
    """Its records are those of then; tokens, batches and events count on above all that ever were."""
    data, root, manifest = made
    before, start_before = await state_of(data)
    kept = restore(data, intent_of(root, manifest.backup_id))
    state, start = await state_of(data)
    assert len(state.leases) == manifest.counts["live"] - 3  # Its incarnation and two tokens are no leases.
    assert len(before.leases) == len(state.leases) + 20
    assert start.incarnation > start_before.incarnation
    assert start.first_number > max(lease.token for lease in before.leases.values())
    assert (start.batch_seq, start.last_event) == (start_before.batch_seq, start_before.last_event)
    assert kept is not None
    assert files(data) == {FILE_NAME, kept.name}
    restored, start_of_kept = await state_of(_as_data(kept))
    assert len(restored.leases) == len(before.leases)
    assert start_of_kept.incarnation == start_before.incarnation


def _as_data(kept: Path) -> Path:
    folder = kept.parent.parent / "replaced"
    folder.mkdir()
    shutil.copy(kept, folder / FILE_NAME)
    return folder


@awaited
async def test_the_incarnation_leaves_room_for_starts_that_nobody_knows_of(made: Made) -> None:
    """On another machine there is no store to ask: the age of the backup tells how many may have been."""
    data, root, manifest = made
    other = data.parent / "other"
    other.mkdir()
    assert restore(other, intent_of(root, manifest.backup_id, asked_ms=MADE_MS + 7 * DAY_MS)) is None
    state, start = await state_of(other)
    assert start.incarnation == manifest.incarnation + 1_024 + 7 * 24 * 60 + 1
    assert len(state.leases) == manifest.counts["live"] - 3


@awaited
async def test_a_token_that_was_revoked_since_stays_revoked(made: Made) -> None:
    """A restore gives nobody a right back that was taken away."""
    data, root, manifest = made
    restore(data, intent_of(root, manifest.backup_id))
    state, _ = await state_of(data)
    assert set(state.tokens) == {"tok-2"}
    assert set(state.revoked) == {"tok-1"}


@awaited
async def test_live_leases_are_lost_until_their_holders_are_heard_of(made: Made) -> None:
    """Once, at the first start; the event names who restored what, and where the store before is."""
    data, root, manifest = made
    intent = intent_of(root, manifest.backup_id)
    restore(data, intent)
    state, _ = await state_of(data)
    outcome = decisions.taken_up(state, Stamp(1, 2, 3, 4))
    marked = [change for change in outcome.changes if change.table == LEASES]
    assert len(marked) == len(state.leases)
    assert all(Flag.LOST in change.record.flags for change in marked)
    restored = [event for event in outcome.events if event.kind == "StoreRestored"]
    assert [(one.actor, one.subject, one.details["kept"]) for one in restored] == [
        ("ann", manifest.backup_id, intent.kept)
    ]
    for change in outcome.changes:
        state.apply(change)
    assert decisions.taken_up(state, Stamp(1, 2, 3, 4)).changes == []


@awaited
async def test_who_follows_the_audit_misses_nothing(made: Made) -> None:
    """Its numbers go on above those of the store before."""
    data, root, manifest = made
    connection = sqlite3.connect(data / FILE_NAME)
    with connection:
        connection.execute("INSERT INTO sqlite_sequence VALUES ('audit', 4711)")
    connection.close()
    restore(data, intent_of(root, manifest.backup_id))
    connection = sqlite3.connect(data / FILE_NAME)
    assert connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'audit'").fetchall() == [(4711,)]
    connection.close()


@pytest.mark.usefixtures("armed")
@pytest.mark.parametrize("step", STEPS)
@awaited
async def test_whatever_ends_it_the_next_start_finishes_it(made: Made, step: str) -> None:
    """Until it is placed the store is the one before; the note leads on, and nothing else stays behind."""
    data, root, manifest = made
    before, intent = await records_of(data), intent_of(root, manifest.backup_id)
    ARMED[f"store.restore.{step}"] = stop
    with pytest.raises(Stopped):
        restore(data, intent)
    ARMED.clear()
    is_placed = step in ("placed", "flushed", "done")
    assert ((await records_of(data)) == before) is not is_placed
    if step != "done":
        assert sqlite_restore.intended(data) == intent
        finish(data, intent)
    assert files(data) == {FILE_NAME, intent.kept}
    state, _ = await state_of(data)
    assert state.storage_runs[intent.restore_id].fresh
    assert len(state.leases) == manifest.counts["live"] - 3


@awaited
async def test_a_byte_that_was_damaged_is_never_restored(made: Made) -> None:
    """At hundreds of random places: refused, with the store as it was and nothing noted any more."""
    data, root, manifest = made
    path, chance = root / manifest.backup_id / FILE_NAME, random.Random(SEED)
    sound, store = path.read_bytes(), (data / FILE_NAME).read_bytes()
    for number in range(DAMAGES):
        place, other = chance.randrange(len(sound)), chance.randrange(1, 256)
        path.write_bytes(sound[:place] + bytes([sound[place] ^ other]) + sound[place + 1 :])
        with pytest.raises(BackupFailed, match=r"is damaged: leasehold\.sqlite3 is not what was written"):
            restore(data, intent_of(root, manifest.backup_id, number))
        assert (data / FILE_NAME).read_bytes() == store
        assert files(data) == {FILE_NAME}
    path.write_bytes(sound)
    assert restore(data, intent_of(root, manifest.backup_id)) is not None


@awaited
async def test_a_backup_of_a_later_schema_is_refused(made: Made) -> None:
    """The sentence says which version can restore it."""
    data, root, manifest = made
    folder, before = root / manifest.backup_id, await records_of(data)
    later = msgspec.structs.replace(manifest, schema=len(sqlite_schema.MIGRATIONS) + 1)
    (folder / MANIFEST).write_bytes(written(later))
    with pytest.raises(BackupFailed, match=r"has schema 4.* with leasehold 1\.2\.3 \(nothing was changed\)"):
        restore(data, intent_of(root, manifest.backup_id))
    assert await records_of(data) == before
    assert files(data) == {FILE_NAME}


@awaited
async def test_a_backup_that_is_gone_changes_nothing(made: Made) -> None:
    """Somebody removed it between the asking and the start."""
    data, root, manifest = made
    before = await records_of(data)
    shutil.rmtree(root / manifest.backup_id)
    with pytest.raises(BackupFailed, match=r"manifest\.json can't be read"):
        restore(data, intent_of(root, manifest.backup_id))
    assert await records_of(data) == before
    assert files(data) == {FILE_NAME}


@awaited
async def test_too_little_room_changes_nothing(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said in figures before anything is written."""
    data, root, manifest = made
    monkeypatch.setattr(sqlite_restore, "SPARE_BYTES", 1 << 60)
    with pytest.raises(BackupFailed, match=r"MiB are needed .* \(nothing was changed\)"):
        restore(data, intent_of(root, manifest.backup_id))
    assert files(data) == {FILE_NAME}


@awaited
async def test_who_else_has_the_store_open_is_refused(made: Made) -> None:
    """A shell's journal would be replayed into the restored file."""
    data, root, manifest = made
    shell = sqlite3.connect(data / FILE_NAME)
    assert shell.execute("SELECT count(*) FROM live").fetchone()
    with pytest.raises(BackupFailed, match="another program has it open"):
        restore(data, intent_of(root, manifest.backup_id))
    shell.close()
    assert files(data) == {FILE_NAME}
    assert restore(data, intent_of(root, manifest.backup_id)) is not None


@pytest.mark.usefixtures("armed")
@pytest.mark.parametrize("step", ["", "marked", "settled", "placed"])
@awaited
async def test_a_store_that_is_garbage_is_replaced_and_kept_with_its_journal(made: Made, step: str) -> None:
    """That is what a restore is for; also when it is interrupted, no byte of what was there is lost."""
    data, root, manifest = made
    path, wal = data / FILE_NAME, data / f"{FILE_NAME}-wal"
    path.write_bytes(random.Random(SEED).randbytes(50_000))
    wal.write_bytes(b"a journal that nobody can read" * 99)
    store, journal = path.read_bytes(), wal.read_bytes()
    intent = intent_of(root, manifest.backup_id)
    if step:
        ARMED[f"store.restore.{step}"] = stop
        with pytest.raises(Stopped):
            restore(data, intent)
        ARMED.clear()
        if step != "placed":
            assert (path.read_bytes(), wal.read_bytes()) == (store, journal)
        finish(data, intent)
    else:
        restore(data, intent)
    assert (data / intent.kept).read_bytes() == store
    assert (data / f"{intent.kept}-wal").read_bytes() == journal
    state, _ = await state_of(data)
    assert len(state.leases) == manifest.counts["live"] - 3


@awaited
async def test_a_few_replaced_stores_are_kept(made: Made) -> None:
    """The newest ones; what is older goes."""
    data, root, manifest = made
    kept = [restore(data, intent_of(root, manifest.backup_id, number)) for number in range(1, 6)]
    there = {each.name for each in data.glob("*.replaced-*")}
    assert there == {one.name for one in kept[-REPLACED_KEPT:] if one is not None}


@awaited
async def test_measurements_come_back_where_there_are_none(made: Made) -> None:
    """What was measured since is not thrown away for what was measured before."""
    data, root, manifest = made
    folder = root / manifest.backup_id
    (folder / SAMPLES).write_bytes(b"history")
    files_of = {**manifest.files, SAMPLES: sum_of(folder / SAMPLES)}
    (folder / MANIFEST).write_bytes(written(msgspec.structs.replace(manifest, files=files_of)))
    assert read_manifest(folder).files[SAMPLES] == FileSum(7, sum_of(folder / SAMPLES).sha256)
    (data / SAMPLES).write_bytes(b"newer")
    restore(data, intent_of(root, manifest.backup_id, 1))
    assert (data / SAMPLES).read_bytes() == b"newer"
    (data / SAMPLES).unlink()
    restore(data, intent_of(root, manifest.backup_id, 2))
    assert (data / SAMPLES).read_bytes() == b"history"


@awaited
async def test_a_note_that_is_half_written_is_none(made: Made) -> None:
    """It was never answered, so nothing is restored."""
    data, _, _ = made
    (data / INTENT).write_bytes(b"\xff{")
    assert sqlite_restore.intended(data) is None


@awaited
async def test_without_second_names_the_store_before_is_copied(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some file systems have no hard links: what is kept is then a copy."""

    def refuse(*names: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    data, root, manifest = made
    before = await records_of(data)
    monkeypatch.setattr(os, "link", refuse)
    kept = restore(data, intent_of(root, manifest.backup_id))
    monkeypatch.undo()
    assert kept is not None
    assert await records_of(_as_data(kept)) == before


@pytest.mark.parametrize("version", range(1, len(sqlite_schema.MIGRATIONS)))
@pytest.mark.requirement("OPS-16")
@awaited
async def test_a_backup_of_every_older_schema_is_restored_and_migrated(tmp_path: Path, version: int) -> None:
    """By the start that follows: all that was in it is there, in the ways that a server asks for it."""
    root, data = tmp_path / "kept", tmp_path / "data"
    await (await filled(data, 10)).close()
    folder = root / "backup-20260101-000000"
    path = old_store(folder, version, in_journal=False)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    manifest = Manifest(
        folder.name, 1, "command", MADE_MS, MADE_MS, "0.9", version, 77, 200, 3, {}, {FILE_NAME: sum_of(path)}
    )
    (folder / MANIFEST).write_bytes(written(manifest))
    intent = intent_of(root, folder.name)
    restore(data, intent)
    store = store_in(data)
    await store.open()
    records = dict((await store.load()).records)
    assert records.pop(recovery.marker_of(intent.restore_id))
    assert msgspec.msgpack.decode(records.pop(recovery.META_INCARNATION)) > 1_024
    assert len(records) == 300
    await store.close()


async def test_a_store_whose_damage_is_no_text_is_called_damaged(made: Made) -> None:
    """What SQLite says of it holds bytes that Python can't decode: a sentence all the same, and a restore."""
    data, root, manifest = made
    path = data / FILE_NAME
    sound = path.read_bytes()
    place = sound.index(b"CREATE TABLE finished")
    path.write_bytes(sound[: place + 13] + b"\xe3\xe3\xe3" + sound[place + 16 :])
    store = store_in(data)
    with pytest.raises(StoreCorrupt, match="restore a backup"):
        await store.open()
    assert restore(data, intent_of(root, manifest.backup_id)) is not None
    await state_of(data)
