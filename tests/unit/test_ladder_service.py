"""The service of the ladder: what is decided is done, again and again until it holds (LEASE-14, LEASE-9)."""

from __future__ import annotations

import pytest

from leasehold.model.errors import Conflict, LeaseEnded, NotFound, NotPermitted
from leasehold.testing.manual_clock import settled
from leasehold.wire.lease import HeavyLeaseRequest, Overtime, Pause, Release, Resources, Resume, Revoke
from leasehold.wire.owner import PretendIn
from tests.unit.ladder_server import ANN, BOB, ROOT, SECOND, Machine


@pytest.mark.requirement("LEASE-14", "LEASE-10")
async def test_busy_freezes_in_the_same_turn_and_calm_thaws() -> None:
    """With events, the heartbeat's action, a reason in the status, and the charge kept all the while."""
    async with Machine().server() as here:
        answer = await here.hold(on_busy="pause")
        keeps = await here.hold(on_busy="keep")
        await here.see("BUSY")
        assert here.brakes.frozen == {answer.lease_id}
        assert (await here.beat(answer), await here.beat(keeps)) == ("pause", "continue")
        status = await here.scheduler.status(ANN)
        assert any("frozen: System is BUSY: others compile" in notice for notice in status.notices)
        assert status.capacity["units"].used == 20
        await here.see("BUSY", 30)
        await here.see("NORMAL", 28)
        assert here.brakes.frozen == {answer.lease_id}
        await here.see("NORMAL", 4)
        assert here.brakes.frozen == set()
        assert await here.beat(answer) == "continue"
        found = await here.leases.get(ANN, str(answer.lease_id))
        assert 60 <= found.stood_sec <= 64
        assert found.running_sec <= 2
        kinds = await here.events()
        assert (kinds.count("LeaseFrozen"), kinds.count("LeaseThawed")) == (1, 1)


@pytest.mark.requirement("LEASE-14", "SENSE-13")
async def test_pretending_busy_freezes_at_once() -> None:
    """The owner's word is a change of state like any other, without waiting for the next measurement."""
    async with Machine().server() as here:
        answer = await here.hold(on_busy="pause")
        await here.supervisor.owner.pretend(ROOT, "node-1", PretendIn(state="busy"))
        await settled()
        assert here.brakes.frozen == {answer.lease_id}


@pytest.mark.requirement("LEASE-14")
async def test_what_does_not_stand_still_is_tried_again() -> None:
    """A tree that could not be frozen in time is frozen by a later look, without a second event."""
    async with Machine().server() as here:
        answer = await here.hold(on_busy="pause")
        here.brakes.stuck = {str(answer.lease_id)}
        await here.see("BUSY")
        assert here.brakes.frozen == set()
        here.brakes.stuck = set()
        await here.clock.advance(500)
        await settled()
        assert here.brakes.frozen == {answer.lease_id}
        assert (await here.events()).count("LeaseFrozen") == 1


@pytest.mark.requirement("LEASE-14")
async def test_a_frozen_lease_is_not_lost_for_want_of_heartbeats() -> None:
    """Work that renews by itself can't while it stands still; it has its full time when it goes on."""
    async with Machine().server() as here:
        answer = await here.hold(on_busy="pause")
        await here.see("BUSY", 120)
        lease = here.ledger.state.leases[str(answer.lease_id)]
        assert [str(flag) for flag in lease.flags] == ["frozen"]
        await here.see("NORMAL", 14)
        assert here.brakes.frozen == set()
        assert here.ledger.state.liveness[lease.lease_id].deadline_ms > here.clock.now_ms() + 20 * SECOND


