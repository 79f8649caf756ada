"""Claims of workers: what they may be called, what room is kept for them, what their results change."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from leasehold.control.demand import Demand, Taker, Wants
from leasehold.model.errors import NotPermitted
from leasehold.model.line import Here
from leasehold.testing.manual_clock import settled
from leasehold.testing.waiting import ask
from leasehold.wire.claim import Claim, Complete, CompletionItem, SessionIn
from leasehold.wire.job import JobIn, Submit
from leasehold.wire.lease import HeavyLeaseRequest, Release
from tests.unit.test_schedule_queue import ANN, WORKER, server


@pytest.mark.requirement("QUEUE-4")
async def test_nobody_else_is_the_runner() -> None:
    """Its capability is refused in a claim and in a poll, and its name to any worker."""
    async with server() as here:
        with pytest.raises(NotPermitted, match="runner"):
            await here.jobs.claim(WORKER, Claim(capabilities=["runner"]))
        with pytest.raises(NotPermitted, match="runner"):
            await here.jobs.offers.dispatchable(WORKER, Wants((), ["runner"]), 1)
        with pytest.raises(NotPermitted, match="runner"):
            await here.jobs.claim(WORKER, Claim(worker_id="runner"))


@pytest.mark.requirement("QUEUE-4", "LEASE-27")
async def test_a_session_that_asks_again_keeps_no_room_from_others() -> None:
    """Its lease has the room for its jobs already: a job that comes between two of its calls keeps none."""
    async with server() as here:
        lease = await here.leases.request(WORKER, HeavyLeaseRequest(cost_units=60, start="now"))
        assert lease.lease_id is not None
        assert lease.fencing_token is not None
        session = SessionIn(lease_id=lease.lease_id, fencing_token=lease.fencing_token)
        assert not (await here.jobs.claim(WORKER, Claim(session=session))).jobs
        await here.jobs.submit(ANN, Submit(cost_units=20, start="now"))
        other = await here.leases.request(ANN, HeavyLeaseRequest(cost_units=25, start="now"))
        assert other.approved, other.reason


@pytest.mark.requirement("LEASE-7")
def test_room_is_kept_for_a_poller_until_it_is_here_again() -> None:
    """One job for one poller; once it holds a call open, what that takes is all there is for it."""
    demand, wants = Demand(), Wants((), ())
    of = msgspec.structs.replace(ask(), is_job=True)
    demand.polled("w", wants, 0, 7_000)
    before = demand.round(100)
    assert before.here(of) is Here.KEEPS
    before.started(1, of)
    assert before.here(of) is Here.AWAY
    ident = demand.open(Taker("token:w", "w", wants, 1))
    pass_ = demand.round(200)
    assert pass_.here(of) is Here.READY
    pass_.started(2, of)
    assert pass_.here(of) is Here.AWAY
    demand.close(ident)
    assert demand.round(300).here(of) is Here.AWAY
    assert demand.exists(of)


@pytest.mark.requirement("LEASE-7", "QUEUE-7")
async def test_who_asks_for_a_lease_does_not_pass_a_job_that_room_is_reserved_for() -> None:
    """A great job waits for what runs, and its worker for it: small requests that would delay it stand in
    line behind it, also where nobody else is held there.
    """
    async with server() as here:
        first = await here.leases.request(
            ANN, HeavyLeaseRequest(cost_units=40, start="now", expected_duration_sec=60)
        )
        assert first.approved
        assert first.lease_id is not None
        assert first.fencing_token is not None
        await here.jobs.submit(ANN, Submit(cost_units=80, start="now"))
        claiming = asyncio.ensure_future(here.jobs.claim(WORKER, Claim(wait_sec=60)))
        await settled()
        here.observe()
        small = HeavyLeaseRequest(cost_units=40, start="now", expected_duration_sec=3_600)
        passed = await here.leases.request(ANN, small)
        assert not passed.approved
        await here.leases.release(ANN, first.lease_id, Release(fencing_token=first.fencing_token))
        await settled()
        assert len((await claiming).jobs) == 1


@pytest.mark.requirement("QUEUE-6")
@pytest.mark.parametrize("together", [False, True])
async def test_results_of_one_call_correct_the_flows_each_for_itself(together: bool) -> None:
    """Jobs that took much longer than expected: each is charged for that, in one call or in several."""
    async with server() as here:
        body = JobIn(cost_units=10, start="now", expected_duration_sec=1)
        await here.jobs.submit(ANN, Submit(jobs=[body for _ in range(4)]))
        here.observe()
        jobs = (await here.jobs.claim(WORKER, Claim(max=4))).jobs
        flows = here.ledger.state.flows
        lane = next(key for key in flows if key.endswith("/NORMAL"))
        before = flows[lane].finish
        await here.clock.advance(20_000)
        items = [
            CompletionItem(job_id=job.job_id, generation=job.generation, fencing_token=job.fencing_token)
            for job in jobs[:3]
        ]
        if together:
            await here.jobs.complete_many(WORKER, Complete(items=items))
        else:
            for item in items:
                await here.jobs.complete_many(WORKER, Complete(items=[item]))
        assert flows[lane].finish > 12 * before
