"""What the HTTP API answers to everything that is not as it should be (OPS-2)."""

from __future__ import annotations

import json
import re

import pytest

from tests.api.real_server import JSON_TYPE, LEASE, RealServer, Reply, request

CANARY = "canary-5b1f9e27"


def is_problem(reply: Reply, status: int, code: str) -> None:
    """Every error has this shape."""
    assert (reply.status, reply.json["code"]) == (status, code), reply
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json["status"] == status
    assert reply.json["title"]
    assert reply.json["detail"]
    assert re.fullmatch(r"[0-9a-f]{16}", reply.json["request_id"])
    assert reply.headers["x-request-id"] == reply.json["request_id"]


@pytest.mark.requirement("OPS-2")
@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b'{"cost_units": 1,}',
        b"\xff\xfe",
        b'{"job_type": "\xff"}',
        b'{"job_type": "\\ud800"}',
        b'{"cost_units": NaN}',
        b'{"nope": [[[}',
        b'{"cost_units": 1} trailing',
        b"[" * 40 + b"]" * 40,
        b"[" * 500_000,
        b'{"nope":' * 33 + b"1" + b"}" * 33,
    ],
)
def test_what_is_no_json_or_too_deep_is_400(server: RealServer, raw: bytes) -> None:
    """400 is malformed JSON, wrong UTF-8, and nesting deeper than 32."""
    is_problem(server.call("POST", f"{LEASE}/request", raw=raw), 400, "MALFORMED")


@pytest.mark.requirement("OPS-2")
def test_nesting_of_32_is_judged_by_the_schema(server: RealServer) -> None:
    """The limit is on depth beyond 32, whatever brackets stand inside texts."""
    deep = b'{"nope":' * 31 + b'{"a":"[[[[[{{{{{\\"["}' + b"}" * 31
    is_problem(server.call("POST", f"{LEASE}/request", raw=deep), 422, "INVALID")


@pytest.mark.requirement("OPS-2")
@pytest.mark.parametrize(
    ("body", "field", "expected"),
    [
        ({"cost_unit": 5, "job_type": CANARY}, "$.cost_unit", "did you mean cost_units"),
        ({"cost_units": CANARY}, "$.cost_units", "int"),
        ({"cost_units": 101}, "$.cost_units", "<= 100"),
        ({"cost_class": CANARY}, "$.cost_class", "one of LOW, NORMAL, HIGH"),
        ({"constraints": ["gpu", CANARY]}, "$.constraints[1]", "cpu_heavy"),
        ({"cost_units": 1, "slots": [{"nam": CANARY}]}, "$.slots[0].nam", "did you mean name"),
        ({"cost_units": 1, "slots": [{}]}, "$.slots[0].name", "required"),
        ({"cost_units": 1, "locks": [f"no spaces {CANARY}"]}, "$.locks[0]", "matching"),
        ({"resources": {"devices": {"": 1}}}, "$.resources.devices (a key)", "length >= 1"),
        ([CANARY], "$", "object"),
        ({"cost_units": 1, "priority": CANARY.replace("-", "")[:9]}, "$.priority", ""),
    ],
)
def test_what_does_not_fit_is_422_with_the_field_and_never_the_value(
    server: RealServer, body: object, field: str, expected: str
) -> None:
    """422 names the field and what was expected, and shows nothing of what was sent."""
    reply = server.post(f"{LEASE}/request", body)
    is_problem(reply, 422, "INVALID")
    assert reply.json["fields"][0]["field"] == field
    assert expected in reply.json["fields"][0]["expected"]
    assert CANARY.encode() not in reply.body


@pytest.mark.requirement("OPS-2")
def test_queries_and_paths_are_held_to_their_schema_too(server: RealServer) -> None:
    """Unknown, repeated and ill-formed parameters are 422 with what was expected."""
    for path in (
        "/api/events?after=x",
        "/api/events?limit=1001",
        "/api/events?nope=1",
        "/api/events?after=1&after=2",
        "/api/scheduler/decisions?range=soon",
        "/api/scheduler/status?x=1",
        "/api/events?after=%ff",
    ):
        is_problem(server.get(path), 422, "INVALID")
    is_problem(server.call("PUT", "/api/scheduler/locks/a%20b", {"size": 2}), 422, "INVALID")
    is_problem(server.get(f"{LEASE}/{'x' * 65}"), 422, "INVALID")


@pytest.mark.requirement("OPS-2")
def test_a_body_of_10_mb_is_refused_before_it_is_sent(server: RealServer) -> None:
    """413 comes from the declared length alone, and the connection goes on to serve after the body."""
    head = {"authorization": f"Bearer {server.token}", **JSON_TYPE}
    ten_mb = b" " * (10 << 20)
    whole = request("POST", f"{LEASE}/request", head, ten_mb)
    with server.tcp() as wire:
        wire.send(whole[: -len(ten_mb)])
        is_problem(wire.reply(), 413, "TOO_LARGE")
        wire.send(ten_mb)
        wire.send(request("GET", "/health"))
        assert wire.reply().status == 200


@pytest.mark.requirement("OPS-2")
def test_a_body_without_a_length_is_refused_while_it_is_read(server: RealServer) -> None:
    """A chunked body is cut off after its first megabyte."""
    head = f"POST {LEASE}/request HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {server.token}\r\n"
    head += "content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    with server.tcp() as wire:
        wire.send(head.encode())
        for _ in range(17):
            wire.send(b"10000\r\n" + b" " * 65536 + b"\r\n")
        is_problem(wire.reply(), 413, "TOO_LARGE")


