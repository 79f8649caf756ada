"""Bugs of the queue that kills, failing disks and the simulation have found, each as its shortest scene."""

from __future__ import annotations

import asyncio

import pytest

from leasehold.control.runner import AT_ONCE_MAX
from leasehold.model.job import JobState
from leasehold.model.run import Command, RunKey, Started
from leasehold.ports.runner import RunFailed
from leasehold.wire import claim as claim_wire
from leasehold.wire import job as wire
from leasehold.wire import lease as lease_wire
from tests.simulation.queue_scene import WORKER, QueueScene, play


def places(scene: QueueScene) -> int:
    """How many more commands the runner takes."""
    return next(iter(scene.server.jobs.demand.takers.values())).room


@pytest.mark.requirement("QUEUE-13")
@pytest.mark.requirement("QUEUE-15")
def test_a_command_runs_once_and_is_found_again() -> None:
    """A command outlives two servers; its job ends with its exit code."""

    async def act(scene: QueueScene) -> None:
        job = await scene.command("after_ms=8000", "exit=3")
        await scene.wait(1)
        assert (await scene.job(job)).state is JobState.RUNNING
        for _ in range(2):
            await scene.crash()
            await scene.wait(2)
        assert len(scene.running()) == 1
        await scene.wait(10)
        over = await scene.job(job)
        assert over.state is JobState.FAILED
        assert over.end is not None
        assert (over.end.exit_code, scene.world.runs.runs_begun) == (3, 1)

    play(act)


@pytest.mark.requirement("QUEUE-13")
@pytest.mark.requirement("INV-3")
def test_a_command_whose_start_could_not_be_written_is_not_run_twice() -> None:
    """The disk was full as it became RUNNING: its offer lapsed, and the next attempt ran beside it."""

    async def act(scene: QueueScene) -> None:
        await scene.command("after_ms=200000")
        scene.world.faults.full = True
        await scene.wait(3)
        assert scene.running()
        scene.world.faults.full = False
        await scene.wait(100)
        assert len(scene.running()) == 1

    play(act)


@pytest.mark.requirement("QUEUE-15")
def test_the_log_of_a_command_outlives_a_crash_right_after_its_end() -> None:
    """Its end was durable and its run not filed away yet: the next server took it for a stray one."""

    async def act(scene: QueueScene) -> None:
        job = await scene.command("after_ms=1000", "out=68656c6c6f")
        await scene.wait(0.7)
        scene.world.faults.after_ms = lambda batch: 300  # type: ignore[method-assign]
        await scene.wait(0.5)
        await scene.crash()
        await scene.wait(3)
        over = await scene.job(job)
        assert over.state is JobState.DONE
        log = await scene.server.port.log(RunKey(over.number, 1))
        assert log.chunks[0].data == b"hello"

    play(act)


@pytest.mark.requirement("QUEUE-15")
def test_the_runner_gets_its_place_back_whatever_becomes_of_an_offer() -> None:
    """A command that was cancelled, or taken back, while it was being started kept its place for ever."""

    async def act(scene: QueueScene) -> None:
        for _ in range(20):
            job = await scene.command("after_ms=60000")
            await scene.cancel(job)
        await scene.wait(30)
        assert scene.running() == []
        assert places(scene) == AT_ONCE_MAX
        assert not scene.server.runner._running

    play(act)


@pytest.mark.requirement("QUEUE-10")
def test_a_cancelled_job_that_its_worker_returns_is_not_done_again() -> None:
    """RETURNED came before the wish to cancel it: the job went back into the line, and to the next worker."""

    async def act(scene: QueueScene) -> None:
        job = await scene.submit()
        (claimed,) = await scene.claim()
        await scene.cancel(job)
        await scene.complete(claimed, "RETURNED")
        assert (await scene.job(job)).state is JobState.CANCELED
        assert await scene.claim() == []

    play(act)


