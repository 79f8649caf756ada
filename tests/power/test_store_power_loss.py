"""Power loss under the real store: what was acknowledged is there, and batches are whole, at many points."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from leasehold.adapters.stores.sqlite import SqliteStore
from leasehold.ports.store import StoreError
from leasehold.testing import power_loss
from leasehold.testing.history import History, check
from leasehold.testing.power_loss import Disk, Loss, Op
from leasehold.testing.store_load import acknowledged

SEED = 20
POINTS = 600
STDOUT = 1


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler: the recording library can't be built")
    return power_loss.build(tmp_path_factory.mktemp("library"))


def _record(library: Path, folder: Path, *options: str, killed_at: int = 0) -> None:
    """Run the load on `folder/data`, adding to `folder/log`; kill it when it has acknowledged `killed_at`."""
    data = folder / "data"
    data.mkdir(exist_ok=True)
    child = subprocess.Popen(
        [sys.executable, "-m", "leasehold.testing.store_load", str(data), "--seed", str(SEED), *options],
        env=os.environ | power_loss.environment(library, data, folder / "log"),
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout is not None
        for line in child.stdout:
            if killed_at and acknowledged(line) >= killed_at:
                child.send_signal(signal.SIGKILL)
                break
        child.stdout.read()
    assert child.returncode == (-signal.SIGKILL if killed_at else 0)


def _failures(ops: list[Op], data: Path, scratch: Path, points: list[int]) -> Iterator[tuple[int, Loss, str]]:
    """Fail the power at each point, open what is left with the real store, and yield what is wrong."""
    disk = Disk()
    disk.begin(data)
    history = History(SEED)
    output = bytearray()
    place = 0
    for number, point in enumerate(points):
        for op in ops[place:point]:
            disk.take(op)
            if op.kind == "P" and op.file == STDOUT:
                output += op.data
        place = point
        loss = (Loss.DROPPED, Loss.TORN)[number % 2]
        folder = scratch / str(number)
        power_loss.lay_out(disk.after(loss, random.Random(f"{SEED} {number}")), folder)
        wrong = asyncio.run(_what_is_wrong(folder, history, acknowledged(bytes(output))))
        if wrong:
            yield point, loss, wrong
        shutil.rmtree(folder)


async def _what_is_wrong(folder: Path, history: History, acknowledged_seq: int) -> str:
    store = SqliteStore(folder, wall_ms=lambda: 0)
    try:
        await store.open()
        history_at = History(history.seed) if await store.batch_seq() < history.seq else history
        await check(store, history_at, acknowledged_seq)
        await store.commit(history_at.next())
    except (AssertionError, StoreError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        await store.close()
    return ""


@pytest.mark.slow
@pytest.mark.requirement("PROVE-4")
@pytest.mark.requirement("INV-4")
def test_no_power_failure_loses_or_halves_a_batch(library: Path, tmp_path: Path, scratch: Path) -> None:
    """Nothing acknowledged is lost, no batch is half there, and the store goes on, whatever was kept.

    The record goes over a first start, a kill, a recovery and a clean end, and moves the journal many times.
    """
    _record(library, tmp_path, "--frames", "150", killed_at=150)
    _record(library, tmp_path, "--frames", "150", "--batches", "100")
    ops = list(power_loss.recorded(tmp_path / "log"))
    told = b"".join(op.data for op in ops if op.kind == "P" and op.file == STDOUT)
    assert acknowledged(told) >= 250
    points = power_loss.crash_points(ops, POINTS, random.Random(SEED))
    assert list(_failures(ops, tmp_path / "data", scratch, points)) == []


@pytest.mark.slow
@pytest.mark.requirement("PROVE-4")
@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL"])
def test_a_store_that_does_not_flush_is_found_out(
    library: Path, tmp_path: Path, scratch: Path, synchronous: str
) -> None:
    """The same on a store that was told not to wait for its disk: acknowledged batches are lost."""
    _record(library, tmp_path, "--synchronous", synchronous, "--batches", "60")
    ops = list(power_loss.recorded(tmp_path / "log"))
    points = power_loss.crash_points(ops, 30, random.Random(SEED))
    found = [wrong for _, _, wrong in _failures(ops, tmp_path / "data", scratch, points)]
    assert any("was acknowledged" in wrong for wrong in found)
