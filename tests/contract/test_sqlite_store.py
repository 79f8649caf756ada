"""What the SQLite store does beyond the contract: its file, its lock, its schema, its journal, its errors."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import sys
import threading
from pathlib import Path

import pytest

from leasehold.adapters.stores import sqlite_archive, sqlite_audit, sqlite_journal, sqlite_schema, writer
from leasehold.adapters.stores.data_folder import file_system, prepare
from leasehold.adapters.stores.sqlite import FILE_NAME
from leasehold.adapters.stores.sqlite_archive import SqliteArchive
from leasehold.model.audit import Called, Wanted
from leasehold.ports.store import Batch, StoreCorrupt, StoreError
from leasehold.testing.history import History, check
from leasehold.testing.store_contract import awaited, live
from tests.contract.sqlite_files import edit, meeting, store_in

# -- the folder and its lock


@awaited
async def test_only_the_owner_can_read_the_data(tmp_path: Path) -> None:
    """The folder is 0700 and every file in it 0600, whatever the umask; a file that was wider is narrowed."""
    before = os.umask(0)
    try:
        store = store_in(tmp_path / "data")
        await store.open()
        await store.commit(Batch(1, puts=[("/a", b"1")]))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
        assert set(modes) == {FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm", "leader.lock"}
        assert set(modes.values()) == {0o600}
        await store.close()
        store.path.chmod(0o644)
        await store.open()
        assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
        await store.close()
    finally:
        os.umask(before)


@pytest.mark.requirement("INV-2")
@awaited
async def test_the_lock_names_who_holds_it(tmp_path: Path) -> None:
    """A second server is told the process and what to do, and nothing of the first is touched."""
    store = store_in(tmp_path)
    await store.open()
    second = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "leasehold.testing.store_load", str(tmp_path), stderr=asyncio.subprocess.PIPE
    )
    said = (await second.communicate())[1].decode()
    assert second.returncode
    assert f"held by process {os.getpid()}" in said
    assert "leasehold down" in said
    await store.commit(Batch(1))
    await store.close()


@awaited
async def test_a_copy_of_the_lock_file_stops_nobody(tmp_path: Path) -> None:
    """The lock is the kernel's: a file left by a killed server, pid and all, keeps nobody out."""
    (tmp_path / "leader.lock").write_text("1\n")
    store = store_in(tmp_path)
    await store.open()
    assert (tmp_path / "leader.lock").read_text() == f"{os.getpid()}\n"
    await store.close()


MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:25 / /proc rw - proc proc rw
41 22 0:60 / /home rw,relatime shared:9 - nfs4 server:/home rw,vers=4.2
42 41 254:9 / /home/local\\040disk rw - xfs /dev/vdb rw
43 22 0:70 / /mnt/files rw - fuse.sshfs somebody@elsewhere: rw
44 22 0:71 / /home rw - tmpfs tmpfs rw
"""


@pytest.mark.parametrize(
    ("path", "device", "kind"),
    [
        ("/var/lib/leasehold", (254, 0), "ext4"),
        ("/home/me/data", (0, 60), "nfs4"),
        ("/home/me/data", (0, 71), "tmpfs"),
        ("/home/local disk/data", (254, 9), "xfs"),
        ("/mnt/files/data", (0, 70), "fuse.sshfs"),
        ("/mnt/filesystem", (0, 99), "ext4"),
    ],
)
def test_the_file_system_of_a_path_is_the_kernels_word(
    tmp_path: Path, path: str, device: tuple[int, int], kind: str
) -> None:
    """The mount of the same device that is deepest on the path; where none has the device, the deepest."""
    (tmp_path / "mountinfo").write_text(MOUNTS)
    assert file_system(os.makedev(*device), Path(path), tmp_path / "mountinfo") == kind


def test_a_network_file_system_is_refused(tmp_path: Path) -> None:
    """With its type, the reason, and the setting that helps."""
    device = os.stat(tmp_path).st_dev
    (tmp_path / "mountinfo").write_text(
        f"22 1 {os.major(device)}:{os.minor(device)} / / rw - cifs //server/share rw\n"
    )
    with pytest.raises(StoreError, match=r"\(cifs\).*LEASEHOLD_DATA"):
        prepare(tmp_path / "data", tmp_path / "mountinfo")


@awaited
async def test_a_folder_that_cannot_be_made_is_an_error_with_its_name(tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "data").write_text("")
    with pytest.raises(StoreError, match="data"):
        await store_in(tmp_path / "data").open()


# -- the schema


@awaited
async def test_a_later_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    """An older version never touches what a newer one has written."""
    store = store_in(tmp_path)
    await store.open()
    await store.close()
    edit(tmp_path, "PRAGMA user_version = 99")
    before = store.path.read_bytes()
    with pytest.raises(StoreError, match=r"schema 99.*newer version"):
        await store.open()
    assert store.path.read_bytes() == before


@awaited
async def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    """A SQLite file that is not ours is not migrated into ours."""
    edit(tmp_path, "CREATE TABLE theirs (x)")
    with pytest.raises(StoreError, match="another program"):
        await store_in(tmp_path).open()


def test_migrations_go_step_by_step(tmp_path: Path) -> None:
    """Each step commits with its number; a step that fails changes nothing and can be tried again."""
    connection = sqlite3.connect(tmp_path / "x", isolation_level=None)
    steps = ["CREATE TABLE one (x);", "CREATE TABLE two (x); CREATE TABLE one (y);"]
    with pytest.raises(sqlite3.OperationalError):
        sqlite_schema.migrate(connection, steps)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("one",)]
    steps[1] = "CREATE TABLE two (x); INSERT INTO one VALUES (7);"
    assert sqlite_schema.migrate(connection, steps) == 1
    assert sqlite_schema.migrate(connection, steps) == 0
    assert connection.execute("SELECT x FROM one").fetchall() == [(7,)]
    connection.close()


# -- damage


@awaited
async def test_what_is_no_database_is_said_to_be_corrupt(tmp_path: Path) -> None:
    """StoreCorrupt with the file's name and a next step, and the lock is free again."""
    (tmp_path / FILE_NAME).write_bytes(b"not a database at all, " * 400)
    with pytest.raises(StoreCorrupt, match=rf"{FILE_NAME}.*backup"):
        await store_in(tmp_path).open()
    (tmp_path / FILE_NAME).unlink()
    store = store_in(tmp_path)
    await store.open()
    await store.close()


