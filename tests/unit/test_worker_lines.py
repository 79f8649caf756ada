"""What a worker says to a server that loses answers, refuses, and goes away (QUEUE-4, LEASE-27)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from leasehold import JobContext, JobRefused, LeaseLost, Worker
from tests.unit.cli_scripted_server import Reply, Scripted, beat, granted, problem, until

pytestmark = pytest.mark.requirement("LEASE-27")


class Queue:
    """Hands out what it was given, once, and takes results; `claims` and `results` are what arrived."""

    def __init__(self, scripted: Scripted, *jobs: dict[str, Any]) -> None:
        self.jobs = list(jobs)
        self.claims: list[dict[str, Any]] = []
        self.results: list[dict[str, Any]] = []
        self.before: list[Callable[[], Reply | None]] = []
        self.session = {"lease_id": "lease-1", "fencing_token": 7}
        del scripted.on["POST", "/heartbeat"]
        scripted.on["POST", "/queue/claim"] = self.claim
        scripted.on["POST", "/queue/complete"] = self.complete
        scripted.on["POST", "/lease/heartbeat"] = self.beats
        scripted.on["POST", "/lease-1/heartbeat"] = lambda body: (200, beat())

    def claim(self, body: dict[str, Any]) -> Reply:
        self.claims.append(body)
        jobs, self.jobs = self.jobs[: body["max"]], self.jobs[body["max"] :]
        if not jobs:
            threading.Event().wait(0.02)
        return 200, {"jobs": jobs, "ttl_sec": 30.0}

    def complete(self, body: dict[str, Any]) -> Reply:
        if self.before and (reply := self.before.pop(0)()) is not None:
            return reply
        self.results += body["items"]
        rows = [{"job_id": row["job_id"], "state": row["outcome"]} for row in body["items"]]
        return 200, {"done": len(rows), "refused": 0, "items": rows}

    def beats(self, body: dict[str, Any]) -> Reply:
        return 200, {"leases": [{"lease_id": lease_id, "answer": beat()} for lease_id in body["ids"]]}


def job(number: int, **more: Any) -> dict[str, Any]:
    own = {"lease_id": f"lease-j{number}", "fencing_token": 100 + number}
    return {"job_id": f"job-{number}", "generation": 1, "job_type": "t", "payload": number} | own | more


def under(number: int) -> dict[str, Any]:
    """A job under the session's lease."""
    return {"job_id": f"job-{number}", "generation": 1, "job_type": "t", "payload": number}


def lost() -> Reply | None:
    raise ConnectionError("the answer is lost")


def refused() -> Reply | None:
    rows = [{"job_id": "job-1", "code": "STALE_TOKEN", "detail": "handed out again"}]
    return 200, {"done": 0, "refused": 1, "items": rows}


def test_results_go_with_generation_and_token(scripted: Scripted) -> None:
    """Each result has what fences it, of its own lease; the worker ends after as many jobs as it was told."""
    queue = Queue(scripted, job(1), job(2))
    stats = Worker({"t": lambda payload: payload * 2}, concurrency=2, max_jobs=2, capabilities=["x"]).run()
    assert sorted(queue.results, key=lambda row: str(row["job_id"])) == [
        {"job_id": f"job-{n}", "generation": 1, "fencing_token": 100 + n, "outcome": "DONE", "result": 2 * n}
        for n in (1, 2)
    ]
    assert (stats.done, stats.claimed, stats.unsent) == (2, 2, 0)
    assert queue.claims[0]["capabilities"] == ["x"]
    assert queue.claims[0]["job_types"] == ["t"]


@pytest.mark.requirement("QUEUE-13")
def test_a_result_is_sent_until_it_is_taken(scripted: Scripted) -> None:
    """Lost answers and a server that is away or busy cost no result: it is sent again."""
    queue = Queue(scripted, job(1))
    queue.before = [
        lost,
        lost,
        lambda: problem(503, "NOT_READY", "starting"),
        lambda: problem(429, "RATE_LIMITED", "slow"),
    ]
    stats = Worker({"t": lambda payload: payload}, concurrency=1, max_jobs=1).run()
    assert [row["job_id"] for row in queue.results] == ["job-1"]
    assert (stats.done, stats.refused) == (1, 0)


def test_a_result_of_an_old_generation_is_dropped(scripted: Scripted) -> None:
    """What was handed out again meanwhile is refused, counted, and not sent for ever."""
    queue = Queue(scripted, job(1))
    queue.before = [refused]
    stats = Worker({"t": lambda payload: payload}, concurrency=1, max_jobs=1).run()
    assert (stats.done, stats.refused, queue.results) == (0, 1, [])


