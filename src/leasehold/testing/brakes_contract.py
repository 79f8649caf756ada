"""The contract of `ports.host.Brakes`, as a suite that every implementation runs on real processes (PROVE-1).

Give a class of tests `BrakesContract` as its base and a fixture `subject`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from leasehold.model.lease import BrakeLevel, Process
from leasehold.model.work import WorkQuery
from leasehold.ports.host import Brakes
from leasehold.runtime.lean import elapsed_s, pause

LEASE = "lease-brakes"
STANDS_S = 0.3
"""How long is looked at whether frozen work really does nothing."""

GROWING = """
import os, sys, time
def work(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        os.write(3, b'.')
        time.sleep(0.001)
def compile_all(levels):
    while True:
        children = []
        for _ in range(2):
            child = os.fork()
            if child == 0:
                work(0.02) if levels == 0 else [compile_some(levels - 1) for _ in range(3)]
                os._exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)
def compile_some(levels):
    child = os.fork()
    if child == 0:
        work(0.01)
        if levels: compile_some(levels - 1)
        os._exit(0)
    os.waitpid(child, 0)
compile_all(1)
"""
"""A tree like a compile's: always new children, each of which writes while it lives."""


AWAITED = "import sys; sys.stdin.read()\n"


class Subject(Protocol):
    """One implementation, and how work is put where it can be held."""

    def brakes(self) -> Brakes:
        """A fresh handle, which remembers nothing."""
        ...

    def place(self, lease_id: str, process: Process) -> WorkQuery:
        """Put a process where leased work stands, and say it as the ledger would."""
        ...

    has_places: bool
    has_quota: bool


@contextmanager
def growing(folder: Path, *, waits: bool = False) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A tree that forks for ever, and the file that grows as long as any of it runs.

    With `waits` it forks only once its standard input has been closed: what is put in a place while it forks
    may leave somebody outside.
    """
    path = folder / "grows"
    with open(path, "wb") as file:
        child = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"import os; os.dup2({file.fileno()}, 3)\n{AWAITED if waits else ''}{GROWING}",
            ],
            stdin=subprocess.PIPE if waits else None,
            pass_fds=(file.fileno(),),
            start_new_session=True,
        )
        try:
            yield child, path
        finally:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


def identified(pid: int) -> Process:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Process(pid, int(fields[19]), Path("/proc/sys/kernel/random/boot_id").read_text().strip())


def grows(path: Path, timeout_s: float = 20.0) -> None:
    """Wait until something of the tree has worked."""
    size, end = path.stat().st_size, elapsed_s() + timeout_s
    while path.stat().st_size == size:
        assert elapsed_s() < end, "the work does not go on"
        pause(0.01)


def stands(path: Path, seconds: float = STANDS_S) -> bool:
    """Whether nothing of the tree works for so long."""
    size = path.stat().st_size
    pause(seconds)
    return path.stat().st_size == size


class BrakesContract:
    """What any implementation does. Each test uses real processes, and ends them."""

    @pytest.fixture
    def subject(self) -> Subject:
        raise NotImplementedError

    @pytest.fixture
    def tree(self, subject: Subject, tmp_path: Path) -> Iterator[tuple[WorkQuery, Path]]:
        """A growing tree in its place, thawed and ended afterwards."""
        with growing(tmp_path, waits=True) as (child, path):
            query = subject.place(LEASE, identified(child.pid))
            assert child.stdin is not None
            child.stdin.close()
            grows(path)
            try:
                yield query, path
            finally:
                subject.brakes().thaw([query])

    @pytest.mark.requirement("LEASE-14")
    def test_a_tree_that_forks_stands_still_within_a_second(
        self, subject: Subject, tree: tuple[WorkQuery, Path]
    ) -> None:
        """All of it, also what is forked meanwhile; and it goes on where it stood."""
        query, path = tree
        brakes = subject.brakes()
        for _ in range(3):
            began = elapsed_s()
            assert brakes.freeze([query]) == {LEASE}
            assert elapsed_s() - began < 1.0
            assert stands(path)
            assert brakes.thaw([query]) == {LEASE}
            grows(path)

    def test_twice_is_once(self, subject: Subject, tree: tuple[WorkQuery, Path]) -> None:
        """Freezing what is frozen and thawing what runs change nothing."""
        query, path = tree
        brakes = subject.brakes()
        assert brakes.thaw([query]) == {LEASE}
        grows(path)
        assert brakes.freeze([query]) == brakes.freeze([query]) == {LEASE}
        assert stands(path)
        assert brakes.thaw([query]) == brakes.thaw([query]) == {LEASE}
        grows(path)

    def test_another_handle_thaws(self, subject: Subject, tree: tuple[WorkQuery, Path]) -> None:
        """A server that was killed while work is frozen does not leave it so for ever."""
        query, path = tree
        assert subject.brakes().freeze([query]) == {LEASE}
        after = subject.brakes()
        assert dict(after.held()) == ({LEASE: BrakeLevel.FROZEN} if subject.has_places else {})
        assert after.thaw([query]) == {LEASE}
        grows(path)
        assert dict(after.held()) == {}

    def test_what_others_had_stopped_stays_stopped(self, subject: Subject) -> None:
        """Thawing is not continuing: a job that a person had suspended is still suspended."""
        child = subprocess.Popen(["sleep", "100"])
        try:
            query = subject.place(LEASE, identified(child.pid))
            child.send_signal(signal.SIGSTOP)
            until(lambda: state_of(child.pid) == "T")
            brakes = subject.brakes()
            assert brakes.freeze([query]) == {LEASE}
            assert brakes.thaw([query]) == {LEASE}
            until(lambda: state_of(child.pid) == "T")
            assert state_of(child.pid) == "T"
        finally:
            child.kill()
            child.wait()

    def test_nothing_is_frozen_at_once(self, subject: Subject) -> None:
        """Work that has ended holds nobody up, and there is nothing to thaw."""
        child = subprocess.Popen(["true"])
        query = subject.place(LEASE, identified(child.pid))
        child.wait()
        brakes = subject.brakes()
        began = elapsed_s()
        brakes.freeze([query])
        assert elapsed_s() - began < 1.0
        assert brakes.thaw([query]) == {LEASE}

    @pytest.mark.requirement("LEASE-14")
    def test_a_throttled_tree_uses_a_tenth_of_its_charge(self, subject: Subject) -> None:
        """A burner charged a whole core gets a tenth of it; loosened, the kernel has no quota for it."""
        brakes = subject.brakes()
        child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            query = subject.place(LEASE, identified(child.pid))
            if not subject.has_quota:
                assert brakes.throttle([query]) == frozenset()
                return
            assert brakes.throttle([query]) == {LEASE}
            assert dict(subject.brakes().held()) == {LEASE: BrakeLevel.THROTTLED}
            used_s(child.pid, 0.5)
            assert used_s(child.pid, 2.0) <= 0.5
            assert brakes.loosen([query]) == {LEASE}
            assert dict(subject.brakes().held()) == {}
        finally:
            child.kill()
            child.wait()


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def used_s(pid: int, seconds: float) -> float:
    """CPU seconds that a process uses in so long a time."""

    def ticks() -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    before = ticks()
    pause(seconds)
    return (ticks() - before) / os.sysconf("SC_CLK_TCK")


def until(holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Wait for a condition."""
    end = elapsed_s() + timeout_s
    while not holds():
        assert elapsed_s() < end, "it did not become true"
        pause(0.01)
