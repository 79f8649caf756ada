"""Power loss while a store of an older schema becomes one of ours: nothing of it is lost (OPS-16)."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from leasehold.testing import power_loss
from leasehold.testing.power_loss import Disk, Loss
from tests.contract.sqlite_files import OLD_LIVE, check_old, old_store, store_in

SEED = 61
POINTS = 120

START = """
import asyncio, sys
from pathlib import Path
from leasehold.adapters.stores import sqlite_migrate
from leasehold.adapters.stores.sqlite import SqliteStore
from leasehold.ports.store import Batch

sqlite_migrate.COPIED_PAGES = 40
async def start() -> None:
    store = SqliteStore(Path(sys.argv[1]), wall_ms=lambda: 0)
    await store.open()
    print("open", flush=True)
    await store.commit(Batch(78, deletes=["/never"]))
    await store.close()
asyncio.run(start())
"""


@pytest.fixture
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler: the recording library can't be built")
    return power_loss.build(tmp_path_factory.mktemp("library"))


@pytest.mark.slow
@pytest.mark.requirement("OPS-16", "PROVE-4")
def test_no_power_failure_loses_what_was_migrated(library: Path, tmp_path: Path, scratch: Path) -> None:
    """At each point the next start finds all of it, under the old schema or ours, and comes through."""
    data = tmp_path / "data"
    old_store(data, 2)
    before = tmp_path / "before"
    shutil.copytree(data, before)
    subprocess.run(
        [sys.executable, "-c", START, str(data)],
        env=os.environ | power_loss.environment(library, data, tmp_path / "log"),
        check=True,
        stdout=subprocess.PIPE,
    )
    ops = list(power_loss.recorded(tmp_path / "log"))
    assert {"W", "L", "R", "U", "B", "E"} <= {op.kind for op in ops}, "the record is of no migration"
    disk = Disk(before)
    disk.begin(data)
    chance = random.Random(SEED)
    done = 0
    for number, point in enumerate(power_loss.crash_points(ops, POINTS, chance)):
        for op in ops[done:point]:
            disk.take(op)
        done = point
        folder = scratch / str(number)
        power_loss.lay_out(disk.after((Loss.DROPPED, Loss.TORN)[number % 2], chance), folder)
        asyncio.run(_check(folder))
        shutil.rmtree(folder)


async def _check(folder: Path) -> None:
    store = store_in(folder)
    await store.open()
    seq = await store.batch_seq()
    if seq == 77:
        await check_old(store, 2)
    else:
        assert seq == 78, "the batch after the migration"
        assert list((await store.load()).records) == OLD_LIVE
    await store.close()
