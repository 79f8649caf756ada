"""Bugs that the simulation has found, each as the shortest scene that showed it."""

from __future__ import annotations

import asyncio

import pytest

from leasehold.adapters.stores.memory import Fate
from leasehold.core.line import Line
from leasehold.model.errors import NotReady, OutcomeUnknown, StoreUnavailable
from leasehold.model.lease import LeaseState
from leasehold.model.line import Waiter
from leasehold.model.principal import Principal
from leasehold.testing import waiting as factories
from leasehold.testing.callers import USER
from leasehold.testing.simulated_server import SimulatedServer
from leasehold.wire import lease as wire
from tests.simulation.scene import ANN, BOB, ROOT, Scene, play


@pytest.mark.requirement("LEASE-7")
def test_a_call_that_does_not_wait_is_told_of_its_grant() -> None:
    """Who joined the line and was granted in the same turn was denied, and the room went to nobody."""

    async def act(scene: Scene) -> None:
        await scene.hold(ANN, locks=["a"])
        waits = asyncio.ensure_future(scene.ask(BOB, locks=["a"], wait_sec=60))
        await scene.wait(0.1)
        assert (await scene.ask(ANN, cost_units=5)).approved
        waits.cancel()

    play(act)


@pytest.mark.requirement("LEASE-7")
def test_a_wait_that_ends_while_its_grant_is_committed_is_granted() -> None:
    """The time to wait ran out between the decision and the disk: the caller was told no."""

    async def act(scene: Scene) -> None:
        held = await scene.hold(ANN, locks=["a"])
        waits = asyncio.ensure_future(scene.ask(BOB, locks=["a"], wait_sec=1))
        await scene.wait(0.9)
        scene.world.faults.before_ms = lambda batch: 500  # type: ignore[method-assign]
        await scene.release(held)
        assert (await waits).approved

    play(act)


@pytest.mark.requirement("LEASE-12")
@pytest.mark.requirement("INV-4")
def test_a_second_release_is_not_answered_before_the_first_is_durable() -> None:
    """The repeat saw the ended lease in memory, said RELEASED, and then the disk was full."""

    async def act(scene: Scene) -> None:
        held = await scene.hold(ANN, cost_units=5)
        scene.world.faults.before_ms = lambda batch: 500  # type: ignore[method-assign]
        scene.world.faults.full = True
        both = await asyncio.gather(scene.release(held), scene.release(held), return_exceptions=True)
        assert [type(each) for each in both] == [StoreUnavailable, StoreUnavailable]

    play(act)


@pytest.mark.requirement("LEASE-10")
@pytest.mark.requirement("INV-4")
def test_a_heartbeat_is_not_told_that_a_lease_has_ended_while_that_can_be_undone() -> None:
    """A release was under way; it was undone, and the holder had given its work up."""

    async def act(scene: Scene) -> None:
        held = await scene.hold(ANN, cost_units=5)
        scene.world.faults.before_ms = lambda batch: 500  # type: ignore[method-assign]
        scene.world.faults.full = True
        release = asyncio.ensure_future(scene.release(held))
        await scene.wait(0.1)
        assert (await scene.beat(held)).state == "ACTIVE"
        with pytest.raises(StoreUnavailable):
            await release

    play(act)


@pytest.mark.requirement("INV-4")
def test_nothing_is_said_to_be_unknown_before_recovery_is_done() -> None:
    """A heartbeat that came during a start was answered 404: its holder took its lease for lost."""

    async def act(scene: Scene) -> None:
        held = await scene.hold(ANN, cost_units=5)
        scene.world.kill_server()
        scene.world.server = SimulatedServer(scene.world, 2)
        with pytest.raises(NotReady):
            await scene.beat(held)

    play(act)


@pytest.mark.requirement("LEASE-21")
@pytest.mark.requirement("INV-1")
def test_a_lock_excludes_before_the_machine_is_measured() -> None:
    """Between a start and the first measurement a lock that somebody held was granted a second time."""

    async def act(scene: Scene) -> None:
        await scene.hold(ANN, locks=["a"])
        scene.world.kill_server()
        await scene.world.start_server()
        assert not (await scene.ask(BOB, locks=["a"])).approved

    play(act)


@pytest.mark.requirement("LEASE-7")
def test_a_held_call_is_still_held_after_a_reload() -> None:
    """After an outcome that could not be learned the state was read anew, and nobody counted as connected."""

    async def act(scene: Scene) -> None:
        held = await scene.hold(ANN, locks=["a"])
        waits = asyncio.ensure_future(scene.ask(BOB, locks=["a"], wait_sec=200))
        await scene.wait(0.1)
        scene.world.faults.unknown_pct, scene.world.faults.cannot_be_read = 100, True
        with pytest.raises(OutcomeUnknown):
            await scene.ask(ANN, cost_units=5)
        scene.world.faults.calm()
        await scene.wait(3)
        await scene.release(held)
        await scene.wait(0.1)
        assert (await waits).approved

    play(act)


