"""How attempts end: back-off, memory for the next one, runtime that stood still (QUEUE-10, 11)."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.core import attempt
from leasehold.core import lease as life
from leasehold.core.state import JOBS, LEASES, Change, Stamp, State
from leasehold.model.job import Job, JobState, Terms
from leasehold.model.lease import LeaseState
from leasehold.model.settings import PolicySettings
from leasehold.testing.waiting import TOTALS, ask, lease
from leasehold.wire.claim import Claim, Complete, CompletionItem
from leasehold.wire.job import JobIn, Submit
from leasehold.wire.lease import Resources
from tests.unit.test_schedule_queue import ANN, WORKER, server


@pytest.mark.requirement("QUEUE-11")
async def test_jobs_that_fail_together_come_again_one_by_one() -> None:
    """Results of many jobs in one commit: each waits its own random time, over the whole of its back-off."""
    async with server() as here:
        await here.jobs.submit(ANN, Submit(jobs=[JobIn(cost_units=1, max_attempts=3) for _ in range(60)]))
        here.observe()
        jobs = (await here.jobs.claim(WORKER, Claim(max=60))).jobs
        items = [
            CompletionItem(
                job_id=job.job_id,
                generation=job.generation,
                fencing_token=job.fencing_token,
                outcome="FAILED",
            )
            for job in jobs
        ]
        now_ms = here.clock.now_ms()
        await here.jobs.complete_many(WORKER, Complete(items=items))
        waits = {job.not_before_ms - now_ms for job in here.ledger.state.jobs.values() if job.not_before_ms}
        assert len(waits) > 45
        assert min(waits) < 3_000
        assert 7_000 < max(waits) <= 10_000


@pytest.mark.requirement("QUEUE-11")
def test_the_back_off_of_a_job_uses_all_of_its_range() -> None:
    """Whatever its number, small seeds give short waits and great ones others, evenly."""
    for number in (1, 2, 3, 1 << 33):
        job = Job(number, Terms("k", ask()), JobState.RUNNING, 0, 0, attempts=1)
        waits = sorted(attempt.back_off_ms(job, part << 55) for part in range(256))
        assert waits[0] < 100
        assert waits[-1] > 9_900
        assert abs(sum(waits) // 256 - 5_000) < 100


@pytest.mark.requirement("QUEUE-11")
async def test_more_memory_is_never_more_than_can_be_given() -> None:
    """What ran out of memory gets more, but no more than a node gives: its next attempt starts."""
    async with server() as here:
        most = TOTALS.memory_bytes - (256 << 20)
        body = Submit(resources=Resources(memory_bytes=TOTALS.memory_bytes * 3 // 4), max_attempts=3)
        await here.jobs.submit(ANN, body)
        job = await here.claim()
        item = CompletionItem(
            job_id=job.job_id,
            generation=job.generation,
            fencing_token=job.fencing_token,
            outcome="FAILED",
            error_class="out_of_memory",
        )
        await here.jobs.complete_many(WORKER, Complete(items=[item]))
        for _ in range(8):
            await here.pass_by(2_000)
        again = await here.claim()
        assert again.memory_bytes == most


@pytest.mark.requirement("QUEUE-10", "LEASE-14")
def test_time_that_stood_still_is_no_runtime() -> None:
    """A job that stood still for long, and whose lease is revoked then, has not run out of time."""
    for stood_ms, then in ((0, JobState.EXPIRED), (50_000, JobState.QUEUED)):
        state = State("node-1")
        terms = Terms("k", ask(), max_runtime_ms=60_000)
        held = msgspec.structs.replace(
            lease(7, terms.ask), job=3, state=LeaseState.REVOKING, stood_ms=stood_ms
        )
        job = Job(3, terms, JobState.RUNNING, 0, 0, 1, 1, lease_id=held.lease_id, token=7, started_ms=1)
        state.apply(Change(LEASES, held.lease_id, held))
        state.apply(Change(JOBS, 3, job))
        outcome = life.due(state, held, Stamp(90_000, 0, 9, 0), PolicySettings(), work_lives=False)
        (changed,) = [change.record for change in outcome.changes if change.table == JOBS]
        assert changed.state is then
