"""What the queue refuses, and that nothing is lost or changed by it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from tests.api.job_client import QUEUE, Queue, refused
from tests.api.real_server import RealServer

PAYLOAD_MAX = 192 << 10
RESULT_MAX = 64 << 10


@pytest.fixture
def queue(server: RealServer, request: pytest.FixtureRequest) -> Queue:
    """The queue, with a job type of this test's own."""
    return Queue(server, request.node.name[:100].replace("[", "-").replace("]", ""))


def text_of(size: int) -> str:
    """A JSON string that takes just this many bytes."""
    return "x" * (size - 2)


@pytest.mark.requirement("QUEUE-1", "INV-8")
def test_a_payload_at_and_over_its_limit(queue: Queue) -> None:
    """192 KiB come back as they went; one byte more is refused with the figure."""
    text = text_of(PAYLOAD_MAX)
    queue.submit(payload=text)
    claimed = queue.claim_one()
    assert claimed["payload"] == text
    assert queue.done(claimed) == "DONE"
    problem = refused(queue.submitted(payload=text + "x"), 422, "INVALID")
    assert f"{PAYLOAD_MAX + 1:,}" in problem["detail"]


@pytest.mark.requirement("QUEUE-1", "INV-8")
def test_a_result_at_and_over_its_limit(queue: Queue) -> None:
    """Over 64 KiB is refused and changes nothing: the worker says it again, shorter."""
    ident = queue.submit()
    claimed = queue.claim_one()
    over = refused(queue.complete(claimed, result=text_of(RESULT_MAX + 1)), 422, "INVALID")
    assert f"{RESULT_MAX:,}" in over["detail"]
    assert queue.state(ident) == "RUNNING"
    assert queue.done(claimed, result=text_of(RESULT_MAX)) == "DONE"
    assert queue.get(ident)["result"] == text_of(RESULT_MAX)


@pytest.mark.requirement("QUEUE-3", "INV-8")
def test_a_thousand_jobs_and_one_more(queue: Queue) -> None:
    """1,000 in a call are taken, also where they need several commits; 1,001 are refused, all of them."""
    payload = text_of(8 << 10)
    made = queue.submit_many(*[{"payload": payload} for _ in range(1_000)])
    assert len({one["job_id"] for one in made}) == 1_000
    refused(queue.post("/jobs/submit", {"jobs": [{"cost_units": 1}] * 1_001}), 422, "INVALID")
    assert len(queue.page("&limit=1000")["jobs"]) == 1_000
    queue.post("/jobs/bulk", {"action": "cancel", "job_type": queue.job_type})


@pytest.mark.requirement("QUEUE-3", "INV-8")
def test_a_body_over_16_mib_is_refused(queue: Queue) -> None:
    """With 413, and the connection is of use no more; nothing of it is taken."""
    body = json.dumps({"jobs": [{"job_type": queue.job_type, "payload": text_of(190_000)}] * 90}).encode()
    assert len(body) > 16 << 20
    try:
        reply = queue.server.call("POST", f"{QUEUE}/jobs/submit", raw=body)
    except (ConnectionError, BrokenPipeError):
        reply = None  # It was refused while it was still being sent.
    if reply is not None:
        refused(reply, 413, "TOO_LARGE")
    assert queue.page()["jobs"] == []


@pytest.mark.requirement("QUEUE-3")
def test_what_can_never_fit_is_refused_with_the_figures(queue: Queue) -> None:
    """Unless it is to be kept until a node can hold it."""
    wants = {"cost_units": None, "resources": {"memory_bytes": 1 << 50}}
    problem = refused(queue.submitted(**wants), 422, "NEVER_FITS")
    assert f"requested={1 << 30}MiB" in problem["detail"]
    gang = refused(queue.submitted(cost_units=40, gang=3), 422, "NEVER_FITS")
    assert "120" in gang["detail"]
    kept = queue.submit(**wants, allow_unfit=True)
    job = queue.get(kept)
    assert job["state"] == "QUEUED"
    assert job["reasons"][0]["code"] in ("NEVER_FITS", "NO_WORKER")
    assert any(one["code"] == "NEVER_FITS" for one in job["reasons"]), job["reasons"]
    queue.change(kept, "cancel")


@pytest.mark.requirement("QUEUE-1", "QUEUE-3")
def test_a_circle_is_refused_as_a_whole(queue: Queue) -> None:
    """The error names it, and none of the call is taken; by ids no circle can be made."""
    jobs = [{"key": "free"}, {"key": "a", "after": ["@b"]}, {"key": "b", "after": ["@a", "@free"]}]
    plain = [{"job_type": queue.job_type, **one} for one in jobs]
    problem = refused(queue.post("/jobs/submit", {"jobs": plain}), 422, "INVALID")
    assert "@a comes after @b" in problem["detail"] or "@b comes after @a" in problem["detail"]
    assert "free" not in problem["detail"]
    unknown = {"jobs": [{"job_type": queue.job_type, "after": ["@nobody"]}]}
    assert "nobody" in refused(queue.post("/jobs/submit", unknown), 422, "INVALID")["detail"]
    for one in ("job-00000000000", "job-", "lease-vsehw2va99v", "@", ""):
        assert queue.submitted(after=[one]).status == 422, one
    assert queue.page()["jobs"] == []


