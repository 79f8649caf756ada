"""The routes of jobs and schedules answer what the contract says, each called once as it is meant."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.real_server import LEASE, RealServer
from tests.api.test_openapi import CONTRACT, OF_JOBS, conforms

QUEUE = "/api/scheduler/queue"
JOBS = f"{QUEUE}/jobs"
SCHEDULES = "/api/schedules"


def submitted(server: RealServer, **body: Any) -> str:
    job_id: str = server.post(f"{JOBS}/submit", {"cost_units": 1, **body}).json["jobs"][0]["job_id"]
    return job_id


@pytest.mark.requirement("OPS-1", "QUEUE-3", "QUEUE-4")
def test_live_answers_of_jobs_conform(server: RealServer) -> None:
    """A job through all that can be asked of it, and what fits each question's schema."""
    waits = submitted(server, job_type="waits", start="now")
    offered = submitted(server, job_type="offered", start="now")
    job = f"{JOBS}/{waits}"
    calls: list[tuple[str, str, str, Any]] = [
        ("post", f"{JOBS}/submit", f"{JOBS}/submit", {"jobs": [{"job_type": "a"}, {"cost_units": 1}]}),
        ("get", JOBS, f"{JOBS}?state=queued&limit=1", None),
        ("get", f"{JOBS}/{{job_id}}", job, None),
        ("get", f"{JOBS}/{{job_id}}/events", f"{job}/events", None),
        ("get", f"{JOBS}/{{job_id}}/explain", f"{job}/explain", None),
        ("post", f"{JOBS}/{{job_id}}/priority", f"{job}/priority", {"priority": "low"}),
        ("post", f"{JOBS}/{{job_id}}/hold", f"{job}/hold", {"note": "not now"}),
        ("post", f"{JOBS}/{{job_id}}/resume", f"{job}/resume", {}),
        ("post", f"{JOBS}/{{job_id}}/pause", f"{job}/pause", {}),
        ("post", f"{JOBS}/{{job_id}}/cancel", f"{job}/cancel", {"note": "not at all"}),
        ("post", f"{JOBS}/{{job_id}}/retry", f"{job}/retry", {}),
        ("post", f"{JOBS}/bulk", f"{JOBS}/bulk", {"action": "cancel", "job_type": "a", "dry_run": True}),
        ("get", f"{QUEUE}/stats", f"{QUEUE}/stats", None),
        ("get", f"{QUEUE}/dispatchable", f"{QUEUE}/dispatchable?job_types=offered", None),
    ]
    asked = set()
    for method, template, path, body in calls:
        reply = server.call(method.upper(), path, body)
        assert reply.status < 300, (path, reply)
        conforms(reply, method, template)
        asked.add((method, template))
    asked |= _taken_up(server, offered, server.get(f"{QUEUE}/dispatchable?job_types=offered").json["jobs"][0])
    asked |= _claimed(server)
    asked |= _logged(server)
    asked |= _scheduled(server)
    declared = {(method, path) for path, item in CONTRACT["paths"].items() for method in item}
    assert asked == {(method, path) for method, path in declared if path.startswith(OF_JOBS)}


def _taken_up(server: RealServer, job_id: str, offer: dict[str, Any]) -> set[tuple[str, str]]:
    assert offer["job_id"] == job_id
    told = {"lease_id": offer["lease_id"], "fencing_token": offer["fencing_token"]}
    ack = server.post(f"{JOBS}/{job_id}/ack", told)
    assert ack.json["state"] == "RUNNING", ack
    conforms(ack, "post", f"{JOBS}/{{job_id}}/ack")
    done = {"generation": offer["generation"], "fencing_token": offer["fencing_token"], "result": {"n": [1]}}
    reply = server.post(f"{JOBS}/{job_id}/complete", done)
    assert reply.json["state"] == "DONE", reply
    conforms(reply, "post", f"{JOBS}/{{job_id}}/complete")
    return {("post", f"{JOBS}/{{job_id}}/{verb}") for verb in ("ack", "complete")}


def _claimed(server: RealServer) -> set[tuple[str, str]]:
    session = server.post(f"{LEASE}/request", {"cost_units": 5, "start": "now"}).json
    held = {"lease_id": session["lease_id"], "fencing_token": session["fencing_token"], "concurrency": 2}
    submitted(server, job_type="claimed", start="now", payload=[1, {"two": None}])
    claim = server.post(f"{QUEUE}/claim", {"max": 5, "job_types": ["claimed"], "session": held})
    conforms(claim, "post", f"{QUEUE}/claim")
    (job,) = claim.json["jobs"]
    assert job["payload"] == [1, {"two": None}]
    item = {"job_id": job["job_id"], "generation": job["generation"], "outcome": "RETURNED"}
    reply = server.post(f"{QUEUE}/complete", {"fencing_token": held["fencing_token"], "items": [item]})
    assert reply.json["done"] == 1, reply
    conforms(reply, "post", f"{QUEUE}/complete")
    return {("post", f"{QUEUE}/claim"), ("post", f"{QUEUE}/complete")}


def _logged(server: RealServer) -> set[tuple[str, str]]:
    command = {"argv": ["/bin/echo", "hello"], "cwd": "/"}
    job_id = submitted(server, exec=command, start="now", hold=True)
    reply = server.get(f"{JOBS}/{job_id}/log")
    assert reply.status == 200, reply
    conforms(reply, "get", f"{JOBS}/{{job_id}}/log")
    return {("get", f"{JOBS}/{{job_id}}/log")}


def _scheduled(server: RealServer) -> set[tuple[str, str]]:
    body = {"name": "nightly", "cron": "30 2 * * *", "zone": "Europe/Berlin", "job": {"job_type": "dump"}}
    made = server.post(SCHEDULES, body)
    assert made.status < 300, made
    conforms(made, "post", SCHEDULES)
    one, named = f"{SCHEDULES}/{{schedule_id}}", f"{SCHEDULES}/{made.json['schedule_id']}"
    calls: list[tuple[str, str, str, Any]] = [
        ("get", SCHEDULES, SCHEDULES, None),
        ("get", one, named, None),
        ("put", one, named, {**body, "note": "changed"}),
        ("post", f"{one}/pause", f"{named}/pause", {}),
        ("post", f"{one}/resume", f"{named}/resume", {}),
        ("post", f"{one}/run", f"{named}/run", {}),
        ("delete", one, named, None),
    ]
    for method, template, path, content in calls:
        reply = server.call(method.upper(), path, content)
        assert reply.status < 300, (path, reply)
        conforms(reply, method, template)
    return {("post", SCHEDULES), *((method, template) for method, template, _, _ in calls)}
