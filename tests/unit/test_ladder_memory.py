"""What is taken back for want of memory takes no more of it until it ends (LEASE-14)."""

from __future__ import annotations

import pytest

from leasehold.testing.manual_clock import settled
from leasehold.wire.lease import Release
from tests.unit.ladder_server import ANN, SECOND, Machine

pytestmark = pytest.mark.requirement("LEASE-14")


async def test_it_stands_still_until_its_holder_has_heard() -> None:
    """Else it would take for five seconds what there is no more; told, it goes on, so that it can end."""
    async with Machine().server() as here:
        answer = await here.hold()
        await here.see("PANIC", short_of_memory=True)
        await settled()
        assert (await here.events()).count("LeaseRevoking") == 1
        assert here.brakes.frozen == {answer.lease_id}
        await here.clock.advance(3 * SECOND)
        assert here.brakes.frozen == {answer.lease_id}
        assert await here.beat(answer) == "stop"
        assert here.brakes.frozen == {answer.lease_id}, "it is told to end before it goes on"
        await here.clock.advance(1 * SECOND)
        assert here.brakes.frozen == set()


async def test_it_stands_no_longer_than_a_holder_is_silent() -> None:
    """A holder that never asks does not keep it frozen: its grace goes on, and then nobody could end it."""
    async with Machine().server() as here:
        answer = await here.hold()
        await here.see("PANIC", short_of_memory=True)
        await here.see("PANIC", 4)
        assert here.brakes.frozen == {answer.lease_id}
        await here.see("PANIC", 4)
        assert here.brakes.frozen == set()
        assert here.ledger.state.leases[str(answer.lease_id)].state == "REVOKING"


@pytest.mark.parametrize("killed", [False, True])
async def test_no_end_leaves_it_standing(killed: bool) -> None:
    """Neither its own end, nor that of the server, nor that the server was killed."""
    machine = Machine()
    async with machine.server(killed=killed) as here:
        released = await here.hold()
        await here.see("PANIC", short_of_memory=True)
        assert here.brakes.frozen == {released.lease_id}
        assert released.lease_id is not None
        assert released.fencing_token is not None
        await here.leases.release(ANN, released.lease_id, Release(released.fencing_token))
        await settled()
        assert here.brakes.frozen == set()
        await here.see("NORMAL", 14)
        other = await here.hold()
        await here.see("PANIC", short_of_memory=True)
        assert here.brakes.frozen == {other.lease_id}
        if killed:
            await here.ledger.stop()
    async with machine.server() as again:
        await again.see("QUIET")
        await settled()
        assert machine.brakes.frozen == set()


async def test_what_was_frozen_before_does_not_run_in_between() -> None:
    """The second to be taken back has stood still with the others; it stays so without a gap."""
    async with Machine().server() as here:
        first, second = await here.hold(), await here.hold()
        await here.see("PANIC", short_of_memory=True)
        assert here.brakes.frozen == {first.lease_id, second.lease_id}
        thaws: list[object] = []
        thaw = here.brakes.thaw
        here.brakes.thaw = lambda queries: thaws.append(queries) or thaw(queries)  # type: ignore[method-assign]
        await here.beat(second)
        await here.clock.advance(1 * SECOND)
        assert [query.lease_id for each in thaws for query in each] == [second.lease_id]  # type: ignore[attr-defined]
        assert second.lease_id is not None
        assert second.fencing_token is not None
        await here.leases.release(ANN, second.lease_id, Release(second.fencing_token))
        await here.see("PANIC", 4)
        thaws.clear()
        await here.see("PANIC", short_of_memory=True)
        await settled()
        assert (await here.events()).count("LeaseRevoking") == 2
        assert (thaws, here.brakes.frozen) == ([], {first.lease_id})
