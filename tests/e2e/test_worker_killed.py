"""Workers and servers that die lose no job and no result, and end none twice (QUEUE-13, LEASE-27)."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

import leasehold
from leasehold import Job
from tests.e2e.machine import Machine, machine
from tests.e2e.worker_scene import Scene, at_home, end, ended, until, working

NOW: dict[str, Any] = {"cost": 1, "start": "now", "retries": 2, "backoff": (0, 0)}


@pytest.fixture(scope="module")
def server() -> Iterator[Machine]:
    """A server whose leases live for eight seconds, so that a death is seen soon."""
    with machine(LEASEHOLD_LEASE__TTL_MS="8000") as found:
        yield found


@pytest.fixture
def scene(here: Machine, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """This process is a program of the machine."""
    at_home(here, monkeypatch)
    return Scene(here)


def marks(names: list[str], sleep: float = 0.0) -> list[Job]:
    payloads = [{"args": [name], "kwargs": {"sleep": sleep}} for name in names]
    return leasehold.submit_many([{"job_type": "mark", "payload": payload} for payload in payloads], **NOW)


@pytest.mark.requirement("LEASE-27")
@pytest.mark.parametrize("session", [False, True], ids=["own-leases", "session"])
def test_a_killed_workers_jobs_come_again(scene: Scene, session: bool) -> None:
    """After kill -9 its jobs are handed to another worker with a new generation, and each ends once."""
    names = [f"kill-{session}-{number}" for number in range(6)]
    jobs = marks(names, sleep=3.0)
    first = scene.start(concurrency=2, session=session)
    try:
        until(lambda: sum(scene.marked("begin").values()) >= 2, "two jobs run")
        begun = set(scene.marked("begin"))
        first.send_signal(signal.SIGKILL)
        first.wait(10)
        second = scene.start(concurrency=6, session=session)
        try:
            assert [job.result(90) for job in jobs] == names
        finally:
            end(second)
    finally:
        end(first)
    assert scene.marked("end") == Counter(names)
    for job in jobs:
        again = job.document["generation"]
        assert again >= 2 if job.payload["args"][0] in begun else again >= 1


@pytest.mark.requirement("LEASE-19")
@pytest.mark.parametrize("session", [False, True], ids=["own-leases", "session"])
def test_sigterm_ends_what_runs_and_returns_the_rest(scene: Scene, session: bool) -> None:
    """What runs ends within its grace, what has not begun goes back without an attempt, and the exit is 0."""
    jobs = marks([f"term-{session}-{number}" for number in range(12)], sleep=1.5)
    worker = scene.start(concurrency=2, session=session, grace=20, batch=12)
    try:
        until(lambda: sum(scene.marked("begin").values()) >= 2, "two jobs run")
        worker.send_signal(signal.SIGTERM)
        code, said = ended(worker)
    finally:
        end(worker)
    assert code == 0, said
    assert "'running': 0" in said
    done = [job for job in jobs if job.refresh().state == "DONE"]
    rest = [job for job in jobs if job.state != "DONE"]
    assert 2 <= len(done) <= 4, said
    assert {(job.state, job.attempts) for job in rest} == {("QUEUED", 0)}
    assert scene.marked("begin") == scene.marked("end")
    assert scene.machine.leases() == []
    for job in rest:
        job.cancel()


@pytest.mark.requirement("LEASE-19")
def test_who_hears_nothing_is_left_behind(scene: Scene) -> None:
    """Past its grace a worker ends all the same; its job is handed out again, and not called done."""
    job = leasehold.submit("deaf", {"args": ["left"]}, **NOW)
    worker = scene.start(concurrency=1, grace=0.5)
    try:
        until(lambda: scene.marked("begin")["left"] == 1, "it runs")
        worker.send_signal(signal.SIGTERM)
        code, said = ended(worker)
    finally:
        end(worker)
    assert code == 0, said
    assert "jobs that go on" in said
    until(lambda: job.refresh().state == "QUEUED", "its lease has ended", 90)
    assert scene.marked("end")["left"] == 0
    job.cancel()


@pytest.mark.requirement("QUEUE-11")
def test_poison_fails_alone(scene: Scene) -> None:
    """A job that kills its process fails by itself, after its retries; others of the worker go on."""
    poison = leasehold.submit("poison", {"args": ["p"]}, cost=1, start="now", retries=2, backoff=(0, 0))
    good = marks([f"beside-{number}" for number in range(20)])
    worker = scene.start(concurrency=2, processes=True)
    try:
        with pytest.raises(leasehold.JobFailed, match="SIGKILL") as raised:
            poison.result(90)
        for job in good:
            job.result(60)
    finally:
        end(worker)
    assert len(raised.value.history) == 3
    assert scene.marked("begin")["p"] == 3
    assert all(count == 1 for name, count in scene.marked("end").items() if name.startswith("beside"))


@pytest.mark.requirement("QUEUE-10")
def test_a_deaf_process_is_ended(scene: Scene) -> None:
    """With `processes` a cancelled job whose handler hears nothing is killed after its grace."""
    job = leasehold.submit("deaf", {"args": ["deaf"], "kwargs": {"sleep": 600}}, **NOW)
    worker = scene.start(concurrency=1, processes=True)
    try:
        until(lambda: scene.marked("begin")["deaf"] == 1, "it runs")
        pid = int(scene.marks.read_text().split()[-1])
        job.cancel(grace=1)
        assert job.wait(60).state == "CANCELED"
        until(lambda: not os.path.exists(f"/proc/{pid}"), "its process is gone", 60)
        after = marks(["after"])[0]
        assert after.result(60) == "after"
    finally:
        end(worker)


@pytest.mark.requirement("QUEUE-13")
@pytest.mark.parametrize("session", [False, {"cost": 1}], ids=["own-leases", "session"])
def test_a_killed_server_loses_no_result(scene: Scene, session: Any) -> None:
    """Under load, the server killed five times: each job is submitted once, and ends DONE with its result."""
    here, wrong, jobs = scene.machine, [], []

    def echo(payload: Any) -> Any:
        time.sleep(0.002)
        return payload

    def feed() -> None:
        try:
            for start in range(0, 3_000, 100):
                rows = [{"job_type": "echo", "payload": start + n} for n in range(100)]
                jobs.extend(leasehold.submit_many(rows, **NOW))
                time.sleep(0.05)
        except BaseException as error:  # noqa: BLE001 - told below
            wrong.append(error)

    feeder = threading.Thread(target=feed)
    with working({"echo": echo}, concurrency=8, session=session) as worker:
        feeder.start()
        for _ in range(5):
            time.sleep(0.7)
            os.kill(here.pid(), signal.SIGKILL)
            here.up()
        feeder.join(120)
        assert not wrong
        assert len({job.id for job in jobs}) == len(jobs) == 3_000
        until(lambda: worker.stats.claimed >= 3_000 and counted(here) == 0, "all have ended", 180)
    found = [(job.refresh().state, job.document.get("result")) for job in jobs]
    assert found == [("DONE", number) for number in range(3_000)]


def counted(here: Machine) -> int:
    """How many jobs of `echo` are live."""
    from leasehold.client import paths
    from leasehold.client.job_call import caller

    found = caller().call(paths.QUEUE_STATS)["depth"]
    return sum(row["count"] for row in found if row.get("job_type") == "echo")


def test_the_worker_of_a_module(scene: Scene) -> None:
    """`leasehold work program` does the jobs of its functions, and says what it did."""
    jobs = marks(["by-command"])
    here = scene.machine
    done = here.cli("work", "program", "--until-empty", "--json", env={"MARKS": str(scene.marks)})
    assert done.returncode == 0, done.stderr
    assert re.search(r'"done": ?1', done.stdout)
    assert jobs[0].result(10) == "by-command"
    dry = here.cli("work", "program:leaves_a_mark", "--dry-run", env={"MARKS": str(scene.marks)})
    assert dry.stdout.strip() == "would work on: mark"
    for words in ("program:nothing", "no.such.module", "json"):
        refused = here.cli("work", words, env={"MARKS": str(scene.marks)})
        assert refused.returncode == 64, refused.stderr
        assert refused.stderr.count("\n") == 1
