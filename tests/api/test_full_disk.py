"""A disk that is full: said, survived, and left behind by itself (OPS-17)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.api.real_server import JSON_TYPE, LEASE, RealServer, Reply, request

MIB = 1 << 20


@pytest.fixture
def small_disk(scratch: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    disk = scratch / "disk"
    disk.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=False)
    if os.getuid() != 0 or made.returncode:
        pytest.skip("a small file system can be mounted by root only, where the kernel lets it")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(disk: Path) -> None:
    """Take every block."""
    with (disk / "filler").open("wb", buffering=0) as filler:
        for size in (MIB, 4096, 1):
            try:
                while True:
                    filler.write(b"x" * size)
            except OSError:
                continue


def over_socket(server: RealServer, method: str, path: str, body: bytes = b"") -> Reply:
    """One call over the Unix socket, which needs no file but the socket itself."""
    with server.unix() as wire:
        wire.send(request(method, path, JSON_TYPE if body else {}, body))
        return wire.reply()


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that the server does by itself."""
    deadline = time.monotonic() + 15
    while True:
        with contextlib.suppress(OSError):
            if condition():
                return
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.requirement("OPS-17")
def test_a_full_disk_is_said_and_survived(scratch: Path, small_disk: Path) -> None:
    """Writes and /ready get 503 with the reason; reads and renewals go on; it recovers with room."""
    with RealServer(scratch, LEASEHOLD_DATA=str(small_disk / "data")) as server:
        lease = server.lease()
        one, own = f"{LEASE}/{lease['lease_id']}", {"fencing_token": lease["fencing_token"]}
        assert server.post(f"{one}/heartbeat", own).json["state"] == "ACTIVE"
        assert server.get(one).json["state"] == "ACTIVE"  # A read waits for the disk, taking up does not.
        fill(small_disk)
        refused = server.post(f"{LEASE}/request", {"cost_units": 1})
        assert (refused.status, refused.json["code"]) == (503, "STORE_UNAVAILABLE")
        assert "full" in refused.json["detail"]
        assert refused.headers["retry-after"]
        not_ready = server.get("/ready")
        assert (not_ready.status, not_ready.json["code"]) == (503, "NOT_READY")
        assert "full" in not_ready.json["detail"]
        assert server.get("/health").status == 200
        assert server.get("/api/scheduler/status").json["read_only"] is True
        assert server.get(one).json["state"] == "ACTIVE"
        assert server.post(f"{one}/heartbeat", own).json["action"] == "continue"
        remembered = server.post(f"{one}/release", own)
        assert (remembered.status, remembered.json["code"]) == (503, "STORE_UNAVAILABLE")
        (small_disk / "filler").unlink()
        until(lambda: server.get("/ready").status == 200)
        assert server.get(one).json["state"] == "RELEASED"
        assert server.release(server.lease()).status == 200


@pytest.mark.requirement("OPS-17")
def test_a_server_that_starts_on_a_full_disk_waits_for_room(scratch: Path, small_disk: Path) -> None:
    """It listens and says why it is not ready, and begins by itself once it can write."""
    server = RealServer(scratch, LEASEHOLD_DATA=str(small_disk / "data"))
    with server:
        pass
    fill(small_disk)
    with (scratch / "stderr").open("ab") as stderr:
        server.process = subprocess.Popen(server.command, env=server.env, stderr=stderr)
    try:
        until(lambda: "can't be written" in over_socket(server, "GET", "/ready").body.decode())
        assert over_socket(server, "GET", "/health").status == 200
        assert over_socket(server, "POST", f"{LEASE}/request", b'{"cost_units": 1}').status == 503
        (small_disk / "filler").unlink()
        until(lambda: over_socket(server, "GET", "/ready").status == 200)
        until((server.data / "server.json").exists)
    finally:
        assert server.stop() == 0


@pytest.mark.requirement("OPS-7", "OPS-17")
def test_an_audit_that_cannot_be_written_blocks_nothing(scratch: Path, small_disk: Path) -> None:
    """Refusals are refused and changes are made as ever; the audit says that it waits, and catches up."""
    wrong = {"authorization": "Bearer lsh_" + "A" * 43}
    with RealServer(scratch, LEASEHOLD_DATA=str(small_disk / "data")) as server:
        fill(small_disk)
        for _ in range(3):
            assert server.call("GET", "/api/whoami", headers=wrong).status == 401
        assert server.call("PUT", "/api/admin/log-level", {"level": "info"}).status == 200
        page = server.get("/api/audit")
        assert page.status == 200
        assert "wait for the disk" in page.json["notice"]
        assert not page.json["calls"]
        (small_disk / "filler").unlink()
        until(lambda: "notice" not in server.get("/api/audit").json)
        calls = server.get("/api/audit").json["calls"]
        assert sorted(call["what"] for call in calls if call["outcome"] == "done") == [
            "PUT /api/admin/log-level"
        ]
        assert sum(call["count"] for call in calls if call["status"] == 401) == 3
