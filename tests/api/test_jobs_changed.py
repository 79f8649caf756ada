"""What people do to jobs on the real server, what time and other jobs do to them, and how they are found."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.api.job_client import QUEUE, Queue, refused, until
from tests.api.real_server import RealServer


@pytest.fixture
def queue(server: RealServer, request: pytest.FixtureRequest) -> Queue:
    """The queue, with a job type of this test's own."""
    return Queue(server, request.node.name[:100].replace("[", "-").replace("]", ""))


def in_s(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


# -- cancelled, held, put first


@pytest.mark.requirement("QUEUE-10", "QUEUE-2")
@pytest.mark.parametrize("hold", [False, True])
def test_what_waits_is_cancelled_at_once(queue: Queue, hold: bool) -> None:
    """With who did it and why; again it is 409."""
    ident = queue.submit(hold=hold)
    job = queue.change(ident, "cancel", note="too old")
    assert job["state"] == "CANCELED"
    assert "too old" in job["error"]
    refused(queue.post(f"/jobs/{ident}/cancel", {}), 409, "CONFLICT")
    assert queue.claim(wait_sec=0) == []


@pytest.mark.requirement("QUEUE-10")
def test_what_is_offered_is_cancelled_at_once(queue: Queue) -> None:
    """And its offer can't be taken up any more."""
    ident = queue.submit()
    offered = queue.server.get(f"{QUEUE}/dispatchable?job_types={queue.job_type}").json["jobs"][0]
    assert queue.change(ident, "cancel")["state"] == "CANCELED"
    ack = {key: offered[key] for key in ("lease_id", "fencing_token")}
    refused(queue.post(f"/jobs/{ident}/ack", ack), 404, "NOT_FOUND")


@pytest.mark.requirement("QUEUE-10")
@pytest.mark.parametrize(
    ("said", "state"),
    [({"outcome": "DONE"}, "DONE"), ({"outcome": "FAILED"}, "CANCELED"), (None, "CANCELED")],
)
def test_what_runs_is_asked_to_stop(queue: Queue, said: dict[str, Any] | None, state: str) -> None:
    """Its heartbeat says so; it is CANCELED when its worker has stopped, but what was done is done."""
    ident = queue.submit(max_attempts=5)
    claimed = queue.claim_one()
    job = queue.change(ident, "cancel", note="enough", grace_sec=60)
    assert (job["state"], "enough" in job["cancel_requested"]) == ("RUNNING", True)
    beat = queue.beat(claimed).json
    assert (beat["action"], beat["state"]) == ("stop", "REVOKING")
    if said is None:
        assert queue.server.release(claimed).status == 200
    else:
        assert queue.done(claimed, **said) == state
    assert queue.get(ident)["state"] == state


@pytest.mark.requirement("QUEUE-10", "LEASE-27")
def test_one_under_a_session_is_named_by_the_heartbeat_then_fenced_off(queue: Queue) -> None:
    """The others of the session go on."""
    ident, other = (one["job_id"] for one in queue.submit_many({}, {}))
    session = queue.session()
    claimed = [one | session for one in queue.claim(max=2, session=session)]
    assert queue.change(ident, "cancel", grace_sec=5)["state"] == "RUNNING"
    assert queue.beat(session).json["cancel"] == [ident]
    queue.until(ident, "CANCELED")
    refused(queue.complete(claimed[0]), 409, "CONFLICT")
    assert queue.done(claimed[1]) == "DONE"
    assert queue.state(other) == "DONE"
    assert "cancel" not in queue.beat(session).json


@pytest.mark.requirement("QUEUE-2", "QUEUE-3")
def test_what_is_held_stays_until_it_is_resumed(queue: Queue) -> None:
    """Hold twice is fine; resume of what nobody holds is 409."""
    ident = queue.submit()
    for _ in range(2):
        assert queue.change(ident, "hold")["state"] == "HELD"
    assert queue.get(ident)["reasons"][0]["code"] == "HELD"
    assert queue.claim(wait_sec=0) == []
    assert queue.change(ident, "resume")["state"] == "QUEUED"
    refused(queue.post(f"/jobs/{ident}/resume", {}), 409, "CONFLICT")
    claimed = queue.claim_one()
    refused(queue.post(f"/jobs/{ident}/hold", {}), 409, "CONFLICT")
    assert queue.done(claimed) == "DONE"


@pytest.mark.requirement("QUEUE-6", "QUEUE-3")
def test_a_priority_changes_who_comes_first(queue: Queue) -> None:
    """Of two of one holder the one in the better lane; a running one needs none any more."""
    first, second = queue.submit(priority="LOW"), queue.submit(priority="LOW")
    assert queue.change(second, "priority", priority="HIGH")["priority"] == "HIGH"
    claimed = queue.claim_one()
    assert claimed["job_id"] == second
    refused(queue.post(f"/jobs/{second}/priority", {"priority": "LOW"}), 409, "CONFLICT")
    other = queue.claim_one()
    assert other["job_id"] == first
    assert [queue.done(one) for one in (claimed, other)] == ["DONE"] * 2


# -- time


@pytest.mark.requirement("QUEUE-19", "QUEUE-2")
def test_a_deadline_ends_what_waits(queue: Queue) -> None:
    """QUEUED or HELD past it: EXPIRED, and it is retried on request without it."""
    idents = [queue.submit(deadline_at=in_s(2), hold=hold) for hold in (False, True)]
    for ident in idents:
        assert "deadline" in queue.until(ident, "EXPIRED")["error"]
    again = queue.change(idents[0], "retry")
    assert (again["state"], again.get("deadline_at")) == ("QUEUED", None)
    assert queue.done(queue.claim_one()) == "DONE"


@pytest.mark.requirement("QUEUE-1")
def test_nothing_starts_before_its_time(queue: Queue) -> None:
    """A job of later is claimed then, by a call that waits."""
    begins = datetime.now(UTC) + timedelta(seconds=2)
    ident = queue.submit(earliest_start_at=begins.isoformat())
    assert queue.get(ident)["reasons"][0]["code"] == "NOT_YET"
    claimed = queue.claim_one(wait_sec=30)
    assert (claimed["job_id"], datetime.now(UTC) >= begins) == (ident, True)
    assert queue.done(claimed) == "DONE"


@pytest.mark.requirement("QUEUE-19")
def test_past_its_time_it_starts_anyway(queue: Queue) -> None:
    """What waits for a window waits no longer than `start_anyway_by`; `never` waits on."""
    waits = queue.submit(start="window", start_anyway_by="never")
    ident = queue.submit(start="window", start_anyway_by=in_s(2))
    assert "NO_WINDOW" in [one["code"] for one in queue.get(ident)["reasons"]]
    claimed = queue.claim_one(wait_sec=30)
    assert claimed["job_id"] == ident
    assert queue.done(claimed) == "DONE"
    assert queue.get(waits).get("start_anyway_by") is None
    assert queue.change(waits, "cancel")["state"] == "CANCELED"


# -- other jobs


@pytest.mark.requirement("QUEUE-1", "QUEUE-10")
def test_a_graph_of_one_call_runs_in_its_order(queue: Queue) -> None:
    """By `@key`, whatever the order in the call; what comes after one that failed is cancelled, all of it."""
    made = queue.submit_many(
        {"key": "d", "after": ["@b", "@c"]},
        {"key": "b", "after": ["@a"]},
        {"key": "c", "after": ["@a"], "after_any": True},
        {"key": "a"},
        {"after": ["@d"]},
    )
    d, b, c, a, last = (one["job_id"] for one in made)
    assert sorted(queue.get(d)["waits_for"]) == sorted([b, c])
    assert queue.get(d)["reasons"][0]["code"] == "AFTER"
    only = queue.claim_one(max=10)
    assert only["job_id"] == a
    assert queue.done(only, outcome="FAILED") == "FAILED"
    for ident in (b, d, last):
        assert "was not DONE" in queue.until(ident, "CANCELED")["error"]
    claimed = queue.claim_one(max=10)
    assert claimed["job_id"] == c
    assert queue.done(claimed) == "DONE"
    late = queue.submitted(after=[a])
    assert "not be DONE" in refused(late, 409, "CONFLICT")["detail"]
    assert queue.state(queue.submit(after=[a], after_any=True)) == "QUEUED"
    assert queue.done(queue.claim_one()) == "DONE"


@pytest.mark.requirement("QUEUE-20")
def test_a_live_job_of_the_same_unique_key_stands_for_the_second(queue: Queue) -> None:
    """Until it has ended; then it is made anew."""
    first = queue.submitted(unique_key="nightly").json["jobs"][0]
    second = queue.submitted(unique_key="nightly").json["jobs"][0]
    assert (second["job_id"], second["existing"]) == (first["job_id"], True)
    both = queue.submit_many({"unique_key": "other"}, {"unique_key": "other"})
    assert both[0]["job_id"] == both[1]["job_id"]
    claimed = queue.claim(max=10)
    assert len(claimed) == 2
    assert {queue.done(one) for one in claimed} == {"DONE"}
    third = queue.submit(unique_key="nightly")
    assert third != first["job_id"]
    queue.change(third, "cancel")


@pytest.mark.requirement("QUEUE-20")
def test_a_gang_has_a_lease_for_each_member(queue: Queue) -> None:
    """All of them in one claim, and all of them end with its result."""
    ident = queue.submit(gang=3)
    claimed = queue.claim_one()
    members = claimed["members"]
    assert [one["fencing_token"] - claimed["fencing_token"] for one in members] == [0, 1, 2]
    assert all(queue.beat(one).json["action"] == "continue" for one in members)
    assert queue.done(claimed) == "DONE"
    assert [queue.beat(one).status for one in members] == [410] * 3
    assert queue.state(ident) == "DONE"


@pytest.mark.requirement("QUEUE-16", "LEASE-21")
def test_slots_hold_an_array_to_its_parallel_limit(queue: Queue) -> None:
    """The size that the first one names holds for all; who names another one is refused."""
    slot = {"name": "test-array-of-five", "size": 2}
    made = queue.submit_many(*[{"slots": [slot], "index": index} for index in range(1, 6)])
    assert len({one["job_id"] for one in made}) == 5
    held = queue.claim(max=5)
    assert len(held) == 2
    shown = {one["name"]: one for one in queue.server.get("/api/scheduler/locks").json["locks"]}[slot["name"]]
    assert (shown["size"], shown["held"], shown["waiting"]) == (2, 2, 3)
    other = queue.submitted(slots=[slot | {"size": 3}])
    assert "2 slots" in refused(other, 409, "CONFLICT")["detail"]
    while held:
        assert queue.done(held.pop()) == "DONE"
        held += queue.claim(max=5, wait_sec=1)
        assert len(held) <= 2
    assert {one["state"] for one in queue.page()["jobs"]} == {"DONE"}


# -- many


@pytest.mark.requirement("QUEUE-3")
def test_an_action_on_all_that_match(queue: Queue) -> None:
    """`dry_run` counts; then each is changed or refused by itself, and others are left alone."""
    made = queue.submit_many(*[{"labels": {"n": str(number % 2)}} for number in range(6)])
    odd = {one["job_id"] for one in made[1::2]}
    match = {"job_type": queue.job_type, "label": "n=1"}
    counted = queue.post("/jobs/bulk", {"action": "hold", "dry_run": True, **match}).json
    assert (counted["matched"], counted["changed"], set(counted["ids"])) == (3, 0, odd)
    assert queue.post("/jobs/bulk", {"action": "hold", **match}).json["changed"] == 3
    assert {one["job_id"] for one in queue.page("&state=HELD")["jobs"]} == odd
    answer = queue.post("/jobs/bulk", {"action": "resume", "ids": [one["job_id"] for one in made]}).json
    assert (answer["matched"], answer["changed"], answer["refused"]) == (6, 3, 3)
    cancelled = queue.post("/jobs/bulk", {"action": "cancel", "job_type": queue.job_type}).json
    assert cancelled["changed"] == 6
    retried = queue.post(
        "/jobs/bulk", {"action": "retry", "state": ["CANCELED"], "job_type": queue.job_type}
    ).json
    assert retried["changed"] == 6
    queue.post("/jobs/bulk", {"action": "cancel", "job_type": queue.job_type})


@pytest.mark.requirement("QUEUE-3", "QUEUE-14")
def test_pages_lead_over_live_and_ended(queue: Queue) -> None:
    """Each job once, newest first; what has ended comes behind what lives, by each filter."""
    made = queue.submit_many(
        *[{"group": f"g{number % 2}", "labels": {"n": str(number)}} for number in range(9)]
    )
    ids = [one["job_id"] for one in made]
    for claimed in queue.claim(max=4):
        assert queue.done(claimed) == "DONE"
    found, cursor = [], ""
    while True:
        page = queue.page(f"&limit=2{cursor}")
        found += [one["job_id"] for one in page["jobs"]]
        assert len(page["jobs"]) <= 2
        if not page.get("cursor"):
            break
        cursor = f"&cursor={page['cursor']}"
    assert found == [*reversed(ids[4:]), *reversed(ids[:4])]
    assert [one["job_id"] for one in queue.page("&state=queued,held")["jobs"]] == list(reversed(ids[4:]))
    assert [one["job_id"] for one in queue.page("&state=DONE&group=g1")["jobs"]] == [ids[3], ids[1]]
    assert [one["job_id"] for one in queue.page("&label=n%3D2")["jobs"]] == [ids[2]]
    assert len(queue.page("&label=n")["jobs"]) == 9
    assert queue.page("&holder=nobody")["jobs"] == []
    queue.post("/jobs/bulk", {"action": "cancel", "job_type": queue.job_type})


@pytest.mark.requirement("QUEUE-13", "QUEUE-14")
def test_all_is_as_it_was_after_a_crash(scratch: Path) -> None:
    """Waiting, held, running, offered, ended, in back-off, one after another: over a kill -9."""
    with RealServer(scratch) as server:
        queue = Queue(server, "kept")
        names = ("waits", "held", "runs", "ended", "backs off", "comes after")
        queue.submit_many(
            {"key": "runs", "payload": "runs", "max_attempts": 3},
            {"key": "ended"},
            {"key": "backs off", "max_attempts": 3, "retry": {"base_sec": 86_400, "cap_sec": 86_400}},
        )
        runs, ended, backs_off = queue.claim(max=3)
        assert queue.done(ended, result=[1]) == "DONE"
        assert queue.done(backs_off, outcome="FAILED", error="no") == "QUEUED"
        waits, held, after = queue.submit_many(
            {"unique_key": "u"}, {"hold": True}, {"after": [runs["job_id"]], "payload": "after"}
        )
        ids = [one["job_id"] for one in (waits, held, runs, ended, backs_off, after)]
        before = dict(zip(names, map(queue.get, ids), strict=True))
        assert server.process is not None
        server.process.kill()
        server.process.wait()
        server.start()
        found = dict(zip(names, map(queue.get, ids), strict=True))
        for name in names:
            for volatile in ("running_sec", "position", "reasons", "reason", "next_earliest_start_at"):
                before[name].pop(volatile, None)
                found[name].pop(volatile, None)
        assert found == before
        assert queue.submitted(unique_key="u").json["jobs"][0] == waits | {"existing": True}
        assert queue.beat(runs).json["action"] == "continue"
        assert queue.done(runs) == "DONE"
        until(lambda: not queue.get(after["job_id"]).get("waits_for"))
        assert {one["job_id"] for one in queue.claim(max=9)} == {waits["job_id"], after["job_id"]}


@pytest.mark.requirement("QUEUE-3")
def test_the_end_of_one_that_waited_again_is_told(queue: Queue) -> None:
    """A job that failed once and was cancelled in its back-off: both are among its events."""
    ident = queue.submit(max_attempts=2, retry={"base_sec": 86_400, "cap_sec": 86_400})
    assert queue.done(queue.claim_one(), outcome="FAILED") == "QUEUED"
    queue.change(ident, "cancel")
    told = [one["what"] for one in queue.server.get(f"{QUEUE}/jobs/{ident}/events").json["events"]]
    assert told == ["submitted", "started", "failed", "canceled"]


@pytest.mark.requirement("QUEUE-10")
def test_one_that_is_cancelled_and_returned_is_over(queue: Queue) -> None:
    """It does not go back into the line, to be started once more."""
    ident = queue.submit()
    claimed = queue.claim_one()
    queue.change(ident, "cancel", grace_sec=60)
    assert queue.done(claimed, outcome="RETURNED") == "CANCELED"
    assert queue.claim(wait_sec=0) == []
