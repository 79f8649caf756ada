"""Backups of a real store: whole, proven, stamped, and none that is damaged is taken for one (OPS-15)."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from leasehold.adapters.stores import backup_folder, backups, sqlite_copy, sqlite_schema
from leasehold.adapters.stores.backup_folder import MANIFEST, read_manifest, written
from leasehold.adapters.stores.samples import FILE as SAMPLES
from leasehold.adapters.stores.samples import SqliteSamples
from leasehold.adapters.stores.sqlite import FILE_NAME
from leasehold.bootstrap.proof import proof_of
from leasehold.model.storage import Manifest
from leasehold.ports.storage import BackupFailed
from leasehold.ports.store import Batch
from leasehold.runtime.faults import ARMED
from tests.contract.backup_files import PASS, a_job, awaited, backups_of, batch, filled, lease_row
from tests.contract.sqlite_files import old_store

SEED = 15
DAMAGES = 300

pytestmark = pytest.mark.requirement("OPS-15")


@pytest.fixture
def armed() -> Iterator[None]:
    """Points that are armed in the test are disarmed after it."""
    yield
    ARMED.clear()


def size(path: Path) -> int:
    return path.stat().st_size


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


@awaited
async def test_a_backup_is_private_proven_and_stamped(tmp_path: Path) -> None:
    """It has what the store has, readable by its owner alone, and nothing unfinished is beside it."""
    data, root = tmp_path / "data", tmp_path / "kept"
    store = await filled(data)
    made = await asyncio.to_thread(backups_of(data, root).make, "command", samples=False)
    assert names(root) == {made.backup_id, ".lock"}
    folder = root / made.backup_id
    assert names(folder) == {FILE_NAME, MANIFEST}
    assert {stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == {0o600}
    assert {stat.S_IMODE(each.stat().st_mode) for each in (root, folder)} == {0o700}
    assert (made.schema, made.batch_seq, made.last_event) == (len(sqlite_schema.MIGRATIONS), 52, 51)
    assert (made.incarnation, made.unreadable, made.version) == (1, 0, "1.2.3")
    assert made.counts["live"] == 44
    assert made.counts["finished"] == 9
    assert read_manifest(folder) == made
    await store.close()
    assert backups_of(data, root).check(made.backup_id) == made


@pytest.mark.usefixtures("armed")
@awaited
async def test_commits_go_on_while_it_is_made_and_it_is_of_one_instant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between any two slices a commit comes through; none of those is in the copy, all before are."""
    monkeypatch.setattr(sqlite_copy, "SLICE_PAGES", 4)
    data = tmp_path / "data"
    store = await filled(data)
    loop, seq = asyncio.get_running_loop(), await store.batch_seq()
    meanwhile: list[int] = []

    def commit() -> None:
        number = seq + 1 + len(meanwhile)
        done = asyncio.run_coroutine_threadsafe(store.commit(batch(number, lease_row(number))), loop)
        done.result(60)
        meanwhile.append(number)

    ARMED["backup.copying"] = commit
    made = await asyncio.to_thread(backups_of(data, tmp_path / "kept").make, "command", samples=False)
    assert len(meanwhile) > 3
    assert (made.batch_seq, made.counts["live"]) == (seq, 44)
    assert await store.batch_seq() == meanwhile[-1]
    await store.close()


@awaited
async def test_the_journal_is_moved_on_after_a_long_copy(tmp_path: Path) -> None:
    """While a snapshot is held the journal grows; afterwards it begins again, and nothing is lost."""
    data = tmp_path / "data"
    store = await filled(data)
    reader = sqlite_copy.reading(data / FILE_NAME)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM live").fetchone()
    store.hold_journal(True)
    seq = await store.batch_seq()
    for number in range(seq + 1, seq + 13):
        await store.commit(Batch(number, puts=[(f"/large/{number}", bytes(6 << 20))]))
    journal = Path(f"{data / FILE_NAME}-wal")
    assert size(journal) > 64 << 20
    reader.close()
    store.hold_journal(False)
    for number in range(seq + 13, seq + 200):
        await store.commit(Batch(number, puts=[("/small", b"1")]))
        if size(journal) < 40 << 20:
            break
        await asyncio.sleep(0.05)
    else:
        raise AssertionError(f"the journal still has {size(journal)} bytes")
    await store.close()


@awaited
async def test_a_byte_that_was_damaged_is_found(tmp_path: Path) -> None:
    """At hundreds of random places, of the store's copy and of the manifest: refused, in words."""
    data, root = tmp_path / "data", tmp_path / "kept"
    await (await filled(data)).close()
    care = backups_of(data, root)
    made = care.make("command", samples=False)
    sound, chance = root / made.backup_id, random.Random(SEED)
    for number in range(DAMAGES):
        path = sound / (MANIFEST if number % 3 == 0 else FILE_NAME)
        before = path.read_bytes()
        place, other = chance.randrange(len(before)), chance.randrange(1, 256)
        path.write_bytes(before[:place] + bytes([before[place] ^ other]) + before[place + 1 :])
        with pytest.raises(BackupFailed, match=r"damaged|later version|is not what its name says"):
            care.check(made.backup_id)
        listed = care.listed()[0]
        assert (listed.problem != "") == (path.name == MANIFEST), f"{path.name} at {place} by {other}"
        path.write_bytes(before)
    assert care.check(made.backup_id) == made


