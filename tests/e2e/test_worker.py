"""Programs submit jobs and work on them, with a real server (LEASE-19, QUEUE-4)."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

import leasehold
from leasehold import JobContext, JobFailed, current_job
from tests.e2e.machine import Machine
from tests.e2e.worker_scene import at_home, until, working

IDS: list[str] = []
NOW: dict[str, Any] = {"cost": 1, "start": "now"}


@pytest.fixture
def home(here: Machine, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This process is a program of the machine."""
    return at_home(here, monkeypatch)


@leasehold.job(cost=1, start="now")
def add(left: int, right: int = 1) -> int:
    return left + right


@leasehold.job(cost=1, start="now", job_type="async-add")
async def add_later(left: int, right: int = 1) -> int:
    await asyncio.sleep(0)
    IDS.append(job.id if (job := current_job()) is not None else "")
    return left + right


@pytest.mark.requirement("LEASE-19")
@pytest.mark.parametrize("session", [False, True], ids=["own-leases", "session"])
def test_submitted_calls_are_made_once_each(home: Path, session: bool) -> None:
    """Three hundred calls, one by one and in bulk, come back with their results, each made once."""
    calls: list[int] = []

    @leasehold.job(cost=2, start="now", job_type=f"square-{session}")
    def square(number: int) -> int:
        calls.append(number)
        return number * number

    first = square.submit(1_000)
    rest = square.map(range(299))
    stats = leasehold.Worker([square], concurrency=4, session=session, until_empty=True).run()
    assert first.result(10) == 1_000_000
    assert [job.result(10) for job in rest] == [number * number for number in range(299)]
    assert sorted(calls) == sorted([1_000, *range(299)])
    assert (stats.done, stats.claimed, stats.sessions) == (300, 300, int(session))


@pytest.mark.requirement("LEASE-19")
def test_functions_run_here_or_later(home: Path) -> None:
    """A function of `@job` is called as before; submitted ones, coroutine functions too, give the same."""
    assert add(1, right=2) == 3
    assert asyncio.run(add_later(1)) == 2
    jobs = [add.submit(1, right=2), add_later.submit(5), asyncio.run(add.submit_async(7))]
    with working([add, add_later], concurrency=2):
        assert [job.result(30) for job in jobs] == [3, 6, 8]
    assert sorted(IDS) == ["", jobs[1].id]


@pytest.mark.requirement("LEASE-27")
def test_a_handler_of_payloads_knows_its_job(home: Path) -> None:
    """Handlers by type get the payload, and the context where they take two arguments."""
    seen: list[Any] = []

    def short(payload: Any) -> None:
        seen.append(payload)

    def long(payload: Any, context: JobContext) -> dict[str, Any]:
        context.report(0.5, "half")
        return {"id": context.id, "attempt": context.attempt, "labels": context.labels, "type": context.type}

    one = leasehold.submit("short", [1, None, "ü"], **NOW)
    other = leasehold.submit("long", labels={"kind": "test"}, **NOW)
    with working({"short": short, "long": long}, concurrency=2):
        assert one.result(30) is None
        assert other.result(30) == {"id": other.id, "attempt": 1, "labels": {"kind": "test"}, "type": "long"}
    assert seen == [[1, None, "ü"]]


@pytest.mark.requirement("QUEUE-11")
def test_failures_are_classed(home: Path) -> None:
    """An exception is tried again, `Permanent` and a result that is no JSON are not; all say why."""
    tries: list[int] = []

    def flaky(payload: Any, context: JobContext) -> str:
        tries.append(context.attempt)
        if context.attempt < 3:
            raise RuntimeError(f"attempt {context.attempt} went wrong")
        return "at last"

    def hopeless(payload: Any) -> None:
        raise leasehold.Permanent("the folder is no more")

    def odd(payload: Any) -> Any:
        return {1, 2}

    again = {"retries": 4, "backoff": (0, 0), **NOW}
    jobs = [leasehold.submit(name, **again) for name in ("flaky", "hopeless", "odd")]
    with working({"flaky": flaky, "hopeless": hopeless, "odd": odd}, concurrency=2):
        assert jobs[0].result(30) == "at last"
        for job, words in zip(jobs[1:], ("the folder is no more", "is a set, which is no JSON"), strict=True):
            with pytest.raises(JobFailed, match=words) as raised:
                job.result(30)
            assert raised.value.state == "FAILED"
            assert len(raised.value.history) == 1
            assert raised.value.job.document["error_class"] == "permanent"
    assert tries == [1, 2, 3]
    assert [row["outcome"] for row in jobs[0].history] == ["FAILED", "FAILED"]
    assert "attempt 2 went wrong" in jobs[0].history[1]["error"]


