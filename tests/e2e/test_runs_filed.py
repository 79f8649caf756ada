"""The folders of runs: full disks, half-written files, thousands of them, and what is kept."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from leasehold.adapters.hosts.run_kept import Kept
from leasehold.adapters.hosts.runner import LinuxRunner
from leasehold.model.run import Command, Fault, RunKey, Stream
from leasehold.ports.runner import RunFailed
from leasehold.runtime.clock import RealClock
from leasehold.runtime.lean import elapsed_s
from leasehold.shim import layout
from leasehold.testing.runner_contract import ENDS_S, Ends, printed, ready, whole_log
from tests.contract.test_runner import OnLinux

MIB = 1 << 20
MANY = 3_000


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[OnLinux]:
    found = OnLinux(tmp_path, None)
    yield found
    found.close()


@pytest.fixture
def small(tmp_path: Path) -> Iterator[OnLinux]:
    """On a disk of 4 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "leasehold-test", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted by this user on this machine")
    found = OnLinux(folder, None)
    yield found
    found.close()
    subprocess.run(["umount", "--lazy", folder], check=True)


def script(machine: OnLinux, text: str, key: RunKey = RunKey(1, 1)) -> Command:  # noqa: B008 - frozen
    return Command(key, (b"bash", b"-c", text.encode()), machine.cwd)


def fill(folder: Path) -> None:
    with open(folder / "filler", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 12))
        except OSError:
            return


@pytest.mark.requirement("QUEUE-15")
async def test_a_full_disk_loses_output_and_nothing_else(small: OnLinux) -> None:
    """The command runs on, and its end is written although there is no room for anything any more."""
    wanted = script(small, "seq -w 1000000; exit 7")
    async with small.runner() as runner:
        ends = Ends()
        await runner.attach(ends)
        await runner.start(wanted)
        ended = await ends.of(wanted.key)
    assert os.statvfs(small.cwd).f_bavail < 32
    assert (ended.exit_code, ended.fault) == (7, None)
    assert ended.log_bytes == 8_000_000
    assert ended.log_dropped_bytes > 3_000_000


@pytest.mark.requirement("QUEUE-15")
async def test_a_log_says_what_a_full_disk_has_cost_it(small: OnLinux) -> None:
    """Between what is kept there is a note with the bytes that are lost, once there is room to say so."""
    go = small.root.parent / "go"
    waits = "echo first; echo ready; until test -e {0}; do sleep 0.05; done; seq -w 100000; touch {0}.done"
    wanted = script(small, f"{waits.format(go)}; until test -e {go}.on; do sleep 0.05; done; echo last")
    async with small.runner() as runner:
        ends = Ends()
        await runner.attach(ends)
        await runner.start(wanted)
        await ready(runner, wanted.key)
        fill(small.root.parent)
        go.touch()
        await appears(Path(f"{go}.done"))
        os.unlink(small.root.parent / "filler")
        Path(f"{go}.on").touch()  # noqa: ASYNC240 - a test may
        ended = await ends.of(wanted.key)
        parts = await whole_log(runner, wanted.key)
    said = printed(parts, Stream.NOTE).decode()
    notes = re.findall(r"(\d+) bytes of output are lost here: No space left", said)
    assert ended.exit_code == 0
    assert sum(map(int, notes)) == ended.log_dropped_bytes > 0
    assert sum(len(each.data) for part in parts for each in part.chunks if each.stream is Stream.OUT) == (
        ended.log_bytes - ended.log_dropped_bytes
    )
    assert printed(parts).startswith(b"first\nready\n")
    assert printed(parts).endswith(b"last\n")


async def appears(path: Path) -> None:
    """Wait for a file that a command makes."""
    async with asyncio.timeout(ENDS_S):
        while not path.exists():  # noqa: ASYNC110, ASYNC240 - another process makes it
            await asyncio.sleep(0.01)


@pytest.mark.requirement("QUEUE-15")
async def test_a_disk_that_is_full_already_starts_nothing(small: OnLinux) -> None:
    """It is refused with what to do, leaves nothing, and works once there is room."""
    async with small.runner() as runner:
        ends = Ends()
        await runner.attach(ends)
        fill(small.root.parent)
        wanted = script(small, "exit 5")
        with pytest.raises(RunFailed) as failure:
            await runner.start(wanted)
        assert failure.value.code == "NOT_STARTED"
        assert "make room on the disk" in failure.value.sentence
        assert list(small.root.iterdir()) == []
        os.unlink(small.root.parent / "filler")
        started = await runner.start(wanted)
        assert (started.ended or await ends.of(wanted.key)).exit_code == 5


@pytest.mark.requirement("QUEUE-13")
async def test_what_was_left_half_way_is_sorted_out(machine: OnLinux) -> None:
    """What no shim has taken up did not run, an unfinished order is removed, and strangers are left alone."""
    async with machine.runner() as runner:
        await runner.attach(Ends())
        key = (await runner.start(script(machine, "exit 0"))).key
        await whole_log(runner, key)
    folder = machine.root / key.name
    for name in ("state", "result", "lock"):
        (folder / name).unlink()
    (folder / layout.ENV).write_bytes(b"A=b\0")
    shutil.copytree(folder, machine.root / f".new-{key.name}.77")
    (machine.root / "notes.txt").write_text("mine")
    (machine.root / "job-x.1").mkdir()
    async with machine.runner() as runner:
        (found,) = await runner.attach(Ends())
        assert found.ended is not None
        assert (found.ended.fault, found.process) == (Fault.NOT_STARTED, None)
        assert not (folder / layout.ENV).exists()
        assert (await runner.start(script(machine, "exit 0"))).ended == found.ended
        assert sorted(each.name for each in machine.root.iterdir()) == sorted(
            [key.name, "job-x.1", "notes.txt"]
        )
        (machine.root / "job-x.1").rmdir()