@awaited
async def test_pieces_that_are_missing_or_too_many_are_found(tmp_path: Path) -> None:
    """A file cut short, grown, or gone; a manifest that is another backup's; a folder without one."""
    data, root = tmp_path / "data", tmp_path / "kept"
    await (await filled(data)).close()
    care = backups_of(data, root)
    made = care.make("command", samples=False)
    path = root / made.backup_id / FILE_NAME
    before = path.read_bytes()
    for piece in (before[:-1], before + b"\0", b""):
        path.write_bytes(piece)
        with pytest.raises(BackupFailed, match="damaged"):
            care.check(made.backup_id)
    path.unlink()
    with pytest.raises(BackupFailed, match=r"leasehold\.sqlite3 is missing"):
        care.check(made.backup_id)
    path.write_bytes(before)
    other = root / "backup-20270101-000000"
    shutil.copytree(root / made.backup_id, other)
    with pytest.raises(BackupFailed, match="is not what its name says"):
        care.check(other.name)
    (other / MANIFEST).unlink()
    assert [(one.backup_id, bool(one.problem)) for one in care.listed()] == [
        (made.backup_id, False),
        (other.name, True),
    ]


@awaited
async def test_a_manifest_of_a_later_version_is_refused_as_such(tmp_path: Path) -> None:
    """What it means is not guessed at: the sentence names the cure."""
    data, root = tmp_path / "data", tmp_path / "kept"
    await (await filled(data)).close()
    care = backups_of(data, root)
    made = care.make("command", samples=False)
    later = msgspec.structs.replace(made, format=2)
    (root / made.backup_id / MANIFEST).write_bytes(written(later))
    with pytest.raises(BackupFailed, match="later version of leasehold"):
        care.check(made.backup_id)
    raw = msgspec.json.decode(written(later))
    (root / made.backup_id / MANIFEST).write_bytes(msgspec.json.encode({**raw, "shiny": 1}))
    with pytest.raises(BackupFailed, match="later version of leasehold"):
        care.check(made.backup_id)


@awaited
async def test_a_damaged_store_makes_no_backup(tmp_path: Path) -> None:
    """What the copy can't be restored from is not stamped, and the backups before stay."""
    data, root = tmp_path / "data", tmp_path / "kept"
    await (await filled(data, 300)).close()
    care = backups_of(data, root)
    sound = care.make("command", samples=False)
    connection = sqlite3.connect(data / FILE_NAME)
    connection.execute("PRAGMA journal_mode = DELETE")
    (page,) = connection.execute(
        "SELECT max(pageno) FROM dbstat WHERE name = 'live_key' AND pagetype = 'leaf'"
    ).fetchone()
    connection.close()
    with (data / FILE_NAME).open("r+b") as file:
        file.seek((page - 1) * 4096 + 2_000)
        file.write(b"\xff" * 600)
    with pytest.raises(BackupFailed, match="could not be restored"):
        care.make("schedule", samples=False)
    assert names(root) == {sound.backup_id, ".lock"}
    assert care.check(sound.backup_id) == sound


@awaited
async def test_records_that_nobody_can_read_are_noticed(tmp_path: Path) -> None:
    """One that the server did not know of is damage; one that it has told of goes along, and is counted."""
    data, root = tmp_path / "data", tmp_path / "kept"
    store = await filled(data)
    await store.commit(batch(53, ("/leases/lease-x", b"\xc1")))
    await store.close()
    care = backups_of(data, root)
    with pytest.raises(BackupFailed, match=r"1 live record\(s\) that can't be read"):
        care.make("command", samples=False, unreadable=0)
    made = care.make("command", samples=False, unreadable=1)
    assert made.unreadable == 1
    assert care.check(made.backup_id) == made


@pytest.mark.usefixtures("armed")
@awaited
async def test_two_at_once_make_one(tmp_path: Path) -> None:
    """The second one is refused in words, and leaves the first alone."""
    data, root = tmp_path / "data", tmp_path / "kept"
    await (await filled(data)).close()
    refused: list[str] = []

    def again() -> None:
        ARMED.clear()
        try:
            backups_of(data, root).make("command", samples=False)
        except BackupFailed as error:
            refused.append(str(error))

    ARMED["backup.copied"] = again
    made = backups_of(data, root).make("command", samples=False)
    assert ["another backup is being made" in one for one in refused] == [True]
    assert names(root) == {made.backup_id, ".lock"}