@pytest.mark.requirement("LEASE-7")
@pytest.mark.requirement("INV-4")
def test_a_wait_that_ends_while_an_outcome_is_unknown_is_not_denied() -> None:
    """The unknown commit may have granted it: it was denied with a ticket that nobody waited with."""

    async def act(scene: Scene) -> None:
        held = await scene.hold(ANN, locks=["a"])
        waits = asyncio.ensure_future(scene.ask(BOB, locks=["a"], wait_sec=10))
        await scene.wait(1)
        scene.world.faults.fate = lambda batch: Fate.UNKNOWN_COMMITTED  # type: ignore[method-assign]
        scene.world.faults.cannot_be_read = True
        with pytest.raises(OutcomeUnknown):
            await scene.release(held)
        with pytest.raises(NotReady):
            await waits

    play(act)


@pytest.mark.requirement("LEASE-8")
def test_a_repeat_while_the_grant_is_committed_gets_the_same_lease() -> None:
    """The call was remembered in a commit after that of its grant: a repeat in between got a second lease."""

    async def act(scene: Scene) -> None:
        held = await scene.hold(ANN, locks=["a"])
        first = asyncio.ensure_future(scene.ask(BOB, key="k", locks=["a"], wait_sec=100))
        await scene.wait(0.1)
        scene.world.faults.before_ms = lambda batch: 300  # type: ignore[method-assign]
        release = asyncio.ensure_future(scene.release(held))
        await scene.wait(0.1)
        second = await scene.ask(BOB, key="k", locks=["a"], wait_sec=100)
        assert (await first).lease_id == second.lease_id
        await release

    play(act)


@pytest.mark.requirement("LEASE-8")
def test_a_key_is_remembered_with_its_grant_across_a_crash() -> None:
    """A crash right after the grant was durable left the key without its lease."""

    async def act(scene: Scene) -> None:
        held = await scene.hold(ANN, locks=["a"])
        waits = asyncio.ensure_future(scene.ask(BOB, key="k", locks=["a"], wait_sec=100))
        await scene.wait(0.1)
        scene.world.faults.after_ms = lambda batch: 200  # type: ignore[method-assign]
        release = asyncio.ensure_future(scene.release(held))
        await scene.wait(0.1)
        scene.world.kill_server()
        waits.cancel()
        release.cancel()
        await scene.world.start_server()
        scene.quiet()
        again = await scene.ask(BOB, key="k", locks=["a"], wait_sec=100)
        assert again.approved
        assert again.lease_id in {lease for lease in scene.world.model.calls.values() if lease}

    play(act)


@pytest.mark.requirement("LEASE-7")
def test_an_offer_lasts_its_time_however_slow_the_disk_is() -> None:
    """Where a commit took longer than an offer lives, the lease had ended before its caller heard of it."""

    async def act(scene: Scene) -> None:
        scene.world.faults.before_ms = lambda batch: 8_000  # type: ignore[method-assign]
        answer = await scene.ask(ANN, cost_units=5)
        scene.world.faults.before_ms = lambda batch: 0  # type: ignore[method-assign]
        assert (await scene.beat(answer)).state == "ACTIVE"

    play(act)


@pytest.mark.requirement("LEASE-22")
def test_the_end_of_bound_work_is_not_forgotten_while_the_disk_is_full() -> None:
    """A silent lease whose process ended just then kept its charge for ever: nothing looked at it again."""

    async def act(scene: Scene) -> None:
        wrapper = scene.world.processes.start()
        me = Principal("user:ann", "user", USER, local=True, pid=wrapper.pid, uid=1000)
        held = await scene.hold(me, cost_units=5)
        assert held.lease_id is not None
        child = scene.world.processes.start()
        await scene.beat(held, me, wire.Bind(pids=[child.pid]))
        scene.world.processes.end(wrapper)
        await scene.wait(40)
        silent = scene.server.ledger.state.leases[held.lease_id]
        assert "silent" in silent.flags
        scene.world.faults.full = True
        with pytest.raises(StoreUnavailable):
            await scene.ask(BOB, cost_units=5)
        scene.world.processes.end(child)
        await scene.wait(5)
        scene.world.faults.calm()
        await scene.wait(5)
        assert held.lease_id not in scene.server.ledger.state.leases

    play(act)