@pytest.mark.requirement("QUEUE-13")
async def test_a_restart_of_the_machine_is_told(machine: OnLinux) -> None:
    """What ran under another start of the machine is lost with it; nobody who has its pid now is harmed."""
    async with machine.runner() as runner:
        await runner.attach(Ends())
        key = (await runner.start(script(machine, "exit 0"))).key
        await whole_log(runner, key)
    folder = machine.root / key.name
    (folder / "result").unlink()
    order = layout.fields_of((folder / layout.ORDER).read_bytes())
    assert order is not None
    (folder / layout.ORDER).write_bytes(layout.text_of({**order, "boot_id": "another"}))
    bystander = subprocess.Popen(["sleep", "600"])  # noqa: ASYNC220 - it is only to be there
    try:
        layout.reserve(f"{folder}/{layout.STATE}", 2 * layout.SLOT_BYTES)
        for slot in (0, 1):
            who = layout.identity(bystander.pid)
            layout.write_slot(str(folder), slot, {"shim": who, "process": who, "started_wall_ms": 5})
        async with machine.runner() as runner:
            (found,) = await runner.attach(Ends())
            assert found.ended is not None
            assert (found.ended.fault, found.ended.started_wall_ms) == (Fault.MACHINE_LOST, 5)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.requirement("QUEUE-15")
@pytest.mark.parametrize("damage", ["zeros", "noise", "cut", "gone"])
async def test_a_damaged_log_is_read_as_far_as_it_goes(machine: OnLinux, damage: str) -> None:
    """A reader comes to its end, whatever the disk did to the log."""
    async with machine.runner() as runner:
        ends = Ends()
        await runner.attach(ends)
        wanted = msgspec.structs.replace(script(machine, "seq -w 1000000"), log_bytes_max=2_000_000)
        await runner.start(wanted)
        await ends.of(wanted.key)
        before = printed(await whole_log(runner, wanted.key))
        parts = sorted((machine.root / wanted.key.name).glob("log.*"))
        ruin(parts[2], damage)
        after = printed(await whole_log(runner, wanted.key))
        assert after != before
        assert (after[:100_000], after[-100_000:]) == (before[:100_000], before[-100_000:])


def ruin(part: Path, damage: str) -> None:
    if damage == "gone":
        part.unlink()
    elif damage == "cut":
        os.truncate(part, 70_000)
    else:
        with open(part, "r+b") as file:
            file.seek(60_000)
            file.write((b"\0" if damage == "zeros" else b"RL\x01\x07") * 40_000)


@pytest.mark.requirement("QUEUE-15")
async def test_thousands_of_kept_runs_cost_a_start_nothing(machine: OnLinux) -> None:
    """Finding what runs looks at what is not settled, and no log is read for it."""
    async with machine.runner() as runner:
        ends = Ends()
        await runner.attach(ends)
        for number in (1, 2):
            await runner.start(script(machine, "exit 0", RunKey(number, 1)))
            await ends.of(RunKey(number, 1))
        await runner.forget(RunKey(1, 1), keep_log=True)
    kept = machine.root / "kept"
    for number in range(10, 10 + MANY):
        shutil.copytree(kept / RunKey(1, 1).name, kept / RunKey(number, 1).name)
    async with machine.runner() as runner:
        begin_s = elapsed_s()
        (found,) = await runner.attach(Ends())
        assert elapsed_s() - begin_s < 1.0
        assert found.key == RunKey(2, 1)
        assert (await runner.log(RunKey(77, 1))).is_over


@pytest.mark.requirement("QUEUE-15")
async def test_the_oldest_logs_go_when_too_much_is_kept(machine: OnLinux) -> None:
    """What is kept of all runs together is bounded; the newest stay, also after a restart."""
    for keys in (range(1, 5), range(5, 7)):
        runner = LinuxRunner(machine.root, None, RealClock(), kept_bytes_max=3 * MIB)
        ends = Ends()
        await runner.attach(ends)
        for number in keys:
            await runner.start(script(machine, "head -c 1000000 /dev/zero", RunKey(number, 1)))
            await ends.of(RunKey(number, 1))
            assert await runner.forget(RunKey(number, 1), keep_log=True)
        await runner.close()
    left = {key for each in (machine.root / "kept").iterdir() if (key := RunKey.of(each.name))}
    assert left == {RunKey(5, 1), RunKey(6, 1)} | (left & {RunKey(4, 1)})
    assert not list(machine.root.glob(".gone-*"))
    assert Kept(machine.root, MIB).keep(machine.root / "nothing") is None


@pytest.mark.requirement("QUEUE-15")
async def test_a_folder_that_is_removed_takes_its_command_along(machine: OnLinux) -> None:
    """Nobody could find it any more, so it does not run on unnoticed."""
    async with machine.runner() as runner:
        ends = Ends()
        await runner.attach(ends)
        wanted = script(machine, "echo ready; sleep 600")
        await runner.start(wanted)
        await ready(runner, wanted.key)
        shutil.rmtree(machine.root / wanted.key.name)
        ended = await ends.of(wanted.key)
        assert (ended.exit_code, ended.fault) == (None, Fault.SHIM_LOST)
        assert "its folder was removed" in ended.error
