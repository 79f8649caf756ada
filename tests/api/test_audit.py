"""Every changing and every denied call leaves a record: who, from where, what, outcome (OPS-7)."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from base64 import b64encode
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from leasehold.runtime.ids import new_token
from tests.api.browser_session import BrowserSession, send
from tests.api.real_server import JSON_TYPE, LEASE, RealServer, Wire, request

BLOCK = "/api/nodes/self/admission"
ADMISSION = "PUT /api/nodes/{node_id}/admission"
ALLOW = {"effect": "allow", "for_sec": 60}
WHOAMI = "GET /api/whoami"


def newest(server: RealServer, **asked: Any) -> dict[str, Any]:
    """The newest record of a kind."""
    query = "&".join(f"{name}={quote(str(value))}" for name, value in asked.items())
    reply = server.get(f"/api/audit?{query}")
    assert reply.status == 200, reply
    found: list[dict[str, Any]] = reply.json["calls"]
    assert found, f"nothing of {asked}"
    return found[-1]


def counted(calls: list[dict[str, Any]]) -> dict[tuple[str, str], int]:
    """How often what had which outcome; an hour that ends meanwhile makes two records of one."""
    counts: Counter[tuple[str, str]] = Counter()
    for call in calls:
        counts[call["what"], call["outcome"]] += call["count"]
    return dict(counts)


def the(record: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(record.get(name) for name in names)


def token_of(server: RealServer, **asked: Any) -> tuple[str, dict[str, str]]:
    reply = server.post("/api/tokens", {"name": "ci", "role": "viewer", **asked})
    assert reply.status == 200, reply
    return reply.json["about"]["token_id"], {"authorization": f"Bearer {reply.json['token']}"}


@pytest.mark.requirement("OPS-7")
def test_a_change_is_told_with_who_from_where_what_and_outcome(server: RealServer) -> None:
    """Over the socket uid and pid, over TCP the address; the id of the request is that of the answer."""
    with server.unix() as wire:
        wire.send(request("PUT", BLOCK, JSON_TYPE, json.dumps(ALLOW).encode()))
        reply = wire.reply()
    found = newest(server)
    assert reply.status == 200
    assert the(found, "credential", "from", "listener") == (
        "socket",
        f"unix uid={os.getuid()} pid={os.getpid()}",
        "leasehold.sock",
    )
    assert found["who"].startswith("user:")
    assert the(found, "what", "outcome", "status", "ids") == (ADMISSION, "done", 200, {"node_id": "self"})
    assert found["request_id"] == reply.headers["x-request-id"]
    assert server.call("PUT", BLOCK, ALLOW).status == 200
    found = newest(server)
    assert the(found, "who", "credential", "from", "listener") == (
        "token:admin",
        "admin token",
        "127.0.0.1",
        "tcp",
    )
    server.call("PUT", "/api/admin/log-level", {"level": "info"})
    assert newest(server)["what"] == "PUT /api/admin/log-level", "what touches no ledger is told too"


@pytest.mark.requirement("OPS-7")
def test_a_change_that_failed_is_told_with_its_code(server: RealServer) -> None:
    """A token that is not there can't be revoked: the try is a record, with the id that was asked for."""
    assert server.call("DELETE", "/api/tokens/tok-0000000000000").status == 404
    found = newest(server, outcome="failed")
    assert the(found, "what", "status", "code", "ids") == (
        "DELETE /api/tokens/{token_id}",
        404,
        "NOT_FOUND",
        {"token_id": "tok-0000000000000"},
    )


@pytest.mark.requirement("OPS-7", "OPS-5")
def test_tokens_are_told_by_their_ids(server: RealServer) -> None:
    """Made, used beyond its rights, revoked, shown again, and also over a restart; a stranger's has none."""
    token_id, header = token_of(server)
    made = newest(server)
    assert the(made, "what", "ids") == ("POST /api/tokens", {"token_id": token_id})
    assert server.call("PUT", BLOCK, ALLOW, headers=header).status == 403
    found = newest(server, outcome="denied")
    assert the(found, "who", "credential", "credential_id", "what", "status", "code") == (
        f"token:ci/{token_id}",
        "token",
        token_id,
        ADMISSION,
        403,
        "NOT_PERMITTED",
    )
    assert server.call("DELETE", f"/api/tokens/{token_id}").status == 204
    for _ in range(3):
        assert server.call("GET", "/api/whoami", headers=header).status == 401
    found = newest(server, who=token_id, outcome="denied")
    assert the(found, "who", "note", "what", "status") == ("nobody", "revoked", WHOAMI, 401)
    short_id, short = token_of(server, ttl_sec=1)
    deadline = time.monotonic() + 10
    while server.call("GET", "/api/whoami", headers=short).status != 401:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert newest(server, who=short_id)["note"] == "expired"
    stranger = {"authorization": f"Bearer {new_token()}"}
    assert server.call("GET", "/api/whoami", headers=stranger).status == 401
    found = newest(server, who="nobody")
    assert the(found, "credential", "credential_id", "note", "from") == (
        "token",
        None,
        "unknown",
        "127.0.0.1",
    )


