"""A charge as a limit: what is asked of the kernel, what is said where it can't be, and for how long
(LEASE-23).
"""

from __future__ import annotations

import msgspec
import pytest

from leasehold.cli import words
from leasehold.cli.run import options
from leasehold.config import ConfigError, load
from leasehold.core import enforce
from leasehold.core.cost import Wanted
from leasehold.integrations.mcp.arguments import Ask as AgentsAsk
from leasehold.model.charge import Charge, Totals
from leasehold.model.lease import UNBOUND, UNLIMITED, Ask, Binding, Limits, Process
from leasehold.model.principal import Principal
from leasehold.model.settings import LeaseSettings, PolicySettings
from leasehold.testing.fakes import PlacesOnly
from leasehold.testing.manual_clock import settled
from leasehold.wire.lease import Bind, Enforced, Heartbeat, HeavyLeaseRequest, Release, Resources
from tests.unit.ladder_server import ANN, SECOND, Machine, Server

pytestmark = pytest.mark.requirement("LEASE-23")

MIB = 1 << 20
ONE_CORE = Limits(1_000)
FOUR_CORES = Totals(4_000, 8 << 30, 100 << 30)
AGENT = Principal("token:agent", "addon", frozenset({"lease:request", "lease:now"}), local=False)
ADMIN = Principal("token:admin", "admin", frozenset({"lease:request", "lease:now", "lease:bind-any"}))


@pytest.mark.parametrize(
    ("wanted", "charge", "limits"),
    [
        (Wanted(cpu_millicores=2_500), Charge(57, 2_500), Limits(2_500)),
        (Wanted(units=45), Charge(45), Limits(2_000)),
        (Wanted(units=100), Charge(100), Limits(4_000)),
        (Wanted(cost_class="AUTO"), Charge(30), Limits(1_333)),
        (Wanted(memory_bytes=MIB), Charge(1, 0, MIB), Limits(0, MIB)),
        (Wanted(units=9, memory_bytes=MIB), Charge(9, 0, MIB), Limits(400, MIB)),
        (Wanted(disk_bytes=MIB), Charge(1, 0, 0, MIB), None),
        (Wanted(semaphores=("x",)), Charge(), None),
    ],
)
def test_the_limit_is_the_charge(wanted: Wanted, charge: Charge, limits: Limits | None) -> None:
    """Cores as named, else the share that units imply; memory alone is no word about cores."""
    found, said = enforce.asked(True, "allow", charge, wanted, FOUR_CORES)
    assert (found, said) == (limits, "" if limits is not None else enforce.NOTHING)


@pytest.mark.parametrize(
    ("wants", "mode", "has_limits", "said"),
    [
        (True, "allow", True, ""),
        (False, "allow", False, ""),
        (True, "off", False, enforce.TURNED_OFF),
        (False, "off", False, ""),
        (False, "always", True, ""),
    ],
)
def test_the_owner_has_the_last_word(wants: bool, mode: str, has_limits: bool, said: str) -> None:
    """`off` refuses with a sentence where it was asked for; `always` limits whoever did not ask too."""
    found, why = enforce.asked(wants, mode, Charge(45), Wanted(units=45), FOUR_CORES)
    assert (found is not None, why) == (has_limits, said)


def test_what_cannot_be_seen_cannot_be_held() -> None:
    """Bound to nothing over TCP, or to a cgroup of somebody else's: said from the grant to the bind."""

    def said(binding: Binding, limits: Limits | None = ONE_CORE) -> str:
        ask = Ask("user:ann", "make", Charge(45), "node-1", limits=limits, notice="")
        return enforce.notice(ask, binding)

    assert said(UNBOUND) == enforce.UNSEEN
    assert said(UNBOUND, None) == ""
    assert "the cgroup /theirs is not Leasehold's" in said(Binding(cgroup="/theirs"))
    assert said(Binding(work=(Process(7, 1, "boot"),))) == ""
    assert said(Binding(caller=Process(7, 1, "boot"), unlimited="no.")) == "no."