@pytest.mark.requirement("OPS-2")
@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "text/plain"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": ""},
        {"content-type": "application/json", "content-encoding": "gzip"},
    ],
)
def test_a_body_that_is_not_plain_json_is_415(server: RealServer, headers: dict[str, str]) -> None:
    """A form, another character set or a compressed body is refused, with what to send instead."""
    reply = server.call("POST", f"{LEASE}/request", {"cost_units": 1}, headers=headers)
    is_problem(reply, 415, "UNSUPPORTED_MEDIA_TYPE")


def test_json_with_a_charset_is_json(server: RealServer) -> None:
    """The usual spellings of the content type all pass."""
    for media in ("application/json; charset=utf-8", 'Application/JSON; charset="UTF-8"'):
        reply = server.call(
            "POST", "/api/scheduler/explain", {"cost_units": 1}, headers={"content-type": media}
        )
        assert reply.status == 200, reply


@pytest.mark.requirement("OPS-2")
def test_paths_and_methods_that_do_not_exist(server: RealServer) -> None:
    """404 and 405 are problems like all others; `Allow` lists every method of the path."""
    is_problem(server.get("/nope"), 404, "NOT_FOUND")
    is_problem(server.get(f"{LEASE}/a/b/c"), 404, "NOT_FOUND")
    is_problem(server.get("/health/"), 404, "NOT_FOUND")
    wrong = server.get(f"{LEASE}/lease-x/heartbeat")
    is_problem(wrong, 405, "METHOD_NOT_ALLOWED")
    assert wrong.headers["allow"] == "POST"
    wrong = server.post("/api/scheduler/locks/a", {})
    is_problem(wrong, 405, "METHOD_NOT_ALLOWED")
    assert wrong.headers["allow"] == "DELETE, PUT"


@pytest.mark.requirement("OPS-2", "LEASE-12")
def test_leases_that_are_unknown_stale_or_over(server: RealServer) -> None:
    """404 for an unknown lease, 409 for a stale token, 410 with how it ended, and a release that repeats."""
    is_problem(server.post(f"{LEASE}/lease-unknown/heartbeat", {"fencing_token": 1}), 404, "NOT_FOUND")
    lease = server.lease()
    path = f"{LEASE}/{lease['lease_id']}"
    stale = {"fencing_token": lease["fencing_token"] - 1}
    is_problem(server.post(f"{path}/heartbeat", stale), 409, "STALE_TOKEN")
    assert server.release(lease).status == 200
    assert server.release(lease).json["state"] == "RELEASED"
    over = server.post(f"{path}/heartbeat", {"fencing_token": lease["fencing_token"]})
    is_problem(over, 410, "LEASE_ENDED")
    assert over.json["details"], over


@pytest.mark.requirement("LEASE-8", "OPS-2")
def test_an_idempotency_key_is_held_to_its_body(server: RealServer) -> None:
    """The same key and body give the same lease; another body is 422; a key that is none is 422."""
    key = {"idempotency-key": "build-17"}
    first = server.call("POST", f"{LEASE}/request", {"cost_units": 2}, headers=key)
    again = server.call("POST", f"{LEASE}/request", {"cost_units": 2}, headers=key)
    assert first.json["lease_id"] == again.json["lease_id"]
    other = server.call("POST", f"{LEASE}/request", {"cost_units": 3}, headers=key)
    is_problem(other, 422, "IDEMPOTENCY_MISMATCH")
    bad = server.call("POST", f"{LEASE}/request", {"cost_units": 3}, headers={"idempotency-key": "a b"})
    is_problem(bad, 422, "INVALID")
    server.release(first.json)


@pytest.mark.requirement("OPS-11")
def test_a_request_id_is_taken_where_it_is_well_formed(server: RealServer) -> None:
    """16 hex digits are echoed, anything else is replaced, and each request gets its own."""
    taken = server.call("GET", "/nope", headers={"x-request-id": "0123456789abcdef"})
    assert taken.json["request_id"] == taken.headers["x-request-id"] == "0123456789abcdef"
    for bad in ("0123456789ABCDEF", "xyz", "0123456789abcdef0", "a\tb"):
        reply = server.call("GET", "/health", headers={"x-request-id": bad})
        assert re.fullmatch(r"[0-9a-f]{16}", reply.headers["x-request-id"])
        assert reply.headers["x-request-id"] != bad
    assert len({server.get("/health").headers["x-request-id"] for _ in range(20)}) == 20


@pytest.mark.requirement("OPS-2")
def test_a_denial_says_when_to_come_back_in_the_header_too(server: RealServer) -> None:
    """A denial is a 200 with `retry_after_sec` and the same in Retry-After."""
    held = server.lease(cost_units=80)
    reply = server.post(f"{LEASE}/request", {"cost_units": 80})
    assert (reply.status, reply.json["approved"]) == (200, False)
    assert reply.headers["retry-after"] == str(reply.json["retry_after_sec"])
    assert server.call("DELETE", f"/api/scheduler/ticket/{reply.json['ticket']}").status == 204
    server.release(held)


def test_an_optional_body_may_be_left_out(server: RealServer) -> None:
    """Where every field has a default, an empty body and no content type mean the defaults."""
    lease = server.lease()
    reply = server.call("POST", f"{LEASE}/{lease['lease_id']}/revoke")
    assert (reply.status, reply.json["state"]) == (200, "REVOKING")
    assert json.loads(server.release(lease).body)["state"] == "RELEASED"
