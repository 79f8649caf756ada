"""The SQLite store when things go wrong while it runs: failed flushes, strangers, callers that give up."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from leasehold.adapters.stores import sqlite
from leasehold.ports.store import Batch, CommitFailed, CommitUnknown, Fenced
from leasehold.testing.store_contract import awaited, live
from tests.contract.sqlite_files import edit, meeting, store_in


@awaited
async def test_an_exception_in_the_writer_fails_its_batch_only(tmp_path: Path) -> None:
    """A bug in the thread reaches the batch's caller at once, and the thread goes on with the next."""
    bugs = [RuntimeError("a bug")]

    def meet(statement: str) -> None:
        if statement.startswith("INSERT INTO batch") and bugs:
            raise bugs.pop()

    store = store_in(tmp_path, factory=meeting(meet))
    await store.open()
    with pytest.raises(RuntimeError, match="a bug"):
        await store.commit(Batch(1))
    await store.commit(Batch(1, puts=[("/a", b"1")]))
    assert await live(store) == {"/a": b"1"}
    await store.close()


@pytest.mark.requirement("INV-4")
@pytest.mark.parametrize("is_written", [True, False])
@awaited
async def test_a_failed_flush_is_settled_where_the_disk_still_writes(
    tmp_path: Path, is_written: bool
) -> None:
    """After an error at the commit the next write decides: it committed, or it definitely did not."""
    errors = ["SQLITE_IOERR_FSYNC"]
    connections: list[sqlite3.Connection] = []

    class Failing(sqlite3.Connection):
        def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
            if not statement.startswith("INSERT INTO batch") or not errors:
                return super().execute(statement, *parameters)
            connections.append(self)
            if is_written:
                super().execute(statement, *parameters)
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = getattr(sqlite3, errors.pop())
            raise error

    store = store_in(tmp_path, factory=Failing)
    await store.open()
    if is_written:
        await store.commit(Batch(1, puts=[("/a", b"1")]))
    else:
        with pytest.raises(CommitFailed, match="I/O"):
            await store.commit(Batch(1, puts=[("/a", b"1")]))
    assert connections
    assert await store.batch_seq() == int(is_written)
    await store.close()


@awaited
async def test_while_an_outcome_is_unknown_nothing_else_commits(tmp_path: Path) -> None:
    """A batch that comes before `batch_seq` was asked is unknown too, and its caller is told to ask."""
    troubled = True

    def meet(statement: str) -> None:
        if troubled and statement.startswith(("INSERT INTO batch", "UPDATE meta SET settled")):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error

    store = store_in(tmp_path, factory=meeting(meet))
    await store.open()
    for _ in range(2):
        with pytest.raises(CommitUnknown):
            await store.commit(Batch(1))
    troubled = False
    with pytest.raises(CommitUnknown, match="batch_seq"):
        await store.commit(Batch(1))
    assert await store.batch_seq() == 0
    await store.commit(Batch(1))
    await store.close()


@awaited
async def test_a_file_that_was_taken_away_takes_no_commits(tmp_path: Path) -> None:
    """Writing on into a file without a name would lose what is acknowledged when the server ends."""
    store = store_in(tmp_path)
    await store.open()
    await store.commit(Batch(1))
    store.path.rename(tmp_path / "moved")
    with pytest.raises(CommitFailed, match="removed or replaced"):
        await store.commit(Batch(2))
    (tmp_path / "moved").rename(store.path)
    await store.commit(Batch(2))
    await store.close()


@awaited
async def test_another_programs_lock_is_a_definite_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell or a backup that holds the file makes commits fail, and only while it does."""
    monkeypatch.setattr(sqlite, "BUSY_S", 0.02)
    store = store_in(tmp_path)
    await store.open()
    other = sqlite3.connect(store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(CommitFailed, match="locked"):
        await store.commit(Batch(1))
    other.execute("ROLLBACK")
    other.close()
    await store.commit(Batch(1))
    await store.close()


@pytest.mark.requirement("INV-3")
@awaited
async def test_a_writer_from_outside_is_noticed_at_the_next_commit(tmp_path: Path) -> None:
    """Even where a lock failed to keep it out, the fence does: loudly, and nothing is overwritten."""
    store = store_in(tmp_path)
    await store.open()
    await store.commit(Batch(1))
    edit(tmp_path, "UPDATE meta SET batch_seq = 2")
    with pytest.raises(Fenced, match="another writer"):
        await store.commit(Batch(2, puts=[("/a", b"1")]))
    assert await live(store) == {}
    await store.close()


@awaited
async def test_a_caller_that_gives_up_does_not_lose_the_batch(tmp_path: Path) -> None:
    """A commit whose caller was cancelled still counts, for the store and for its followers."""
    release = threading.Event()

    def meet(statement: str) -> None:
        if statement.startswith("INSERT INTO batch"):
            release.wait(10)

    store = store_in(tmp_path, factory=meeting(meet))
    await store.open()
    batch = Batch(1, puts=[("/a", b"1")])
    commit = asyncio.create_task(store.commit(batch))
    await asyncio.sleep(0)
    commit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await commit
    release.set()
    assert await anext(store.watch(0)) == batch
    assert await store.batch_seq() == 1
    await store.close()


@awaited
async def test_closing_waits_for_the_commit_in_flight(tmp_path: Path) -> None:
    """What was queued before the close is durable after it."""
    store = store_in(tmp_path)
    await store.open()
    commit = asyncio.create_task(store.commit(Batch(1, puts=[("/a", b"1")])))
    await asyncio.sleep(0)
    await store.close()
    await commit
    await store.open()
    assert await live(store) == {"/a": b"1"}
    await store.close()
