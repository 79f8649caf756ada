"""The committed contract is what the server really answers (OPS-1)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import jsonschema_rs
import msgspec
import pytest

from leasehold.api.endpoint import Stream
from leasehold.api.routes import ENDPOINTS
from tests.api.real_server import LEASE, RealServer, Reply

CONTRACT = json.loads((Path(__file__).parents[2] / "docs" / "reference" / "openapi.json").read_text())


ELSEWHERE = {
    ("get", "/api/dashboard/stream"),  # an answer without an end: tests/api/test_page.py
    ("post", "/api/session"),  # they take what only a browser has: tests/api/test_sessions.py
    ("get", "/api/session"),
}

OF_NOTIFICATIONS = "/api/notifications"
OF_JOBS = ("/api/scheduler/queue/", "/api/schedules")
"""These stand in tests/api/test_openapi_jobs.py."""


def conforms(reply: Reply, method: str, path: str) -> None:
    """The answer has a declared status, its headers, and a body that fits the schema."""
    declared = CONTRACT["paths"][path][method]["responses"]
    assert str(reply.status) in declared, (method, path, reply)
    response = declared[str(reply.status)]
    for header, of in response["headers"].items():
        assert header.lower() in reply.headers or not of["required"], header
    if "content" not in response:
        assert reply.body == b""
        return
    media = reply.headers["content-type"].partition(";")[0]
    schema = response["content"][media]["schema"]
    if media.endswith("json"):
        validator = jsonschema_rs.Draft202012Validator({**schema, "components": CONTRACT["components"]})
        assert [error.message for error in validator.iter_errors(reply.json)] == []


@pytest.mark.requirement("OPS-1")
def test_the_contract_is_a_valid_openapi_document() -> None:
    """Every reference resolves, every operation has an id of its own, every path parameter is declared."""
    text = json.dumps(CONTRACT)
    assert CONTRACT["openapi"] == "3.1.0"
    names = set(CONTRACT["components"]["schemas"])
    references = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert references <= names
    assert names <= references
    operations = [operation for item in CONTRACT["paths"].values() for operation in item.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations) == len(ENDPOINTS)
    for path, item in CONTRACT["paths"].items():
        for operation in item.values():
            inside = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
            assert inside == {
                part.rstrip("}") for part in path.split("{")[1:] for part in [part.split("}")[0]]
            }
    for name, schema in CONTRACT["components"]["schemas"].items():
        jsonschema_rs.Draft202012Validator({**schema, "components": CONTRACT["components"]})
        assert schema, name


@pytest.mark.requirement("OPS-1")
def test_live_answers_conform(server: RealServer) -> None:
    """Each route, called once as it is meant, answers what its schema says."""
    lease = server.lease(label="a build", priority="low", locks=["disk"])
    own = {"fencing_token": lease["fencing_token"]}
    one = f"{LEASE}/{lease['lease_id']}"
    token = server.post("/api/tokens", {"name": "made", "role": "viewer"}).json["about"]["token_id"]
    denied = server.post(f"{LEASE}/request", {"cost_units": 90})
    ticket = denied.json["ticket"]
    window = {"effect": "block", "from": "08:00", "to": "08:01"}
    wid = server.post("/api/nodes/self/windows", window).json["wid"]
    guarded = {"target": f"pid:{server.pid}", "on_busy": "throttle", "note": "a test"}
    guard = server.post("/api/guards", guarded).json["lease_id"]
    backup = server.post("/api/admin/backups", {}).json["backup_id"]
    node = "/api/nodes/{node_id}"
    calls: list[tuple[str, str, str, Any]] = [
        ("get", f"{node}/admission", "/api/nodes/self/admission", None),
        ("put", f"{node}/admission", "/api/nodes/self/admission", {"effect": "allow", "for_sec": 60}),
        ("get", f"{node}/windows", "/api/nodes/self/windows", None),
        ("post", f"{node}/windows", "/api/nodes/self/windows", window),
        ("get", f"{node}/windows/{{wid}}", f"/api/nodes/self/windows/{wid}", None),
        ("put", f"{node}/windows/{{wid}}", f"/api/nodes/self/windows/{wid}", window),
        ("delete", f"{node}/windows/{{wid}}", f"/api/nodes/self/windows/{wid}", None),
        ("put", f"{node}/pretend", "/api/nodes/self/pretend", {"state": "quiet"}),
        ("delete", f"{node}/pretend", "/api/nodes/self/pretend", None),
        ("post", f"{LEASE}/request", f"{LEASE}/request", {"cost_units": 1}),
        ("post", f"{LEASE}/heartbeat", f"{LEASE}/heartbeat", {"ids": {lease["lease_id"]: 1, "lease-x": 2}}),
        ("post", f"{LEASE}/{{lease_id}}/heartbeat", f"{one}/heartbeat", own),
        ("post", f"{LEASE}/{{lease_id}}/report", f"{one}/report", {**own, "progress": 0.5}),
        ("post", f"{LEASE}/{{lease_id}}/pause", f"{one}/pause", {"note": "a call"}),
        ("post", f"{LEASE}/{{lease_id}}/resume", f"{one}/resume", {}),
        ("post", f"{LEASE}/{{lease_id}}/overtime", f"{one}/overtime", own),
        ("get", f"{LEASE}/{{lease_id}}", one, None),
        ("get", "/api/scheduler/status", "/api/scheduler/status", None),
        ("post", "/api/scheduler/explain", "/api/scheduler/explain", {"cost_units": 95}),
        ("get", "/api/scheduler/decisions", "/api/scheduler/decisions?range=1h", None),
        ("get", "/api/scheduler/costs", "/api/scheduler/costs?holder=nobody", None),
        ("delete", "/api/scheduler/ticket/{ticket}", f"/api/scheduler/ticket/{ticket}", None),
        ("get", "/api/scheduler/locks", "/api/scheduler/locks", None),
        ("put", "/api/scheduler/locks/{name}", "/api/scheduler/locks/a%2Fb", {"size": 3}),
        ("delete", "/api/scheduler/locks/{name}", "/api/scheduler/locks/a/b", None),
        ("post", "/api/addons", "/api/addons", {"id": "shop", "base_url": "http://127.0.0.1:1"}),
        (
            "post",
            "/api/addons/{addon_id}/stats",
            "/api/addons/shop/stats",
            {"custom": {"queue": {"length": 3}}},
        ),
        ("get", "/api/addons", "/api/addons", None),
        ("get", "/api/addons/errors", "/api/addons/errors", None),
        ("get", "/api/addons/{addon_id}", "/api/addons/shop", None),
        ("get", "/api/guards", "/api/guards", None),
        ("post", "/api/guards", "/api/guards", guarded),
        ("delete", "/api/guards/{lease_id}", f"/api/guards/{guard}", None),
        ("get", "/api/events", "/api/events?limit=2", None),
        ("get", "/api/config", "/api/config", None),
        ("get", "/api/audit", "/api/audit?limit=5&outcome=done&range=1h", None),
        ("get", "/api/metrics", "/api/metrics", None),
        ("get", "/api/alerts", "/api/alerts", None),
        ("put", "/api/alerts/{rule}", "/api/alerts/disk", {"mute_for_sec": 60}),
        ("post", "/api/alerts/{rule}/acknowledge", "/api/alerts/disk/acknowledge", {}),
        ("get", "/api/config/alert-thresholds", "/api/config/alert-thresholds", None),
        (
            "put",
            "/api/config/alert-thresholds",
            "/api/config/alert-thresholds",
            {"thresholds": {"errors": {"warning": 20, "cooldown_sec": None}}},
        ),
        ("get", "/api/system-stats/current", "/api/system-stats/current", None),
        ("get", "/api/system-stats/addons", "/api/system-stats/addons", None),
        ("post", "/api/addons/{addon_id}/disable", "/api/addons/shop/disable", None),
        ("post", "/api/addons/{addon_id}/enable", "/api/addons/shop/enable", None),
        ("delete", "/api/addons/{addon_id}", "/api/addons/shop", None),
        ("get", "/api/system-stats/health", "/api/system-stats/health", None),
        ("get", "/api/system-stats/history", "/api/system-stats/history?group=quiet", None),
        ("get", "/api/system-stats/streaks", "/api/system-stats/streaks", None),
        ("get", "/api/system-stats/history/groups", "/api/system-stats/history/groups", None),
        ("get", "/api/system-stats/heatmap", "/api/system-stats/heatmap", None),
        ("get", "/api/system-stats/forecast", "/api/system-stats/forecast?duration=1h&within=7d", None),
        ("get", "/api/system-stats/forecast/scores", "/api/system-stats/forecast/scores", None),
        ("get", "/api/system-stats/debug/collectors", "/api/system-stats/debug/collectors", None),
        ("put", "/api/tenants/{name}", "/api/tenants/lab", {"weight": 2, "units": 40, "jobs": None}),
        ("get", "/api/tenants/{name}", "/api/tenants/lab", None),
        ("get", "/api/tenants", "/api/tenants", None),
        ("delete", "/api/tenants/{name}", "/api/tenants/lab", None),
        ("get", "/api/tokens", "/api/tokens", None),
        (
            "post",
            "/api/tokens",
            "/api/tokens",
            {"name": "ci", "role": "worker", "ttl_sec": 60, "holder": "me"},
        ),
        ("delete", "/api/tokens/{token_id}", f"/api/tokens/{token}", None),
        ("get", "/api/dashboard/state", "/api/dashboard/state", None),
        ("post", "/api/session/link", "/api/session/link", {}),
        ("delete", "/api/session", "/api/session", None),
        ("get", "/health", "/health", None),
        ("get", "/ready", "/ready", None),
        ("get", "/metrics", "/metrics", None),
        ("get", "/api/whoami", "/api/whoami", None),
        ("get", "/api/admin/log-level", "/api/admin/log-level", None),
        ("put", "/api/admin/log-level", "/api/admin/log-level", {"level": "info"}),
        ("get", "/api/admin/backups", "/api/admin/backups", None),
        ("post", "/api/admin/backups", "/api/admin/backups", {}),
        ("post", "/api/admin/backups/{backup_id}/check", f"/api/admin/backups/{backup}/check", None),
        ("post", "/api/admin/restore", "/api/admin/restore", {"backup_id": backup, "dry_run": True}),
        ("post", "/api/admin/compact", "/api/admin/compact", {}),
        ("get", "/api/admin/storage", "/api/admin/storage", None),
        ("post", f"{LEASE}/{{lease_id}}/release", f"{one}/release", own),
        ("post", f"{LEASE}/{{lease_id}}/revoke", f"{one}/revoke", {}),
    ]
    declared = {
        (method, path)
        for path, item in CONTRACT["paths"].items()
        for method in item
        if not path.startswith((*OF_JOBS, OF_NOTIFICATIONS))
    }
    assert {(method, template) for method, template, _, _ in calls} == declared - ELSEWHERE
    for method, template, path, body in calls:
        reply = server.call(method.upper(), path, body)
        assert reply.status < 300 or path.endswith(("/revoke", "/overtime", "/acknowledge")), (path, reply)
        conforms(reply, method, template)


@pytest.mark.requirement("OPS-1", "OPS-2")
def test_refusals_conform(server: RealServer) -> None:
    """What is refused is declared too, with the shape of a problem."""
    for endpoint in ENDPOINTS:
        path = endpoint.path.replace("{name:path}", "{name}")
        real = path.replace("{lease_id}", "lease-x").replace("{name}", "x").replace("{ticket}", "tkt-x")
        real = real.replace("{addon_id}", "shop")
        for headers, raw in (
            ({"authorization": "Bearer x"}, b""),
            ({}, b"{"),
            ({"host": "evil.example"}, b""),
        ):
            if raw and endpoint.body is None:
                continue
            if endpoint.answer is Stream and not headers:
                continue  # It would be answered, without an end.
            reply = server.call(endpoint.method, real, headers=headers, raw=raw)
            conforms(reply, endpoint.method.lower(), path)


def types_within(kind: Any) -> set[Any]:
    """Every type that a message is made of."""
    found: set[Any] = set()
    waiting = [kind]
    while waiting:
        each = waiting.pop()
        if each in found:
            continue
        found.add(each)
        waiting += get_args(each)
        if isinstance(each, type) and issubclass(each, msgspec.Struct):
            waiting += [field.type for field in msgspec.structs.fields(each)]
        if hasattr(each, "__metadata__"):
            waiting.append(each.__origin__)
    return found


@pytest.mark.requirement("OPS-2", "INV-8")
def test_requests_are_bounded_and_refuse_unknown_fields() -> None:
    """No request takes an untyped value, so its schema bounds its depth, and all refuse unknown fields.

    What is kept as it came (payloads, results) is bounded by the service, in bytes and depth.
    """
    for endpoint in ENDPOINTS:
        for struct in filter(None, (endpoint.body, endpoint.query)):
            assert struct.__struct_config__.forbid_unknown_fields, struct
            assert Any not in types_within(struct), struct
            assert object not in types_within(struct), struct
            assert msgspec.Raw not in types_within(struct) or endpoint.verbatim, struct


def test_handlers_stay_thin() -> None:
    """A handler is at most about fifteen lines, and holds no branch about the domain."""
    import inspect

    for endpoint in ENDPOINTS:
        source = inspect.getsource(endpoint.handler)
        code = source[source.index("async def") :]
        assert code.count("\n") <= 15, endpoint.path
        assert code.count(" if ") <= (endpoint.path == "/ready"), endpoint.path
