"""Jobs as workers and people have them, on the real server: each path from submission to its end."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.api.job_client import QUEUE, Queue, refused, until
from tests.api.real_server import RealServer


@pytest.fixture
def queue(server: RealServer, request: pytest.FixtureRequest) -> Queue:
    """The queue, with a job type of this test's own."""
    return Queue(server, request.node.name[:100].replace("[", "-").replace("]", ""))


@pytest.fixture(scope="module")
def hasty() -> Iterator[RealServer]:
    """A server whose leases and offers soon lapse."""
    folder = Path(tempfile.mkdtemp(prefix="lh-"))
    with RealServer(folder, LEASEHOLD_LEASE__TTL_MS="3000", LEASEHOLD_QUEUE__OFFER_MS="1000") as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def short(hasty: RealServer, request: pytest.FixtureRequest) -> Queue:
    """Its queue."""
    return Queue(hasty, request.node.name[:100])


def in_s(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


# -- the whole way


@pytest.mark.requirement("QUEUE-1", "QUEUE-2", "QUEUE-4")
def test_submitted_claimed_completed(queue: Queue) -> None:
    """A job with its payload comes to the worker who claims it, and its result to who asks for it."""
    ident = queue.submit(payload={"n": [1, 2]}, title="a job", labels={"team": "x"}, max_runtime_sec=60)
    assert queue.state(ident) == "QUEUED"
    claimed = queue.claim_one()
    assert (claimed["job_id"], claimed["generation"], claimed.get("attempt", 1)) == (ident, 1, 1)
    assert (claimed["payload"], claimed["labels"]) == ({"n": [1, 2]}, {"team": "x"})
    assert (queue.get(ident)["state"], queue.get(ident)["lease_id"]) == ("RUNNING", claimed["lease_id"])
    metrics = {"cpu_seconds": 1.5, "peak_memory_bytes": 4096}
    assert queue.done(claimed, result={"sum": 3}, metrics=metrics) == "DONE"
    job = queue.get(ident)
    assert (job["state"], job["result"], job["payload"]) == ("DONE", {"sum": 3}, {"n": [1, 2]})
    assert job["usage"] == {"cpu_seconds": 1.5, "memory_peak_bytes": 4096}
    assert not queue.server.get(f"/api/scheduler/lease/{claimed['lease_id']}").json.get("expires_at")
    assert [one["what"] for one in queue.server.get(f"{QUEUE}/jobs/{ident}/events").json["events"]] == [
        "submitted",
        "started",
        "done",
    ]


@pytest.mark.requirement("QUEUE-4")
def test_the_same_result_again_is_fine_and_another_is_not(queue: Queue) -> None:
    """An answer that was lost is asked for again; what was said once can't be unsaid."""
    queue.submit()
    claimed = queue.claim_one()
    assert queue.done(claimed) == queue.done(claimed) == "DONE"
    assert "DONE already" in refused(queue.complete(claimed, outcome="FAILED"), 409, "CONFLICT")["detail"]
    other = claimed | {"generation": 2}
    refused(queue.complete(other), 409, "CONFLICT")


@pytest.mark.requirement("QUEUE-4", "LEASE-27")
def test_many_under_a_session(queue: Queue) -> None:
    """Jobs under one lease, each with its generation: results in one call are taken or refused one by one."""
    queue.submit_many(*[{"payload": number} for number in range(5)])
    session = queue.session()
    claimed = queue.claim(max=5, session=session)
    assert [one["payload"] for one in claimed] == list(range(5))
    assert not any(one.get("lease_id") for one in claimed)
    items = [{"job_id": one["job_id"], "generation": one["generation"]} for one in claimed]
    items[3] |= {"generation": 7}
    items[4] |= {"outcome": "FAILED", "error": "no", "error_class": "permanent"}
    answer = queue.post("/complete", {"items": items, "fencing_token": session["fencing_token"]}).json
    assert (answer["done"], answer["refused"]) == (4, 1)
    assert [one.get("state") or one["code"] for one in answer["items"]] == [
        "DONE",
        "DONE",
        "DONE",
        "STALE_TOKEN",
        "FAILED",
    ]
    assert queue.state(claimed[3]["job_id"]) == "RUNNING"
    assert queue.done(claimed[3] | session | {"generation": 1}) == "DONE"


@pytest.mark.requirement("QUEUE-4")
def test_returned_counts_no_attempt(queue: Queue) -> None:
    """What a worker could not begin goes back as if nothing had been, with a new generation."""
    ident = queue.submit(max_attempts=1)
    first = queue.claim_one()
    assert queue.done(first, outcome="RETURNED", error="not now") == "QUEUED"
    assert queue.get(ident).get("attempts", 0) == 0
    second = queue.claim_one()
    assert (second["generation"], second.get("attempt", 1)) == (2, 1)
    refused(queue.complete(first), 409, "STALE_TOKEN")
    assert queue.done(second) == "DONE"


@pytest.mark.requirement("QUEUE-4")
def test_what_a_worker_does_not_know_of_comes_again(queue: Queue) -> None:
    """The answer to a claim was lost: the next one that tells what it knows gets the same job again."""
    queue.submit()
    lost = queue.claim_one()
    assert queue.claim_one(known=[]) == lost
    assert queue.claim(known=[lost["job_id"]], wait_sec=0) == []
    assert queue.worker("stranger").claim(known=[], wait_sec=0) == []
    assert queue.done(lost) == "DONE"


# -- what fails


@pytest.mark.requirement("QUEUE-11", "QUEUE-2")
def test_a_failure_is_tried_again_then_is_the_dead_letter(queue: Queue) -> None:
    """With back-off up to its last attempt; FAILED it is listed, and retried with its history."""
    ident = queue.submit(max_attempts=2, retry={"base_sec": 0.01, "cap_sec": 0.01})
    assert queue.done(queue.claim_one(), outcome="FAILED", error="first") == "QUEUED"
    assert queue.done(queue.claim_one(), outcome="FAILED", error="second") == "FAILED"
    job = queue.get(ident)
    assert [(one["outcome"], one["error"]) for one in job["history"]] == [
        ("FAILED", "first"),
        ("FAILED", "second"),
    ]
    assert [one["job_id"] for one in queue.page("&state=FAILED")["jobs"]] == [ident]
    again = queue.change(ident, "retry")
    assert (again["state"], len(again["history"])) == ("QUEUED", 2)
    assert queue.page("&state=FAILED")["jobs"] == []
    claimed = queue.claim_one()
    assert (claimed["generation"], queue.done(claimed)) == (3, "DONE")
    refused(queue.post(f"/jobs/{ident}/retry", {}), 409, "CONFLICT")


@pytest.mark.requirement("QUEUE-11")
def test_a_back_off_is_shown_and_waited_for(queue: Queue) -> None:
    """Nothing is claimed before its end, and why it waits is told."""
    ident = queue.submit(max_attempts=9, retry={"base_sec": 86_400, "cap_sec": 86_400})
    assert queue.done(queue.claim_one(), outcome="FAILED") == "QUEUED"
    job = queue.get(ident)
    assert job["reasons"][0]["code"] == "NOT_YET"
    assert job["next_earliest_start_at"] > job["submitted_at"]
    assert queue.claim(wait_sec=0) == []
    queue.change(ident, "cancel")


@pytest.mark.requirement("QUEUE-11")
def test_a_permanent_error_is_not_tried_again(queue: Queue) -> None:
    """However many attempts it has."""
    queue.submit(max_attempts=9)
    assert queue.done(queue.claim_one(), outcome="FAILED", error_class="permanent") == "FAILED"


@pytest.mark.requirement("QUEUE-10")
def test_a_lease_that_is_released_without_a_result_is_a_failed_attempt(queue: Queue) -> None:
    """NO_RESULT."""
    ident = queue.submit()
    claimed = queue.claim_one()
    assert queue.server.release(claimed).status == 200
    job = queue.get(ident)
    assert job["state"] == "FAILED"
    assert "NO_RESULT" in job["error"]


@pytest.mark.requirement("QUEUE-2", "QUEUE-11", "INV-3")
def test_an_own_lease_that_is_not_renewed_is_lost(short: Queue) -> None:
    """The job goes to another with a new generation, and the first is refused whatever it says."""
    ident = short.submit(max_attempts=1)
    first = short.claim_one()
    second = short.claim_one(wait_sec=30)
    assert (second["job_id"], second["generation"], second.get("attempt", 1)) == (ident, 2, 1)
    refused(short.complete(first, outcome="FAILED"), 409, "STALE_TOKEN")
    assert short.beat(first).status == 410
    assert short.done(second) == "DONE"
    assert [one["outcome"] for one in short.get(ident)["history"]] == ["LOST"]


@pytest.mark.requirement("QUEUE-2", "LEASE-27")
def test_all_under_a_session_are_lost_with_it(short: Queue) -> None:
    """Every job of a session goes back when its lease is lost, and its token speaks for none of them."""
    idents = {one["job_id"] for one in short.submit_many({}, {}, {})}
    session = short.session()
    taken = short.claim(max=3, session=session)
    assert {one["job_id"] for one in taken} == idents
    found: dict[str, dict[str, object]] = {}
    until(lambda: found.update({one["job_id"]: one for one in short.claim(max=3)}) or len(found) == 3)
    assert {one["generation"] for one in found.values()} == {2}
    for one in taken:
        refused(short.complete(one | session | {"generation": 1}), 409, "STALE_TOKEN")
    assert [short.done(one) for one in found.values()] == ["DONE"] * 3


@pytest.mark.requirement("QUEUE-10")
def test_one_that_runs_too_long_is_expired_or_tried_again(short: Queue) -> None:
    """Its lease is taken back at its runtime limit; with an attempt left it is queued, else EXPIRED."""
    ident = short.submit(max_runtime_sec=1, max_attempts=2, retry={"base_sec": 0})
    for state in ("QUEUED", "EXPIRED"):
        claimed = short.claim_one()
        until(lambda one=claimed: short.beat(one).json.get("action") != "continue")
        short.server.release(claimed)
        assert short.state(ident) == state
    assert "limit of 1 s" in short.get(ident)["error"]


@pytest.mark.requirement("QUEUE-10", "LEASE-27")
def test_one_under_a_session_that_runs_too_long_is_expired(short: Queue) -> None:
    """The session lives on, and what was late is refused."""
    ident = short.submit(max_runtime_sec=1)
    session = short.session()
    claimed = short.claim_one(session=session) | session | {"generation": 1}
    until(lambda: short.beat(session).status == 200 and short.state(ident) == "EXPIRED")
    refused(short.complete(claimed), 409, "CONFLICT")
    assert short.beat(session).status == 200


# -- offers


@pytest.mark.requirement("QUEUE-4", "QUEUE-9")
def test_an_offer_is_taken_up_with_its_lease_alone(queue: Queue) -> None:
    """`dispatchable` offers, `ack` binds; any other lease is refused, and a repeat is fine."""
    ident = queue.submit(payload=7)
    path = f"{QUEUE}/dispatchable?job_types={queue.job_type}"
    offered = queue.server.get(path).json["jobs"][0]
    assert (offered["job_id"], offered["payload"]) == (ident, 7)
    assert queue.state(ident) == "DISPATCHING"
    assert queue.server.get(path).json["jobs"] == [offered], "asked again, it is the same offer"
    ack = {key: offered[key] for key in ("lease_id", "fencing_token")}
    refused(queue.complete(offered), 409, "CONFLICT")
    refused(queue.post(f"/jobs/{ident}/ack", ack | {"lease_id": "lease-other"}), 409, "CONFLICT")
    for _ in range(2):
        reply = queue.post(f"/jobs/{ident}/ack", ack)
        assert (reply.status, reply.json["state"]) == (200, "RUNNING")
    assert queue.done(offered) == "DONE"


@pytest.mark.requirement("QUEUE-4")
def test_three_lapsed_offers_are_probation_and_no_attempt(short: Queue) -> None:
    """The fourth time nothing is offered to that worker; another one gets the job at once."""
    ident = short.submit(max_attempts=1)
    path = f"{QUEUE}/dispatchable?job_types={short.job_type}"
    worker = short.worker("sleepy")
    for generation in (1, 2, 3):
        offered = until(lambda: short.server.call("GET", path, headers=worker.headers).json["jobs"])
        assert offered[0]["generation"] == generation
        short.until(ident, "QUEUED")
    answer = until(lambda: short.server.call("GET", path, headers=worker.headers).json)
    assert (answer["jobs"], answer["reasons"][0]["code"]) == ([], "PROBATION")
    assert 1 <= answer["retry_after_sec"] <= 60
    claimed = short.claim_one()
    assert (claimed["job_id"], claimed.get("attempt", 1)) == (ident, 1)
    assert short.done(claimed) == "DONE"
