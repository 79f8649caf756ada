"""Alerts and the snapshot of figures at a running server, over kill -9 (OPS-12, OPS-13)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.api.notify_receiver import Receiver
from tests.api.real_server import LEASE, RealServer

THRESHOLDS = "/api/config/alert-thresholds"
QUICK = {"LEASEHOLD_ALERTS__CHECK_MS": "200", "LEASEHOLD_ALERTS__START_DELAY_MS": "0"}
WAIT_S = 30.0


@pytest.fixture
def quick(scratch: Path) -> Iterator[RealServer]:
    """A server that looks at its rules five times a second, from the start on."""
    with RealServer(scratch, **QUICK) as running:
        yield running


def until(what: Callable[[], Any], why: str) -> Any:
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(why)


def alert(server: RealServer, rule: str) -> Any:
    reply = server.get("/api/alerts")
    assert reply.status == 200, reply
    return next(one for one in reply.json["alerts"] if one["rule"] == rule)


def token(server: RealServer, role: str) -> dict[str, str]:
    made = server.post("/api/tokens", {"name": role, "role": role}).json["token"]
    return {"authorization": f"Bearer {made}"}


def set_thresholds(server: RealServer, **rules: Any) -> Any:
    reply = server.call("PUT", THRESHOLDS, {"thresholds": rules})
    assert reply.status == 200, reply
    return reply.json["thresholds"]


def fail_calls(server: RealServer, count: int) -> None:
    for _ in range(count):
        assert server.post(f"{LEASE}/request", {"cost_units": "many"}).status == 422


@pytest.mark.requirement("OPS-13", "OPS-26")
def test_a_threshold_set_through_the_api_counts_at_the_next_check_and_over_kill_9(quick: RealServer) -> None:
    """It fires, is acknowledged, is the same after kill -9, and clears when the threshold is put back."""
    server = quick
    shown = set_thresholds(server, disk={"warning": 100, "critical": 0.1})
    assert (shown["disk"]["warning"], shown["disk"]["built_in"]["warning"]) == (100, 10)
    fired = until(lambda: (one := alert(server, "disk"))["state"] == "active" and one, "it fires")
    assert (fired["severity"], "% free" in fired["sentence"]) == ("warning", True)
    state = server.get("/api/dashboard/state").json
    assert [row["rule"] for row in state["alerts"]] == ["disk"]
    assert 'leasehold_alert_level{rule="disk"} 1.0' in server.get("/metrics").body.decode()
    seen = server.post("/api/alerts/disk/acknowledge", {"note": "another one is ordered"})
    assert (seen.status, seen.json["state"]) == (200, "acknowledged")
    assert seen.json["note"] == "another one is ordered"
    assert server.process is not None
    server.process.kill()
    server.process.wait()
    server.start()
    kept = alert(server, "disk")
    assert (kept["warning"], kept["state"], kept["since"]) == (100, "acknowledged", fired["since"])
    assert server.get(THRESHOLDS).json["thresholds"]["disk"]["warning"] == 100
    set_thresholds(server, disk={"warning": 0.2})
    until(lambda: alert(server, "disk")["state"] == "cleared", "it clears")
    kinds = [event["kind"] for event in server.get("/api/events?limit=1000").json["events"]]
    assert [kind for kind in kinds if kind in ("AlertFired", "AlertAcknowledged", "AlertCleared")] == [
        "AlertFired",
        "AlertAcknowledged",
        "AlertCleared",
    ]


@pytest.mark.requirement("OPS-13", "OPS-26")
def test_calls_that_make_no_sense_are_noticed(quick: RealServer) -> None:
    """One more than the threshold, counted from the server's own answers."""
    server = quick
    set_thresholds(server, validation_failures={"warning": 3})
    fail_calls(server, 4)
    fired = until(
        lambda: (one := alert(server, "validation_failures"))["state"] == "active" and one, "it fires"
    )
    assert fired["sentence"] == "4 calls within an hour made no sense (400 or 422)"


@pytest.mark.requirement("OPS-13", "OPS-2")
@pytest.mark.parametrize(
    ("thresholds", "says"),
    [
        ({"disc": {"warning": 5}}, "there is no rule disc; there are store_trouble"),
        ({"disk": {"warning": 0}}, "0.1 to 100 %"),
        ({"disk": {"warning": -1}}, "expected"),
        ({"disk": {"warning": "10"}}, "expected float | null"),
        ({"disk": {"warn": 10}}, "warn"),
        ({"disk": {"warning": 2}}, "has to be below warning"),
        ({"disk": {"for_sec": 1e9}}, "for_sec"),
        ({"store_trouble": {"critical": 2}}, "has no threshold"),
        ({"errors": {"warning": 30}, "disk": {"critical": 50}}, "has to be below"),
        ({"disk": {"warning": 100.1}}, "0.1 to 100 %"),
        ([], "thresholds"),
    ],
)
def test_thresholds_that_make_no_sense_are_422_and_change_nothing(
    server: RealServer, thresholds: Any, says: str
) -> None:
    """The problem names the field and what is allowed; all of the change is refused."""
    before = server.get(THRESHOLDS).json
    refused = server.call("PUT", THRESHOLDS, {"thresholds": thresholds})
    assert refused.status == 422, refused
    assert says in refused.body.decode()
    assert server.get(THRESHOLDS).json == before