def test_each_thing_that_does_not_hold_is_said() -> None:
    """No place, no quota, no memory limit, processes that could not be moved."""
    both = Limits(1_000, MIB)
    assert enforce.short(both, both, "lease-a", []) == ""
    assert enforce.short(both, UNLIMITED, "", []) == enforce.NO_PLACE
    assert enforce.short(both, Limits(1_000), "lease-a", []) == enforce.NO_MEMORY
    assert enforce.short(both, UNLIMITED, "lease-a", []) == f"{enforce.NO_CPU}; {enforce.NO_MEMORY}"
    assert enforce.short(both, both, "lease-a", [17, 18]).endswith("process 17, 18")
    assert enforce.short(Limits(1_000), Limits(1_000), "lease-a", []) == ""


def test_memory_kills_are_part_of_the_reason() -> None:
    """Who reads why a lease has ended reads that the kernel had a hand in it."""
    limits = Limits(0, 200 * MIB)
    assert enforce.told("exit 0", 0, limits) == "exit 0"
    killed = "; the kernel ended a process of it for going over its memory limit of 200 MiB"
    assert enforce.told("signal 9", 1, limits) == f"signal 9{killed}"
    assert "ended 3 processes of it" in enforce.told("exit 2", 3, limits)


def test_run_and_agents_ask_for_it() -> None:
    """`--enforce` is part of the request, and MCP's `run` hands it on to `leasehold run`."""
    asked = options.body(options.parse(["--enforce", "--cpu", "1", "--", "make"]))
    assert msgspec.convert(asked, HeavyLeaseRequest).enforce
    assert "enforce" not in options.body(options.parse(["--cpu", "1", "--", "make"]))
    assert AgentsAsk(cpu=1, enforce=True).options()[-1] == "--enforce"
    assert "--enforce" not in AgentsAsk(cpu=1).options()


def test_limits_are_shown_in_words() -> None:
    """As in the NOTES of a listing."""
    assert words.limits(Enforced(2_000, 200 * MIB)) == "limited to 2 cores, 200 MiB memory"


def test_the_setting_is_one_of_three() -> None:
    """Another word is refused at start, with the key."""
    assert load({}, {"LEASEHOLD_LEASE__ENFORCE": "off"}).settings.lease.enforce == "off"
    with pytest.raises(ConfigError, match=r"lease\.enforce"):
        load({}, {"LEASEHOLD_LEASE__ENFORCE": "maybe"})


# -- the service ---------------------------------------------------------------------------------------------


def set_to(here: Server, mode: str) -> None:
    """The owner changes the setting while the server runs."""
    here.policy = PolicySettings(lease=LeaseSettings(enforce=mode))  # type: ignore[arg-type]


async def test_limits_hold_from_the_bind_to_the_end() -> None:
    """Shown with the heartbeat that binds and in the lease; what outlives the lease is held no more."""
    async with Machine().server() as here:
        asked = HeavyLeaseRequest(
            resources=Resources(cpu_millicores=1_000, memory_bytes=200 * MIB), start="now", enforce=True
        )
        answer = await here.leases.request(ANN, asked)
        assert (answer.enforced, answer.notice) == (None, enforce.UNSEEN)
        lease_id, token = str(answer.lease_id), answer.fencing_token or 0
        child = here.processes.start(1000)
        beat = await here.leases.heartbeat(ANN, lease_id, Heartbeat(token, Bind(pids=[child.pid])))
        assert (beat.enforced, beat.notice) == (Enforced(1_000, 200 * MIB), "")
        assert here.work.limits == {lease_id: Limits(1_000, 200 * MIB)}
        shown = await here.leases.get(ANN, lease_id)
        assert (shown.enforced, shown.notice) == (Enforced(1_000, 200 * MIB), "")
        query = next(query for query in here.leases.to_measure() if query.lease_id == lease_id)
        assert query.limits == Limits(1_000, 200 * MIB)
        await here.leases.release(ANN, lease_id, Release(token))
        await settled()
        assert here.work.limits == {}
        assert here.work.processes(lease_id) == (child.pid,)


