"""Who may do what, and what bad input is told: the documented answer each."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from accept.harness import Skipped, check, expect
from accept.product import Product, Server

ASK = "/api/scheduler/lease/request"
SOCKET_CALL = """
import http.client, json, socket, sys
path, method, route, body = sys.argv[1:5]
c = http.client.HTTPConnection("localhost"); c.sock = socket.socket(socket.AF_UNIX); c.sock.connect(path)
c.request(method, route, body or None, {"Content-Type": "application/json"} if body else {})
a = c.getresponse(); print(json.dumps([a.status, json.loads(a.read() or b"null")]))
"""


def problem(found: tuple[int, Any], status: int, code: str) -> dict[str, Any]:
    """The answer is this problem document, whole."""
    seen, body = found
    expect(seen == status, f"expected {status} {code}, got {seen}: {str(body)[:300]}")
    expect(body["code"] == code and body["status"] == status, f"expected {code}: {body}")
    expect(len(body["request_id"]) == 16 and body["detail"], f"no request id or sentence: {body}")
    return dict(body)


def taken(server: Server, **body: Any) -> dict[str, Any]:
    """A granted lease of one unit."""
    lease = server.request(cost_units=1, start="now", **body)
    expect(lease["approved"], f"not granted: {lease['reason']}")
    return lease


@check(
    "secure.two_users",
    "Two Unix users: each asks on the socket as itself, neither touches the other's lease",
    budget_s=30,
)
def two_users(product: Product) -> str:
    """The server's owner, and `nobody` by the socket that a root server offers everybody."""
    if os.geteuid() != 0:
        raise Skipped("a second Unix user needs root")
    nobody = pwd.getpwnam("nobody")
    with product.server() as server:
        os.chmod(server.data.parent, 0o711)
        shared = Path(server.env["LEASEHOLD_RUN_DIR"]) / "leasehold.sock"

        def as_nobody(method: str, route: str, body: str = "", path: Path = shared) -> tuple[int, Any]:
            command = ["/usr/bin/python3", "-c", SOCKET_CALL, str(path), method, route, body]
            done = subprocess.run(
                command, user=nobody.pw_uid, group=nobody.pw_gid, capture_output=True, text=True, check=False
            )
            if done.returncode:
                return 0, done.stderr
            status, answer = json.loads(done.stdout)
            return status, answer

        me = as_nobody("GET", "/api/whoami")
        expect(
            me[0] == 200 and me[1]["name"] == "user:nobody" and me[1]["role"] == "submitter", f"whoami: {me}"
        )
        mine = taken(server)
        body = json.dumps({"fencing_token": mine["fencing_token"]})
        for verb in ("heartbeat", "release", "report"):
            problem(
                as_nobody("POST", f"/api/scheduler/lease/{mine['lease_id']}/{verb}", body),
                403,
                "NOT_PERMITTED",
            )
        problem(
            as_nobody("POST", f"/api/scheduler/lease/{mine['lease_id']}/revoke", "{}"), 403, "NOT_PERMITTED"
        )
        theirs = as_nobody(
            "POST", ASK, json.dumps({"cost_units": 1, "start": "now", "bind": {"pids": [os.getpid()]}})
        )
        problem(theirs, 403, "NOT_PERMITTED")
        refused = as_nobody("PUT", "/api/admin/log-level", '{"logger": "leasehold", "level": "debug"}')
        problem(refused, 403, "NOT_PERMITTED")
        private = as_nobody("GET", "/api/whoami", path=server.data / "leasehold.sock")
        expect(
            private[0] == 0 and "Permission" in private[1], f"the owner's socket let a stranger in: {private}"
        )
        token = subprocess.run(
            ["cat", server.data / "admin.token"], user=nobody.pw_uid, capture_output=True, check=False
        )
        expect(token.returncode != 0, "the admin token is readable by another user")
        status, lease = server.post(
            f"/api/scheduler/lease/{mine['lease_id']}/heartbeat", {"fencing_token": mine["fencing_token"]}
        )
        expect(status == 200 and lease["state"] == "ACTIVE", "the lease was touched")
        return "user:nobody is a submitter of its own; 403 on another's lease, process and log level; socket and token closed"


