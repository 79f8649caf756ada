"""Whether a peer flushes each job that it acknowledges: counted by strace, not read from its settings."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.peers.environment import PeerUnavailable
from bench.peers.queue_programs import Driver, NotDurable, Peer, Role
from bench.setup import Setup

JOBS = 200
CALLS = "fsync,fdatasync,sync_file_range,msync"


def per_submit(peer: Peer, setup: Setup) -> float:
    """Flushes a job that a caller submits singly; NotDurable below one, PeerUnavailable without strace."""
    with peer.server(setup) as (server, where):
        driver = Driver(peer, where, setup)
        driver.prepare()
        if server is None:
            output = setup.folder("strace") / "counts"
            _submit(driver, (*_tracer(output), "--"))
            count = _sum(output)
        else:
            with counted(server.pid, setup) as counts:
                _submit(driver, ())
            count = counts()
    if count < JOBS:
        raise NotDurable(f"{peer.name}: {count} flushes for {JOBS} jobs that were submitted one by one")
    return count / JOBS


@contextmanager
def counted(pid: int, setup: Setup) -> Iterator[Callable[[], int]]:
    """Count the flushes of a server and of the children that it forks from now on; the sum comes after."""
    output = setup.folder("strace") / "counts"
    with subprocess.Popen([*_tracer(output), "-p", str(pid)], stderr=subprocess.PIPE) as attached:
        assert attached.stderr is not None
        attached.stderr.readline()  # "Process … attached"
        try:
            yield lambda: _sum(output)
        finally:
            attached.send_signal(signal.SIGINT)


def _tracer(output: Path) -> tuple[str, ...]:
    strace = shutil.which("strace")
    if strace is None:
        raise PeerUnavailable("strace is not here, so flushes can't be counted; install Debian's package")
    return (strace, "-f", "-c", "-e", f"trace={CALLS}", "-o", str(output))


def _submit(driver: Driver, prefix: tuple[str, ...]) -> None:
    driver.prefix = prefix
    submitter = Role(driver, "submit", "--count", str(JOBS))
    submitter.begin()
    submitter.answer()


def _sum(path: Path) -> int:
    """Of strace's table: % time, seconds, usecs/call, calls, errors (may be empty), syscall."""
    rows = [line.split() for line in path.read_text().splitlines()]
    return sum(int(row[3]) for row in rows if row and row[-1] in CALLS.split(","))