@pytest.mark.requirement("QUEUE-3")
def test_one_that_is_refused_takes_those_after_it_along(queue: Queue) -> None:
    """Others of the call are taken."""
    big = text_of(PAYLOAD_MAX + 1)
    made = queue.submit_many(
        {"key": "big", "payload": big}, {"key": "x", "after": ["@big"]}, {"after": ["@x"]}, {}
    )
    assert [one.get("code", "taken") for one in made] == ["INVALID", "CONFLICT", "CONFLICT", "taken"]
    assert "@big was not taken" in made[1]["detail"]
    assert queue.done(queue.claim_one()) == "DONE"


@pytest.mark.requirement("QUEUE-3", "LEASE-8")
def test_the_same_submission_again_makes_nothing_new(queue: Queue) -> None:
    """By its Idempotency-Key, also one of several commits with references between them."""
    payload = text_of(150_000)
    jobs: list[dict[str, Any]] = [{"key": f"k{number}", "payload": payload} for number in range(60)]
    jobs[0]["after"] = ["@k59"]  # The last commit holds it, and what it comes after is in the one before.
    body = {"jobs": [{"job_type": queue.job_type, **one} for one in jobs]}
    headers = {"idempotency-key": "a-great-one"}
    first, again = (
        queue.server.call("POST", f"{QUEUE}/jobs/submit", body, headers=headers).json for _ in range(2)
    )
    assert [one["job_id"] for one in first["jobs"]] == [one["job_id"] for one in again["jobs"]]
    assert len(queue.page("&limit=1000")["jobs"]) == 60
    zero, last = (first["jobs"][place]["job_id"] for place in (0, 59))
    assert queue.get(zero)["waits_for"] == [last]
    queue.post("/jobs/bulk", {"action": "cancel", "job_type": queue.job_type})


@pytest.mark.requirement("QUEUE-4", "INV-3", "INV-6")
def test_only_who_holds_a_job_speaks_for_it(queue: Queue) -> None:
    """Another worker, an old generation, a wrong token, a job that waits, was cancelled, or is unknown."""
    mine, other = queue.worker("mine"), queue.worker("other")
    ident = queue.submit(max_attempts=3, retry={"base_sec": 0})
    waits = {"job_id": ident, "generation": 1, "fencing_token": 1}
    refused(mine.complete(waits), 409, "CONFLICT")
    claimed = mine.claim_one()
    refused(other.complete(claimed), 403, "NOT_PERMITTED")
    refused(mine.complete(claimed | {"fencing_token": claimed["fencing_token"] + 1}), 409, "STALE_TOKEN")
    refused(mine.complete(claimed | {"generation": 2}), 409, "STALE_TOKEN")
    refused(mine.complete(claimed | {"job_id": "job-00000000000"}), 404, "NOT_FOUND")
    assert queue.state(ident) == "RUNNING"
    assert mine.done(claimed, outcome="FAILED") == "QUEUED"
    again = other.claim_one()
    refused(mine.complete(claimed), 403, "NOT_PERMITTED")
    refused(other.complete(claimed), 409, "STALE_TOKEN")
    queue.change(ident, "cancel", grace_sec=0)
    queue.until(ident, "CANCELED")
    refused(other.complete(again), 409, "CONFLICT")
    many = other.post("/complete", {"items": [{"job_id": ident, "generation": again["generation"]}]}).json
    assert (many["refused"], many["items"][0]["code"]) == (1, "CONFLICT")


@pytest.mark.requirement("QUEUE-4", "LEASE-27", "INV-6")
def test_a_session_is_its_owner_s(queue: Queue) -> None:
    """Nobody claims under another's lease, with a wrong token, under an unknown one, or under a job's own."""
    mine, other = queue.worker("owner"), queue.worker("stranger")
    ident = queue.submit()
    session = mine.session()
    body = {"job_types": [queue.job_type], "session": session}
    refused(other.post("/claim", body), 403, "NOT_PERMITTED")
    wrong = session | {"fencing_token": session["fencing_token"] + 1}
    refused(mine.post("/claim", body | {"session": wrong}), 409, "STALE_TOKEN")
    unknown = session | {"lease_id": "lease-unknown"}
    refused(mine.post("/claim", body | {"session": unknown}), 404, "NOT_FOUND")
    claimed = mine.claim_one()
    own = {key: claimed[key] for key in ("lease_id", "fencing_token")}
    refused(mine.post("/claim", body | {"session": own}), 422, "INVALID")
    assert mine.done(claimed) == "DONE"
    assert other.beat(session).status == 403
    assert mine.beat(session).status == 200
    assert queue.state(ident) == "DONE"


