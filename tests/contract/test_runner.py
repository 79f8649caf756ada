"""The contract of the runner over real shims, in cgroups and without, and over the one for simulations."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from leasehold.adapters.hosts import cgroups, run_folder
from leasehold.adapters.hosts.cgroups import Groups
from leasehold.adapters.hosts.runner import LinuxRunner
from leasehold.model.run import Command, RunKey
from leasehold.ports.runner import Runner
from leasehold.runtime.clock import RealClock
from leasehold.runtime.lean import elapsed_s, pause
from leasehold.testing.fake_runner import FakeMachine
from leasehold.testing.runner_contract import ENDS_S, Deed, RunnerContract, Subject

HOME = f"leasehold-runner-{os.getpid()}"
PLACE = "lease-runner"

TELLS = 'printf "%b" "$1"; printf "%b" "$2" >&2; exit "$3"'
WAITS = 'printf "%b" "$1"; echo ready; while :; do sleep 3600 & wait $!; done'
DEAF = "trap '' TERM; " + WAITS


class OnLinux:
    """Real processes. Everything that is left of them is killed at the end."""

    def __init__(self, root: Path, groups: Groups | None) -> None:
        self.root = root / "runs"
        self.groups = groups
        self.cwd = os.fsencode(root)

    @asynccontextmanager
    async def runner(self) -> AsyncIterator[LinuxRunner]:
        runner = LinuxRunner(self.root, self.groups, RealClock())
        try:
            yield runner
        finally:
            await runner.close()

    def argv(self, deed: Deed) -> tuple[bytes, ...]:
        if deed.missing:
            return (b"there-is-no-such-program",)
        script = (DEAF if deed.deaf else WAITS) if deed.waits else TELLS
        out, err = ("".join(f"\\0{byte:03o}" for byte in each) for each in (deed.out, deed.err))
        words = ("bash", "-c", script, "sh", out, err, str(deed.code))
        return tuple(each.encode() for each in words)

    async def lose_shim(self, runner: Runner, key: RunKey) -> None:
        started = run_folder.started_of(key, self.root / key.name)
        assert started.shim is not None
        assert started.process is not None
        os.kill(started.shim.pid, signal.SIGKILL)
        gone(started.process.pid)

    def close(self) -> None:
        for folder in self.root.glob("job-*"):
            key = RunKey.of(folder.name)
            assert key is not None
            started = run_folder.started_of(key, folder)
            if started.ended is None and started.shim is not None:
                os.kill(started.shim.pid, signal.SIGKILL)
                run_folder.end_all(key, started, PLACE, self.groups)
        if self.groups is not None:
            until_removed(self.groups)


def until_removed(groups: Groups) -> None:
    end_s = elapsed_s() + ENDS_S
    while not all(groups.remove(place) for place in groups.leases()) and elapsed_s() < end_s:
        pause(0.01)
    for folder in groups.folders:
        while not cgroups.removed(f"{folder}{cgroups.SHIMS}") and elapsed_s() < end_s:
            pause(0.01)
    groups.close()


def gone(pid: int) -> None:
    """Wait for the end of somebody else's child."""
    end_s = elapsed_s() + ENDS_S
    while os.path.exists(f"/proc/{pid}/cmdline") and Path(f"/proc/{pid}/cmdline").read_bytes():
        assert elapsed_s() < end_s, f"{pid} still lives"
        pause(0.01)


class TestInPlaces(RunnerContract):
    """In the kind of cgroup that a server on this machine would use."""

    @pytest.fixture
    def subject(self, tmp_path: Path) -> Iterator[Subject]:
        groups = cgroups.find(HOME)
        if groups is None:
            pytest.skip("no cgroup can be made by this user on this machine")
        found = OnLinux(tmp_path, groups)
        yield found
        found.close()

    def command(self, subject: Subject, deed: Deed, number: int = 7, generation: int = 1) -> Command:
        key = RunKey(number, generation)
        return Command(key, subject.argv(deed), subject.cwd, place=PLACE, grace_ms=20_000)


class TestInTheTree(RunnerContract):
    """Where no cgroup can be made."""

    @pytest.fixture
    def subject(self, tmp_path: Path) -> Iterator[Subject]:
        found = OnLinux(tmp_path, None)
        yield found
        found.close()


class TestFake(RunnerContract):
    """What simulations run."""

    @pytest.fixture
    def subject(self) -> Subject:
        return FakeMachine()