@pytest.mark.requirement("LEASE-14", "LEASE-9")
async def test_what_a_person_paused_stays_so_over_a_restart() -> None:
    """Neither calm nor a stop of the server thaws it; `resume` does, at once; its charge stays."""
    machine = Machine()
    async with machine.server() as here:
        answer = await here.hold()
        lease_id = str(answer.lease_id)
        paused = await here.ladder.pause(ANN, lease_id, Pause("a call"))
        assert (paused.flags, paused.held_back) == (["frozen", "paused"], "paused by user:ann: a call")
        assert here.brakes.frozen == {lease_id}
        await here.see("QUIET", 120)
        assert here.brakes.frozen == {lease_id}
    assert machine.brakes.frozen == {lease_id}
    async with machine.server() as again:
        await again.see("QUIET", 120)
        assert machine.brakes.frozen == {lease_id}
        assert again.ledger.state.book.units == 10
        resumed = await again.ladder.resume(ANN, lease_id, Resume())
        assert (resumed.flags, machine.brakes.frozen) == ([], set())


@pytest.mark.requirement("LEASE-14")
async def test_a_stop_of_the_server_lets_go_of_what_it_froze() -> None:
    """Without a server nobody would thaw it: frozen and throttled work goes on before the server is gone."""
    machine = Machine()
    async with machine.server() as here:
        await here.hold(on_busy="pause")
        await here.hold(on_busy="throttle")
        await here.see("BUSY")
        assert (len(machine.brakes.frozen), len(machine.brakes.throttled)) == (1, 1)
    assert (machine.brakes.frozen, machine.brakes.throttled) == (set(), set())
    async with machine.server() as again:
        assert not again.ledger.state.braked


@pytest.mark.requirement("LEASE-14", "INV-4")
async def test_a_killed_server_is_followed_by_one_that_thaws() -> None:
    """Levels are derived from the records again: what is still busy stays frozen, and then goes on."""
    machine = Machine()
    async with machine.server(killed=True) as here:
        answer = await here.hold(on_busy="pause")
        await here.see("BUSY")
        await here.ledger.stop()
    async with machine.server() as again:
        assert machine.brakes.frozen == {answer.lease_id}
        await again.see("NORMAL", 64)
        assert machine.brakes.frozen == set()


@pytest.mark.requirement("LEASE-14", "INV-4")
async def test_what_was_left_frozen_without_a_record_goes_on() -> None:
    """A server died between the commit of a thaw, or of an end, and its effect."""
    machine = Machine()
    async with machine.server() as here:
        answer = await here.hold()
    machine.brakes.frozen = {str(answer.lease_id), "lease-long-gone"}
    async with machine.server():
        await settled()
        assert machine.brakes.frozen == set()


@pytest.mark.requirement("LEASE-14", "LEASE-12")
async def test_ends_let_go() -> None:
    """Released or taken back while frozen: its processes go on, so that they can end."""
    async with Machine().server() as here:
        first, second = await here.hold(on_busy="pause"), await here.hold(on_busy="pause")
        await here.see("BUSY")
        assert len(here.brakes.frozen) == 2
        await here.leases.release(ANN, str(first.lease_id), Release(first.fencing_token or 0))
        await here.leases.revoke(ROOT, str(second.lease_id), Revoke())
        await settled()
        assert here.brakes.frozen == set()
        assert await here.beat(second) == "stop"


@pytest.mark.requirement("LEASE-14")
async def test_stop_is_taken_back_and_network_is_throttled() -> None:
    """Each rung as the holder chose it."""
    async with Machine().server() as here:
        stops = await here.hold(on_busy="stop")
        network = await here.hold(on_busy="pause", constraints=["network_heavy"])
        await here.see("BUSY")
        assert (here.brakes.frozen, here.brakes.throttled) == (set(), {network.lease_id})
        assert here.ledger.state.leases[str(stops.lease_id)].state == "REVOKING"
        assert await here.beat(stops) == "stop"
        await here.see("PANIC")
        assert (here.brakes.frozen, here.brakes.throttled) == (set(), {network.lease_id})