@pytest.mark.requirement("LEASE-7")
def test_who_hung_up_while_its_grant_was_undone_is_not_granted_again() -> None:
    """The undo brought back that it was connected; the room then went to nobody for five seconds."""

    async def act(scene: Scene) -> None:
        held = await scene.hold(ANN, locks=["a"])
        waits = scene.do(
            scene.server.leases.request(BOB, wire.HeavyLeaseRequest(start="now", locks=["a"], wait_sec=100))
        )
        await scene.wait(0.1)
        scene.world.faults.before_ms = lambda batch: 300  # type: ignore[method-assign]
        scene.world.faults.full = True
        release = asyncio.ensure_future(scene.release(held))
        await scene.wait(0.1)
        waits.cancel()
        with pytest.raises(StoreUnavailable):
            await release
        scene.world.faults.before_ms = lambda batch: 0  # type: ignore[method-assign]
        scene.world.faults.calm()
        await scene.wait(3)
        assert scene.world.model.leases[held.lease_id or ""].record.state is LeaseState.RELEASED
        assert not scene.server.ledger.state.leases
        assert not any(presence.held for presence in scene.server.ledger.state.presence.values())

    play(act)


@pytest.mark.requirement("INV-4")
def test_a_revoke_is_not_answered_twice_before_it_is_durable() -> None:
    """The second revoke changed nothing, and was answered while the first could still be undone."""

    async def act(scene: Scene) -> None:
        held = await scene.hold(ANN, cost_units=5)
        scene.world.faults.before_ms = lambda batch: 500  # type: ignore[method-assign]
        scene.world.faults.full = True
        assert held.lease_id is not None
        first = scene.do(scene.server.leases.revoke(ROOT, held.lease_id, wire.Revoke()))
        with pytest.raises(StoreUnavailable):
            await scene.do(scene.server.leases.revoke(ROOT, held.lease_id, wire.Revoke()))
        with pytest.raises(StoreUnavailable):
            await first

    play(act)


@pytest.mark.requirement("LEASE-13")
@pytest.mark.requirement("INV-4")
def test_a_revoked_lease_whose_work_lives_is_not_said_to_have_ended_too_early() -> None:
    """Its grace was over in memory and not yet on the disk, and a heartbeat was answered 410."""

    async def act(scene: Scene) -> None:
        child = scene.world.processes.start()
        held = await scene.hold(ANN, cost_units=5)
        assert held.lease_id is not None
        await scene.beat(held, ANN, wire.Bind(pids=[child.pid]))
        await scene.do(scene.server.leases.revoke(ROOT, held.lease_id, wire.Revoke(grace_sec=1)))
        scene.world.faults.before_ms = lambda batch: 700  # type: ignore[method-assign]
        scene.world.faults.full = True
        await scene.wait(1.2)
        assert scene.server.ledger.state.leases[held.lease_id].state is LeaseState.REVOKED
        assert (await scene.beat(held)).action == "stop"

    play(act)


@pytest.mark.requirement("QUEUE-8")
def test_a_waiter_that_leaves_and_comes_back_is_counted_once() -> None:
    """A dead entry of the same number came to life again, and looking at the line raised an IndexError."""
    line: Line[Waiter] = Line()
    waiter = factories.waiter(1, factories.ask())
    for _ in range(50):
        line.add(waiter)
        line.remove(waiter.number)
    line.add(waiter)
    line.add(factories.waiter(2, factories.ask(holder="bob")))
    line.remove(waiter.number)
    walk = line.walk({}, factories.LINE, 0, lambda charge: 1)
    found = walk.next()
    assert found is not None
    assert found.number == 2


@pytest.mark.requirement("LEASE-7")
@pytest.mark.requirement("QUEUE-7")
def test_a_pollers_room_is_not_given_away_between_two_of_its_calls() -> None:
    """Whoever held the reservation behind it came first at the next look, and took the room that was kept."""

    async def act(scene: Scene) -> None:
        held = await scene.hold(ANN, cost_units=60)
        poller = await scene.ask(BOB, cost_units=50)
        assert not poller.approved
        waits = asyncio.ensure_future(scene.ask(ANN, cost_units=80, wait_sec=300))
        await scene.wait(0.1)
        await scene.release(held)
        await scene.wait(1)
        assert not waits.done()
        assert (await scene.ask(BOB, cost_units=50, ticket=poller.ticket)).approved
        waits.cancel()

    play(act)


@pytest.mark.requirement("LEASE-12")
def test_a_released_lease_is_known_while_hundreds_end_in_one_commit() -> None:
    """Ended leases beyond the last 200 were dropped from memory before the archive had them: 404."""

    async def act(scene: Scene) -> None:
        many = [await scene.hold(ANN, locks=[f"l{number}"]) for number in range(260)]
        scene.world.faults.before_ms = lambda batch: 200  # type: ignore[method-assign]
        slow = asyncio.ensure_future(scene.ask(BOB, cost_units=1))
        await scene.wait(0.1)
        releases = [asyncio.ensure_future(scene.release(each)) for each in many]
        await slow
        again = await scene.release(many[0])
        assert again.state == "RELEASED"
        await asyncio.gather(*releases)

    play(act)