def test_one_result_that_is_not_taken_holds_up_no_other(scripted: Scripted) -> None:
    """A call that can't be read is taken apart: the one fails with the server's words, the rest is taken."""
    queue = Queue(scripted, *(job(number) for number in range(1, 9)))
    begun = threading.Barrier(8)

    def complete(body: dict[str, Any]) -> Reply:
        if any(row.get("result") == "odd" for row in body["items"]):
            return problem(422, "INVALID", "that result can't be read")
        return queue.complete(body)

    scripted.on["POST", "/queue/complete"] = complete

    def handler(payload: int) -> Any:
        begun.wait(20)
        return "odd" if payload == 5 else payload

    stats = Worker({"t": handler}, concurrency=8, max_jobs=8).run()
    assert (stats.done, stats.failed) == (7, 1)
    (odd,) = [row for row in queue.results if row["outcome"] == "FAILED"]
    assert odd["job_id"] == "job-5"
    assert "that result can't be read" in odd["error"]


def test_after_a_lost_claim_it_says_what_it_knows(scripted: Scripted) -> None:
    """The first claim, and each after a lost answer, names the jobs that are known; others do not."""
    queue = Queue(scripted, job(1))
    go_on, left = threading.Event(), [None]

    def claim(body: dict[str, Any]) -> Reply:
        reply = queue.claim(body)
        if len(queue.claims) == 3 and left:
            left.pop()
            raise ConnectionError("the answer is lost")
        return reply

    scripted.on["POST", "/queue/claim"] = claim
    worker = Worker({"t": lambda payload: go_on.wait(20)}, concurrency=2)
    thread = threading.Thread(target=worker.run)
    thread.start()
    until(lambda: len(queue.claims) >= 6)
    go_on.set()
    worker.stop()
    thread.join(20)
    known = [claim.get("known") for claim in queue.claims]
    assert known[0] == []
    assert known[1] is None
    assert known[2:5] == [None, ["job-1"], None]


def test_a_worker_that_may_not_work_says_so(scripted: Scripted) -> None:
    """A token without the right ends `run` with what the server said; nothing is tried for ever."""
    Queue(scripted)
    scripted.on["POST", "/queue/claim"] = lambda body: problem(403, "NOT_PERMITTED", "job:work is missing")
    with pytest.raises(JobRefused, match="job:work is missing"):
        Worker({"t": print}, concurrency=1).run()


def test_a_lost_session_is_asked_for_again(scripted: Scripted) -> None:
    """Its jobs are told, their results dropped; work goes on under a new lease, which is given back."""
    queue = Queue(scripted, under(1))
    leases = iter([granted("lease-1", 7), granted("lease-2", 8)])
    scripted.on["POST", "/request"] = lambda body: (200, next(leases))
    ended: list[str] = []
    gone = threading.Event()

    def handler(payload: int, context: JobContext) -> str:
        if payload == 2:
            return "second"
        scripted.on["POST", "/lease-1/heartbeat"] = lambda body: problem(410, "LEASE_ENDED", "EXPIRED")
        try:
            while True:
                context.checkpoint()
                gone.wait(0.01)
        except LeaseLost as error:
            ended.append(str(error))
            queue.jobs.append(under(2))
            raise
        finally:
            gone.set()

    stats = Worker({"t": handler}, concurrency=1, session={"cost": 3}, max_jobs=2).run()
    assert ended
    assert [(row["job_id"], row["fencing_token"]) for row in queue.results] == [("job-2", 8)]
    assert (stats.lost, stats.done, stats.sessions) == (1, 1, 2)
    assert any(path.endswith("/lease-2/release") for _, path, _ in scripted.calls)
    sessions = [claim["session"] for claim in queue.claims]
    assert {one["lease_id"] for one in sessions} == {"lease-1", "lease-2"}
    asks = [body for _, path, body in scripted.calls if path.endswith("/request")]
    assert asks[0]["cost_units"] == 3


def test_a_runtime_limit_is_told_and_fails_the_attempt(scripted: Scripted) -> None:
    """Past its limit a handler should stop; ending by that is a failed attempt, not one that goes back."""
    queue = Queue(scripted, job(1, max_runtime_sec=1))

    def handler(payload: int, context: JobContext) -> None:
        while True:
            context.checkpoint()
            threading.Event().wait(0.01)

    stats = Worker({"t": handler}, concurrency=1, max_jobs=1).run()
    assert stats.failed == 1
    assert "longer than its limit of 1 s" in queue.results[0]["error"]


def test_sessions_that_can_not_be_meant(scripted: Scripted) -> None:
    """Too dear, or of unknown cost: an error when the worker is made."""
    for options, words in (
        ({"concurrency": 20, "session": {"cost": 10}}, "are 200"),
        ({"session": True}, "needs functions of @job"),
        ({"session": {"label": "x"}}, "say what one job needs"),
        ({"session": {"cost": 1, "locks": ["a"]}}, "locks is nothing"),
        ({"concurrency": -1}, "from 1 to"),
        ({"capabilities": "gpu"}, "expected a list"),
        ({"processes": True}, "at the top of a module"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            Worker({"t": lambda payload: payload}, **options)
    assert scripted.calls == []