@check(
    "secure.token_only",
    "A client with only a token, one without, one with a wrong one: 200, 401, 401",
    budget_s=20,
)
def token_only(product: Product) -> str:
    """Over TCP nothing but the token counts, and only /health and /ready are open."""
    with product.server() as server:
        expect(taken(server)["approved"], "the token was not enough")
        problem(server.get("/api/scheduler/status", token=False), 401, "UNAUTHENTICATED")
        problem(server.get("/api/scheduler/status", token="lsh_" + "A" * 43), 401, "UNAUTHENTICATED")
        problem(server.get("/metrics", token=False), 401, "UNAUTHENTICATED")
        for route in ("/health", "/ready"):
            expect(server.get(route, token=False)[0] == 200, f"{route} is not open")
        rebound = server.get("/health", token=False, headers={"Host": "evil.example"})
        expect(rebound[0] in (400, 403, 421), f"a foreign Host header was served: {rebound}")
        mode = (server.data / "admin.token").stat().st_mode & 0o777
        expect(mode == 0o600, f"the token's file has mode {mode:o}")
        return "with token 200, without or with a wrong one 401, foreign Host refused, token file 0600"


@check(
    "secure.stale_token",
    "A stale fencing token, an ended lease, an unknown one: 409, 410 with how it ended, 404",
    budget_s=20,
)
def stale_token(product: Product) -> str:
    """LEASE-12, word by word."""
    with product.server() as server:
        lease = taken(server)
        route = f"/api/scheduler/lease/{lease['lease_id']}"
        token = lease["fencing_token"]
        for verb in ("heartbeat", "report", "release"):
            problem(server.post(f"{route}/{verb}", {"fencing_token": token - 1}), 409, "STALE_TOKEN")
        first = server.post(f"{route}/release", {"fencing_token": token})
        again = server.post(f"{route}/release", {"fencing_token": token})
        expect(
            first[0] == again[0] == 200 and again[1]["state"] == "RELEASED", f"release twice: {first} {again}"
        )
        expect(server.status()["capacity"]["units"]["used"] == 0, "the charge did not fall, or fell twice")
        ended = problem(server.post(f"{route}/heartbeat", {"fencing_token": token}), 410, "LEASE_ENDED")
        expect("RELEASED" in ended["detail"], f"410 does not say how it ended: {ended}")
        problem(
            server.post("/api/scheduler/lease/lease-unknown/heartbeat", {"fencing_token": 1}),
            404,
            "NOT_FOUND",
        )
        return "409 STALE_TOKEN, release twice 200, 410 LEASE_ENDED (RELEASED), 404 NOT_FOUND"


@check(
    "secure.idempotency",
    "Reused idempotency keys: the same lease, 422 for another body, kept over a crash",
    budget_s=30,
)
def idempotency(product: Product) -> str:
    """LEASE-8, also after kill -9."""
    with product.server() as server:
        key = {"Idempotency-Key": "backup-2026"}
        body = {"cost_units": 2, "start": "now", "wait_sec": 0}
        first = server.post(ASK, body, headers=key)
        second = server.post(ASK, body, headers=key)
        expect(first[1]["lease_id"] == second[1]["lease_id"], "the same key made two leases")
        problem(server.post(ASK, {**body, "cost_units": 3}, headers=key), 422, "IDEMPOTENCY_MISMATCH")
        server.kill()
        server.start()
        third = server.post(ASK, body, headers=key)
        expect(third[1]["lease_id"] == first[1]["lease_id"], "the key was forgotten by a crash")
        expect(server.status()["capacity"]["units"]["used"] <= 2, "it is charged twice")
        return "same lease for the same key and body, before and after kill -9; 422 for another body"


BAD: list[tuple[str, Any, int, str, str]] = [
    ("unknown field", {"cost_units": 1, "colour": "red"}, 422, "INVALID", "colour"),
    ("wrong type", {"cost_units": "many"}, 422, "INVALID", "cost_units"),
    ("out of range", {"cost_units": 101}, 422, "INVALID", "cost_units"),
    ("nothing to weigh", {"job_type": "x"}, 422, "INVALID", "cost_units"),
    ("unknown priority", {"cost_units": 1, "priority": "FIRST"}, 422, "INVALID", "URGENT"),
    ("too long a wait", {"cost_units": 1, "wait_sec": 301}, 422, "INVALID", "wait_sec"),
    ("a list", [1, 2], 422, "INVALID", ""),
    ("not JSON", b"{nope", 400, "MALFORMED", ""),
    ("not UTF-8", b'{"job_type": "\xff\xfe"}', 400, "MALFORMED", ""),
    ("deep JSON", b"[" * 100_000 + b"]" * 100_000, 400, "MALFORMED", ""),
    ("10 MB", b'{"label": "' + b"x" * 10_000_000 + b'"}', 413, "TOO_LARGE", ""),
]


