"""The SQLite store under many jobs: how it finds, lists, drops them, and what of a damaged file it reads."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from leasehold.adapters.stores import sqlite_archive, sqlite_journal, sqlite_prune
from leasehold.adapters.stores.records import CHUNK_ROWS, Records
from leasehold.adapters.stores.sqlite import FILE_NAME
from leasehold.adapters.stores.sqlite_archive import SqliteArchive
from leasehold.model.ids import sortable
from leasehold.ports.store import Batch, StoreCorrupt, cold_key
from leasehold.testing.store_contract import awaited, live
from tests.contract.sqlite_files import meeting, store_in

MANY = 100_000
BATCH = 5_000


def job(number: int) -> str:
    return f"/jobs/{sortable(number)}"


@pytest.mark.slow
@pytest.mark.requirement("QUEUE-14")
@awaited
async def test_a_hundred_thousand_finished_jobs_are_listed_and_found(tmp_path: Path) -> None:
    """In pages, newest first, each once as it last ended, among leases that end meanwhile."""
    store = store_in(tmp_path)
    await store.open()
    archive = SqliteArchive(store)
    order: dict[str, bytes] = {}
    for seq, start in enumerate(range(0, MANY, BATCH // 2), 1):
        ended = [(job(number), b"%d" % seq) for number in range(start, start + BATCH // 2)]
        again = [(key, b"again-%d" % seq) for key in list(order)[:: max(1, len(order) // 200)]][:200]
        leases = [(f"/leases/lease-{seq}-{n}", b"lease") for n in range(1_000)]
        await store.commit(Batch(seq, finishes=[*ended, *leases, *again]))
        for key, value in (*ended, *again):
            order.pop(key, None)
            order[key] = value
    expected = list(order.items())[::-1]
    seen: list[tuple[str, bytes]] = []
    while page := await archive.finished("/jobs/", limit=1_000, before=seen[-1][0] if seen else None):
        seen.extend(page)
    assert seen == expected
    assert len(seen) == MANY
    for key, value in expected[::997]:
        assert await archive.find(key) == value
    assert await archive.find(job(MANY)) is None
    assert await archive.finished("/jobs/", limit=9, before=job(MANY)) == []
    await archive.close()
    await store.close()


@pytest.mark.requirement("QUEUE-14")
@pytest.mark.parametrize(
    ("query", "values", "index"),
    [
        (sqlite_archive._PLACE_OF_JOB, ("k",), "finished_job (key=?)"),
        (
            sqlite_archive._PAGE.format(noun="noun = ? AND", last=sqlite_archive._LAST_END),
            ("/jobs/", 1 << 62, 6, "/jobs/", 9),
            "finished_job (key=? AND rowid>?)",
        ),
        (sqlite_prune._COLD, ("[]", 6), "finished_job (key=?)"),
        (
            sqlite_prune._ENDS.format(oldest=sqlite_prune._OLDEST_OF),
            (1, "/jobs/", 9),
            "finished_noun (noun=?)",
        ),
    ],
)
@awaited
async def test_nothing_goes_through_all_that_has_ended(
    tmp_path: Path, query: str, values: tuple[Any, ...], index: str
) -> None:
    """What is asked of the archive's jobs is answered by an index, however many there are."""
    store = store_in(tmp_path)
    await store.open()
    plan = await store.write(
        lambda connection: connection.execute(f"EXPLAIN QUERY PLAN {query}", values).fetchall()
    )
    steps = [step[3] for step in plan]
    assert any(index in step for step in steps), steps
    assert not [step for step in steps if step.startswith(("SCAN finished", "SCAN cold"))], steps
    await store.close()


