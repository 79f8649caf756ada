"""Add-ons at a real server: registered, watched, switched off, and none of them harms another."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse

from leasehold.client.endpoint import Endpoint
from leasehold.integrations.asgi import LeaseholdStats, Push
from tests.api.addon_program import addon, until
from tests.api.real_server import RealServer

ADDONS = "/api/addons"
pytestmark = pytest.mark.slow


def seen(server: RealServer, addon_id: str) -> Any:
    """What `/api/system-stats/addons` says of one."""
    return server.get("/api/system-stats/addons").json["addons"].get(addon_id)


def has_come_to(server: RealServer, addon_id: str, lifecycle: str) -> Any:
    return until(
        lambda: (now := seen(server, addon_id)) and now["lifecycle"] == lifecycle and now,
        f"{addon_id} is {lifecycle}: {seen(server, addon_id)}",
    )


def codes(server: RealServer) -> set[tuple[str, str, str]]:
    """All that is wrong with any: (id, source, code)."""
    found = server.get(f"{ADDONS}/errors").json["errors"]
    return {(one["id"], one["source"], one["code"]) for one in found}


@pytest.fixture(autouse=True)
def nobody_left(server: RealServer) -> Iterator[None]:
    """Each test begins and ends with an empty registry."""
    yield
    for one in server.get(ADDONS).json["addons"]:
        assert server.call("DELETE", f"{ADDONS}/{one['id']}").status == 204


@pytest.mark.requirement("SENSE-21", "SENSE-5", "SENSE-1")
def test_an_addon_is_registered_watched_and_removed(server: RealServer, tmp_path: Path) -> None:
    """It is loaded once it answers; its folder, figures and history are shown; the end leaves nothing."""
    (tmp_path / "file").write_bytes(os.urandom(200_000))
    with addon() as shop:
        shop.says("/api/addons/shop/stats", {"requests": {"rps": 0.2, "p95_ms": 9}, "queue": {"length": 3}})
        body = {"id": "shop", "name": "A shop", "version": "1.2", "base_url": shop.url + "/"}
        reply = server.post(ADDONS, {**body, "runtime_dir": str(tmp_path)})
        assert (reply.status, reply.json["base_url"], reply.json["by"]) == (200, shop.url, "token:admin")
        now = until(
            lambda: (
                (one := seen(server, "shop"))
                and one["lifecycle"] == "loaded"
                and one["custom"]
                and one["folder"]
                and one
            ),
            f"all of it is seen: {seen(server, 'shop')}",
        )
        assert 200_000 <= now["runtime_dir_bytes"] < 1_000_000
        assert now["folder"]["complete"] is True
        assert now["health"]["status"] == "ok"
        assert now["health"]["last_ok"] == now["health"]["last_checked"]
        assert now["custom"] == {"queue": {"length": 3}}
        assert now["requests"] == {"rps": 0.2, "p95_ms": 9.0, "in_flight": None, "error_pct": None}
        assert (now["requests_count"], now["errors"]) == (True, {})
        assert server.get("/api/system-stats/current").json["addons"]["shop"]["version"] == "1.2"
        one = server.get(f"{ADDONS}/shop").json
        assert (one["lifecycle"], one["stats"]["custom"]) == ("loaded", {"queue": {"length": 3}})
        collectors = server.get("/api/system-stats/debug/collectors").json["collectors"]
        assert {"addon:shop:health", "addon:shop:stats", "addon:shop:folder"} <= {
            c["name"] for c in collectors
        }
        for metric, value in (("custom.queue.length", 3), ("up", 1)):
            question = f"/api/system-stats/history?group=addon:shop&metric={metric}&range=1m&agg=last"
            until(
                lambda question=question, value=value: (
                    (found := server.get(question)).status == 200 and value in found.json["values"]
                ),
                f"history has {metric}",
            )
    assert server.call("DELETE", f"{ADDONS}/shop").status == 204
    assert server.get(f"{ADDONS}/shop").status == 404
    assert seen(server, "shop") is None
    kinds = [event["kind"] for event in server.get("/api/events?limit=1000").json["events"]]
    assert kinds.index("AddonRegistered") < kinds.index("AddonRemoved")


@pytest.mark.requirement("SENSE-21")
def test_a_disabled_one_gets_no_lease_and_waits_until_it_is_enabled(server: RealServer) -> None:
    """Nor a lock; nobody else is touched; what it holds it keeps; who waits is granted at once."""
    server.post(ADDONS, {"id": "batch"})
    held = server.lease(addon_id="batch")
    assert server.post(f"{ADDONS}/batch/disable", {}).json["lifecycle"] == "installed"
    for asked in ({"cost_units": 1}, {"locks": ["db"]}, {"cost_units": 100, "cost_class": None}):
        answer = server.post("/api/scheduler/lease/request", {"addon_id": "batch", **asked}).json
        assert answer["approved"] is False
        assert answer["reasons"][0]["code"] == "ADDON_DISABLED"
        assert answer["reason"] == "The add-on batch is disabled; it gets no lease"
    server.release(server.lease(addon_id="somebody-else"))
    own = {"fencing_token": held["fencing_token"]}
    assert server.post(f"/api/scheduler/lease/{held['lease_id']}/heartbeat", own).json["action"] == "continue"
    granted: list[Any] = []
    wait = {"addon_id": "batch", "cost_units": 1, "wait_sec": 20}
    waiter = threading.Thread(
        target=lambda: granted.append(server.post("/api/scheduler/lease/request", wait).json)
    )
    waiter.start()
    until(lambda: server.get("/api/scheduler/status").json["waiting"], "it waits")
    assert server.post(f"{ADDONS}/batch/enable", {}).json["enabled"] is True
    waiter.join(10)
    assert granted[0]["approved"] is True
    for lease in (granted[0], held):
        server.release(lease)


@pytest.mark.requirement("SENSE-21", "INV-4")
def test_the_registry_outlives_kill_9(scratch: Path) -> None:
    """What was answered is there again, also that one is disabled."""
    with RealServer(scratch) as server:
        with addon() as shop:
            server.post(ADDONS, {"id": "shop", "version": "7", "base_url": shop.url})
            server.post(ADDONS, {"id": "off"})
            server.post(f"{ADDONS}/off/disable", {})
            assert server.process is not None
            server.process.kill()
            server.process.wait()
            server.start()
            assert has_come_to(server, "shop", "loaded")["version"] == "7"
            assert has_come_to(server, "off", "installed")
        answer = server.post("/api/scheduler/lease/request", {"addon_id": "off", "cost_units": 1}).json
        assert answer["reasons"][0]["code"] == "ADDON_DISABLED"


@pytest.mark.requirement("SENSE-21")
@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"id": "errors"}, "$.id"),
        ({"id": "a/b"}, "$.id"),
        ({"id": ""}, "$.id"),
        ({"id": "x", "base_url": "file:///etc/passwd"}, "$.base_url"),
        ({"id": "x", "base_url": "http://10.0.0.1:80"}, "$.base_url"),
        ({"id": "x", "base_url": "http://169.254.169.254/latest"}, "$.base_url"),
        ({"id": "x", "base_url": "http://[::ffff:10.0.0.1]:80"}, "$.base_url"),
        ({"id": "x", "base_url": "http://0x0a000001/"}, "$.base_url"),
        ({"id": "x", "base_url": "http://no-such-host.invalid/"}, "$.base_url"),
        ({"id": "x", "runtime_dir": "relative"}, "$.runtime_dir"),
        ({"id": "x", "runtime_dir": "/no/such/folder"}, "$.runtime_dir"),
        ({"id": "x", "runtime_dir": "/etc/passwd"}, "$.runtime_dir"),
        ({"id": "x", "name": "bad\nname"}, "$.name"),
        ({"id": "x", "enabled": True}, "$.enabled"),
    ],
)
def test_what_can_not_be_registered_says_why(server: RealServer, body: Any, field: str) -> None:
    """The field and what was expected, and nothing is registered."""
    reply = server.post(ADDONS, body)
    assert reply.status == 422, reply
    assert field.removeprefix("$.") in json.dumps(reply.json["fields"]), reply.json
    assert server.get(ADDONS).json["addons"] == []


@pytest.mark.requirement("SENSE-22")
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"requests": {"rps": -1}}, 422),
        ({"requests": {"rps": "12"}}, 422),
        ({"requests": {"rps": 1e300}}, 422),
        ({"requests": {"error_pct": 101}}, 422),
        ({"requests": {"rps": 1, "lies": 2}}, 422),
        ({"custom": {"deep": {"er": {"and": 1}}}}, 422),
        ({"custom": {str(number): "x" * 1_000 for number in range(100)}}, 413),
        (b'{"requests": {"rps": NaN}}', 400),
        (b'{"custom": {"n": 1e999}}', 422),
        ({"custom": {"n": 2**70}}, (204, 422)),
    ],
)
def test_lies_that_are_pushed_are_refused(server: RealServer, body: Any, status: Any) -> None:
    """With a clear error, and nothing of them is kept."""
    server.post(ADDONS, {"id": "liar"})
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    reply = server.call("POST", f"{ADDONS}/liar/stats", raw=raw)
    assert reply.status in (status if isinstance(status, tuple) else (status,)), reply
    assert server.get("/api/system-stats/addons").status == 200
    if reply.status >= 400:
        assert seen(server, "liar")["told_at"] is None


@pytest.mark.requirement("SENSE-21", "SENSE-22")
def test_what_is_not_there_or_disabled_takes_no_figures(server: RealServer) -> None:
    """404 and 409, each with what to do."""
    assert server.post(f"{ADDONS}/nobody/stats", {}).status == 404
    assert server.post(f"{ADDONS}/nobody/enable", {}).status == 404
    assert server.call("DELETE", f"{ADDONS}/nobody").status == 404
    server.post(ADDONS, {"id": "off"})
    server.post(f"{ADDONS}/off/disable", {})
    assert server.post(f"{ADDONS}/off/stats", {"requests": {"rps": 50}}).status == 409
    assert server.get("/api/system-stats/addons").json["addons"]["off"]["requests"] is None


@pytest.mark.requirement("SENSE-21", "SENSE-7")
def test_broken_slow_lying_and_huge_ones_harm_no_other(server: RealServer, tmp_path: Path) -> None:
    """Each has its own code; a good one beside them is loaded and fresh; leases are granted quickly."""
    for number in range(3):
        folder = tmp_path / f"d{number}"
        folder.mkdir()
        for file in range(500):
            (folder / str(file)).touch()
    with addon() as good, addon() as slow, addon() as liar, addon() as huge:
        slow.hangs.set()
        liar.says("/api/addons/liar/stats", {"requests": {"rps": -1, "p95_ms": "x"}, "n": 1})
        huge.says("/api/addons/huge/stats", b'{"x": "' + b"x" * (1 << 20) + b'"}')
        good.says("/api/addons/good/stats", {"requests": {"rps": 0.3}})
        urls = {"good": good.url, "slow": slow.url, "liar": liar.url, "huge": huge.url}
        for name, url in {**urls, "broken": "http://127.0.0.1:1"}.items():
            body = {"id": name, "base_url": url, "runtime_dir": str(tmp_path)}
            assert server.post(ADDONS, body).status == 200
        expected = {
            ("broken", "health", "UNREACHABLE"),
            ("broken", "stats", "UNREACHABLE"),
            ("slow", "health", "TIMEOUT"),
            ("slow", "stats", "TIMEOUT"),
            ("liar", "stats", "INVALID"),
            ("huge", "stats", "TOO_LARGE"),
        }
        until(lambda: codes(server) == expected, f"each is told: {codes(server)}")
        now = has_come_to(server, "good", "loaded")
        assert (now["errors"], now["requests_count"], now["folder"]["entries"]) == ({}, True, 1_503)
        assert seen(server, "liar")["custom"] == {"n": 1}
        assert seen(server, "liar")["requests"] is None
        began = time.monotonic()
        for _ in range(20):
            server.release(server.lease())
        assert time.monotonic() - began < 5.0
        health = server.get("/api/system-stats/health").json
        assert health["status"] == "ok", health
        errors = server.get("/api/system-stats/current").json["errors"]
        assert {"addon:broken:health", "addon:huge:stats"} <= set(errors)
        assert not any(name.startswith("addon:good") for name in errors)


@pytest.mark.requirement("SENSE-22", "SENSE-4", "SENSE-9")
def test_a_busy_application_keeps_work_waiting_that_waits_for_quiet(scratch: Path) -> None:
    """By name, and until it is calm or disabled; the server's own requests count for nothing."""
    with RealServer(scratch, LEASEHOLD_PRESET="server") as server:

        def quiet() -> Any:
            return server.get("/api/system-stats/current").json["quiet"]

        for _ in range(200):
            server.get("/api/scheduler/status")
        assert server.get("/api/system-stats/current").json["api"]["requests"] >= 200
        assert {quiet()["inputs"][name] for name in ("rps", "p95_ms", "in_flight", "error_pct")} == {None}
        for name, p95_ms in (("shop", 900), ("calm", 5)):
            server.post(ADDONS, {"id": name})
            figures = {"requests": {"rps": 9, "p95_ms": p95_ms}}
            assert server.post(f"{ADDONS}/{name}/stats", figures).status == 204
        until(lambda: quiet()["inputs"]["p95_ms"] == 900 and quiet()["state"] != "QUIET", "it presses")
        reason = next(one for one in quiet()["reasons"] if "p95" in one)
        assert reason.startswith("p95 of the busiest application is 900 ms (shop)")
        denied = server.post("/api/scheduler/lease/request", {"cost_units": 1, "start": "quiet"}).json
        assert denied["approved"] is False
        assert denied["reasons"][0]["code"] in ("NOT_QUIET", "PANIC", "COOLING_DOWN")
        server.post(f"{ADDONS}/shop/disable", {})
        until(lambda: quiet()["inputs"]["p95_ms"] == 5, "the disabled one counts for nothing")