@check(
    "secure.bad_input",
    "Unknown fields, wrong types, 10 MB bodies, deep JSON: the documented answer each, with the field, never the value",
    budget_s=30,
)
def bad_input(product: Product) -> str:
    """Each gets its problem document; the server stays what it was."""
    with product.server() as server:
        for name, body, status, code, named in BAD:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            try:
                found = problem(server.post(ASK, raw), status, code)
            except (BrokenPipeError, ConnectionResetError):
                expect(
                    status == 413, f"{name}: the connection was cut"
                )  # Refused while it was still being sent.
                continue
            expect(named in json.dumps(found), f"{name}: {named} is not named in {found}")
            expect("many" not in json.dumps(found), f"{name}: the value is echoed")
        page = server.get("/api/scheduler/decisions?range=yesterday")
        problem(page, 422, "INVALID")
        expect(taken(server)["approved"], "the server was harmed")
        return f"{len(BAD) + 1} kinds of bad input, each with its documented answer"


@check(
    "secure.naive_times",
    "Naive times: a time without a zone is refused wherever a time is taken",
    command='curl -X PUT …/api/nodes/self/admission -d \'{"effect": "block", "until": "2026-12-24T18:00:00"}\'',
    budget_s=20,
)
def naive_times(product: Product) -> str:
    """Every call that takes a time: refused without a zone, taken with one."""
    contract = json.loads((Path(__file__).parents[2] / "docs/reference/openapi.json").read_text())
    takes = sorted(
        name
        for name, schema in contract["components"]["schemas"].items()
        if any("date-time" in json.dumps(field) for field in schema.get("properties", {}).values())
    )
    expect(
        takes == ["AdmissionIn", "PretendIn", "WindowIn"],
        f"these take a time and are not all checked here: {takes}",
    )
    later = datetime.now(UTC) + timedelta(hours=2)
    window = {"effect": "block", "from": "00:00", "to": "00:01"}
    with product.server() as server:
        for method, path, body in (
            ("PUT", "admission", {"effect": "block"}),
            ("PUT", "pretend", {"state": "busy"}),
            ("POST", "windows", window),
        ):
            naive = {**body, "until": f"{later:%Y-%m-%dT%H:%M:%S}"}
            problem(server.call(method, f"/api/nodes/self/{path}", naive), 422, "INVALID")
            status, _ = server.call(method, f"/api/nodes/self/{path}", {**body, "until": later.isoformat()})
            expect(status == 200, f"{path} with a zone answers {status}")
    return f"{', '.join(takes)}: 422 without a zone, 200 with one"


@check(
    "secure.rate",
    "A worker's or add-on's calls are limited; the answer is 429 with the members of a denial",
    budget_s=20,
)
def rate(product: Product) -> str:
    """A worker's token is held to its bucket, beside an administrator who is not."""
    with product.server() as server:
        status, made = server.post("/api/tokens", {"name": "worker", "role": "worker"})
        expect(status == 200, f"no token: {made}")
        asked = [server.post(ASK, {"cost_units": 1, "wait_sec": 0}, token=made["token"]) for _ in range(15)]
        refused = [answer for status, answer in asked if status == 429]
        expect(bool(refused), f"15 requests at once, none limited: {[status for status, _ in asked]}")
        told = problem((429, refused[0]), 429, "RATE_LIMITED")
        expect(told["approved"] is False and told["retry_after_sec"] >= 1, f"no denial's members: {told}")
        began = time.monotonic()
        for _ in range(40):
            lease = taken(server)
            server.post(
                f"/api/scheduler/lease/{lease['lease_id']}/release", {"fencing_token": lease["fencing_token"]}
            )
        took = time.monotonic() - began
    return (
        f"{len(refused)} of a worker's 15 requests at once 429; 40 of an administrator in {took:.1f} s, none"
    )