@pytest.mark.requirement("LEASE-14")
async def test_nothing_is_granted_that_would_give_way_at_once() -> None:
    """Asked while BUSY with pause or stop it waits, and says why; with keep it starts."""
    async with Machine().server() as here:
        await here.see("BUSY")
        for on_busy in ("pause", "stop"):
            denied = await here.leases.request(
                ANN,
                HeavyLeaseRequest(cost_units=5, start="now", on_busy=on_busy),  # type: ignore[arg-type]
            )
            assert not denied.approved
            assert f"with on_busy={on_busy} it would give way at once" in denied.reason
        assert (await here.leases.request(ANN, HeavyLeaseRequest(cost_units=5, start="now"))).approved


@pytest.mark.requirement("LEASE-14", "INV-1")
async def test_nothing_is_granted_that_thawing_work_needs() -> None:
    """The charge of frozen work stays, so whoever asks meanwhile waits until it has ended."""
    async with Machine().server() as here:
        await here.hold(cost_units=60, on_busy="pause")
        await here.see("BUSY", 10)
        await here.see("QUIET", 20)
        assert len(here.brakes.frozen) == 1
        denied = await here.leases.request(ANN, HeavyLeaseRequest(cost_units=50, start="now"))
        assert not denied.approved
        assert denied.reasons[0].code == "CAPACITY"
        assert (await here.leases.request(ANN, HeavyLeaseRequest(cost_units=30, start="now"))).approved


@pytest.mark.requirement("LEASE-9")
async def test_who_may_pause() -> None:
    """Its holder, and who may end other people's leases; nobody else; nothing that has ended."""
    async with Machine().server() as here:
        answer = await here.hold()
        lease_id = str(answer.lease_id)
        with pytest.raises(NotPermitted):
            await here.ladder.pause(BOB, lease_id, Pause())
        assert "paused" in (await here.ladder.pause(ROOT, lease_id, Pause())).flags
        assert (await here.ladder.resume(ROOT, lease_id, Resume())).flags == []
        await here.leases.release(ANN, lease_id, Release(answer.fencing_token or 0))
        with pytest.raises(LeaseEnded):
            await here.ladder.pause(ANN, lease_id, Pause())
        with pytest.raises(NotFound):
            await here.ladder.resume(ANN, "lease-unknown", Resume())


@pytest.mark.requirement("LEASE-28", "INV-1")
async def test_lost_work_goes_on_overtime() -> None:
    """Charged without admission, flagged, said in the status; asked again it is the same lease."""
    async with Machine().server() as here:
        lost = await here.hold(cost_units=60, bind=False)
        lease_id, token = str(lost.lease_id), lost.fencing_token or 0
        with pytest.raises(Conflict):
            await here.leases.overtime(ANN, lease_id, Overtime(token))
        await here.see("QUIET", 40)
        await here.hold(BOB, cost_units=60)
        first = await here.leases.overtime(ANN, lease_id, Overtime(token))
        assert first.approved
        assert first.lease_id != lease_id
        assert (await here.leases.overtime(ANN, lease_id, Overtime(token))).lease_id == first.lease_id
        assert here.ledger.state.book.units == 120
        status = await here.scheduler.status(ANN)
        assert any("30 units more than usable are held" in notice for notice in status.notices)
        assert [one.flags for one in status.active if one.lease_id == first.lease_id] == [["overtime"]]
        denied = await here.leases.request(ANN, HeavyLeaseRequest(cost_units=1, start="now"))
        assert not denied.approved
        with pytest.raises(NotPermitted):
            await here.leases.overtime(BOB, lease_id, Overtime(token))


@pytest.mark.requirement("LEASE-28")
async def test_what_was_to_end_gets_no_overtime() -> None:
    """Released or taken back is not lost."""
    async with Machine().server() as here:
        answer = await here.hold(bind=False)
        await here.leases.release(ANN, str(answer.lease_id), Release(answer.fencing_token or 0))
        with pytest.raises(LeaseEnded):
            await here.leases.overtime(ANN, str(answer.lease_id), Overtime(answer.fencing_token or 0))


