"""At most N of a group at a time: slots that jobs name, and what becomes of their sizes."""

from __future__ import annotations

import pytest

from leasehold.model.errors import Conflict
from leasehold.model.ids import to_number
from leasehold.wire.claim import Claim
from leasehold.wire.job import Cancel, JobIn, Submit
from leasehold.wire.lease import SlotAsk
from tests.unit.test_schedule_queue import ANN, WORKER, server


def member(size: int | None = 2, name: str = "group/build") -> JobIn:
    return JobIn(group="build", slots=[SlotAsk(name, size)])


@pytest.mark.requirement("QUEUE-16", "LEASE-21")
async def test_a_group_runs_as_many_at_a_time_as_its_slots() -> None:
    """Of five jobs two run; as one ends the next may; with the last one the size is forgotten."""
    async with server() as here:
        answer = await here.jobs.submit(ANN, Submit(jobs=[member() for _ in range(5)]))
        assert answer.taken == 5
        here.observe()
        first = (await here.jobs.claim(WORKER, Claim(max=5, known=[]))).jobs
        assert len(first) == 2
        for job in first:
            await here.done(job)
        here.observe()
        assert len((await here.jobs.claim(WORKER, Claim(max=5, known=[]))).jobs) == 2
        await here.jobs.tidy()
        assert here.ledger.state.sizes == {"lock:group/build": 2}
        for job in answer.jobs:
            if to_number("job", job.job_id) in here.ledger.state.jobs:
                await here.jobs.cancel(ANN, job.job_id, Cancel(grace_sec=0))
        await here.pass_by(60_000)
        assert not here.ledger.state.jobs
        await here.jobs.tidy()
        await here.jobs.tidy()
        assert here.ledger.state.sizes == {}


@pytest.mark.requirement("QUEUE-16")
async def test_a_group_has_one_size() -> None:
    """Another size is refused, for that job alone, whether it is set already or named in the same call."""
    async with server() as here:
        answer = await here.jobs.submit(ANN, Submit(jobs=[member(2), member(3), member(None)]))
        assert [one.code for one in answer.jobs] == ["", "CONFLICT", ""]
        with pytest.raises(Conflict, match="has 2 slots, not 4"):
            await here.jobs.submit(ANN, Submit(slots=[SlotAsk("group/build", 4)]))
