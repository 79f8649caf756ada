"""kill -9, and a disk that fills up, while a store of an older schema is migrated (OPS-16)."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import shutil
import signal
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from leasehold.adapters.stores import sqlite_migrate, sqlite_schema
from leasehold.adapters.stores.sqlite_migrate import STEPS, copy_of, kept_of
from leasehold.ports.store import StoreError
from leasehold.runtime.faults import ARMED
from leasehold.testing.store_contract import awaited
from tests.contract.sqlite_files import check_old, old_store, store_in
from tests.crash.test_full_disk import fill, small_disk

__all__ = ["small_disk"]

SEED = 16
KILLS = 60
EARLIER = range(1, len(sqlite_schema.MIGRATIONS))
"""Every schema that a released version wrote before this one."""

pytestmark = [pytest.mark.slow, pytest.mark.requirement("OPS-16")]


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Children that start within ms, from a small process that has imported what they need."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["leasehold.adapters.stores.sqlite"])
    return context


def _start(data: Path, output: Connection, killed_at: str) -> None:
    """In the child: open the store, saying each step, and die at one of them."""
    sqlite_migrate.COPIED_PAGES = 40

    def say() -> None:
        os.write(output.fileno(), b".")

    for step in STEPS:
        ARMED[f"store.migrate.{step}"] = say
    if killed_at:
        ARMED[f"store.migrate.{killed_at}"] = lambda: os.kill(os.getpid(), signal.SIGKILL)
    asyncio.run(store_in(data).open())
    output.close()  # Who still waits for a step hears that there are no more.
    signal.pause()


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("version", EARLIER)
def test_a_kill_at_any_step_loses_nothing(
    tmp_path: Path, processes: ForkServerContext, version: int, step: str
) -> None:
    """The next start has all that was there, and nothing but the store and the file before it is left."""
    path = old_store(tmp_path / "data", version)
    reading, writing = processes.Pipe(duplex=False)
    child = processes.Process(target=_start, args=(path.parent, writing, step))
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    reading.close()
    _check(path, version)


@pytest.mark.parametrize("version", EARLIER)
def test_a_kill_at_any_instant_loses_nothing(
    tmp_path: Path, processes: ForkServerContext, version: int
) -> None:
    """Again and again, now and then with nothing mended in between, until a start comes through."""
    chance = random.Random(SEED)
    template = old_store(tmp_path / "template", version).parent
    path = template
    for number in range(KILLS):
        if number % 3 == 0:
            path = tmp_path / str(number) / template.name / "leasehold.sqlite3"
            shutil.copytree(template, path.parent)
        _killed(processes, path.parent, chance)
        if number % 3 == 2:
            _check(path, version)


def _killed(processes: ForkServerContext, data: Path, chance: random.Random) -> None:
    """Start a child, let it take a random number of steps, and kill it some way into the next."""
    reading, writing = processes.Pipe(duplex=False)
    child = processes.Process(target=_start, args=(data, writing, ""))
    child.start()
    writing.close()
    for _ in range(chance.randrange(len(STEPS) + 3)):
        if os.read(reading.fileno(), 1) == b"":
            break
    for _ in range(chance.randrange(60_000)):
        pass  # Some way into whatever the child does now, without a clock.
    child.kill()
    child.join()
    reading.close()
    assert child.exitcode == -signal.SIGKILL, f"the child ended by itself ({child.exitcode})"


def _check(path: Path, version: int) -> None:
    async def check() -> None:
        store = store_in(path.parent)
        await store.open()
        await check_old(store, version)
        await store.close()

    asyncio.run(check())
    names = {each.name for each in path.parent.iterdir()}
    assert names == {path.name, kept_of(path, version).name, "leader.lock"}


@pytest.mark.requirement("OPS-17")
@awaited
async def test_a_disk_that_fills_up_meanwhile_changes_nothing(
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However far it comes: an error that says so, the file as it was; and with room it works."""
    path = old_store(small_disk / "data", 2)
    monkeypatch.setattr(sqlite_migrate, "SPARE_BYTES", -(1 << 40))
    size = path.stat().st_size
    for part in range(1, 12):
        ballast = fill(small_disk, size * part // 8)
        store = store_in(path.parent)
        try:
            await store.open()
        except StoreError as error:
            assert "nothing was changed" in str(error)  # noqa: PT017  (it may also open)
            assert not copy_of(path).exists()
            assert not kept_of(path, 2).exists()
        else:
            assert part > 8, "a copy without room for it"
            break
        finally:
            await store.close()
            ballast.unlink()
    else:
        raise AssertionError("there was never room enough")
    await store.open()
    await check_old(store, 2)
    await store.close()
    assert len(sqlite_schema.MIGRATIONS) > 2