@pytest.mark.parametrize(
    "statement", ["DELETE FROM meta", "UPDATE meta SET batch_seq = 'x'", "UPDATE meta SET last_event = 3"]
)
@awaited
async def test_numbers_that_contradict_the_events_are_corrupt(tmp_path: Path, statement: str) -> None:
    """A batch or event number that can't be true is not worked with (INV-3)."""
    store = store_in(tmp_path)
    await store.open()
    await store.commit(Batch(1, events=b"x", first_event=1, last_event=9))
    await store.close()
    edit(tmp_path, statement)
    with pytest.raises(StoreCorrupt, match="meta"):
        await store.open()


@pytest.mark.requirement("INV-9")
@awaited
async def test_a_broken_page_costs_values_but_no_key(tmp_path: Path) -> None:
    """With a page of records destroyed every key loads; with one of keys too, the load refuses."""
    store = store_in(tmp_path)
    await store.open()
    rows = [(f"/leases/{number:03}", b"v" * 300) for number in range(60)]
    await store.commit(Batch(1, puts=rows))
    await store.close()
    _destroy(tmp_path, "live")
    await store.open()
    assert store.damage
    loaded = await live(store)
    assert sorted(loaded) == [key for key, _ in rows]
    assert b"" in loaded.values()
    assert b"v" * 300 in loaded.values()
    await store.close()
    _destroy(tmp_path, "live_key")
    await store.open()
    with pytest.raises(StoreCorrupt, match=FILE_NAME):
        await store.load()
    await store.close()


def _destroy(folder: Path, tree: str) -> None:
    """Overwrite a leaf page of a table or index."""
    path = folder / FILE_NAME
    connection = sqlite3.connect(path)
    (page,) = connection.execute(
        "SELECT max(pageno) FROM dbstat WHERE name = ? AND pagetype = 'leaf'", (tree,)
    ).fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)


@awaited
async def test_a_record_without_its_key_stops_the_load(tmp_path: Path) -> None:
    """Nobody can tell what it was, so nobody may go on as if it had not been."""
    store = store_in(tmp_path)
    await store.open()
    await store.commit(Batch(1, puts=[("/a", b"1")]))
    await store.close()
    edit(tmp_path, "UPDATE live SET key = x'00'")
    await store.open()
    with pytest.raises(StoreCorrupt, match="lost its key"):
        await store.load()
    await store.close()


# -- the journal and the readers


@pytest.mark.requirement("INV-8")
@awaited
async def test_the_journal_stays_small_under_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is moved to the file when it has reached its limit, and then used again from its start."""
    monkeypatch.setattr(sqlite_journal, "CHECKPOINT_FRAMES", 100)
    store = store_in(tmp_path)
    await store.open()
    history = History(3)
    for _ in range(200):
        batch = history.next()
        await store.commit(batch)
        history.apply(batch)
    assert os.stat(f"{store.path}-wal").st_size < 3 * 100 * 4096
    await check(store, history, 200)
    await store.close()


@awaited
async def test_an_idle_writer_moves_the_journal_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When nothing is to do, what is in the journal goes to the file, and then the thread rests."""
    monkeypatch.setattr(writer, "IDLE_S", 0.01)
    monkeypatch.setattr(sqlite_journal, "IDLE_FRAMES", 2)
    loop = asyncio.get_running_loop()
    moved = asyncio.Event()

    def meet(statement: str) -> None:
        if statement.startswith("PRAGMA wal_checkpoint"):
            loop.call_soon_threadsafe(moved.set)

    store = store_in(tmp_path, factory=meeting(meet))
    await store.open()
    await store.commit(Batch(1, puts=[("/a", b"x" * 50_000)]))
    await moved.wait()
    assert await store.batch_seq() == 1
    assert store.path.stat().st_size > 50_000
    await store.close()


