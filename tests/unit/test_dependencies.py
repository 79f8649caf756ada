"""What becomes of jobs that come after others (QUEUE-10), whatever ends those, and however many they are."""

from __future__ import annotations

import pytest

from leasehold.model.errors import LeaseholdError
from leasehold.model.ids import to_number
from leasehold.model.job import JobState
from leasehold.testing.manual_clock import settled
from leasehold.wire.claim import Claimed, Completion
from leasehold.wire.job import Cancel, JobIn, Note, RetryIn, Submit
from leasehold.wire.lease import Release
from tests.unit.test_schedule_queue import ANN, WORKER, Server, server


async def submit(here: Server, **body: object) -> str:
    answer = await here.jobs.submit(ANN, Submit(**body))  # type: ignore[arg-type]
    assert answer.jobs[0].job_id
    return answer.jobs[0].job_id


async def failed(here: Server, job: Claimed) -> None:
    body = Completion(
        generation=job.generation, outcome="FAILED", error="no", fencing_token=job.fencing_token
    )
    await here.jobs.complete(WORKER, job.job_id, body)


async def state_of(here: Server, job_id: str) -> str:
    return (await here.jobs.get(ANN, job_id)).state


@pytest.mark.requirement("QUEUE-10", "QUEUE-11")
async def test_a_job_that_is_tried_again_has_not_ended() -> None:
    """Who comes after a job waits while that is tried again, and starts when it is done at last."""
    async with server() as here:
        first = await submit(here, max_attempts=2, retry=RetryIn(base_sec=0, cap_sec=0))
        then = await submit(here, after=[first])
        await failed(here, await here.claim())
        await settled()
        assert await state_of(here, first) == "QUEUED"
        assert await state_of(here, then) == "QUEUED"
        again = await here.claim()
        assert again.job_id == first
        await here.done(again)
        await settled()
        assert (await here.claim()).job_id == then


@pytest.mark.requirement("QUEUE-10")
async def test_who_is_held_hears_of_what_it_comes_after() -> None:
    """A held job that comes after one that ends meanwhile starts when it is let go; so with a failed one."""
    async with server() as here:
        first = await submit(here)
        then = await submit(here, after=[first])
        await here.jobs.hold(ANN, then, Note())
        await here.done(await here.claim())
        await settled()
        await here.jobs.resume(ANN, then, Note())
        assert (await here.claim()).job_id == then
        second = await submit(here)
        behind = await submit(here, after=[second], hold=True)
        await failed(here, await here.claim())
        await settled()
        assert await state_of(here, behind) == "CANCELED"


@pytest.mark.requirement("QUEUE-10")
async def test_dependants_hear_of_a_job_that_ends_with_its_lease() -> None:
    """A lease that is released without a result ends its job for all that come after it."""
    async with server() as here:
        first = await submit(here)
        then = await submit(here, after=[first])
        job = await here.claim()
        await here.leases.release(WORKER, job.lease_id, Release(fencing_token=job.fencing_token))
        await settled()
        assert await state_of(here, first) == "FAILED"
        assert await state_of(here, then) == "CANCELED"


@pytest.mark.requirement("QUEUE-10", "QUEUE-8")
async def test_any_number_of_dependants_goes_in_slices() -> None:
    """A chain and a fan of thousands are cancelled, none of them left, and no commit is large."""
    async with server() as here:
        root = await submit(here)
        for _ in range(3):
            await here.jobs.submit(ANN, Submit(jobs=[JobIn(after=[root]) for _ in range(600)]))
        last = root
        for _ in range(1_200):
            last = await submit(here, after=[last])
        sizes: list[int] = []
        commit = here.ledger.store.commit

        async def watched(batch):  # type: ignore[no-untyped-def]
            sizes.append(len(batch.finishes))
            return await commit(batch)

        here.ledger.store.commit = watched  # type: ignore[method-assign]
        await here.jobs.cancel(ANN, root, Cancel())
        for _ in range(40):
            await settled()
        assert not here.ledger.state.jobs
        assert sum(sizes) == 1 + 1_800 + 1_200
        assert max(sizes) <= 1_001
        assert not here.ledger.state.queue.over
        assert not here.ledger.state.queue.dependants


@pytest.mark.requirement("QUEUE-10", "QUEUE-13")
async def test_an_end_that_was_taken_back_cancels_nobody() -> None:
    """Where the disk refuses the end of a job, it runs on, and who comes after it waits for its real end."""
    async with server() as here:
        first = await submit(here)
        then = await submit(here, after=[first])
        job = await here.claim()
        here.faults.full = True
        with pytest.raises(LeaseholdError):
            await failed(here, job)
        here.faults.full = False
        await here.clock.advance(3_000)
        assert here.ledger.state.jobs[to_number("job", first)].state is JobState.RUNNING  # type: ignore[index]
        assert await state_of(here, then) == "QUEUED"
        await here.done(job)
        await settled()
        assert (await here.claim()).job_id == then
