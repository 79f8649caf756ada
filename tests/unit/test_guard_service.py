"""The service of guards: found, followed over restarts of either side, put back at the end (LEASE-26)."""

from __future__ import annotations

import pytest

from leasehold.model.errors import Conflict, Invalid, NotFound, NotPermitted, Unavailable
from leasehold.model.lease import Binding
from leasehold.testing.manual_clock import settled
from leasehold.wire.guard import GuardIn, GuardOut
from tests.unit.ladder_server import ANN, BOB, ROOT, Machine, Server

pytestmark = pytest.mark.requirement("LEASE-26")


def runs(machine: Machine, target: str = "docker:web", cgroup: str = "/machine/web") -> Binding:
    """Start the software of a target."""
    found = Binding(work=(machine.processes.start(),), cgroup=cgroup)
    machine.standing.running[target] = found
    return found


def ends(machine: Machine, binding: Binding, target: str = "docker:web") -> None:
    machine.standing.running[target] = None
    machine.processes.end(binding.work[0])


async def only(here: Server) -> GuardOut:
    (found,) = (await here.guards.guards()).guards
    return found


async def test_a_container_is_guarded_and_gives_way() -> None:
    """At low weight, listed with where it runs, frozen when the machine is busy, and let go on."""
    machine = Machine()
    binding = runs(machine)
    async with machine.server() as here:
        made = await here.guards.guard(ROOT, GuardIn("docker:web", "pause", 20, "a miner"))
        assert (made.running, made.pids, made.cgroup) == (True, [binding.work[0].pid], "/machine/web")
        assert list(machine.standing.lowered) == [made.lease_id]
        await here.see("BUSY")
        assert here.brakes.frozen == {made.lease_id}
        assert "System is BUSY" in (await only(here)).held_back
        await here.see("NORMAL", 80)
        assert here.brakes.frozen == set()
        await here.guards.remove(ROOT, made.lease_id)
        assert machine.standing.lowered == {}
        assert (await here.guards.guards()).guards == []


async def test_it_is_followed_over_its_own_restarts() -> None:
    """Gone, it is bound to nothing; a new one under its name is found within seconds and held like it."""
    machine = Machine()
    binding = runs(machine)
    async with machine.server() as here:
        await here.guards.guard(ROOT, GuardIn("docker:web", "pause"))
        ends(machine, binding)
        await settled()
        assert not (await only(here)).running
        await here.see("BUSY")
        assert here.brakes.frozen == set()
        runs(machine, cgroup="/machine/web-2")
        await here.clock.advance(2_000)
        await settled()
        found = await only(here)
        assert (found.running, found.cgroup) == (True, "/machine/web-2")
        await here.see("BUSY")
        assert here.brakes.frozen == {found.lease_id}


async def test_what_stops_is_put_back_as_it_was() -> None:
    """Else the low weight of a cgroup that empties and fills again would be taken for its own."""
    machine = Machine()
    binding = runs(machine)
    async with machine.server() as here:
        made = await here.guards.guard(ROOT, GuardIn("docker:web", "pause"))
        assert list(machine.standing.lowered) == [made.lease_id]
        ends(machine, binding)
        await settled()
        assert machine.standing.lowered == {}


async def test_one_that_comes_back_while_it_is_held_back_is_held_where_it_runs_now() -> None:
    """The place that it had is let go first."""
    machine = Machine()
    binding = runs(machine)
    async with machine.server() as here:
        made = await here.guards.guard(ROOT, GuardIn("docker:web", "pause"))
        await here.see("BUSY")
        here.brakes.calls.clear()
        ends(machine, binding)
        runs(machine, cgroup="/machine/web-2")
        await settled()
        await here.see("BUSY", 4)
        assert here.brakes.calls[0][0] == "thaw"
        assert ("freeze", (made.lease_id,)) in here.brakes.calls
        assert here.brakes.frozen == {made.lease_id}


@pytest.mark.parametrize("killed", [False, True])
async def test_it_survives_a_restart_of_the_server(killed: bool) -> None:
    """Stopped or killed: the same lease, found again; its weight is low again, and known as it was."""
    machine = Machine()
    runs(machine)
    async with machine.server(killed=killed) as here:
        made = await here.guards.guard(ROOT, GuardIn("docker:web", "pause", 30))
        if killed:
            await here.ledger.stop()
    assert (made.lease_id in machine.standing.lowered) is killed
    async with machine.server() as here:
        await settled()
        found = await only(here)
        assert (found.lease_id, found.cost_units, found.running) == (made.lease_id, 30, True)
        assert machine.standing.lowered[made.lease_id].before == (("weight", "100"),)
        await here.see("BUSY")
        assert here.brakes.frozen == {made.lease_id}