async def test_what_is_bound_with_the_request_is_limited_when_it_is_answered() -> None:
    """The answer to the request says what holds; a place without anybody in it is removed with the lease."""
    async with Machine().server() as here:
        child = here.processes.start(1000)
        asked = HeavyLeaseRequest(
            resources=Resources(cpu_millicores=500), start="now", enforce=True, bind=Bind(pids=[child.pid])
        )
        answer = await here.leases.request(ANN, asked)
        assert (answer.enforced, answer.notice) == (Enforced(500), "")
        here.processes.end(child)
        await here.leases.release(ANN, str(answer.lease_id), Release(answer.fencing_token or 0))
        await settled()
        assert here.work.places() == ()


async def test_turned_off_nothing_is_limited_and_that_is_said() -> None:
    """The setting holds for new leases from when it is read; who has a limit keeps it."""
    async with Machine().server() as here:
        before = await here.hold(enforce=True)
        set_to(here, "off")
        after = await here.hold(enforce=True)
        assert after.notice == enforce.TURNED_OFF
        assert set(here.work.limits) == {before.lease_id}
        assert (await here.leases.get(ANN, str(after.lease_id))).notice == enforce.TURNED_OFF
        explained = await here.scheduler.explain(ANN, HeavyLeaseRequest(cost_units=1, enforce=True))
        assert explained.notice == enforce.TURNED_OFF
        set_to(here, "always")
        always = await here.hold()
        assert set(here.work.limits) == {before.lease_id, always.lease_id}


async def test_a_machine_that_takes_no_memory_limit_says_so_at_the_bind() -> None:
    """What can be held is held, and the rest is said in the heartbeat's answer and with the lease."""
    async with Machine().server() as here:
        here.work.can = Limits(1, 0)
        resources = Resources(cpu_millicores=1_000, memory_bytes=MIB)
        answer = await here.hold(resources=resources, enforce=True)
        shown = await here.leases.get(ANN, str(answer.lease_id))
        assert shown.enforced == Enforced(1_000)
        assert enforce.NO_MEMORY in shown.notice