@awaited
async def test_names_and_order_do_not_trust_the_clock(tmp_path: Path) -> None:
    """Two of one second have names of their own; set back by a year, the later made is still the newer."""
    data, root = tmp_path / "data", tmp_path / "kept"
    await (await filled(data)).close()
    made = [backups_of(data, root).make("command", samples=False) for _ in range(2)]
    back = backups_of(data, root, wall_ms=1_750_000_000_000).make("command", samples=False)
    assert made[1].backup_id == f"{made[0].backup_id}-2"
    assert [one.number for one in (*made, back)] == [1, 2, 3]
    assert [one.backup_id for one in backups_of(data, root).listed()] == [
        back.backup_id,
        made[1].backup_id,
        made[0].backup_id,
    ]


@pytest.mark.usefixtures("armed")
@awaited
async def test_what_a_dead_backup_left_is_removed_by_the_next(tmp_path: Path) -> None:
    """And one that is stopped, or fails, leaves nothing at all."""
    data, root = tmp_path / "data", tmp_path / "kept"
    await (await filled(data)).close()
    (root / ".making-backup-20260101-000000").mkdir(parents=True)
    care = backups_of(data, root)
    ARMED["backup.copying"] = lambda: setattr(care, "stopped", True)
    with pytest.raises(BackupFailed, match="the server stops"):
        care.make("command", samples=False)
    assert names(root) == {".lock"}
    with pytest.raises(BackupFailed, match="exit 7"):
        backups_of(data, root, prove=("sh", "-c", "exit 7")).make("command", samples=False)
    with pytest.raises(BackupFailed, match="could not be proven"):
        backups_of(data, root, prove=PASS).make("command", samples=False)
    assert names(root) == {".lock"}


@awaited
async def test_too_little_room_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In figures, with what helps."""
    data, root = tmp_path / "data", tmp_path / "kept"
    await (await filled(data)).close()
    monkeypatch.setattr(backups, "SPARE_BYTES", 1 << 60)
    with pytest.raises(BackupFailed, match=r"MiB are needed in .* MiB are free; make room"):
        backups_of(data, root).make("command", samples=False)
    assert names(root) == {".lock"}


@awaited
async def test_measurements_go_along_where_that_is_set(tmp_path: Path) -> None:
    """Their file is copied, checked and summed like the store's."""
    data, root = tmp_path / "data", tmp_path / "kept"
    await (await filled(data)).close()
    samples = SqliteSamples(str(data))
    await samples.open()
    made = await asyncio.to_thread(backups_of(data, root).make, "command", samples=True)
    await samples.close()
    assert set(made.files) == {FILE_NAME, SAMPLES}
    assert backups_of(data, root).check(made.backup_id) == made
    (root / made.backup_id / SAMPLES).write_bytes(b"")
    with pytest.raises(BackupFailed, match="samples"):
        backups_of(data, root).check(made.backup_id)


@awaited
async def test_what_a_restore_would_lose_is_counted(tmp_path: Path) -> None:
    """The events since, and the jobs that wait in the backup and have ended meanwhile."""
    data, root = tmp_path / "data", tmp_path / "kept"
    store = await filled(data)
    hot = [(a_job(number)[0], b"hot") for number in range(1, 4)]
    await store.commit(Batch(53, puts=hot))
    made = await asyncio.to_thread(backups_of(data, root).make, "command", samples=False, unreadable=3)
    await store.commit(Batch(54, finishes=[(hot[0][0], b"end")]))
    await store.commit(batch(55, lease_row(500)))
    await store.close()
    since = backups_of(data, root).since(made.backup_id)
    assert (len(since.events), since.runs_again) == (1, 1)


@pytest.mark.parametrize("version", range(1, len(sqlite_schema.MIGRATIONS) + 1))
@awaited
async def test_a_copy_of_an_older_schema_is_proven_by_migrating_it(tmp_path: Path, version: int) -> None:
    """Of every schema that there was; the copy itself stays what it is."""
    path = old_store(tmp_path / "kept" / "copy", version, in_journal=False)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    before = path.read_bytes()
    proof = await asyncio.to_thread(proof_of, path.parent)
    assert (proof.schema, proof.batch_seq, proof.counts["live"]) == (version, 77, 300)
    assert path.read_bytes() == before
    assert names(path.parent.parent) == {"copy"}


def test_the_sum_of_a_manifest_covers_every_field() -> None:
    """Two manifests that differ in anything differ in their sum, and no other bytes stand for either."""
    one = Manifest("backup-20260101-000000", 1, "command", 1, 2, "1", 3, 4, 5, 6, {}, {})
    for field, value in (("number", 2), ("made_wall_ms", 9), ("incarnation", 7), ("counts", {"live": 1})):
        other = msgspec.structs.replace(one, **{field: value})
        sums = [msgspec.json.decode(written(each))["sha256"] for each in (one, other)]
        assert sums[0] != sums[1]
    assert backup_folder.written(one) == written(msgspec.json.decode(written(one), type=Manifest))
    assert os.linesep.encode() in written(one)
