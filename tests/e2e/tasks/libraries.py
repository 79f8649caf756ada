"""Task libraries under test: each starts its real workers, is sent tasks, and says how one failed."""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from tests.e2e.machine import BIN, Machine
from tests.e2e.tasks.work import KINDS

ROOT = Path(__file__).parents[3]


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """A redis of our own on a free port; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    process = subprocess.Popen([*command, "--save", "", "--appendonly", "no"], stdout=subprocess.DEVNULL)
    try:
        end_s = time.monotonic() + 20
        with redis.Redis(port=port) as client:
            while True:
                with contextlib.suppress(redis.ConnectionError):
                    client.ping()
                    break
                assert time.monotonic() < end_s, "redis did not start"
                time.sleep(0.05)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


class Library:
    """One library with its workers running. `log` is what its tasks noted."""

    name = ""
    needs_redis = True
    hopeless = "NotGranted"
    """How a task fails that no machine can hold."""

    def __init__(self, machine: Machine, address: str) -> None:
        self.machine = machine
        self.folder = machine.folder / type(self).__name__
        self.folder.mkdir()
        self.address = address
        self.env = {"TASKS": str(self.folder), "REDIS": address, "PYTHONPATH": str(ROOT)}
        self._workers: list[subprocess.Popen[str]] = []

    def commands(self) -> list[list[str]]:
        """The workers to start, two tasks at a time together."""
        raise NotImplementedError

    def send(self, kind: str, name: str) -> Any:
        """Have a task done."""
        raise NotImplementedError

    def failure(self, sent: Any) -> str:
        """How it failed, "" while it has not."""
        raise NotImplementedError

    def start(self) -> None:
        with open(self.folder / "workers.log", "a") as out:
            for command in self.commands():
                self._workers.append(
                    self.machine.start(
                        command, cwd=ROOT, env=self.env, stdout=out, stderr=out, start_new_session=True
                    )
                )

    def stop(self) -> None:
        for worker in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
        self._workers = []

    def kill_workers(self) -> None:
        """Kill -9 the workers, and nothing of what they started."""
        for worker in self._workers:
            worker.kill()
            worker.wait()

    def log(self, what: str) -> list[list[str]]:
        """The lines of this kind: name, pid, and more."""
        with contextlib.suppress(FileNotFoundError):
            lines = (self.folder / "log").read_text().splitlines()
            return [line.split()[1:] for line in lines if line.startswith(f"{what} ")]
        return []

    def noted(self, what: str, name: str) -> list[str] | None:
        """The first line about this task."""
        return next((line for line in self.log(what) if line[0] == name), None)

    def until(self, what: str, name: str) -> list[str]:
        """Wait until the task has noted it."""
        try:
            found: list[str] = self.machine.until(lambda: self.noted(what, name), f"{what} {name}", 60)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{(self.folder / 'workers.log').read_text()[-4000:]}") from None
        return found

    def end(self, *names: str) -> None:
        """Tell tasks to end."""
        for name in names:
            (self.folder / f"{name}.go").touch()

    def pid_of(self, name: str) -> int:
        return int(self.until("start", name)[1])


class Celery(Library):
    name = "celery"

    def __init__(self, machine: Machine, address: str) -> None:
        super().__init__(machine, address)
        os.environ["REDIS"] = address
        self.program = importlib.import_module("tests.e2e.tasks.celery_program")

    def commands(self) -> list[list[str]]:
        words = ["-A", "tests.e2e.tasks.celery_program", "worker", "-c", "2", "-l", "INFO"]
        return [[str(BIN / "celery"), *words, "--without-gossip", "--without-mingle"]]

    def send(self, kind: str, name: str) -> Any:
        return self.program.TASKS[kind].delay(name)

    def failure(self, sent: Any) -> str:
        return type(sent.result).__name__ if sent.state == "FAILURE" else ""


class Dramatiq(Library):
    name = "dramatiq"
    hopeless = "dead"

    def __init__(self, machine: Machine, address: str) -> None:
        super().__init__(machine, address)
        os.environ["REDIS"] = address
        self.program = importlib.import_module("tests.e2e.tasks.dramatiq_program")

    def commands(self) -> list[list[str]]:
        words = ["tests.e2e.tasks.dramatiq_program", "--processes", "1", "--threads", "2"]
        return [[str(BIN / "dramatiq"), *words]]

    def send(self, kind: str, name: str) -> Any:
        return self.program.TASKS[kind].send(name)

    def failure(self, sent: Any) -> str:
        client = self.program.broker.client
        dead = [value for key in client.keys("dramatiq:*.XQ.msgs") for value in client.hvals(key)]
        return "dead" if any(sent.message_id.encode() in value for value in dead) else ""


class Rq(Library):
    name = "rq"
    hopeless = "memory"

    def __init__(self, machine: Machine, address: str) -> None:
        super().__init__(machine, address)
        import rq

        self.queue = rq.Queue(connection=redis.Redis.from_url(address))

    def commands(self) -> list[list[str]]:
        words = ["worker", "--url", self.address, "--worker-class", "leasehold.integrations.rq.LeasedWorker"]
        return [[str(BIN / "rq"), *words]] * 2

    def send(self, kind: str, name: str) -> Any:
        from tests.e2e.tasks.work import work

        meta = {"leasehold": KINDS[kind]} if kind in KINDS else {}
        return self.queue.enqueue(work, kind, name, meta=meta)

    def failure(self, sent: Any) -> str:
        if sent.get_status(refresh=True) != "failed":
            return ""
        return str(sent.latest_result().exc_string)


class Apscheduler(Library):
    name = "apscheduler"
    needs_redis = False

    def commands(self) -> list[list[str]]:
        return [[sys.executable, "-m", "tests.e2e.tasks.apscheduler_program"]]

    def send(self, kind: str, name: str) -> Any:
        (self.folder / f"{kind}.{name}.job").touch()
        return name

    def failure(self, sent: Any) -> str:
        found = self.noted("failed", sent)
        return found[2] if found else ""


LIBRARIES: dict[str, type[Library]] = {
    "celery": Celery,
    "dramatiq": Dramatiq,
    "rq": Rq,
    "apscheduler": Apscheduler,
}
HAS_REDIS = shutil.which("redis-server") is not None
