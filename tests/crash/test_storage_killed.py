"""kill -9, and a disk that fills up, while a backup is made and while one is restored (OPS-15)."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import shutil
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from leasehold.adapters.stores import backups, sqlite_copy, sqlite_restore
from leasehold.adapters.stores.sqlite import FILE_NAME
from leasehold.adapters.stores.sqlite_restore import STEPS
from leasehold.model.storage import Intent, Manifest
from leasehold.ports.storage import BackupFailed
from leasehold.runtime.faults import ARMED
from tests.contract.backup_files import (
    backups_of,
    batch,
    filled,
    finish,
    intent_of,
    lease_row,
    records_of,
    restore,
    state_of,
)
from tests.contract.sqlite_files import store_in
from tests.crash.test_full_disk import fill, small_disk

__all__ = ["small_disk"]

SEED = 517
KILLS = 60
BACKUP_STEPS = ("copying", "copied", "proven", "stamped", "placed", "done")

pytestmark = [pytest.mark.slow, pytest.mark.requirement("OPS-15")]


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Children that start within ms, from a small process that has imported what they need."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.contract.backup_files"])
    return context


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    """A data folder, and a backup of how it was before its last twenty leases."""
    folder = tmp_path_factory.mktemp("template")

    async def make() -> Manifest:
        data = folder / "data"
        await (await filled(data, 60)).close()
        manifest = backups_of(data, folder / "kept").make("command", samples=False)
        store = store_in(data)
        await store.open()
        seq = await store.batch_seq()
        for number in range(1, 21):
            await store.commit(batch(seq + number, lease_row(1_000 + number)))
        await store.close()
        return manifest

    return folder, asyncio.run(make())


def _arm(prefix: str, steps: tuple[str, ...], output: Connection, killed_at: str) -> None:
    """In the child: say each step, and die at one of them."""

    def say() -> None:
        os.write(output.fileno(), b".")

    for step in steps:
        ARMED[f"{prefix}.{step}"] = say
    if killed_at:
        ARMED[f"{prefix}.{killed_at}"] = lambda: os.kill(os.getpid(), signal.SIGKILL)


def _backup(folder: Path, output: Connection, killed_at: str) -> None:
    sqlite_copy.SLICE_PAGES = 4
    _arm("backup", BACKUP_STEPS, output, killed_at)
    backups_of(folder / "data", folder / "kept").make("command", samples=False)
    output.close()  # Who still waits for a step hears that there are no more.
    signal.pause()


def _restore(folder: Path, output: Connection, intent: Intent, killed_at: str) -> None:
    """As a start does it: what was noted is finished, what was not is noted first."""
    _arm("store.restore", STEPS, output, killed_at)
    if sqlite_restore.intended(folder / "data") is None:
        restore(folder / "data", intent)
    else:
        finish(folder / "data", intent)
    output.close()
    signal.pause()


def _killed(
    processes: ForkServerContext,
    target: Callable[..., None],
    steps: int,
    chance: random.Random,
    *given: object,
) -> None:
    """Start a child, let it take a random number of steps, and kill it some way into the next."""
    reading, writing = processes.Pipe(duplex=False)
    child = processes.Process(target=target, args=(given[0], writing, *given[1:], ""))
    child.start()
    writing.close()
    for _ in range(chance.randrange(steps + 2)):
        if os.read(reading.fileno(), 1) == b"":
            break
    for _ in range(chance.randrange(60_000)):
        pass  # Some way into whatever the child does now, without a clock.
    child.kill()
    child.join()
    reading.close()
    assert child.exitcode == -signal.SIGKILL, f"the child ended by itself ({child.exitcode})"


def _killed_at(processes: ForkServerContext, target: Callable[..., None], *given: object) -> None:
    reading, writing = processes.Pipe(duplex=False)
    child = processes.Process(target=target, args=(given[0], writing, *given[1:]))
    child.start()
    child.join()
    reading.close()
    assert child.exitcode == -signal.SIGKILL


def _copy(template: Path, target: Path) -> Path:
    for name in ("data", "kept"):
        shutil.copytree(template / name, target / name)
    return target


@pytest.mark.parametrize("step", BACKUP_STEPS)
def test_a_backup_killed_at_any_step_loses_nothing(
    tmp_path: Path, processes: ForkServerContext, template: tuple[Path, Manifest], step: str
) -> None:
    """The store and the backup before are as they were; what has a name is whole; the next one works."""
    folder = _copy(template[0], tmp_path)
    before = asyncio.run(records_of(folder / "data"))
    _killed_at(processes, _backup, folder, step)
    care = backups_of(folder / "data", folder / "kept")
    assert len(care.listed()) == (2 if step in ("placed", "done") else 1)
    for one in care.listed():
        assert care.check(one.backup_id) == one.manifest
    assert care.make("command", samples=False).number == len(care.listed())
    assert not list((folder / "kept").glob(".making-*"))
    assert asyncio.run(records_of(folder / "data")) == before


def test_backups_killed_at_any_instant_lose_nothing(
    tmp_path: Path, processes: ForkServerContext, template: tuple[Path, Manifest]
) -> None:
    """Again and again on the same folder: every folder with a name is a backup that can be restored."""
    folder, chance = _copy(template[0], tmp_path), random.Random(SEED)
    before = asyncio.run(records_of(folder / "data"))
    for _ in range(KILLS // 3):
        _killed(processes, _backup, len(BACKUP_STEPS) + 12, chance, folder)
    care = backups_of(folder / "data", folder / "kept")
    listed = care.listed()
    assert not [one.problem for one in listed if one.problem]
    for one in listed[:3]:
        assert care.check(one.backup_id) == one.manifest
    assert asyncio.run(records_of(folder / "data")) == before


@pytest.mark.parametrize("step", STEPS)
def test_a_restore_killed_at_any_step_is_finished_by_the_next_start(
    tmp_path: Path, processes: ForkServerContext, template: tuple[Path, Manifest], step: str
) -> None:
    """Nothing but the restored store and the one before is left, and each is whole."""
    folder = _copy(template[0], tmp_path)
    before = asyncio.run(records_of(folder / "data"))
    intent = intent_of(folder / "kept", template[1].backup_id)
    _killed_at(processes, _restore, folder, intent, step)
    _check(folder, intent, before, is_done=step == "done")


def test_restores_killed_at_any_instant_lose_nothing(
    tmp_path: Path, processes: ForkServerContext, template: tuple[Path, Manifest]
) -> None:
    """Now and then the start that finishes one is killed too, until one comes through."""
    chance, before = random.Random(SEED), asyncio.run(records_of(template[0] / "data"))
    folder, intent = tmp_path, intent_of(tmp_path, "")
    for number in range(KILLS):
        if number % 3 == 0:
            folder = _copy(template[0], tmp_path / str(number))
            intent = intent_of(folder / "kept", template[1].backup_id, number + 1)
        _killed(processes, _restore, len(STEPS), chance, folder, intent)
        if number % 3 == 2:
            asked = sqlite_restore.intended(folder / "data") is not None
            state, _ = asyncio.run(state_of(folder / "data")) if not asked else (None, None)
            if state is not None and intent.restore_id not in state.storage_runs:
                assert asyncio.run(records_of(folder / "data")) == before  # It died before it was noted.
                continue
            _check(folder, intent, before, is_done=not asked)


def _check(folder: Path, intent: Intent, before: list[tuple[str, bytes]], *, is_done: bool) -> None:
    data = folder / "data"
    if not is_done:
        assert sqlite_restore.intended(data) == intent
        finish(data, intent)
    state, start = asyncio.run(state_of(data))
    assert intent.restore_id in state.storage_runs
    assert start.incarnation > 1_024
    assert {each.name for each in data.iterdir()} == {FILE_NAME, intent.kept, "leader.lock"}
    kept = folder / "replaced"
    kept.mkdir()
    shutil.copy(data / intent.kept, kept / FILE_NAME)
    assert asyncio.run(records_of(kept)) == before


@pytest.mark.requirement("OPS-17")
def test_a_disk_that_fills_up_leaves_no_half_backup(
    small_disk: Path, template: tuple[Path, Manifest], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """However far it comes: an error that says so, nothing of it left; and with room it works."""
    monkeypatch.setattr(backups, "SPARE_BYTES", -(1 << 40))
    data, root = _copy(template[0], tmp_path) / "data", small_disk / "kept"
    size = (data / FILE_NAME).stat().st_size
    for part in range(12):
        ballast = fill(small_disk, size * part // 8)
        try:
            made = backups_of(data, root).make("command", samples=False)
        except BackupFailed as error:
            assert "full" in str(error) or "No space" in str(error)  # noqa: PT017  (it may also work)
            assert {each.name for each in root.glob("*")} <= {".lock"}
        else:
            assert part > 7, "a copy without room for it"
            assert backups_of(data, root).check(made.backup_id) == made
            return
        finally:
            ballast.unlink()
    raise AssertionError("there was never room enough")


@pytest.mark.requirement("OPS-17")
def test_a_disk_that_fills_up_during_a_restore_changes_nothing(
    small_disk: Path, template: tuple[Path, Manifest], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The store is as it was until there is room, and then the backup is in its place."""
    monkeypatch.setattr(sqlite_restore, "SPARE_BYTES", -(1 << 40))
    root = _copy(template[0], tmp_path) / "kept"
    data = small_disk / "data"
    shutil.copytree(template[0] / "data", data)
    before, size = asyncio.run(records_of(data)), (data / FILE_NAME).stat().st_size
    intent = intent_of(root, template[1].backup_id)
    for part in range(1, 14):
        ballast = fill(small_disk, 8_192 + size * part // 8)
        try:
            kept = restore(data, intent)
        except BackupFailed as error:
            assert "nothing was changed" in str(error)  # noqa: PT017  (it may also work)
        except OSError:
            assert part == 1, "not even the note could be written"
        else:
            assert kept is not None
            break
        finally:
            ballast.unlink()
        assert asyncio.run(records_of(data)) == before
    else:
        raise AssertionError("there was never room enough")
    state, _ = asyncio.run(state_of(data))
    assert intent.restore_id in state.storage_runs