@pytest.mark.requirement("LEASE-14")
async def test_a_full_disk_does_not_keep_the_machine_from_its_owner() -> None:
    """What can't be written is frozen all the same, and goes on when the machine is calm again."""
    machine = Machine()
    async with machine.server() as here:
        answer = await here.hold(on_busy="pause")
        here.ledger.read_only = "the disk is full"
        await here.see("BUSY", 4)
        assert here.brakes.frozen == {answer.lease_id}
        await here.see("QUIET", 14)
        assert here.brakes.frozen == set()
        here.ledger.read_only = ""


@pytest.mark.requirement("LEASE-14")
async def test_a_long_pause_gives_its_units_back_and_resume_waits_in_line() -> None:
    """After half an hour others may use them; the memory it still holds stays charged, over restarts too."""
    machine = Machine()
    needs = Resources(cpu_millicores=2_000, memory_bytes=1 << 30)
    async with machine.server() as here:
        answer = await here.hold(cost_units=None, resources=needs)
        lease_id = str(answer.lease_id)
        await here.ladder.pause(ANN, lease_id, Pause())
        await here.see("QUIET", 29 * 60)
        assert here.ledger.state.book.units == 45
        await here.see("QUIET", 90)
        book = here.ledger.state.book
        assert (book.units, book.cpu_millicores, book.memory_bytes) == (0, 0, 1 << 30)
        other = await here.hold(BOB, cost_units=60)
        waits = await here.ladder.resume(ANN, lease_id, Resume())
        assert waits.flags == ["frozen", "paused"]
        assert "it waits in line for the room that it gave back" in waits.held_back
        assert (await here.ladder.resume(ANN, lease_id, Resume())).flags == ["frozen", "paused"]
        assert len(here.ledger.state.waiters) == 1
        late = await here.leases.request(BOB, HeavyLeaseRequest(cost_units=20, start="now"))
        assert not late.approved or here.ledger.state.reserved is not None
    assert machine.brakes.frozen == {lease_id}
    async with machine.server() as again:
        await again.see("QUIET", 20)
        assert machine.brakes.frozen == {lease_id}
        await again.leases.release(BOB, str(other.lease_id), Release(other.fencing_token or 0))
        await again.see("QUIET", 4)
        assert machine.brakes.frozen == set()
        assert (again.ledger.state.book.cpu_millicores, len(again.ledger.state.waiters)) == (2_000, 0)
        assert "LeaseGaveBack" in await again.events()


@pytest.mark.requirement("LEASE-14")
async def test_a_paused_lease_that_ends_leaves_the_line() -> None:
    """Its place is not kept, and keeps no room from others."""
    async with Machine().server() as here:
        answer = await here.hold(cost_units=60)
        lease_id = str(answer.lease_id)
        await here.ladder.pause(ANN, lease_id, Pause())
        await here.see("QUIET", 31 * 60)
        await here.hold(BOB, cost_units=60)
        await here.ladder.resume(ANN, lease_id, Resume())
        assert len(here.ledger.state.waiters) == 1
        await here.leases.release(ANN, lease_id, Release(answer.fencing_token or 0))
        await settled()
        assert (len(here.ledger.state.waiters), here.ledger.state.resuming) == (0, {})


@pytest.mark.requirement("LEASE-14")
async def test_what_was_paused_for_long_resumes_at_once_where_there_is_room() -> None:
    """Charged again in full, with one event."""
    async with Machine().server() as here:
        answer = await here.hold(cost_units=60)
        await here.ladder.pause(ANN, str(answer.lease_id), Pause())
        await here.see("QUIET", 31 * 60)
        assert here.ledger.state.book.units == 0
        resumed = await here.ladder.resume(ANN, str(answer.lease_id), Resume())
        assert (resumed.flags, resumed.cost_units, here.ledger.state.book.units) == ([], 60, 60)
