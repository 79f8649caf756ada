"""kill -9 of the process that holds the store, at random moments of its load and of its recovery."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from leasehold.adapters.stores import sqlite_journal
from leasehold.adapters.stores.sqlite import SqliteStore
from leasehold.adapters.stores.sqlite_archive import SqliteArchive
from leasehold.testing import store_load
from leasehold.testing.history import History, check

SEED = 30
KILLS = 120


def _load(data: Path, output: Connection) -> None:
    """In the child: load the store until killed. Its journal is moved often, so that kills meet that too."""
    sqlite_journal.CHECKPOINT_FRAMES = 120
    asyncio.run(store_load.load(data, seed=SEED, output=output.fileno()))


@pytest.fixture
def processes() -> multiprocessing.context.ForkServerContext:
    """Children that start within ms, from a small process that has imported what they need."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["leasehold.testing.store_load", "leasehold.adapters.stores.sqlite_archive"]
    )
    return context


@pytest.mark.slow
@pytest.mark.requirement("PROVE-4")
@pytest.mark.requirement("INV-4")
def test_no_kill_loses_what_was_acknowledged(
    tmp_path: Path, processes: multiprocessing.context.ForkServerContext
) -> None:
    """After each kill the store holds exactly what some batch left, none before the last acknowledged."""
    chance = random.Random(SEED)
    history = History(SEED)
    data = tmp_path / "data"
    told = -1
    for number in range(KILLS):
        told = max(told, _killed(processes, data, chance))
        if number % 2:  # Else the next child recovers, and may be killed while it does.
            asyncio.run(_check(data, history, max(told, 0)))
    assert history.seq > KILLS, "the children got too little done for their deaths to mean anything"


def _killed(processes: multiprocessing.context.ForkServerContext, data: Path, chance: random.Random) -> int:
    """Start a child, let it acknowledge a random number of batches, kill it; the newest of them."""
    reading, writing = processes.Pipe(duplex=False)
    child = processes.Process(target=_load, args=(data, writing))
    child.start()
    writing.close()
    told = b""
    for _ in range(chance.choice((0, 1, 3, 10, 30))):
        told += os.read(reading.fileno(), 1 << 16)
    for _ in range(chance.randrange(20_000)):
        pass  # Some way into whatever the child does now, without a clock.
    child.kill()
    child.join()
    while part := os.read(reading.fileno(), 1 << 16):
        told += part
    reading.close()
    assert child.exitcode == -9, f"the child ended by itself ({child.exitcode})"
    child.close()
    return store_load.acknowledged(told)


async def _check(data: Path, history: History, acknowledged: int) -> None:
    store = SqliteStore(data, wall_ms=lambda: 0)
    await store.open()
    archive = SqliteArchive(store)
    try:
        await check(store, history, acknowledged)
        newest = await archive.finished("/", limit=len(history.ended) or 1)
        assert list(newest) == history.ended[::-1]
        for key, value in history.ended[-3:]:
            assert await archive.find(key) == value
    finally:
        await archive.close()
        await store.close()