@pytest.mark.requirement("OPS-13", "OPS-27", "OPS-6")
def test_viewers_look_and_operators_act(server: RealServer) -> None:
    """Without a credential nothing is shown; a viewer sees, an operator acts, an unknown rule is 404."""
    viewer, operator = token(server, "viewer"), token(server, "operator")
    for path in ("/api/alerts", THRESHOLDS, "/api/metrics", "/metrics"):
        assert server.call("GET", path, headers={"authorization": ""}).status == 401, path
        assert server.call("GET", path, headers=viewer).status == 200, path
    for method, path, body in (
        ("PUT", "/api/alerts/disk", {"mute_for_sec": 60}),
        ("PUT", THRESHOLDS, {"thresholds": {"errors": {"warning": 20}}}),
    ):
        assert server.call(method, path, body, headers=viewer).status == 403
        assert server.call(method, path, body, headers=operator).status == 200
    assert server.call("POST", "/api/alerts/disk/acknowledge", {}, headers=operator).status == 409
    assert server.call("POST", "/api/alerts/disc/acknowledge", {}, headers=operator).status == 404
    assert server.call("PUT", "/api/alerts/disk", {"mute_until": "2001-01-01T00:00:00Z"}).status == 422
    assert server.call("PUT", "/api/alerts/disk", {"mute_until": None}).status == 200


@pytest.mark.requirement("OPS-12")
def test_the_snapshot_is_of_true_windows_and_kept_for_ten_seconds(quick: RealServer) -> None:
    """Jobs, calls and commits of this server are in it; asking again at once gives the same one."""
    server = quick
    submit = {"jobs": [{"job_type": "snapshot", "cost_units": 1}] * 3}
    assert server.post("/api/scheduler/queue/jobs/submit", submit).status == 200
    claim = {"job_types": ["snapshot"], "capabilities": [], "max": 2}
    for job in server.post("/api/scheduler/queue/claim", claim).json["jobs"]:
        done = {"generation": job["generation"], "fencing_token": job["fencing_token"]}
        path = f"/api/scheduler/queue/jobs/{job['job_id']}/complete"
        assert server.post(path, done).status == 200
    fail_calls(server, 1)
    found = server.get("/api/metrics").json
    assert found["queue"]["states"] == {"QUEUED": 1}
    assert (found["queue"]["in_line"], found["queue"]["workers_known"]) == (1, 1)
    assert found["errors"]["jobs_ended"]["DONE"] == 2
    assert found["errors"]["job_failure_pct"] is None, "two ends are too few for a share"
    for part, least in (("requests", 4), ("commits", 4), ("job_wait", 2), ("job_run", 2)):
        latency = found["latencies"][part]
        assert latency["count"] >= least, part
        assert 0 <= latency["p50_ms"] <= latency["p90_ms"] <= latency["p99_ms"], part
    assert found["utilisation"]["capacity"]["units"]["total"] == 100
    assert found["storage"]["trouble"] == ""
    assert found["storage"]["file_bytes"] >= 4_096
    assert server.post("/api/scheduler/queue/jobs/submit", submit).status == 200
    assert server.get("/api/metrics").json == found


@pytest.mark.requirement("OPS-14", "OPS-26")
def test_an_alert_that_fires_is_told_and_one_that_clears_is_not(scratch: Path) -> None:
    """From the threshold to the receiver; acknowledged and cleared it stays silent."""
    allowed = {"LEASEHOLD_NOTIFICATIONS__ALLOWED_HOSTS": '["127.0.0.1"]'}
    with Receiver() as receiver, RealServer(scratch, **QUICK, **allowed) as server:
        target = server.post("/api/notifications/targets", {"kind": "webhook", "url": receiver.url})
        assert target.status == 200, target
        assert "stale_backup" in [one["rule"] for one in server.get("/api/alerts").json["alerts"]]
        set_thresholds(server, disk={"warning": 100, "critical": 0.1})
        until(lambda: receiver.got, "it is told")
        (message,) = receiver.got[0].messages
        assert (message["kind"], message["severity"]) == ("alert", "warning")
        assert "% free" in message["text"]
        assert server.post("/api/alerts/disk/acknowledge", {}).status == 200
        set_thresholds(server, disk={"warning": 0.2, "critical": 0.1})
        until(lambda: alert(server, "disk")["state"] == "cleared", "it clears")
        until(lambda: server.get("/api/notifications").json["pending"] == 0, "nothing waits to be sent")
        assert len(receiver.got) == 1
