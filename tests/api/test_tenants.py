"""Tenants and the tier `bulk` at a running server (OPS-7, LEASE-27)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.real_server import LEASE, RealServer

TENANTS = "/api/tenants"
QUEUE = "/api/scheduler/queue"


def token(server: RealServer, **asked: Any) -> dict[str, str]:
    reply = server.post("/api/tokens", {"name": "ci", "role": "submitter", **asked})
    assert reply.status == 200, reply
    return {"authorization": f"Bearer {reply.json['token']}"}


def put(server: RealServer, name: str, **said: Any) -> Any:
    reply = server.call("PUT", f"{TENANTS}/{name}", said)
    assert reply.status == 200, reply
    return reply.json


@pytest.mark.requirement("OPS-7", "LEASE-5")
def test_a_tokens_work_is_its_tenants(server: RealServer) -> None:
    """Set, used, refused with figures in a 429 and in a denial, shown, and removed once nothing is left."""
    put(server, "lab", units=5, jobs=2, weight=2)
    lab = token(server, tenant="lab")
    assert server.call("GET", "/api/whoami", headers=lab).json["tenant"] == "lab"
    lease = server.call("POST", f"{LEASE}/request", {"cost_units": 5}, headers=lab).json
    assert lease["approved"]
    denied = server.call("POST", f"{LEASE}/request", {"cost_units": 1}, headers=lab).json
    assert [reason["code"] for reason in denied["reasons"]] == ["QUOTA"]
    assert denied["reasons"][0]["figures"]["capacity"] == 5
    submit = f"{QUEUE}/jobs/submit"
    body = {"jobs": [{"job_type": "t", "cost_units": 1}] * 2}
    assert server.call("POST", submit, body, headers=lab).json["taken"] == 2
    full = server.call("POST", submit, {"job_type": "t", "cost_units": 1}, headers=lab)
    assert (full.status, full.json["code"]) == (429, "QUOTA")
    assert int(full.headers["retry-after"]) >= 1
    assert "used=2, requested=1, quota=2" in full.json["detail"]
    shown = server.get(f"{TENANTS}/lab").json
    assert shown["units"] == {"used": 5, "quota": 5}
    assert shown["jobs"] == {"used": 2, "quota": 2}
    assert shown["tokens"] == 1
    busy = server.call("DELETE", f"{TENANTS}/lab")
    assert (busy.status, busy.json["code"]) == (409, "CONFLICT")
    jobs = server.get(f"{QUEUE}/jobs?tenant=lab").json["jobs"]
    assert {job["tenant"] for job in jobs} == {"lab"}
    for job in jobs:
        assert server.post(f"{QUEUE}/jobs/{job['job_id']}/cancel", {}).status == 200
    release = {"fencing_token": lease["fencing_token"]}
    assert server.call("POST", f"{LEASE}/{lease['lease_id']}/release", release, headers=lab).status == 200
    (about,) = [one for one in server.get("/api/tokens").json["tokens"] if one.get("tenant") == "lab"]
    assert server.call("DELETE", f"/api/tokens/{about['token_id']}").status == 204
    server.call("DELETE", f"{TENANTS}/lab")
    assert [one["name"] for one in server.get(TENANTS).json["tenants"]] == ["default"]


@pytest.mark.requirement("OPS-7", "OPS-6")
def test_nobody_gives_another_tenant_than_their_own(server: RealServer) -> None:
    """A submitter sees tenants, sets none, and names none; an unknown one is 422, with how to make it."""
    put(server, "shop")
    mine = token(server)
    assert server.call("GET", TENANTS, headers=mine).status == 200
    for method, path, body in (
        ("PUT", f"{TENANTS}/shop", {"weight": 9}),
        ("DELETE", f"{TENANTS}/shop", None),
        ("POST", f"{QUEUE}/jobs/submit", {"cost_units": 1, "tenant": "shop"}),
    ):
        refused = server.call(method, path, body, headers=mine)
        assert (refused.status, refused.json["code"]) == (403, "NOT_PERMITTED"), path
    unknown = server.post("/api/tokens", {"name": "x", "role": "worker", "tenant": "nowhere"})
    assert unknown.status == 422
    assert "leasehold tenant set nowhere" in unknown.json["detail"]
    assert server.call("DELETE", f"{TENANTS}/shop").status == 204


@pytest.mark.parametrize(
    "body",
    [
        {"weight": 0},
        {"weight": 1_001},
        {"weight": None},
        {"units": -1},
        {"units": 1.5},
        {"jobs": "many"},
        {"payload_bytes": 2**53},
        {"quota": 1},
        [],
    ],
)
def test_what_makes_no_sense_is_refused(server: RealServer, body: Any) -> None:
    """422 with the field, and no tenant is made."""
    refused = server.call("PUT", f"{TENANTS}/odd", body)
    assert refused.status == 422
    assert server.get(f"{TENANTS}/odd").status == 404


def test_names_are_plain(server: RealServer) -> None:
    """What could not stand in a path or a shell is no name."""
    for name in ("-x", "a%2Fb", "a%20b", "x" * 65):
        assert server.call("PUT", f"{TENANTS}/{name}", {}).status in (404, 422), name


@pytest.mark.requirement("LEASE-27", "WORKER-10")
def test_a_worker_that_polls_in_a_tight_loop_is_told_when_to_come_back(server: RealServer) -> None:
    """429 with Retry-After after a few empty claims; one that waits in the call is not refused."""
    worker = token(server, role="worker")
    claim = {"job_types": ["nothing-of-this-kind"]}
    statuses = []
    for _ in range(200):
        reply = server.call("POST", f"{QUEUE}/claim", claim, headers=worker)
        statuses.append(reply.status)
        if reply.status == 429:
            break
    assert statuses[-1] == 429, "two hundred empty claims at once were all taken"
    assert len(statuses) > 5
    assert reply.json["code"] == "RATE_LIMITED"
    assert 1 <= int(reply.headers["retry-after"]) <= 2
    assert "wait_sec" in reply.json["detail"]
    polite = token(server, role="worker", name="polite")
    waits = {**claim, "wait_sec": 1}
    assert server.call("POST", f"{QUEUE}/claim", waits, headers=polite).status == 200