async def test_what_stopped_while_no_server_ran_is_not_running() -> None:
    """And what can't be asked is said, with the guard kept."""
    machine = Machine()
    binding = runs(machine)
    async with machine.server() as here:
        await here.guards.guard(ROOT, GuardIn("docker:web", "pause"))
    ends(machine, binding)
    machine.standing.unreachable = "the engine is away"
    async with machine.server() as here:
        await settled()
        assert (await only(here)).problem == "the engine is away"
        machine.standing.unreachable = ""
        await here.clock.advance(2_500)
        await settled()
        found = await only(here)
        assert (found.running, found.problem) == (False, "")


async def test_a_removal_that_a_crash_cut_short_is_carried_out() -> None:
    """What a killed server had at low weight is put back by the next one."""
    machine = Machine()
    runs(machine)
    async with machine.server(killed=True) as here:
        made = await here.guards.guard(ROOT, GuardIn("docker:web", "pause"))
        lowered = dict(machine.standing.lowered)
        await here.guards.remove(ROOT, made.lease_id)
        machine.standing.lowered = lowered
        await here.ledger.stop()
    async with machine.server():
        await settled()
        assert machine.standing.lowered == {}


@pytest.mark.requirement("LEASE-14")
async def test_stop_stops_it_and_starts_it_again() -> None:
    """It is no brake on processes; that it does not run meanwhile lets nothing start it early."""
    machine = Machine()
    binding = runs(machine)
    async with machine.server() as here:
        made = await here.guards.guard(ROOT, GuardIn("docker:web", "stop"))
        await here.see("BUSY")
        assert here.brakes.frozen == {made.lease_id}
        ends(machine, binding)
        await settled()
        here.brakes.calls.clear()
        await here.see("BUSY", 20)
        assert [name for name, _ in here.brakes.calls if name == "thaw"] == []
        await here.see("NORMAL", 70)
        assert ("thaw", (made.lease_id,)) in here.brakes.calls


async def test_a_bare_process_ends_its_guard() -> None:
    """Its number may be somebody else's tomorrow."""
    machine = Machine()
    process = machine.processes.start(uid=1000)
    machine.standing.running[f"pid:{process.pid}"] = Binding(work=(process,))
    async with machine.server() as here:
        await here.guards.guard(ANN, GuardIn(f"pid:{process.pid}", "pause"))
        machine.processes.end(process)
        del machine.standing.running[f"pid:{process.pid}"]
        await settled()
        assert (await here.guards.guards()).guards == []
        assert "LeaseReleased" in await here.events()


async def test_who_may_guard_what() -> None:
    """One's own processes, and everything for whoever has the right; nobody else's guard is changed."""
    machine = Machine()
    runs(machine)
    process = machine.processes.start(uid=1000)
    target = f"pid:{process.pid}"
    machine.standing.running[target] = Binding(work=(process,))
    async with machine.server() as here:
        with pytest.raises(NotPermitted, match="guard:manage"):
            await here.guards.guard(ANN, GuardIn("docker:web"))
        with pytest.raises(NotPermitted, match="is not user:bob's"):
            await here.guards.guard(BOB, GuardIn(target))
        made = await here.guards.guard(ANN, GuardIn(target, "pause"))
        with pytest.raises(NotPermitted, match="guarded by user:ann"):
            await here.guards.remove(BOB, made.lease_id)
        await here.guards.remove(ROOT, made.lease_id)


async def test_what_can_not_be_guarded_says_why() -> None:
    """Unknown, unreachable, held already, or nothing that could be started again."""
    machine = Machine()
    binding = runs(machine)
    machine.standing.running["cgroup:/machine/web"] = Binding(cgroup=binding.cgroup)
    async with machine.server() as here:
        await here.guards.guard(ROOT, GuardIn("docker:web"))
        with pytest.raises(Conflict, match="held already, as docker:web"):
            await here.guards.guard(ROOT, GuardIn("cgroup:/machine/web"))
        with pytest.raises(NotFound, match="there is no docker:none; docker:none is not guarded"):
            await here.guards.guard(ROOT, GuardIn("docker:none"))
        with pytest.raises(Invalid, match="nothing would start cgroup:/a again"):
            await here.guards.guard(ROOT, GuardIn("cgroup:/a", "stop"))
        with pytest.raises(NotFound, match="no guard lease-x"):
            await here.guards.remove(ROOT, "lease-x")
        machine.standing.unreachable = "no engine"
        with pytest.raises(Unavailable, match="no engine"):
            await here.guards.guard(ROOT, GuardIn("docker:other"))
