"""Events read backwards, by topic and text; what is configured, for who may see it (OPS-3, OPS-8, OPS-10)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.api.browser_session import BrowserSession
from tests.api.real_server import RealServer

NEWEST = 2**53 - 1


@pytest.mark.requirement("OPS-3")
def test_the_newest_come_and_those_before_them(server: RealServer) -> None:
    """By `before` the newest page, then those before it; every event that reading forwards tells, once."""
    for n in range(5):
        server.release(server.lease(label=f"piece {n}"))
    newest = server.get(f"/api/events?before={NEWEST}&limit=4").json
    earlier = server.get(f"/api/events?before={newest['next']}&limit=1000").json
    backwards = [event["seq"] for event in (*earlier["events"], *newest["events"])]
    forwards = [event["seq"] for event in server.get("/api/events?limit=1000").json["events"]]
    assert len(newest["events"]) == 4
    assert backwards == forwards
    assert newest["events"][-1]["label"] == "piece 4"


@pytest.mark.requirement("OPS-3")
def test_topics_and_texts_are_found(server: RealServer) -> None:
    """A block is the one event of its topic; a text is found in any case of letters."""
    server.release(server.lease(label="something else"))
    server.call("PUT", "/api/nodes/self/admission", {"effect": "block", "note": "films tonight"})
    owners = server.get("/api/events?topic=nodes").json["events"]
    assert {event["kind"] for event in owners} == {"NodeBlocked"}
    found = server.get(f"/api/events?text=FILMS%20tonight&before={NEWEST}").json["events"]
    assert [event["kind"] for event in found] == ["NodeBlocked"]
    server.call("PUT", "/api/nodes/self/admission", {"effect": "allow"})


@pytest.mark.requirement("OPS-2", "OPS-3")
@pytest.mark.parametrize("query", ["after=1&before=9", "topic=weather", "before=0", "text=" + "x" * 129])
def test_what_makes_no_sense_is_said(server: RealServer, query: str) -> None:
    """Both directions at once, a topic that is none, a number below the first, a text too long: 422."""
    reply = server.get(f"/api/events?{query}")
    assert reply.status == 422
    assert reply.json["code"] == "INVALID"


@pytest.mark.requirement("OPS-10", "OPS-8", "OPS-6")
def test_what_is_configured_is_told_with_its_origin_to_who_may_see_it(scratch: Path) -> None:
    """Each setting with its value and where it is from; a viewer is refused."""
    with RealServer(scratch, LEASEHOLD_CAPACITY__HEADROOM_PCT="15") as running:
        found = running.get("/api/config").json
        by_key = {one["key"]: one for one in found["settings"]}
        assert by_key["capacity.headroom_pct"] == {
            "key": "capacity.headroom_pct",
            "value": 15,
            "origin": "LEASEHOLD_CAPACITY__HEADROOM_PCT",
            "restart": False,
        }
        assert by_key["tls.port"]["origin"] == "default"
        assert BrowserSession(running, "operator").call("GET", "/api/config").status == 200
        assert BrowserSession(running, "viewer").call("GET", "/api/config").status == 403