@awaited
async def test_records_are_held_closely_and_are_a_sequence(tmp_path: Path) -> None:
    """Over several pieces, with keys of jobs amid others: in order, by place, by slice, as often as asked."""
    store = store_in(tmp_path)
    await store.open()
    rows = [(job(number), b"%d" % number * (number % 5)) for number in range(2 * CHUNK_ROWS + 17)]
    for seq, start in enumerate(range(0, len(rows), BATCH), 1):
        await store.commit(Batch(seq, puts=rows[start : start + BATCH]))
    others = [("/a", b"1"), ("/jobs", b"2"), ("/jobs0", b"3"), ("/z", b"4")]
    await store.commit(Batch(seq + 1, puts=others))
    records = (await store.load()).records
    expected = sorted([*rows, *others])
    assert isinstance(records, Records)
    assert list(records) == expected
    assert records == expected == list(records)
    assert records != expected[:-1]
    assert records[:3] == expected[:3]
    assert [records[place] for place in (0, 1, 2, CHUNK_ROWS, -1)] == [
        expected[place] for place in (0, 1, 2, CHUNK_ROWS, -1)
    ]
    with pytest.raises(IndexError):
        records[len(expected)]
    await store.close()


@pytest.mark.requirement("INV-9")
@awaited
async def test_a_job_whose_value_is_lost_keeps_its_key(tmp_path: Path) -> None:
    """A page of a long value costs that value alone; with a page of keys the load refuses."""
    store = store_in(tmp_path)
    await store.open()
    rows = [(job(number), b"v" * 60) for number in range(200)]
    await store.commit(Batch(1, puts=[*rows[:77], (job(77), b"long" * 5_000), *rows[78:]]))
    await store.close()
    _break(tmp_path, "overflow")
    await store.open()
    loaded = await live(store)
    assert sorted(loaded) == [key for key, _ in rows]
    assert loaded[job(76)] == loaded[job(78)] == b"v" * 60
    assert loaded[job(77)] != b"long" * 5_000
    await store.close()
    _break(tmp_path, "leaf")
    await store.open()
    assert store.damage
    with pytest.raises(StoreCorrupt, match=FILE_NAME):
        await store.load()
    await store.close()


def _break(folder: Path, kind: str) -> None:
    """Overwrite a page of the table of jobs."""
    path = folder / FILE_NAME
    connection = sqlite3.connect(path)
    (page,) = connection.execute(
        "SELECT max(pageno) FROM dbstat WHERE name = 'jobs' AND pagetype = ?", (kind,)
    ).fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)


@awaited
async def test_a_read_waits_for_no_commit(tmp_path: Path) -> None:
    """While the writer is stuck, cold and live values are read as the last commit left them."""
    release = threading.Event()
    stuck: list[str] = []

    def meet(statement: str) -> None:
        if statement.startswith("INSERT INTO batch") and stuck:
            release.wait(10)

    store = store_in(tmp_path, factory=meeting(meet))
    await store.open()
    keys = [job(1), cold_key(job(1))]
    await store.commit(Batch(1, puts=[(key, b"1") for key in keys]))
    stuck.append("from now on")
    commit = asyncio.create_task(store.commit(Batch(2, puts=[(key, b"2") for key in keys])))
    await asyncio.sleep(0)
    assert await store.read(keys) == dict.fromkeys(keys, b"1")
    assert not commit.done()
    release.set()
    await commit
    assert await store.read(keys) == dict.fromkeys(keys, b"2")
    await store.close()


@pytest.mark.requirement("INV-8")
@awaited
async def test_the_journal_is_moved_beside_the_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Most of it by a thread of its own, which ends with the store; it begins again at its start."""
    monkeypatch.setattr(sqlite_journal, "CHECKPOINT_FRAMES", 400)
    moves: list[str] = []

    def meet(statement: str) -> None:
        if statement.startswith("PRAGMA wal_checkpoint"):
            moves.append(threading.current_thread().name)

    store = store_in(tmp_path, factory=meeting(meet))
    await store.open()
    for seq in range(1, 300):
        await store.commit(Batch(seq, puts=[(cold_key(job(seq)), b"c" * 100_000)]))
    assert "leasehold-journal" in moves
    await store.close()
    assert "leasehold-journal" not in [thread.name for thread in threading.enumerate()]
    assert store.path.stat().st_size > 299 * 100_000
    await store.open()
    assert len(await store.read([cold_key(job(seq)) for seq in range(1, 300)])) == 299
    await store.close()