async def test_without_a_place_nothing_is_limited_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cgroup can be made: the work runs, and whoever asked reads why nothing holds it."""

    def make(self: PlacesOnly, lease_id: str) -> str:
        self.members.setdefault(lease_id, [])
        return ""

    monkeypatch.setattr(PlacesOnly, "make", make)
    async with Machine().server() as here:
        answer = await here.hold(enforce=True)
        shown = await here.leases.get(ANN, str(answer.lease_id))
        assert (shown.enforced, here.work.limits) == (None, {})
        assert enforce.NO_PLACE in shown.notice


async def test_children_that_run_already_come_along() -> None:
    """A bound process whose child was outside: both are moved, or the child is named."""
    async with Machine().server() as here:
        parent, child = here.processes.start(1000), here.processes.start(1000)
        here.processes.tree = lambda process: (parent.pid, child.pid)  # type: ignore[method-assign]
        asked = HeavyLeaseRequest(cost_units=10, start="now", enforce=True, bind=Bind(pids=[parent.pid]))
        answer = await here.leases.request(ANN, asked)
        assert here.work.processes(str(answer.lease_id)) == (parent.pid, child.pid)
        stays = here.processes.start(1000)
        here.processes.tree = lambda process: (parent.pid, stays.pid)  # type: ignore[method-assign]
        moves = here.work.admit
        here.work.admit = lambda lease_id, pids: moves(  # type: ignore[method-assign]
            lease_id, [pid for pid in pids if pid != stays.pid]
        )
        asked = HeavyLeaseRequest(cost_units=10, start="now", enforce=True, bind=Bind(pids=[parent.pid]))
        answer = await here.leases.request(ANN, asked)
        assert f"could not be moved: process {stays.pid}" in answer.notice


async def test_somebody_elses_cgroup_is_left_as_it_is() -> None:
    """An administrator who binds one by name is told that it gets no limit."""
    async with Machine().server() as here:
        asked = HeavyLeaseRequest(cost_units=10, start="now", enforce=True)
        answer = await here.leases.request(ADMIN, asked)
        bind = Heartbeat(answer.fencing_token or 0, Bind(cgroup="/theirs"))
        beat = await here.leases.heartbeat(ADMIN, str(answer.lease_id), bind)
        assert beat.enforced is None
        assert beat.notice == enforce.FOREIGN.format(cgroup="/theirs")


async def test_the_next_server_puts_right_what_does_not_hold() -> None:
    """Limits stand in the kernel over a kill; what somebody has lifted meanwhile is put back."""
    machine = Machine()
    async with machine.server(killed=True) as here:
        answer = await here.hold(enforce=True)
        lease_id = str(answer.lease_id)
        held = machine.work.limits.pop(lease_id)
        await here.ledger.stop()
    async with machine.server() as here:
        await settled()
        assert machine.work.limits == {lease_id: held}
        machine.work.limits.clear()
        await here.clock.advance(61 * SECOND)
        await settled()
        assert machine.work.limits == {lease_id: held}


async def test_a_killed_server_owes_the_limits_of_what_was_bound_at_the_grant() -> None:
    """Granted with processes and killed before they had a place: the next server puts them there."""
    machine = Machine()
    async with machine.server(killed=True) as here:
        here.leases._put_in_place = lambda lease: None  # type: ignore[method-assign]
        child = machine.processes.start(1000)
        asked = HeavyLeaseRequest(cost_units=10, start="now", enforce=True, bind=Bind(pids=[child.pid]))
        answer = await here.leases.request(ANN, asked)
        assert machine.work.places() == ()
        await here.ledger.stop()
    async with machine.server() as here:
        await settled()
        assert machine.work.processes(str(answer.lease_id)) == (child.pid,)
        assert list(machine.work.limits) == [answer.lease_id]


async def test_leftovers_of_a_killed_server_are_freed() -> None:
    """A place whose lease has ended, with somebody in it, has no limit after the next tidying."""
    machine = Machine()
    machine.work.make("lease-gone")
    machine.work.admit("lease-gone", [machine.processes.start(1000).pid])
    machine.work.limit("lease-gone", Limits(100, MIB))
    async with machine.server() as here:
        await here.clock.advance(61 * SECOND)
        await settled()
        assert machine.work.limits == {}


async def test_the_reason_of_an_end_tells_of_memory_kills() -> None:
    """With a release of the holder, and where the work just ended."""
    async with Machine().server() as here:
        resources = Resources(cpu_millicores=100, memory_bytes=200 * MIB)
        answer = await here.hold(resources=resources, enforce=True)
        here.work.kills[str(answer.lease_id)] = 2
        release = Release(answer.fencing_token or 0, "exit 2")
        ended = await here.leases.release(ANN, str(answer.lease_id), release)
        assert ended.end_reason.startswith("exit 2; the kernel ended 2 processes of it")
        assert ended.usage["memory_kills"] == 2
        left = await here.hold(resources=resources, enforce=True)
        here.work.kills[str(left.lease_id)] = 1
        (process,) = here.ledger.state.leases[str(left.lease_id)].binding.work
        here.processes.end(process)
        await settled()
        shown = await here.leases.get(ANN, str(left.lease_id))
        assert (shown.state, shown.usage["memory_kills"]) == ("EXPIRED", 1)
        assert shown.end_reason.endswith("memory limit of 200 MiB")