@pytest.mark.requirement("QUEUE-4", "QUEUE-15")
def test_commands_are_the_runner_s_alone(queue: Queue) -> None:
    """No worker has its capability, no job asks for it, and a token is no user."""
    refused(queue.post("/claim", {"capabilities": ["runner"]}), 403, "NOT_PERMITTED")
    refused(queue.submitted(needs=["runner"]), 422, "INVALID")
    command = {"argv": ["true"], "cwd": "/tmp"}
    made = queue.server.post("/api/tokens", {"name": "program", "role": "submitter"})
    token = Queue(queue.server, queue.job_type, made.json["token"])
    assert token.submitted(exec=command).json["code"] == "NOT_PERMITTED"


@pytest.mark.requirement("QUEUE-1")
@pytest.mark.parametrize("field", ["earliest_start_at", "deadline_at", "start_anyway_by"])
@pytest.mark.parametrize("text", ["2030-01-01T00:00:00", "2030-02-30T00:00:00Z", "tomorrow at noon, please"])
def test_times_have_a_zone(queue: Queue, field: str, text: str) -> None:
    """And are times."""
    problem = refused(queue.submitted(**{field: text}), 422, "INVALID")
    assert field in json.dumps(problem)


@pytest.mark.requirement("QUEUE-1")
def test_times_that_contradict_each_other(queue: Queue) -> None:
    """A deadline in the past, or before the earliest start."""
    refused(queue.submitted(deadline_at="2020-01-01T00:00:00Z"), 422, "INVALID")
    both = {"earliest_start_at": "2040-01-02T00:00:00Z", "deadline_at": "2040-01-01T00:00:00Z"}
    refused(queue.submitted(**both), 422, "INVALID")


@pytest.mark.requirement("QUEUE-3")
@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("state=SLEEPING", 422),
        ("state=queued,,HELD", 200),
        ("cursor=garbage", 422),
        ("cursor=live-", 200),
        ("cursor=live-abc", 422),
        ("cursor=live-%C2%B2", 422),
        ("cursor=ended-99999999999999999999999999999999999999999999999999", 422),
        ("cursor=live-99999999999999999999", 422),
        ("cursor=", 200),
        ("cursor=live-99999999999999999", 200),
        ("cursor=ended-99999999999999999", 200),
        ("limit=0", 422),
        ("limit=1001", 422),
        ("colour=red", 422),
        ("label=%3D", 200),
    ],
)
def test_lists_that_can_t_be(queue: Queue, query: str, status: int) -> None:
    """Unknown states, cursors that no page gave, limits out of range."""
    reply = queue.server.get(f"{QUEUE}/jobs?{query}")
    assert reply.status == status, reply


@pytest.mark.requirement("QUEUE-3")
@pytest.mark.parametrize(
    "ident", ["job-unknown", "x", "job-", "lease-vsehw2va99v", "job-%00", "a" * 64, "job-²"]
)
def test_a_job_that_is_not_known(queue: Queue, ident: str) -> None:
    """404 by every route, with what to do."""
    path = f"{QUEUE}/jobs/{quote(ident, safe='%')}"
    for reply in (
        *(queue.server.get(f"{path}{rest}") for rest in ("", "/events", "/log")),
        *(queue.server.post(f"{path}/{each}", {}) for each in ("cancel", "hold", "pause", "resume", "retry")),
        queue.server.post(f"{path}/priority", {"priority": "LOW"}),
        queue.server.post(f"{path}/ack", {"lease_id": "l", "fencing_token": 1}),
        queue.server.post(f"{path}/complete", {"generation": 1}),
    ):
        refused(reply, 404, "NOT_FOUND")


@pytest.mark.requirement("QUEUE-3")
@pytest.mark.parametrize(
    "body",
    [
        {"action": "cancel"},
        {"action": "explode", "job_type": "x"},
        {"action": "cancel", "state": ["SLEEPING"]},
        {"action": "priority", "job_type": "x"},
    ],
)
def test_bulk_actions_that_can_t_be(queue: Queue, body: dict[str, Any]) -> None:
    """Without a filter, on an unknown state, to no priority: 422, and nothing is changed."""
    ident = queue.submit()
    refused(queue.post("/jobs/bulk", body), 422, "INVALID")
    assert queue.change(ident, "cancel")["state"] == "CANCELED"


@pytest.mark.requirement("QUEUE-3")
def test_either_one_job_or_many(queue: Queue) -> None:
    """What stands beside `jobs` would be lost without a word."""
    for beside in ({"payload": 1}, {"title": "x"}, {"after": ["job-00000000000"]}, {"priority": "LOW"}):
        refused(queue.post("/jobs/submit", {"jobs": [{"cost_units": 1}], **beside}), 422, "INVALID")
