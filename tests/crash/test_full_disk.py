"""A full disk: writes fail definitely, reads go on, and the store works again when there is room."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from leasehold.adapters.stores.sqlite import SqliteStore
from leasehold.adapters.stores.sqlite_archive import SqliteArchive
from leasehold.ports.archive import Fold
from leasehold.ports.store import Batch, CommitFailed, StoreError
from leasehold.testing.history import History, check
from leasehold.testing.store_contract import awaited

DISK_BYTES = 6 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few MiB in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "leasehold-test", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip(f"a small disk can't be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, leave_bytes: int) -> Path:
    """Take all room on the disk but `leave_bytes`."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
        file.truncate(max(0, file.tell() // 4096 * 4096 - leave_bytes))
    return ballast


@pytest.mark.slow
@pytest.mark.requirement("OPS-17")
@awaited
async def test_a_full_disk_refuses_writes_keeps_reads_and_recovers(small_disk: Path) -> None:
    """With little room each commit works or definitely fails; with room again, the next one works."""
    store = SqliteStore(small_disk / "data", wall_ms=lambda: 0)
    await store.open()
    archive = SqliteArchive(store)
    history = History(40)
    await _commit(store, history, 30)
    for leave_pages in (0, 1, 2, 3, 5, 8, 13, 21, 34, 55):
        ballast = fill(small_disk, leave_pages * 4096)
        refused = await _commit_until_refused(store, history)
        assert "full" in refused
        for _ in range(3):
            with pytest.raises(CommitFailed):
                await store.commit(Batch(history.seq + 1, puts=[("/large", bytes(1 << 20))]))
        await check(store, history, history.seq)
        assert list(await archive.finished("/", limit=50)) == history.ended[::-1][:50]
        with pytest.raises(StoreError):
            await archive.fold([Fold("holder" * 2_000, str(number), 1, 1, 1) for number in range(500)])
        ballast.unlink()
        await _commit(store, history, 10)
    await archive.close()
    await store.close()
    await store.open()
    await check(store, history, history.seq)
    await store.close()


async def _commit(store: SqliteStore, history: History, batches: int) -> None:
    for _ in range(batches):
        batch = history.next()
        await store.commit(batch)
        history.apply(batch)


async def _commit_until_refused(store: SqliteStore, history: History) -> str:
    for _ in range(10_000):
        batch = history.next()
        try:
            await store.commit(batch)
        except CommitFailed as error:
            return str(error)
        history.apply(batch)
    raise AssertionError("the disk never filled up")


@pytest.mark.slow
@pytest.mark.requirement("OPS-17")
@awaited
async def test_a_start_on_a_full_disk_says_so(small_disk: Path) -> None:
    """Opening fails with a sentence, leaves the lock free, and works when there is room."""
    store = SqliteStore(small_disk / "data", wall_ms=lambda: 0)
    await store.open()
    await store.commit(Batch(1, puts=[("/a", b"1")]))
    await store.close()
    ballast = fill(small_disk, 0)
    with pytest.raises(StoreError, match=r"leasehold\.sqlite3"):
        await store.open()
    ballast.unlink()
    await store.open()
    assert (await store.load()).records == [("/a", b"1")]
    await store.close()


def test_the_disk_is_really_small(small_disk: Path) -> None:
    """The fixture gives what the other tests rely on: room that runs out."""
    ballast = fill(small_disk, 0)
    assert 0 < ballast.stat().st_size <= DISK_BYTES
    with pytest.raises(OSError, match="No space"):
        (small_disk / "more").write_bytes(bytes(4096))
