"""Claims of workers: what they may be called, what room is kept for them, what their results change."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.control.demand import Demand, Taker, Wants
from leasehold.model.errors import NotPermitted
from leasehold.model.line import Here
from leasehold.testing.waiting import ask
from leasehold.wire.claim import Claim, SessionIn
from leasehold.wire.job import Submit
from leasehold.wire.lease import HeavyLeaseRequest
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
