"""The other executors and workers of the adapters, in this process, on a real server."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from typing import Any

import pytest
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, EVENT_JOB_MISSED
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.schedulers.background import BackgroundScheduler

from leasehold import NotGranted, current_lease, lease
from leasehold.integrations.apscheduler import (
    LeasedAsyncIOExecutor,
    LeasedProcessPoolExecutor,
    LeasedThreadPoolExecutor,
)
from tests.e2e.machine import Machine
from tests.e2e.tasks.libraries import HAS_REDIS, redis_server
from tests.e2e.tasks.work import whose

pytestmark = [pytest.mark.requirement("LEASE-19"), pytest.mark.slow]


@pytest.fixture
def ours(here: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine whose server this process asks."""
    for name in [name for name in os.environ if name.startswith("LEASEHOLD") or name == "CI"]:
        monkeypatch.delenv(name)
    for name, value in here.env.items():
        if name.startswith("LEASEHOLD") or name == "HOME":
            monkeypatch.setenv(name, value)
    return here


def outcome_of(scheduler: BackgroundScheduler, **job: Any) -> Any:
    """Have a job run at once by the executor `heavy`: its event."""
    events: queue.Queue[Any] = queue.Queue()
    scheduler.add_listener(events.put, EVENT_JOB_EXECUTED | EVENT_JOB_ERROR | EVENT_JOB_MISSED)
    scheduler.start()
    try:
        scheduler.add_job(whose, executor="heavy", **job)
        return events.get(timeout=60)
    finally:
        scheduler.shutdown()


def test_a_job_in_a_process_runs_under_a_lease(ours: Machine) -> None:
    """APScheduler's process pool: the job, and what it asks for, travel to the child."""
    scheduler = BackgroundScheduler()
    scheduler.add_executor(LeasedProcessPoolExecutor(1, leasehold={"cost": 30}), "heavy")
    event = outcome_of(scheduler)
    assert event.exception is None
    ours.until_idle()
    (ended,) = [one for one in ours.status()["ended"] if one["lease_id"] == event.retval]
    assert (ended["cost_units"], ended["job_type"]) == (30, "whose")


def test_a_run_that_had_to_wait_is_not_missed(ours: Machine) -> None:
    """The scheduler took it in time; that there was no room for longer than its grace does not undo that."""
    scheduler = BackgroundScheduler()
    scheduler.add_executor(LeasedThreadPoolExecutor(1, leasehold={"cost": 60}), "heavy")
    other = lease(cost=60, export=False).acquire()
    freed = threading.Timer(2.5, other.release)
    freed.start()
    event = outcome_of(scheduler, misfire_grace_time=1)
    freed.join()
    assert event.code == EVENT_JOB_EXECUTED
    assert event.retval not in ("", other.id)


def test_a_run_that_got_no_lease_in_time_is_an_error(ours: Machine) -> None:
    """With `wait` the event of the run has NotGranted, and the job's function is not called."""
    scheduler = BackgroundScheduler()
    scheduler.add_executor(LeasedThreadPoolExecutor(1, leasehold={"cost": 60, "wait": 0}), "heavy")
    with lease(cost=60, export=False):
        event = outcome_of(scheduler)
    assert event.code == EVENT_JOB_ERROR
    assert isinstance(event.exception, NotGranted)


async def test_a_coroutine_job_runs_under_a_lease(ours: Machine) -> None:
    """APScheduler's event loop executor waits on the loop, and the job sees its own lease."""
    loop, seen = asyncio.get_running_loop(), []
    done = asyncio.Event()

    async def job() -> None:
        held = current_lease()
        assert held is not None
        seen.append((held.id, [one["lease_id"] for one in await asyncio.to_thread(ours.leases)]))

    scheduler = AsyncIOScheduler()
    scheduler.add_executor(LeasedAsyncIOExecutor(leasehold={"cost": 30}), "heavy")
    scheduler.add_listener(lambda event: loop.call_soon_threadsafe(done.set), EVENT_JOB_EXECUTED)
    scheduler.start()
    scheduler.add_job(job, executor="heavy")
    await asyncio.wait_for(done.wait(), 60)
    scheduler.shutdown()
    ((own, live),) = seen
    assert live == [own]


def test_wrong_options_are_said_where_they_are_written() -> None:
    """An executor that could never get a lease is not made."""
    with pytest.raises(TypeError, match="did you mean cost"):
        LeasedThreadPoolExecutor(1, leasehold={"costs": 30})


@pytest.mark.skipif(not HAS_REDIS, reason="redis-server is not installed, and it is RQ's broker")
def test_a_job_in_its_worker_runs_under_a_lease(ours: Machine) -> None:
    """RQ's simple worker; a job that got no lease within its `wait` fails with the reason."""
    import redis
    import rq

    from leasehold.integrations.rq import LeasedSimpleWorker

    with redis_server(ours.folder) as address, redis.Redis.from_url(address) as connection:
        jobs = rq.Queue(connection=connection)
        good = jobs.enqueue(whose, meta={"leasehold": {"cost": 30}})
        LeasedSimpleWorker([jobs], connection=connection).work(burst=True)
        assert good.return_value(refresh=True).startswith("lease-")
        late = jobs.enqueue(whose, meta={"leasehold": {"cost": 60, "wait": 0}})
        other = ours.run("--cost", "60", "--job-type", "other", "--", "sleep", "600")
        ours.until_active("other")
        LeasedSimpleWorker([jobs], connection=connection).work(burst=True)
        other.terminate()
        other.communicate()
        assert late.get_status(refresh=True) == "failed"
        assert "no room now: Capacity exceeded" in str(late.latest_result().exc_string)
        connection.connection_pool.disconnect()