@pytest.mark.requirement("OPS-7", "OPS-9")
def test_sessions_and_links_are_told(server: RealServer) -> None:
    """Made, used, used again, a page of elsewhere, a stolen cookie, signed out: each by its public id."""
    browser = BrowserSession(server)
    made, used = server.get("/api/audit?limit=2").json["calls"]
    assert the(made, "what", "credential") == ("POST /api/session/link", "socket")
    assert the(used, "who", "what", "credential", "credential_id", "status") == (
        made["who"],
        "POST /api/session",
        "sign-in link",
        made["ids"]["link"],
        200,
    )
    sid = used["ids"]["session"]
    assert browser.sign_in(browser.code).status == 401
    again = newest(server, who=made["ids"]["link"])
    assert the(again, "who", "status", "note") == ("nobody", 401, f"used already; {made['who']} made it")
    assert browser.sign_in("0" * 32).status == 401
    assert the(newest(server), "credential", "note") == ("sign-in link", "unknown")
    assert browser.call("PUT", BLOCK, ALLOW, origin="http://evil.example").status == 403
    foreign = newest(server, who=sid)
    assert the(foreign, "who", "what", "status", "note") == (
        "nobody",
        ADMISSION,
        403,
        "from a page of another origin",
    )
    assert browser.call("GET", "/api/whoami", without=("x-leasehold-session",)).status == 401
    assert newest(server, who=sid)["note"] == "over, or without its key"
    assert browser.call("DELETE", "/api/session").status == 204
    assert the(newest(server, who=sid), "who", "what", "credential", "outcome") == (
        made["who"],
        "DELETE /api/session",
        "session",
        "done",
    )


@pytest.mark.requirement("OPS-7")
def test_other_ways_in_that_are_refused_are_told(server: RealServer) -> None:
    """No credential, another kind of one, another host's name, and a container's socket without a token."""
    with server.unix(server.data / "client.sock") as wire:
        wire.send(request("GET", "/api/whoami"))
        assert wire.reply().status == 401
    found = newest(server)
    assert the(found, "who", "credential", "listener", "from") == (
        "nobody",
        "none",
        "client.sock",
        f"unix uid={os.getuid()} pid={os.getpid()}",
    )
    if os.getuid() == 0:  # Then there is one for all users too.
        with server.unix(Path(server.env["LEASEHOLD_RUN_DIR"]) / "leasehold.sock") as wire:
            wire.send(request("DELETE", "/api/nodes/self/pretend"))
            assert wire.reply().status == 204
        assert newest(server)["listener"] == "run/leasehold.sock"
    assert send(server, "GET", "/api/whoami", {"authorization": "Basic eDp5"}).status == 401
    assert newest(server)["note"] == "no bearer token"
    with server.tcp() as wire:
        wire.send(request("GET", "/api/whoami", host="evil.example"))
        assert wire.reply().status == 421
    assert the(newest(server), "what", "code", "outcome") == ("any route", "MISDIRECTED", "denied")


@pytest.mark.requirement("OPS-7")
def test_calls_of_leases_leave_no_record_but_denied_ones_do(server: RealServer) -> None:
    """Ask, renew, report and release are the ledger's events; a person's pause is a record; a stranger's
    renewal of another's lease is one, though it came on the short way.
    """
    server.call("PUT", BLOCK, ALLOW)
    before = newest(server)["seq"]
    lease = server.lease()
    own, one = {"fencing_token": lease["fencing_token"]}, f"{LEASE}/{lease['lease_id']}"
    server.post(f"{one}/heartbeat", own)
    server.post(f"{one}/report", {**own, "progress": 0.5})
    server.post("/api/scheduler/explain", {"cost_units": 1})
    assert server.get(f"/api/audit?after={before}").json["calls"] == []
    server.post(f"{one}/pause", {"note": "a call"})
    _, other = token_of(server, role="submitter")
    payload = json.dumps(own).encode()
    with server.tcp() as wire:
        for _ in range(4):
            wire.send(request("POST", f"{one}/heartbeat", {**other, **JSON_TYPE}, payload))
            assert wire.reply().status == 403
    server.release(lease)
    assert counted(server.get(f"/api/audit?after={before}").json["calls"]) == {
        (f"POST {LEASE}/{{lease_id}}/pause", "done"): 1,
        ("POST /api/tokens", "done"): 1,
        (f"POST {LEASE}/{{lease_id}}/heartbeat", "denied"): 4,
    }