@pytest.mark.requirement("SENSE-22")
async def test_the_middleware_pushes_to_a_real_server(server: RealServer) -> None:
    """A program that nobody can ask is seen, with its own figures, and is silent once it has ended."""

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("page")(scope, receive, send)

    server.post(ADDONS, {"id": "inside"})
    endpoint = Endpoint(host="127.0.0.1", port=server.port, token=server.token)
    app = LeaseholdStats(page, "inside", custom=lambda: {"queue": 3}, push=Push(endpoint, every_s=0.2))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://inside") as someone:
        for _ in range(20):
            await someone.get("/page")
        now = await asyncio.to_thread(
            until,
            lambda: (one := seen(server, "inside")) and (one["requests"] or {}).get("rps") and one,
            "the figures have arrived",
        )
    assert now["lifecycle"] == "loaded"
    assert now["custom"] == {"queue": 3}
    assert now["requests"]["error_pct"] == 0
    reply = await asyncio.to_thread(server.get, "/metrics")
    assert b'leasehold_addon_up{addon="inside"} 1.0' in reply.body
    assert app._pushing is not None
    app._pushing.cancel()


@pytest.mark.requirement("SENSE-21", "OPS-6")
@pytest.mark.skipif(os.geteuid() != 0, reason="another user of the machine can only be played by root")
def test_another_user_registers_itself_and_nothing_else(scratch: Path) -> None:
    """Under its own name, without an address or folder; it can't allow itself again, nor tell for others."""
    scratch.chmod(0o711)
    with RealServer(scratch):
        path = scratch / "run" / "leasehold.sock"
        code = """
import json, socket, sys
for method, path, body in json.loads(sys.argv[2]):
    raw = json.dumps(body).encode()
    s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
    head = f"{method} {path} HTTP/1.1\\r\\nhost: localhost\\r\\ncontent-type: application/json\\r\\n"
    s.sendall(head.encode() + b"connection: close\\r\\ncontent-length: %d\\r\\n\\r\\n" % len(raw) + raw)
    print(s.makefile("rb").readline().split()[1].decode())
"""
        own = "user:nobody"
        calls = [
            ("POST", ADDONS, {"id": "shop"}),
            ("POST", ADDONS, {"id": own, "base_url": "http://127.0.0.1:1"}),
            ("POST", ADDONS, {"id": own, "runtime_dir": "/srv"}),
            ("POST", ADDONS, {"id": own}),
            ("POST", f"{ADDONS}/{own}/stats", {"requests": {"rps": 1}}),
            ("POST", f"{ADDONS}/other/stats", {"requests": {"rps": 1}}),
            ("POST", f"{ADDONS}/{own}/disable", {}),
            ("DELETE", f"{ADDONS}/{own}", {}),
            ("GET", ADDONS, {}),
        ]
        done = subprocess.run(
            ["/usr/bin/python3", "-c", code, str(path), json.dumps(calls)],
            capture_output=True,
            text=True,
            check=True,
            user=65534,
            group=65534,
            extra_groups=(),
            cwd="/",
        )
        assert done.stdout.split() == ["403", "403", "403", "200", "204", "403", "403", "403", "200"]
