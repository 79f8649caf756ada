"""Logs that programs can read, levels at run time, and no secret in any output (OPS-8, 11)."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.api.real_server import LEASE, RealServer

TOKEN = "lsh_" + "Zq7" * 14 + "x"
PASSWORD = "correct horse/battery+staple"


def lines(server: RealServer) -> list[dict[str, object]]:
    """The log so far."""
    return [json.loads(line) for line in (server.data / "log" / "leasehold.log").read_text().splitlines()]


@pytest.mark.requirement("OPS-11")
def test_lines_are_json_with_their_origin(server: RealServer) -> None:
    """Each line has its time, level, logger, module, function and line."""
    for line in lines(server):
        assert {"at", "level", "event", "logger", "module", "func_name", "lineno"} <= set(line), line


@pytest.mark.requirement("OPS-11")
def test_a_level_is_changed_at_run_time(server: RealServer) -> None:
    """At debug each request is a line with its request id; at info it is none."""
    request_id = "00000000deadbeef"

    def asked() -> list[dict[str, object]]:
        return [line for line in lines(server) if line.get("request_id") == request_id]

    server.call("GET", "/api/whoami", headers={"x-request-id": request_id})
    put = {"logger": "leasehold.api", "level": "debug"}
    assert server.call("PUT", "/api/admin/log-level", put).json["levels"]["leasehold.api"] == "debug"
    server.call("GET", "/api/whoami", headers={"x-request-id": request_id})
    deadline = time.monotonic() + 10
    while not asked():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert [(line["event"], line["route"], line["status"]) for line in asked()] == [
        ("answered", "/api/whoami", 200)
    ]
    server.call("PUT", "/api/admin/log-level", {**put, "level": "info"})


@pytest.mark.requirement("OPS-11")
def test_lines_of_a_request_name_what_it_is_about(server: RealServer) -> None:
    """Its job, its worker, and whose work it is, on every line that comes of it."""
    server.call("PUT", "/api/admin/log-level", {"logger": "leasehold.api", "level": "debug"})
    queue = "/api/scheduler/queue"
    asked = {"x-request-id": "00000000000abcde"}
    server.call("GET", f"{queue}/jobs/job-1234", headers=asked)
    server.call("POST", f"{queue}/claim", {"worker_id": "shelf", "job_types": ["none"]}, headers=asked)
    deadline = time.monotonic() + 10
    while len(found := [line for line in lines(server) if line.get("request_id") == "00000000000abcde"]) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert [(line.get("job_id"), line["tenant"]) for line in found] == [
        ("job-1234", "default"),
        (None, "default"),
    ]
    assert "shelf" in str(found[1]["worker_id"])
    server.call("PUT", "/api/admin/log-level", {"logger": "leasehold.api", "level": "info"})


@pytest.mark.requirement("OPS-8")
def test_canaries_are_found_in_no_output(scratch: Path) -> None:
    """Secrets in every place that takes text, in every encoding, come out nowhere."""
    encodings = [TOKEN, b64encode(TOKEN.encode()).decode(), b64encode(b"x" + TOKEN.encode()).decode()]
    known = [PASSWORD, quote(PASSWORD), quote(PASSWORD, safe=""), json.dumps(PASSWORD)[1:-1]]
    known.append(b64encode(PASSWORD.encode()).decode())
    outputs: list[bytes] = []
    with RealServer(scratch, REGISTRY_PASSWORD=PASSWORD) as server:
        server.call("PUT", "/api/admin/log-level", {"level": "debug"})
        for secret in (*encodings, *known):
            text = f"run --password {secret} --url https://me:{secret}@host/"
            lease = server.lease(label=text[:256], job_type=f"job {secret}"[:128])
            own = {"fencing_token": lease["fencing_token"]}
            one = f"{LEASE}/{lease['lease_id']}"
            outputs += [
                server.post(f"{one}/report", {**own, "message": text, "metrics": {"checkpoint": text}}).body,
                server.post(f"{one}/release", {**own, "outcome": text}).body,
                server.post(f"{LEASE}/request", {text[:60]: text, "cost_class": secret}).body,
                server.call("GET", "/api/whoami", headers={"authorization": f"Bearer {secret}"}).body,
                server.call("GET", "/nope", headers={"cookie": text, "x-request-id": secret[:64]}).body,
                server.call("POST", f"{LEASE}/request", raw=text.encode()).body,
            ]
            name = quote(secret.replace(" ", "").replace("=", ""), safe="")
            outputs.append(server.call("PUT", f"/api/scheduler/locks/{name}", {"size": 2}).body)
            outputs.append(server.get(f"/api/scheduler/decisions?holder={quote(secret, safe='')}").body)
            lease = server.lease()
            outputs.append(server.post(f"{LEASE}/{lease['lease_id']}/revoke", {"note": text}).body)
        for path in (
            "/api/events?limit=1000",
            "/api/scheduler/status",
            "/api/scheduler/decisions",
            "/metrics",
        ):
            outputs.append(server.get(path).body)
        admin = server.token
    files = [path for path in server.data.rglob("*") if path.is_file() and path.name != "admin.token"]
    outputs += [path.read_bytes() for path in [*files, scratch / "stderr"]]
    found = [secret for secret in (*encodings, *known, admin) for each in outputs if secret.encode() in each]
    assert found == []
    assert any(b"[redacted]" in each for each in outputs)