@pytest.mark.requirement("OPS-7", "OPS-6")
def test_the_audit_is_for_administrators_and_operators(server: RealServer) -> None:
    """Others are refused, and what is asked in the wrong way is told how."""
    for role, status in (("viewer", 403), ("submitter", 403), ("worker", 403), ("operator", 200)):
        _, header = token_of(server, role=role)
        assert server.call("GET", "/api/audit", headers=header).status == status, role
    for query in ("after=-1", "after=1.0", "limit=0", "limit=1001", "outcome=bad", "range=1y", "x=1"):
        assert server.get(f"/api/audit?{query}").status == 422, query


@pytest.mark.requirement("OPS-7", "OPS-8")
def test_no_secret_gets_into_the_audit(scratch: Path) -> None:
    """Canaries in credentials, paths, queries, bodies and headers, in any encoding: none is kept or told."""
    password = "hunter2-for-the-registry"
    token = new_token()
    secrets = [token, b64encode(token.encode()).decode(), quote(token, safe=""), password]
    secrets.append(b64encode(password.encode()).decode().rstrip("="))
    with RealServer(scratch, REGISTRY_PASSWORD=password) as server:
        for secret in secrets:
            for path in (f"/api/tokens/{secret}", f"/api/scheduler/locks/{secret}", f"/api/addons/{secret}"):
                server.call("DELETE", path)
                server.call("DELETE", path, headers={"authorization": f"Bearer {secret}"})
            server.call("PUT", f"{BLOCK}?x={secret}", {**ALLOW, "note": secret})
            server.call("PUT", f"/api/nodes/{secret}/admission", {**ALLOW, "note": secret})
            server.post("/api/session", {"code": secret})
            server.call("GET", "/api/whoami", headers={"cookie": f"leasehold_{secret}={secret}"})
            send(server, "GET", "/api/whoami", {"authorization": f"Basic {secret}", "user-agent": secret})
            server.call("DELETE", "/api/tokens/" + quote("\x1b[2J" + "x" * 500))
        told = server.get("/api/audit?limit=1000").body.decode()
        made = BrowserSession(server)
    with sqlite3.connect(server.data / "leasehold.sqlite3") as connection:
        rows = connection.execute("SELECT * FROM audit").fetchall()
    connection.close()
    kept = repr([[value for value in row if not isinstance(value, bytes)] for row in rows])
    assert kept.count("DELETE /api/tokens") > 3
    for secret in (*secrets, made.code, made.key, made.cookie.partition("=")[2], server.token):
        assert secret not in told
        assert secret not in kept
    assert "\x1b" not in kept
    assert "\\x1b" not in kept
    assert "x" * 100 not in kept


def flood(wire: Wire, count: int) -> None:
    """So many calls with as many wrong tokens."""
    for n in range(count):
        wire.send(request("GET", "/api/whoami", {"authorization": f"Bearer lsh_{n:043}"}))
        assert wire.reply().status == 401


@pytest.mark.requirement("OPS-7", "INV-8")
def test_records_outlive_a_kill_and_a_flood_is_a_few_rows(scratch: Path) -> None:
    """After kill -9 the change and the denials are there, a revoked token is still known by its id."""
    server = RealServer(scratch)
    with server:
        token_id, header = token_of(server)
        server.call("DELETE", f"/api/tokens/{token_id}")
        with server.tcp() as wire:
            flood(wire, 2_000)
        denied = server.get("/api/audit?outcome=denied").json["calls"]
        assert counted(denied) == {(WHOAMI, "denied"): 2_000}
        assert len(denied) <= 2
        server.call("PUT", BLOCK, ALLOW)
        assert server.process is not None
        server.process.kill()
        server.process.wait()
        server.start()
        calls = server.get("/api/audit").json["calls"]
        assert counted(calls) == {
            ("POST /api/tokens", "done"): 1,
            ("DELETE /api/tokens/{token_id}", "done"): 1,
            (WHOAMI, "denied"): 2_000,
            (ADMISSION, "done"): 1,
        }
        assert server.call("GET", "/api/whoami", headers=header).status == 401
        assert the(newest(server), "credential_id", "note") == (token_id, "revoked")
