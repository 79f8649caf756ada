"""Estimates and costs on a real server: unknown at first, learned from what ends, scored when it starts."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from tests.api.job_client import QUEUE, Queue, until
from tests.api.real_server import RealServer


def explained(server: RealServer, ident: str) -> Any:
    reply = server.get(f"{QUEUE}/jobs/{ident}/explain")
    assert reply.status == 200, reply
    return reply.json


def told(server: RealServer, *words: str) -> str:
    """What the command line prints for this server."""
    env = {"HOME": str(server.data), "PATH": os.environ["PATH"], "LEASEHOLD_DATA": str(server.data)}
    command = [sys.executable, "-m", "leasehold", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=env)
    assert done.returncode == 0, done
    return done.stdout


def learned_kinds(server: RealServer, job_type: str) -> list[Any]:
    reply = server.get(f"/api/scheduler/costs?job_type={job_type}")
    assert reply.status == 200, reply
    found: list[Any] = reply.json["costs"]
    return found


@pytest.mark.requirement("QUEUE-12", "QUEUE-3", "LEASE-15")
def test_an_estimate_is_unknown_then_learned_then_scored(server: RealServer) -> None:
    """A full machine: nothing is said of the next job until its like have ended; then its start is told, kept
    as given, and counted when it starts.
    """
    queue = Queue(server, "kind")
    worker = queue.worker("hands")
    first = queue.submit(cost_units=60)
    holds = worker.claim_one()
    waits = queue.submit(cost_units=60)
    queue_poll(worker)
    before = explained(server, waits)
    assert before["position"] == 1
    assert "p50_sec" not in before["estimate"], before
    assert "nobody knows how long kind" in before["estimate"]["note"]
    assert worker.done(holds) == "DONE"
    for _ in range(3):
        claimed = worker.claim_one()
        queue.submit(cost_units=60)
        assert worker.done(claimed) == "DONE"
    until(lambda: bool(learned_kinds(server, "kind")), 60)
    cost = learned_kinds(server, "kind")[0]
    assert cost["asked"]["cost_units"] == 60
    assert cost["leases"] >= 1
    holds = worker.claim_one()
    queue_poll(worker)
    last = queue.submit(cost_units=60)
    after = explained(server, last)["estimate"]
    assert 0 <= after["p50_sec"] <= after["p90_sec"] < 600, after
    assert after["p50_at"] <= after["p90_at"]
    stats = server.get(f"{QUEUE}/stats").json["estimates"]
    assert stats["open"] == 1
    scored = stats["ranges"][0]["scored"]
    assert worker.done(holds) == "DONE"
    assert worker.claim_one()["job_id"] == last
    stats = server.get(f"{QUEUE}/stats").json["estimates"]
    assert (stats["open"], stats["ranges"][0]["scored"]) == (0, scored + 1)
    assert first != last


def queue_poll(worker: Queue) -> None:
    """The worker asks for more and gets nothing: it is known to be there."""
    reply = worker.post("/claim", {"job_types": [worker.job_type], "max": 1})
    assert reply.json["jobs"] == []


@pytest.mark.requirement("QUEUE-12")
def test_what_can_not_be_foreseen_says_so(server: RealServer) -> None:
    """Nobody who does it, held, after another, gone: each says why there is no time."""
    queue = Queue(server, "nobody")
    alone = queue.submit()
    assert explained(server, alone)["estimate"] == {"note": "no worker is there that does it"}
    held = queue.submit(hold=True)
    assert "held" in explained(server, held)["estimate"]["note"]
    after = queue.submit(after=[alone])
    assert explained(server, after)["estimate"]["note"] == f"it comes after {alone}"
    queue.change(alone, "cancel")
    assert "estimate" not in explained(server, alone)
    assert server.get(f"{QUEUE}/jobs/job-zzzzzzzzzzz/explain").status == 404


@pytest.mark.requirement("QUEUE-12", "LEASE-15")
def test_people_read_it_on_the_command_line(server: RealServer) -> None:
    """`why` says that it is not known and why; `costs` lists what was measured."""
    queue = Queue(server, "words")
    ident = queue.submit()
    assert "when it will start is not known: no worker is there" in told(server, "why", ident)
    assert "not known" in told(server, "describe", ident)
    assert "SUGGESTED" in told(server, "costs")
    assert server.get("/api/scheduler/costs?limit=0").status == 422
