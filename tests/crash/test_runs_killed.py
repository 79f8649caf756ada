"""The server of running commands, their shims, or both, killed at any instant."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from leasehold.adapters.hosts import cgroups, run_folder
from leasehold.adapters.hosts.runner import LinuxRunner
from leasehold.model.run import Command, Ended, Fault, RunKey
from leasehold.runtime.clock import RealClock
from leasehold.shim import layout
from leasehold.testing.runner_contract import ENDS_S, Ends
from tests.contract.test_runner import OnLinux

HOME = f"leasehold-killed-{os.getpid()}"
ROUNDS = 50
RUNS = 4
CODE = 3
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def command(root: Path, key: RunKey, seconds: float, *, in_place: bool) -> Command:
    """One that notes its beginning and its end, each by one line, so that a second time would be seen."""
    name = key.name
    text = f"echo {name} >> {root}/begun; sleep {seconds:.3f}; echo {name} >> {root}/done; exit {CODE}"
    place = f"lease-{key.number}" if in_place else ""
    return Command(key, (b"bash", b"-c", text.encode()), os.fsencode(root), place=place, grace_ms=1_000)


async def serve(root: Path, first: int, seed: int, home: str) -> None:
    """A server: finds what runs, starts more, and says what it has acknowledged."""
    chance = random.Random(seed)
    groups = cgroups.find(home) if home else None
    runner = LinuxRunner(root / "runs", groups, RealClock())
    await runner.attach(Ends())
    print("up", flush=True)
    wanted = [
        command(root, RunKey(first + each, 1), chance.random() * 0.1, in_place=bool(home))
        for each in range(RUNS)
    ]

    async def start(each: Command) -> None:
        await runner.start(each)
        print(each.key.number, flush=True)

    await asyncio.gather(*map(start, wanted))
    await asyncio.sleep(600)


@pytest.fixture(params=["places", "tree"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OnLinux]:
    """With cgroups, and as if there were none."""
    groups = cgroups.find(HOME) if request.param == "places" else None
    if request.param == "places" and groups is None:
        pytest.skip("no cgroup can be made by this user on this machine")
    found = OnLinux(tmp_path, groups)
    yield found
    found.close()


def killed(machine: OnLinux, victim: str, first: int, chance: random.Random) -> set[int]:
    """One round: a server starts runs, and at some instant somebody is killed; what it acknowledged."""
    root = machine.root.parent
    home = HOME if machine.groups is not None else ""
    server = subprocess.Popen(
        [sys.executable, "-m", __name__, str(root), str(first), str(chance.getrandbits(32)), home],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert server.stdout is not None
    try:
        assert server.stdout.readline() == b"up\n"
        time.sleep(chance.random() * 0.25)
        if victim == "both" and chance.random() < 0.5:
            server.kill()
        if victim != "server":
            kill_shims(machine, first, chance)
        if victim == "shim":
            time.sleep(chance.random() * 0.1)
    finally:
        server.kill()
    told, _ = server.communicate(timeout=ENDS_S)
    return {int(line) for line in told.split(b"\n")[:-1]}


def kill_shims(machine: OnLinux, first: int, chance: random.Random) -> None:
    for number in range(first, first + RUNS):
        folder = machine.root / RunKey(number, 1).name
        taken = (layout.slots(str(folder))[0] or {}).get("shim", "") if folder.exists() else ""
        if taken and chance.random() < 0.7 and layout.identity(int(taken.split()[0])) == taken:
            os.kill(int(taken.split()[0]), signal.SIGKILL)


async def settled(machine: OnLinux) -> dict[int, Ended]:
    """What the next server finds, once all of it has ended."""
    async with machine.runner() as runner:
        ends = Ends()
        found = await runner.attach(ends)
        return {each.key.number: each.ended or await ends.of(each.key) for each in found}


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


@pytest.mark.requirement("QUEUE-13")
@pytest.mark.parametrize("victim", ["server", "shim", "both"])
async def test_nothing_is_lost_or_run_twice(machine: OnLinux, victim: str) -> None:
    """What was acknowledged has an end that is true; what ran, ran once; nothing runs on unnoticed."""
    chance = random.Random(f"{victim} {machine.groups is None}")
    acknowledged: set[int] = set()
    faults: list[Fault | None] = []
    for number in range(ROUNDS):
        acknowledged |= killed(machine, victim, 1_000 * (number + 1), chance)
        if number % 5 == 4:
            ends = await settled(machine)
            check(machine.root.parent, ends, acknowledged, victim)
            faults = [each.fault for each in ends.values()]
            assert not left(machine)
    assert faults.count(None) > ROUNDS // 4
    assert victim == "server" or Fault.SHIM_LOST in faults


def check(root: Path, ends: dict[int, Ended], acknowledged: set[int], victim: str) -> None:
    begun, done = lines(root / "begun"), lines(root / "done")
    assert acknowledged <= ends.keys()
    assert len(begun) == len(set(begun))
    for number, ended in ends.items():
        name = RunKey(number, 1).name
        if ended.fault is None:
            assert (ended.exit_code, name in begun, name in done) == (CODE, True, True)
        elif ended.fault is Fault.NOT_STARTED:
            assert name not in begun
            assert number not in acknowledged
        else:
            assert ended.fault is Fault.SHIM_LOST
            assert victim != "server"


def left(machine: OnLinux) -> list[int]:
    """What still runs of anything that has ended."""
    found: list[int] = []
    for folder in machine.root.iterdir():
        key = RunKey.of(folder.name)
        assert key is not None
        run = run_folder.started_of(key, folder)
        found += run_folder.left_of(key, run, f"lease-{key.number}", machine.groups)
    return found


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]))
