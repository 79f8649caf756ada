"""Who sees what of others' jobs, and what a worker may say twice (QUEUE-4, OPS-6)."""

from __future__ import annotations

import pytest

from tests.api.real_server import RealServer

QUEUE = "/api/scheduler/queue"


@pytest.mark.requirement("QUEUE-4", "OPS-6")
def test_what_a_job_was_given_is_its_owners(server: RealServer) -> None:
    """A viewer sees that a job is there and why it waits, and neither its payload nor its command."""
    viewer = server.post("/api/tokens", {"name": "looks", "role": "viewer"}).json["token"]
    as_viewer = {"authorization": f"Bearer {viewer}"}
    body = {
        "jobs": [
            {"job_type": "sums", "payload": {"secret": "s3"}},
            {"exec": {"argv": ["/bin/echo", "S3"], "cwd": "/tmp"}, "hold": True},
        ]
    }
    for job in server.post(f"{QUEUE}/jobs/submit", body).json["jobs"]:
        path = f"{QUEUE}/jobs/{job['job_id']}"
        own = server.get(path).json
        assert own.get("payload") == {"secret": "s3"} or own["command"] == ["/bin/echo", "S3"]
        seen = server.call("GET", path, headers=as_viewer).json
        assert seen["job_id"] == job["job_id"]
        assert not {"payload", "command", "cwd", "result"} & set(seen)
        assert seen.get("is_command") is own.get("is_command")
    listed = server.call("GET", f"{QUEUE}/jobs?text=/bin/echo", headers=as_viewer)
    assert listed.json["jobs"] == [], "a text is not looked for in others' commands"
    (held,) = server.call("GET", f"{QUEUE}/jobs?state=HELD", headers=as_viewer).json["jobs"]
    assert held["is_command"]
    assert held["title"] == "echo"
    assert [job["command"] for job in server.get(f"{QUEUE}/jobs?text=/bin/echo").json["jobs"]] == [
        ["/bin/echo", "S3"]
    ]


@pytest.mark.requirement("QUEUE-4", "QUEUE-17", "OPS-6")
def test_what_a_schedule_gives_its_jobs_is_its_owners(server: RealServer) -> None:
    """A viewer sees when it runs and what came of it, and neither command nor payload."""
    viewer = server.post("/api/tokens", {"name": "reads", "role": "viewer"}).json["token"]
    as_viewer = {"authorization": f"Bearer {viewer}"}
    job = {"exec": {"argv": ["/bin/echo", "s3"], "cwd": "/tmp"}, "labels": {"a": "b"}}
    made = server.post("/api/schedules", {"name": "each-night", "cron": "0 3 * * *", "job": job})
    assert made.status == 200, made
    assert made.json["job"]["exec"]["argv"] == ["/bin/echo", "s3"], made
    for path in ("/api/schedules", f"/api/schedules/{made.json['schedule_id']}"):
        own, seen = server.get(path).body, server.call("GET", path, headers=as_viewer).body
        assert b"s3" in own
        assert b"each-night" in seen
        assert b"s3" not in seen
        assert b"/bin/echo" not in seen


@pytest.mark.requirement("QUEUE-4")
def test_a_failure_may_be_told_again(server: RealServer) -> None:
    """A worker whose answer was lost says FAILED again, after the job has gone back into the line."""
    job = {"job_type": "again", "start": "now", "max_attempts": 2, "retry": {"base_sec": 60}}
    server.post(f"{QUEUE}/jobs/submit", job)
    (claimed,) = server.post(f"{QUEUE}/claim", {"job_types": ["again"]}).json["jobs"]
    told = {"generation": 1, "fencing_token": claimed["fencing_token"], "outcome": "FAILED", "error": "no"}
    path = f"{QUEUE}/jobs/{claimed['job_id']}/complete"
    first, second = server.post(path, told), server.post(path, told)
    assert (first.status, first.json["state"]) == (second.status, second.json["state"]) == (200, "QUEUED")
    other = server.post(path, {**told, "outcome": "DONE"})
    assert other.status == 409, other