@pytest.mark.requirement("QUEUE-10")
def test_what_comes_after_a_job_hears_of_its_end_however_it_ended() -> None:
    """A job that ended with its lease, not by a result, left those that come after it waiting for ever."""

    async def act(scene: QueueScene) -> None:
        first = await scene.submit()
        second = await scene.submit(after=[first])
        third = await scene.submit(after=[first], after_any=True, job_type="third")
        await scene.claim()
        await scene.cancel(first, grace_sec=1)
        await scene.wait(40)
        assert (await scene.job(first)).state is JobState.CANCELED
        assert (await scene.job(second)).state is JobState.CANCELED
        assert [job.job_id for job in await scene.claim(job_types=["third"])] == [third]

    play(act)


@pytest.mark.requirement("QUEUE-8")
def test_a_session_that_waits_gets_a_job_that_comes_back_at_once() -> None:
    """The end of another worker's lease brought a job back, and a held call under a session slept on."""

    async def act(scene: QueueScene) -> None:
        await scene.submit(max_attempts=2, retry=wire.RetryIn(base_sec=0))
        (lost,) = await scene.claim()
        held = await scene.hold(WORKER, cost_units=2)
        assert held.lease_id is not None
        assert held.fencing_token is not None
        session = claim_wire.SessionIn(held.lease_id, held.fencing_token)
        waits = asyncio.ensure_future(scene.claim(session=session, wait_sec=60))
        await scene.wait(1.2)
        release = lease_wire.Release(lost.fencing_token)
        await scene.do(scene.server.leases.release(WORKER, lost.lease_id, release))
        await scene.wait(0.2)
        assert waits.done()
        assert [job.job_id for job in waits.result()] == [lost.job_id]

    play(act)


@pytest.mark.requirement("QUEUE-11")
def test_a_back_off_outlasts_no_clock_that_was_set_back() -> None:
    """A job that had failed waited an hour longer: the clock was set back, and the server started anew."""

    async def act(scene: QueueScene) -> None:
        job = await scene.submit(max_attempts=2, retry=wire.RetryIn(base_sec=5))
        (claimed,) = await scene.claim()
        await scene.complete(claimed, "FAILED")
        scene.world.machine.set_wall(-3_600_000)
        await scene.crash()
        await scene.wait(12)
        assert [each.job_id for each in await scene.claim()] == [job]

    play(act)


@pytest.mark.requirement("QUEUE-4")
@pytest.mark.requirement("LEASE-10")
def test_a_job_that_is_told_again_lives_a_full_time() -> None:
    """A worker that asked anew shortly before its lease ended was promised a full time, and lost the job."""

    async def act(scene: QueueScene) -> None:
        await scene.submit()
        (first,) = await scene.claim()
        await scene.wait(28)
        (again,) = await scene.claim(known=[])
        assert again.generation == first.generation
        await scene.wait(20)
        assert (await scene.complete(again)).state == "DONE"

    play(act)


@pytest.mark.requirement("QUEUE-20")
def test_a_gang_of_which_one_could_not_start_leaves_nothing_behind() -> None:
    """Those that had started were stopped, and their runs and logs never filed away."""

    async def act(scene: QueueScene) -> None:
        start = scene.server.port.start

        async def fails_once(command: Command) -> Started:
            if command.key.member == 1:
                scene.server.port.start = start  # type: ignore[method-assign]
                raise RunFailed("NOT_STARTED", "no processes are left; try again")
            return await start(command)

        scene.server.port.start = fails_once  # type: ignore[method-assign]
        job = await scene.command("after_ms=100", gang=3)
        await scene.wait(20)
        assert (await scene.job(job)).state is JobState.DONE
        assert [key.name for key, run in scene.world.runs.runs.items() if not run.kept] == []
        assert places(scene) == AT_ONCE_MAX

    play(act)


@pytest.mark.requirement("QUEUE-13")
def test_a_command_that_was_being_started_as_the_server_died_is_started_by_the_next() -> None:
    """Nothing of it had run, and its job was FAILED: an attempt that never was had used up its only one."""

    async def act(scene: QueueScene) -> None:
        job = await scene.command("after_ms=100")
        while not scene.world.runs.filed:
            await scene.world.sleep(1)
        await scene.crash()
        await scene.wait(15)
        over = await scene.job(job)
        assert (over.state, over.attempts, scene.world.runs.runs_begun) == (JobState.DONE, 1, 1)

    play(act)
