"""What tests of workers share: a worker in a thread or in a process, and the marks that its jobs leave."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from leasehold import Worker
from tests.e2e.machine import Machine

PROGRAM = """
import os, sys, time, logging
import leasehold

logging.basicConfig(level=logging.DEBUG)
MARKS = os.environ["MARKS"]


def mark(*words):
    with open(MARKS, "a") as file:
        file.write(" ".join(str(word) for word in words) + "\\n")


@leasehold.job(cost=1, start="now", retries=2, backoff=0, job_type="mark")
def leaves_a_mark(name, sleep=0.0):
    context = leasehold.current_job()
    mark("begin", name, context.generation)
    end = time.monotonic() + sleep
    while time.monotonic() < end:
        context.checkpoint()
        time.sleep(0.02)
    mark("end", name, context.generation)
    return name


@leasehold.job(cost=1, start="now", job_type="deaf")
def hears_nothing(name, sleep=30.0):
    mark("begin", name, os.getpid())
    time.sleep(sleep)
    mark("end", name, os.getpid())


@leasehold.job(cost=1, start="now", retries=5, backoff=0, job_type="poison")
def kills_its_process(name):
    mark("begin", name, os.getpid())
    os.kill(os.getpid(), 9)


if __name__ == "__main__":
    options = eval(sys.argv[1])
    worker = leasehold.Worker([leaves_a_mark, hears_nothing, kills_its_process], **options)
    print(worker.run().as_dict(), flush=True)
"""


class Scene:
    """A machine with a program of jobs, and what they have written down."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.marks = machine.folder / "marks"
        self.marks.write_text("")
        (machine.folder / "program.py").write_text(PROGRAM)

    def start(self, **options: Any) -> subprocess.Popen[str]:
        """A worker in a process of its own."""
        return self.machine.start(
            [sys.executable, "-W", "error", "program.py", repr(options)],
            env={"MARKS": str(self.marks)},
        )

    def marked(self, word: str) -> Counter[str]:
        """How often a name was marked so."""
        rows = [row.split() for row in self.marks.read_text().splitlines()]
        return Counter(row[1] for row in rows if row[0] == word)


def until(what: Callable[[], Any], why: str, timeout_s: float = 60.0) -> Any:
    """Wait for something to become true, and return it."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{why}: not within {timeout_s} s")


def ended(process: subprocess.Popen[str], timeout_s: float = 60.0) -> tuple[int, str]:
    """Wait for a worker's end; its exit code and all that it said."""
    out, err = process.communicate(timeout=timeout_s)
    return process.returncode, f"{out}\n{err}"


def end(process: subprocess.Popen[str]) -> None:
    """Whatever happened, it runs no more."""
    if process.poll() is None:
        process.send_signal(signal.SIGKILL)
    process.communicate()


@contextmanager
def working(handlers: Any, **options: Any) -> Iterator[Worker]:
    """A worker in a thread, which is ended afterwards. What it raises is raised here."""
    worker = Worker(handlers, **options)
    raised: list[BaseException] = []

    def run() -> None:
        try:
            worker.run()
        except BaseException as error:  # noqa: BLE001 - it is raised below
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield worker
    finally:
        worker.stop()
        thread.join(60)
    assert not thread.is_alive(), "the worker has not ended"
    if raised:
        raise raised[0]


def at_home(machine: Machine, patch: pytest.MonkeyPatch) -> Path:
    """This process is a program of that machine."""
    import os

    for name in [name for name in os.environ if name.startswith("LEASEHOLD") or name == "CI"]:
        patch.delenv(name)
    for name, value in machine.env.items():
        if name.startswith("LEASEHOLD") or name == "HOME":
            patch.setenv(name, value)
    return machine.folder
