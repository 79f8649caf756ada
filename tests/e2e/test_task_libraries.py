"""Tasks of Celery, Dramatiq, RQ and APScheduler ask first: the real libraries, their real workers."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from tests.e2e.machine import Machine
from tests.e2e.tasks.libraries import HAS_REDIS, LIBRARIES, Library, redis_server

pytestmark = [pytest.mark.requirement("LEASE-19"), pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module", params=list(LIBRARIES))
def running(request: pytest.FixtureRequest, server: Machine) -> Iterator[Library]:
    """A library with its workers, one after the other."""
    kind = LIBRARIES[request.param]
    if kind.needs_redis and not HAS_REDIS:
        pytest.skip("redis-server is not installed, and it is this library's broker here")
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(redis_server(server.folder)) if kind.needs_redis else ""
        library = kind(server, address)
        stack.callback(library.stop)
        library.start()
        library.send("light", "first")
        library.end("first")
        library.until("end", "first")
        yield library


IN_THREADS = ("dramatiq", "apscheduler")
"""Their tasks run in the workers themselves."""


def only(*names: str) -> pytest.MarkDecorator:
    """A test that is about some of the libraries."""
    return pytest.mark.parametrize("running", names, indirect=True)


@pytest.fixture
def library(running: Library) -> Iterator[Library]:
    """The library, with no lease held before or after."""
    running.machine.until_idle()
    yield running
    running.machine.until_idle()


def test_a_task_waits_for_room_and_starts_when_it_comes(library: Library) -> None:
    """While somebody else has the room a task is not started; it is as soon as the room is free."""
    other = library.machine.run("--cost", "60", "--job-type", "other", "--", "sleep", "600")
    try:
        library.machine.until_active("other")
        library.send("heavy", "patient")
        waiting = library.machine.until(lambda: library.machine.status()["waiting"], "it waits")
        assert waiting[0]["cost_units"] == 60
        assert library.noted("start", "patient") is None
    finally:
        other.terminate()
        other.communicate()
    held = library.until("start", "patient")[2]
    one = library.machine.until(lambda: [x for x in library.machine.leases() if x["progress"]], "its report")
    assert [(one[0]["lease_id"], one[0]["message"])] == [(held, "at work")]
    library.end("patient")
    library.until("end", "patient")


def test_two_that_do_not_fit_together_never_run_at_once(library: Library) -> None:
    """Two workers have two tasks of 60 units each: the second starts only after the first has ended."""
    library.send("heavy", "one")
    library.send("heavy", "two")
    library.machine.until(lambda: library.log("start")[-1][0] in ("one", "two"), "one of them runs")
    library.machine.until(lambda: library.machine.status()["waiting"], "the other one waits")
    first = library.log("start")[-1][0]
    second = {"one": "two", "two": "one"}[first]
    assert library.noted("start", second) is None
    library.end(first)
    library.until("start", second)
    library.end(second)
    library.until("end", second)
    order = [line[0] for line in library.log("end") if line[0] in ("one", "two")]
    assert order == [first, second]


def test_a_light_task_does_not_ask(library: Library) -> None:
    """A task without options runs beside a full machine, without a lease."""
    library.send("heavy", "full")
    library.until("start", "full")
    library.send("light", "small")
    assert library.until("start", "small")[2] == "-"
    library.end("small", "full")
    library.until("end", "full")


def test_a_task_that_fails_gives_its_lease_back(library: Library) -> None:
    """An exception in a task leaves nothing held, and the next one starts."""
    library.send("broken", "bad")
    library.until("start", "bad")
    library.machine.until_idle()
    library.send("heavy", "after")
    library.end("after")
    library.until("end", "after")


def test_a_task_whose_lease_is_taken_back_stops(library: Library) -> None:
    """Revoked by its owner, a task sees that it should stop, and ends by LeaseLost at its next report."""
    sent = library.send("heavy", "unwelcome")
    held = library.until("start", "unwelcome")[2]
    assert library.machine.cli("revoke", held).returncode == 0
    library.until("stopped", "unwelcome")
    library.machine.until_idle()
    assert library.noted("end", "unwelcome") is None
    if library.name != "dramatiq":  # It keeps no results; that the task ended is shown above.
        failure = library.machine.until(lambda: library.failure(sent), "its failure")
        assert "LeaseLost" in failure


def test_a_killed_process_frees_the_room_at_once(library: Library) -> None:
    """Kill -9 of the process in which a task runs: its lease is over long before it could expire."""
    library.send("heavy", "killed")
    os.kill(library.pid_of("killed"), signal.SIGKILL)
    library.machine.until(lambda: not library.machine.leases(), "its lease is over", 15)
    if library.name in IN_THREADS:
        library.stop()
        library.end("killed")
        library.start()
    library.send("heavy", "next")
    library.end("next", "killed")
    library.until("end", "next")


def test_what_can_never_run_fails(library: Library) -> None:
    """A task that no machine here can hold fails, and says so, instead of waiting for ever."""
    sent = library.send("hopeless", "huge")
    failure = library.machine.until(lambda: library.failure(sent), "its failure", 60)
    assert failure == library.hopeless or library.hopeless in failure
    assert library.noted("start", "huge") is None


def test_without_a_server_a_task_does_what_it_says(library: Library) -> None:
    """With when_down=run it runs without a lease, with when_down=fail it fails."""
    library.send("unserved", "alone")
    assert library.until("start", "alone")[2] == "-"
    library.end("alone")
    library.until("end", "alone")
    sent = library.send("refused", "never")
    assert library.machine.until(lambda: library.failure(sent), "its failure", 60)
    assert library.noted("start", "never") is None


@only("celery", "dramatiq")
def test_an_impatient_task_goes_back_to_its_queue(library: Library) -> None:
    """After `wait` the worker is free for other tasks; the task comes again, with its place in line."""
    library.send("heavy", "long")
    library.until("start", "long")
    library.send("impatient", "back")
    ticket = library.machine.until(lambda: library.machine.status()["waiting"], "it waits")[0]["ticket"]
    library.machine.until(lambda: not library.machine.status()["waiting"][0]["held"], "it is sent back")
    library.send("impatient", "other")
    library.send("light", "between")
    library.end("between")
    library.until("end", "between")
    assert ticket in {one["ticket"] for one in library.machine.status()["waiting"]}
    library.end("long", "back", "other")
    library.until("end", "back")
    library.until("end", "other")


@only("celery", "rq")
def test_what_a_task_starts_shares_its_lease(library: Library) -> None:
    """`leasehold run` inside a task that runs in a process of its own never waits for the task around it."""
    library.send("heavy", "nested")
    assert library.until("start", "nested")[3] == "0"
    library.end("nested")
    library.until("end", "nested")


@only("rq")
def test_a_job_goes_on_under_its_lease_when_its_worker_is_killed(library: Library) -> None:
    """The job's process is bound: the room is charged until it ends, and free then."""
    library.send("heavy", "orphan")
    held = library.until("start", "orphan")[2]
    library.machine.until(lambda: _roles(library, held) == {"caller", "work"}, "its process is bound")
    library.kill_workers()
    library.machine.until(lambda: "unattended" in library.machine.leases()[0]["flags"], "it is unattended")
    library.end("orphan")
    library.machine.until(lambda: not library.machine.leases(), "it has ended")
    library.start()


@only("rq")
def test_a_job_that_does_not_stop_is_ended(library: Library) -> None:
    """Taken back, a job that never looks is ended with the grace period, like the command of `run`."""
    sent = library.send("deaf", "deaf")
    held = library.until("start", "deaf")[2]
    assert library.machine.cli("revoke", held).returncode == 0
    failure = library.machine.until(lambda: library.failure(sent), "its failure", 60)
    assert "signal 15" in failure


def _roles(library: Library, lease_id: str) -> set[str]:
    (found,) = [one for one in library.machine.leases() if one["lease_id"] == lease_id]
    return {one["role"] for one in found["bound"]}