@awaited
async def test_readers_neither_wait_for_the_writer_nor_see_half(tmp_path: Path) -> None:
    """While a commit is stuck, the archive answers with what was committed before it."""
    release = threading.Event()
    stuck: list[str] = []

    def meet(statement: str) -> None:
        if statement.startswith("INSERT INTO batch") and stuck:
            release.wait(10)

    store = store_in(tmp_path, factory=meeting(meet))
    await store.open()
    archive = SqliteArchive(store)
    await store.commit(Batch(1, finishes=[("/leases/a", b"1")]))
    stuck.append("from now on")
    commit = asyncio.create_task(store.commit(Batch(2, finishes=[("/leases/b", b"2")])))
    await asyncio.sleep(0)
    assert await archive.finished("/leases/", limit=9) == [("/leases/a", b"1")]
    assert not commit.done()
    release.set()
    await commit
    assert await archive.find("/leases/b") == b"2"
    await archive.close()
    await store.close()


@awaited
async def test_an_end_is_found_by_the_index_among_thousands(tmp_path: Path) -> None:
    """Over several segments each key is found as it last ended, by both terms of the index."""
    store = store_in(tmp_path)
    await store.open()
    for seq in range(1, 4):
        rows = [(f"/leases/lease-{(n * 7_919 + seq) % 9_001:06}", b"%d" % seq) for n in range(3_000)]
        await store.commit(Batch(seq, finishes=rows))
    archive = SqliteArchive(store)
    query = "SELECT key, value FROM finished ORDER BY id"
    newest = dict(await store.write(lambda connection: connection.execute(query).fetchall()))
    for key in list(newest)[::701]:
        assert await archive.find(key) == newest[key]
    assert await archive.find("/leases/lease-none") is None
    plan = await store.write(
        lambda connection: connection.execute(
            f"EXPLAIN QUERY PLAN {sqlite_archive._PLACE}", ("k",)
        ).fetchall()
    )
    assert any("finished_key (<expr>=? AND <expr>=?)" in step[3] for step in plan)
    await archive.close()
    await store.close()


@awaited
async def test_an_archive_of_a_damaged_file_says_so(tmp_path: Path) -> None:
    """A page of the archive that can't be read is StoreCorrupt for who asks, and the store goes on."""
    store = store_in(tmp_path)
    await store.open()
    await store.commit(Batch(1, finishes=[(f"/leases/{n}", b"x" * 400) for n in range(40)]))
    await store.close()
    _destroy(tmp_path, "finished")
    await store.open()
    archive = SqliteArchive(store)
    with pytest.raises(StoreCorrupt, match="backup"):
        await archive.finished("/leases/", limit=1_000)
    await store.commit(Batch(2, puts=[("/a", b"1")]))
    await archive.close()
    await store.close()


# -- the audit


@pytest.mark.requirement("OPS-7", "OPS-16")
@awaited
async def test_a_store_of_the_first_schema_gets_an_audit(tmp_path: Path) -> None:
    """What was there stays, and records can be kept from then on."""
    path = tmp_path / FILE_NAME
    connection = sqlite3.connect(path, isolation_level=None)
    sqlite_schema.migrate(connection, sqlite_schema.MIGRATIONS[:1])
    connection.execute("INSERT INTO live (key, value) VALUES ('/leases/a', x'01')")
    connection.close()
    store = store_in(tmp_path)
    await store.open()
    archive = SqliteArchive(store)
    assert (await store.load()).records == [("/leases/a", b"\x01")]
    await archive.record([Called("ann", "PUT /x", 200, 1, 1)])
    assert [row.seq for row in await archive.recorded(Wanted())] == [1]
    await archive.close()
    await store.close()


@pytest.mark.requirement("OPS-7", "INV-8")
@awaited
async def test_the_audit_is_held_to_a_number_of_rows(tmp_path: Path) -> None:
    """Above it the oldest go, some with each tidying, and the numbers go on."""
    store = store_in(tmp_path)
    await store.open()
    archive = SqliteArchive(store)
    await archive.record([Called("ann", "PUT /x", 200, n, n) for n in range(30)])
    assert await store.write(lambda connection: sqlite_audit.prune(connection, 0, rows_max=10)) == 20
    assert await store.write(lambda connection: sqlite_audit.prune(connection, 0, rows_max=10)) == 0
    assert [row.seq for row in await archive.recorded(Wanted())] == list(range(21, 31))
    await store.write(lambda connection: sqlite_audit.prune(connection, 99, rows_max=10))
    await archive.record([Called("ann", "PUT /x", 200, 99, 99)])
    assert [row.seq for row in await archive.recorded(Wanted())] == [31], "no number is used twice"
    await archive.close()
    await store.close()
