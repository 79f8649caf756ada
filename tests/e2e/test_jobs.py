"""Commands as jobs, on the real server: run, logged, measured, stopped, found again after a crash."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.conftest import scratch as scratch
from tests.api.conftest import server as server
from tests.api.job_client import QUEUE, Queue, until
from tests.api.real_server import RealServer

READY_S = 60


class Commands(Queue):
    """Submits commands of a shell, and reads what they print."""

    def sh(self, script: str, **fields: Any) -> str:
        """A command that is taken; its id."""
        run = {"argv": ["sh", "-c", script], "cwd": "/", "grace_sec": 1, **fields.pop("run", {})}
        return self.submit(exec=run, **fields)

    def log(self, ident: str, query: str = "") -> bytes:
        """All of its standard output up to now."""
        reply = self.server.get(f"{QUEUE}/jobs/{ident}/log?limit=1000000{query}")
        assert reply.status == 200, reply
        chunks = [one for one in reply.json["chunks"] if one["stream"] == "out"]
        return b"".join(base64.b64decode(one["data"]) for one in chunks)

    def ended(self, ident: str) -> Any:
        return self.until(ident, "DONE", "FAILED", "CANCELED", "EXPIRED", timeout_s=READY_S)

    def says(self, ident: str, wanted: bytes) -> None:
        until(lambda: self.log(ident) == wanted, READY_S)


@pytest.fixture
def commands(server: RealServer, request: pytest.FixtureRequest) -> Iterator[Commands]:
    """Commands of this test alone; none is left."""
    found = Commands(server, request.node.name[:100].replace("[", "-").replace("]", ""))
    yield found
    found.post("/jobs/bulk", {"action": "cancel", "job_type": found.job_type})


@pytest.mark.requirement("QUEUE-15", "QUEUE-1")
def test_a_command_is_run_logged_and_measured(commands: Commands) -> None:
    """Its exit code, its output, CPU time and memory are the job's."""
    ident = commands.sh('echo "hello $WHO from $LEASEHOLD_JOB"; exit 3', run={"env": {"WHO": "you"}})
    job = commands.ended(ident)
    assert (job["state"], job["exit_code"], job["error"]) == ("FAILED", 3, "exit code 3")
    assert (job["usage"]["cpu_seconds"] > 0, job["usage"]["memory_peak_bytes"] > 0) == (True, True)
    assert commands.log(ident) == f"hello you from {ident}\n".encode()
    assert "env" not in job, "the environment is nobody's to see"
    assert [one["what"] for one in commands.server.get(f"{QUEUE}/jobs/{ident}/events").json["events"]] == [
        "submitted",
        "started",
        "failed",
    ]


@pytest.mark.requirement("QUEUE-11", "QUEUE-15")
def test_a_command_that_fails_is_tried_again(commands: Commands) -> None:
    """Each attempt has its number and a log of its own."""
    script = 'echo "attempt $LEASEHOLD_ATTEMPT"; test "$LEASEHOLD_ATTEMPT" = 2'
    ident = commands.sh(script, max_attempts=3, retry={"base_sec": 0.01, "cap_sec": 0.01})
    job = commands.ended(ident)
    assert (job["state"], job["attempts"], len(job["history"])) == ("DONE", 2, 1)
    assert [commands.log(ident, f"&attempt={attempt}") for attempt in (1, 2)] == [
        b"attempt 1\n",
        b"attempt 2\n",
    ]


@pytest.mark.requirement("QUEUE-10", "QUEUE-15")
def test_a_command_that_heeds_nothing_is_killed_when_cancelled(commands: Commands) -> None:
    """After its grace, all of it; then it is CANCELED."""
    ident = commands.sh("trap '' TERM; echo $$; while :; do sleep 0.1; done")
    pid = int(until(lambda: commands.log(ident), READY_S))
    commands.change(ident, "cancel", grace_sec=1)
    job = commands.ended(ident)
    assert (job["state"], job["signal"]) == ("CANCELED", "SIGKILL")
    assert not os.path.exists(f"/proc/{pid}")


@pytest.mark.requirement("QUEUE-10")
def test_a_command_that_runs_too_long_is_expired(commands: Commands) -> None:
    """It is stopped at its limit."""
    job = commands.ended(commands.sh("sleep 600", max_runtime_sec=1))
    assert (job["state"], job["signal"]) == ("EXPIRED", "SIGTERM")


@pytest.mark.requirement("QUEUE-20", "QUEUE-15")
def test_each_member_of_a_gang_has_its_output(commands: Commands) -> None:
    """By its rank."""
    ident = commands.sh('echo "$LEASEHOLD_GANG_RANK of $LEASEHOLD_GANG_SIZE"', gang=2)
    assert commands.ended(ident)["state"] == "DONE"
    assert [commands.log(ident, f"&rank={rank}") for rank in (0, 1)] == [b"0 of 2\n", b"1 of 2\n"]
    assert commands.server.get(f"{QUEUE}/jobs/{ident}/log?rank=2").status == 404


@pytest.mark.requirement("QUEUE-13", "QUEUE-15")
def test_what_runs_is_found_again_after_a_crash(scratch: Path) -> None:
    """What ran goes on, once; what ended meanwhile has its result; what comes after it starts then."""
    with RealServer(scratch) as server:
        commands = Commands(server, "crash")
        go = scratch / "go"
        runs = commands.sh(f"echo begun; until [ -e {go} ]; do sleep 0.05; done; echo over")
        ends = commands.sh(f"echo begun; until [ -e {scratch}/end ]; do sleep 0.05; done; exit 4")
        waits = commands.sh("echo after", after=[runs])
        for ident in (runs, ends):
            commands.says(ident, b"begun\n")
        assert server.process is not None
        server.process.kill()
        server.process.wait()
        (scratch / "end").touch()
        server.start()
        job = commands.ended(ends)
        assert (job["state"], job["exit_code"], job["generation"]) == ("FAILED", 4, 1)
        assert commands.state(runs) == "RUNNING"
        assert commands.state(waits) == "QUEUED"
        go.touch()
        assert commands.ended(runs)["state"] == "DONE"
        assert commands.ended(waits)["state"] == "DONE"
        assert commands.log(runs) == b"begun\nover\n"
        assert commands.get(runs)["generation"] == 1