@pytest.mark.requirement("QUEUE-10")
@pytest.mark.parametrize("session", [False, {"cost": 1}], ids=["own-lease", "session"])
def test_cancellation_reaches_the_handler(home: Path, session: Any) -> None:
    """`cancel` makes `checkpoint` raise in a handler that runs; the job is CANCELED and not tried again."""
    begun, over = threading.Event(), threading.Event()

    def endless(payload: Any, context: JobContext) -> None:
        begun.set()
        try:
            while True:
                context.checkpoint()
                threading.Event().wait(0.01)
        finally:
            over.set()

    job = leasehold.submit("endless", retries=3, **NOW)
    with working({"endless": endless}, concurrency=1, session=session) as worker:
        assert begun.wait(30)
        job.cancel("no longer wanted")
        assert over.wait(30)
        with pytest.raises(JobFailed, match="CANCELED") as raised:
            job.result(30)
        assert raised.value.job.attempts == 1
        until(lambda: worker.stats.running == 0, "the handler is over")


@pytest.mark.requirement("QUEUE-20")
def test_a_unique_key_stands_for_a_live_job(home: Path) -> None:
    """A second submission of a live key returns the first job; after its end it is a new one."""
    first = leasehold.submit("once", unique="a", **NOW)
    second = leasehold.submit("once", unique="a", **NOW)
    assert second.id == first.id
    assert second.existing
    assert not first.existing
    first.cancel()
    third = leasehold.submit("once", unique="a", **NOW)
    assert third.id != first.id
    third.cancel()


@pytest.mark.requirement("QUEUE-1")
def test_jobs_come_after_others(home: Path) -> None:
    """A job with `after` begins when the other is done; where that one fails it is cancelled."""
    order: list[str] = []

    def note(payload: Any) -> None:
        order.append(payload)
        if payload == "bad":
            raise leasehold.Permanent("bad")

    good = leasehold.submit("note", "good", at=_soon(), **NOW)
    later = leasehold.submit("note", "later", after=[good], **NOW)
    bad = leasehold.submit("note", "bad", **NOW)
    never = leasehold.submit("note", "never", after=[bad.id], **NOW)
    with working({"note": note}, concurrency=2):
        later.result(30)
        assert never.wait(30).state == "CANCELED"
    assert order.index("good") < order.index("later")
    assert "never" not in order


def _soon() -> Any:
    from datetime import timedelta

    return timedelta(seconds=1)


@pytest.mark.requirement("QUEUE-16")
def test_a_command_is_done_by_the_runner(home: Path) -> None:
    """`submit_command` needs no worker of ours; its output and exit code are there afterwards."""
    good = leasehold.submit_command(["sh", "-c", "echo to out; echo to err >&2"], **NOW)
    good.result(60)
    pieces = list(good.log(follow=True))
    assert b"".join(piece.data for piece in pieces if piece.stream == "out") == b"to out\n"
    assert b"".join(piece.data for piece in pieces if piece.stream == "err") == b"to err\n"
    bad = leasehold.submit_command(["sh", "-c", "exit 7"], cwd=home, **NOW)
    with pytest.raises(JobFailed) as raised:
        bad.result(60)
    assert raised.value.exit_code == 7
    assert bad.retry().state in ("QUEUED", "DISPATCHING", "RUNNING")
    assert bad.wait(60).exit_code == 7


@pytest.mark.requirement("LEASE-19")
def test_a_lease_inside_a_job_shares_its_room(home: Path) -> None:
    """`with lease()` in a handler asks for nothing, and never waits for the room that its own job holds."""

    def nested(payload: Any, context: JobContext) -> list[Any]:
        with leasehold.lease(cost=90, wait=0) as inner:
            return [inner.is_shared, inner.id == context.lease.id]

    job = leasehold.submit("nested", cost=80, start="now")
    with working({"nested": nested}, concurrency=1):
        assert job.result(30) == [True, True]


@pytest.mark.requirement("QUEUE-4")
def test_waiting_gives_up_and_the_job_goes_on(home: Path) -> None:
    """`result(timeout)` raises TimeoutError that tells how the job stands; it is found again by its id."""
    job = leasehold.submit("nobody-does-this", **NOW)
    with pytest.raises(TimeoutError, match=r"QUEUED after 0\.2"):
        job.result(0.2)
    again = leasehold.job(job.id)
    assert (again, again.state) == (job, "QUEUED")
    assert again.cancel().state == "CANCELED"
    with pytest.raises(leasehold.JobRefused) as raised:
        leasehold.job("job-00000000000")
    assert raised.value.status == 404
