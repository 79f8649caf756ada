"""The real program, run with what records or traces its writes, and driven over HTTP."""

from __future__ import annotations

import http.client
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = shlex.split(os.environ.get("LEASEHOLD_TEST_PROGRAM", "")) or [sys.executable, "-m", "leasehold"]
"""What is tested: this checkout, or the installed program that is named (`make accept`)."""

STARTED_WITHIN_S = 60
"""Under strace on a loaded machine a start takes several seconds."""


class RealServer:
    """One running `leasehold up --foreground`."""

    def __init__(self, process: subprocess.Popen[bytes], data: Path, port: int, pid: int) -> None:
        self.process = process
        self.data = data
        self.port = port
        self.pid = pid

    def call(self, connection: http.client.HTTPConnection, path: str, body: Any) -> Any:
        token = (self.data / "admin.token").read_text().strip()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        connection.request("POST", f"/api/scheduler/lease/{path}", json.dumps(body), headers)
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status == 200, f"{path}: {answer.status} {content!r}"
        return json.loads(content)

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def cycles(self, count: int, *, keep_every: int = 10) -> None:
        """Ask for leases and give them back, one after the other; each `keep_every`-th is kept."""
        connection = self.connection()
        for number in range(count):
            lease = self.call(connection, "request", {"cost_units": 1, "start": "now", "job_type": "load"})
            if not lease["approved"]:
                continue
            token = {"fencing_token": lease["fencing_token"]}
            if number % keep_every:
                self.call(connection, f"{lease['lease_id']}/release", token)
            else:
                self.call(connection, f"{lease['lease_id']}/heartbeat", token)
        connection.close()

    def load(self, clients: int, count: int) -> None:
        """`clients` threads with `count` cycles each."""
        failures: list[Exception] = []

        def one() -> None:
            try:
                self.cycles(count)
            except (OSError, http.client.HTTPException, ValueError, AssertionError) as error:
                failures.append(error)

        threads = [threading.Thread(target=one) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures, failures[0]


@contextmanager
def running(
    data: Path, scratch: Path, *, before: Sequence[str] = (), environment: dict[str, str] | None = None
) -> Iterator[RealServer]:
    """A server on a port of its own, ready to grant; ended by SIGTERM, or already dead. `before` runs it."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("LEASEHOLD")}
    own = {"LEASEHOLD_DATA": str(data), "LEASEHOLD_RUN_DIR": str(scratch / "run"), "LEASEHOLD_PORT": "0"}
    (data / "server.json").unlink(missing_ok=True)
    with (scratch / "server.out").open("ab") as output:
        process = subprocess.Popen(
            [*before, *PROGRAM, "up", "--foreground", "--preset", "always"],
            env=clean | own | (environment or {}),
            stdout=output,
            stderr=output,
        )
    pid = 0
    try:
        deadline = time.monotonic() + STARTED_WITHIN_S
        server = None
        while server is None:
            said = (scratch / "server.out").read_text()[-2_000:]
            assert process.poll() is None, said
            assert time.monotonic() < deadline, said
            server = _started(process, data)
            time.sleep(0.05)
        pid = server.pid
        yield server
    finally:
        if process.poll() is None:
            os.kill(pid or process.pid, signal.SIGTERM)
        process.wait(30)


def _started(process: subprocess.Popen[bytes], data: Path) -> RealServer | None:
    """The server, once it grants what is asked of it."""
    try:
        found = json.loads((data / "server.json").read_bytes())
        server = RealServer(process, data, found["port"], found["pid"])
        connection = server.connection()
        try:
            lease = server.call(connection, "request", {"cost_units": 1, "start": "now", "job_type": "first"})
            return server if lease["approved"] else None
        finally:
            connection.close()
    except (OSError, ValueError, KeyError, AssertionError):
        return None
