"""Who did or tried what: changing and denied calls are found in the audit."""

from __future__ import annotations

import http.client
import json
import os
from typing import Any

from accept.harness import check, expect
from accept.product import Product, Server

ADMISSION = "PUT /api/nodes/{node_id}/admission"
WHOAMI = "GET /api/whoami"
FLOOD = 20_000
ROWS_MAX = 16


def told(server: Server, *words: str) -> list[dict[str, Any]]:
    """What `leasehold audit` tells."""
    done = server.run("audit", "--json", *words)
    expect(done.returncode == 0, f"leasehold audit: {done.stderr}")
    return list(json.loads(done.stdout))


def found(server: Server, name: str, times: int = 1, **wanted: object) -> dict[str, Any]:
    """The record of these figures; it may be two where an hour ended meanwhile."""
    records = told(server, "--limit", "1000")
    fitting = [one for one in records if all(one.get(key) == value for key, value in wanted.items())]
    counted = sum(one["count"] for one in fitting)
    expect(counted == times and len(fitting) <= 2, f"{name}: {counted} times, of {wanted}, in {records}")
    one: dict[str, Any] = fitting[-1]
    expect(bool(one["at"] and one["who"] and one["from"] and one["request_id"]), f"{name}: {one}")
    return one


def foreign_session(server: Server) -> None:
    """A page of another origin uses the session of somebody who is signed in."""
    status, link = server.post("/api/session/link", {}, unix=True)
    expect(status == 200, f"no sign-in link: {link}")
    own = {"Origin": f"http://127.0.0.1:{server.port}", "Sec-Fetch-Site": "same-origin"}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    code = json.dumps({"code": link["path"].partition("#")[2]})
    connection.request("POST", "/api/session", code, {**own, "Content-Type": "application/json"})
    answer = connection.getresponse()
    key = json.loads(answer.read())["key"]
    cookie = answer.headers["set-cookie"].partition(";")[0]
    connection.close()
    headers = {"Cookie": cookie, "X-Leasehold-Session": key, "Origin": "https://evil.example"}
    status, _ = server.get("/api/whoami", token=False, headers=headers)
    expect(status == 403, f"a page of elsewhere got {status}")


def wrong_tokens(server: Server, count: int) -> None:
    """So many calls, each with another token that never was one."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    for number in range(count):
        connection.request("GET", "/api/whoami", headers={"Authorization": f"Bearer lsh_{number:043}"})
        answer = connection.getresponse()
        answer.read()
        expect(answer.status == 401, f"a wrong token got {answer.status}")
    connection.close()


@check(
    "secure.audit",
    "The audit: a block, a 403, a 401, a revoked token and a foreign session are found with who, from where, "
    "what, outcome, after kill -9 too; 20,000 wrong tokens leave a few rows",
    command="leasehold audit",
    budget_s=120,
)
def audit(product: Product) -> str:
    """Each of them once, then a flood and a crash."""
    with product.server() as server:
        done = server.run("block", "--for", "10m", "--note", "recording")
        expect(done.returncode == 0, f"no block: {done.stderr}")
        status, made = server.post("/api/tokens", {"name": "watcher", "role": "viewer"})
        expect(status == 200, f"no token: {made}")
        token_id, secret = made["about"]["token_id"], made["token"]
        who = f"token:watcher/{token_id}"
        server.call("PUT", "/api/nodes/self/admission", {"effect": "allow"}, token=secret)
        expect(server.run("token", "revoke", token_id).returncode == 0, "not revoked")
        expect(server.get("/api/whoami", token=secret)[0] == 401, "the revoked token is taken")
        foreign_session(server)
        wrong_tokens(server, 1)
        here = {"from": "127.0.0.1", "listener": "tcp"}

        def all_are_there(wrong: int) -> None:
            block = found(server, "block", what=ADMISSION, outcome="done", listener="leasehold.sock")
            expect(block["from"].startswith(f"unix uid={os.getuid()} pid="), f"from where: {block}")
            expect(block["who"].startswith("user:") and block["credential"] == "socket", f"who: {block}")
            found(server, "403", who=who, what=ADMISSION, outcome="denied", status=403, **here)
            revoked = {"credential_id": token_id, "note": "revoked", "status": 401}
            found(server, "revoked", who="nobody", what=WHOAMI, outcome="denied", **revoked, **here)
            page = {"credential": "session", "note": "from a page of another origin", "status": 403}
            found(server, "foreign session", who="nobody", what=WHOAMI, outcome="denied", **page, **here)
            unknown = {"credential": "token", "note": "unknown", "status": 401}
            found(server, "401", wrong, who="nobody", what=WHOAMI, outcome="denied", **unknown, **here)

        all_are_there(1)
        wrong_tokens(server, FLOOD - 1)
        all_are_there(FLOOD)
        rows = len(told(server, "--limit", "1000"))
        expect(rows <= ROWS_MAX, f"the flood left {rows} rows")
        server.kill()
        server.start()
        all_are_there(FLOOD)
        kept = (server.data / "leasehold.sqlite3").read_bytes()
        expect(secret.encode() not in kept, "the token's secret is in the store")
        return f"{FLOOD:,} wrong tokens: 1 row of {rows}; all of it there after kill -9"
