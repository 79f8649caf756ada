"""Backups, restore and figures of a real server: the store goes back, and nobody falls behind (OPS-15)."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.api.real_server import LEASE, RealServer

BACKUPS, RESTORE, STORAGE = "/api/admin/backups", "/api/admin/restore", "/api/admin/storage"
WAIT_S = 60.0


def until(condition: Callable[[], Any]) -> Any:
    """Wait for something that the server does by itself; what it says then."""
    deadline = time.monotonic() + WAIT_S
    while True:
        with contextlib.suppress(OSError, ValueError):
            if found := condition():
                return found
        assert time.monotonic() < deadline
        time.sleep(0.05)


def restored(server: RealServer, restore_id: str) -> dict[str, Any]:
    """Wait for the server's next start, and for what it says of the restore."""

    def look() -> dict[str, Any] | None:
        server.read_port()
        runs = server.get(STORAGE).json.get("runs", [])
        return next((one for one in runs if one["run_id"] == restore_id), None)

    return dict(until(look))


def events(server: RealServer) -> list[dict[str, Any]]:
    return list(server.get("/api/events?limit=500").json["events"])


@pytest.mark.requirement("OPS-15", "INV-3")
def test_a_restore_through_the_running_server(scratch: Path) -> None:
    """It goes on as the same process with the store of then; a lease is lost until its holder is heard of."""
    with RealServer(scratch) as server:
        lease = server.lease()
        one, own = f"{LEASE}/{lease['lease_id']}", {"fencing_token": lease["fencing_token"]}
        assert server.post(f"{one}/heartbeat", own).json["state"] == "ACTIVE"
        made = server.post(BACKUPS, {}).json
        assert made["proven_at"] >= made["made_at"]
        later = server.lease()
        last = events(server)[-1]["seq"]
        dry = server.post(RESTORE, {"backup_id": made["backup_id"], "dry_run": True}).json
        assert dry["loss"]["by_kind"]["LeaseGranted"] == 1
        asked = server.post(RESTORE, {"backup_id": made["backup_id"]}).json
        assert asked["restarting"] is True
        run = restored(server, asked["restore_id"])
        until(lambda: server.get("/api/system-stats/health").json["quiet_score"] is not None)
        assert (run["care"], run["outcome"], run["backup_id"]) == ("restore", "done", made["backup_id"])
        assert (server.data / run["kept"]).exists()
        assert server.process is not None
        assert server.process.poll() is None
        assert server.get(one).json["flags"] == ["lost"]
        assert server.get(f"{LEASE}/{later['lease_id']}").status == 404
        assert server.post(f"{one}/heartbeat", {"fencing_token": 1}).status == 409
        assert server.get(one).json["flags"] == ["lost"]
        assert server.post(f"{one}/heartbeat", own).json["action"] == "continue"
        assert "flags" not in server.get(one).json
        assert server.lease()["fencing_token"] > later["fencing_token"]
        told = [event for event in events(server) if event["seq"] > last]
        assert [event["kind"] for event in told][:2] == ["StoreRestored", "LeaseLost"]
        assert "LeaseFound" in [event["kind"] for event in told]


@pytest.mark.requirement("OPS-15")
def test_a_damaged_backup_is_refused_and_reported(scratch: Path) -> None:
    """By the API before anything stops; by the next start where it was damaged after it was asked for."""
    with RealServer(scratch) as server:
        made = server.post(BACKUPS, {}).json
        path = server.data / "backups" / made["backup_id"] / "leasehold.sqlite3"
        sound = path.read_bytes()
        path.write_bytes(sound[:9_000] + bytes([sound[9_000] ^ 1]) + sound[9_001:])
        for method, target, body in (
            ("POST", f"{BACKUPS}/{made['backup_id']}/check", None),
            ("POST", RESTORE, {"backup_id": made["backup_id"]}),
        ):
            refused = server.call(method, target, body)
            assert (refused.status, refused.json["code"]) == (409, "CONFLICT")
            assert "is damaged: leasehold.sqlite3 is not what was written" in refused.json["detail"]
        assert [event["kind"] for event in events(server)].count("BackupDamaged") == 2
        storage = server.get(STORAGE).json
        assert storage["last_failure"]["care"] == "check"
        metrics = server.get("/metrics").body.decode()
        assert 'leasehold_storage_last_failure_timestamp_seconds{care="check"} 0.0' not in metrics
        path.write_bytes(sound)
        assert server.call("POST", f"{BACKUPS}/{made['backup_id']}/check", None).status == 200
        assert "last_failure" not in server.get(STORAGE).json
        assert server.get(BACKUPS).json["backups"][0]["backup_id"] == made["backup_id"]


@pytest.mark.requirement("OPS-15", "OPS-6")
def test_who_may_not_is_refused(scratch: Path) -> None:
    """A viewer sees none of it; an operator makes backups and restores none."""
    with RealServer(scratch) as server:

        def by(role: str) -> dict[str, str]:
            made = server.post("/api/tokens", {"name": role, "role": role, "ttl_sec": 3600}).json
            return {"authorization": f"Bearer {made['token']}"}

        viewer, operator = by("viewer"), by("operator")
        for method, path, body in (("GET", BACKUPS, None), ("POST", BACKUPS, {}), ("GET", STORAGE, None)):
            assert server.call(method, path, body, headers=viewer).status == 403
        assert server.call("GET", STORAGE, headers=operator).status == 200
        asked = {"backup_id": "backup-20260101-000000"}
        assert server.call("POST", RESTORE, asked, headers=operator).status == 403
        assert server.post(RESTORE, asked).status == 404
        assert server.post(RESTORE, {"backup_id": "../../etc"}).status == 422


@pytest.mark.requirement("OPS-16")
def test_room_is_given_back_while_it_serves(scratch: Path) -> None:
    """After a backup of its own; the file is smaller then, and the run is shown."""
    with RealServer(scratch) as server:
        server.stop()
        connection = sqlite3.connect(server.data / "leasehold.sqlite3")
        with connection:
            connection.execute("CREATE TABLE ballast (value BLOB)")
            connection.executemany("INSERT INTO ballast VALUES (?)", [(bytes(4_000),) for _ in range(2_000)])
        with connection:
            connection.execute("DROP TABLE ballast")
        connection.close()
        server.start()
        before = server.get(STORAGE).json
        assert before["fragmentation"] > 0.9
        run = server.post("/api/admin/compact", {}).json
        after = server.get(STORAGE).json
        assert (run["care"], run["outcome"]) == ("compaction", "done")
        assert run["bytes"] > 7 << 20
        assert after["fragmentation"] < 0.1
        assert after["file_bytes"] < before["file_bytes"] - (7 << 20)
        assert [one["care"] for one in after["runs"]] == ["compaction", "backup"]
