"""Standing leases for software that runs by itself, as decisions (LEASE-26)."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.core import capacity, guard, ladder, measured
from leasehold.core.book import Book
from leasehold.core.ladder import Memory, Move, Need
from leasehold.core.lease import NEVER_MS, due, processes_ended, revoke
from leasehold.core.state import Outcome, Stamp, State
from leasehold.model.charge import NOTHING, Charge
from leasehold.model.errors import Invalid, Overloaded
from leasehold.model.lease import UNBOUND, Ask, Binding, Guard, Lease, LeaseState, OnBusy, Process
from leasehold.model.node import NodeView
from leasehold.model.settings import CapacitySettings, PolicySettings
from leasehold.testing.waiting import NODE, TOTALS

SETTINGS = PolicySettings()
STAMP = Stamp(1_000, 2_000, 7, 0)
HERE = Binding(work=(Process(100, 1, "boot"),), cgroup="/machine/web")

pytestmark = pytest.mark.requirement("LEASE-26")


def asked(target: str = "docker:web", on_busy: OnBusy = OnBusy.PAUSE, cost: int = 0) -> Ask:
    return Ask(target, "guard", NOTHING, NODE, "ann", on_busy=on_busy, guard=Guard(target, cost))


def state(*outcomes: Outcome) -> State:
    found = State(NODE)
    for outcome in outcomes:
        for change in outcome.changes:
            found.apply(change)
    return found


def guarded(on_busy: OnBusy = OnBusy.PAUSE, binding: Binding = HERE) -> tuple[State, Lease]:
    outcome = guard.stand(state(), STAMP, SETTINGS, asked(on_busy=on_busy), binding)
    return state(outcome), outcome.answer


def view(name: str, now_ms: int = 0, guarded: dict[str, int] | None = None) -> NodeView:
    score = {"QUIET": 100, "BUSY": 40, "PANIC": 10}[name]
    return NodeView(NODE, now_ms, name, score, 0, TOTALS, guarded=guarded or {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("typed", "known"),
    [
        ("docker:web", "docker:web"),
        ("unit:nginx", "unit:nginx.service"),
        ("unit:dev-sda.device", "unit:dev-sda.device"),
        ("cgroup:/a/b/", "cgroup:/a/b"),
        ("pid:12", "pid:12"),
    ],
)
def test_targets_have_one_name(typed: str, known: str) -> None:
    """A unit without its kind is a service, as systemd has it."""
    assert guard.checked(typed) == known


@pytest.mark.parametrize(
    "typed",
    [
        "web",
        "docker:",
        "docker:a b",
        "docker:../x",
        "cgroup:a",
        "cgroup:/",
        "cgroup:/a/../b",
        "pid:0",
        "pid:x",
        "host:a",
    ],
)
def test_what_is_no_target_is_refused(typed: str) -> None:
    """With what was expected."""
    with pytest.raises(Invalid, match="docker:NAME, unit:NAME, cgroup:/PATH or pid:N"):
        guard.checked(typed)


def test_a_guard_is_active_charges_nothing_and_does_not_end_by_time() -> None:
    """Neither its deadline nor the end of its process ends it: it may come again."""
    here, lease = guarded()
    assert (lease.state, here.book.units, here.book.leases) == (LeaseState.ACTIVE, 0, 0)
    late = due(here, lease, STAMP, SETTINGS, work_lives=False)
    assert (late.changes, late.deadlines) == ([], [(lease.lease_id, NEVER_MS)])
    assert processes_ended(here, lease, STAMP, SETTINGS, caller_lives=False, work_lives=False).changes == []


def test_a_revoked_guard_ends_at_once_and_its_software_goes_on() -> None:
    """There is nobody who could end by himself within a grace."""
    here, lease = guarded()
    outcome = revoke(here, lease, STAMP, SETTINGS, by="bob", note="", grace_ms=10_000)
    assert outcome.answer.state is LeaseState.RELEASED
    assert outcome.answer.end_reason == "revoked by bob"


def test_guarding_again_changes_how_it_gives_way_and_nothing_else() -> None:
    """The lease stays the same, and so does what is known of how it was before."""
    here, lease = guarded(binding=msgspec.structs.replace(HERE, before=(("cpu.shares", "1024"),)))
    same = guard.stand(here, STAMP, SETTINGS, asked(), HERE)
    assert (same.changes, same.answer) == ([], lease)
    again = guard.stand(here, STAMP, SETTINGS, asked(on_busy=OnBusy.KEEP, cost=30), HERE).answer
    assert (again.lease_id, again.ask.on_busy, again.ask.guard.cost_units) == (
        lease.lease_id,
        OnBusy.KEEP,
        30,
    )
    assert again.binding.before == (("cpu.shares", "1024"),)


def test_another_way_to_give_way_lets_the_old_one_go() -> None:
    """What stands still and is to keep going from now on goes on."""
    here, lease = guarded()
    steps = [ladder.Step(Move.FREEZE, lease.lease_id, "busy")]
    here.apply(ladder.take(here, STAMP, steps, SETTINGS).changes[0])
    again = guard.stand(here, STAMP, SETTINGS, asked(on_busy=OnBusy.KEEP), HERE).answer
    assert again.brake is None


def test_there_are_at_most_so_many() -> None:
    """One more is refused, changing one is not."""
    here = state()
    for number in range(guard.GUARDS_MAX):
        stamp = msgspec.structs.replace(STAMP, number=number + 1)
        made = guard.stand(here, stamp, SETTINGS, asked(f"docker:web{number}"), UNBOUND)
        here.apply(made.changes[0])
    with pytest.raises(Overloaded, match="at most 64 guards"):
        guard.stand(here, STAMP, SETTINGS, asked(), UNBOUND)
    guard.stand(here, STAMP, SETTINGS, asked("docker:web3", OnBusy.KEEP), UNBOUND)


def test_it_is_followed_over_restarts() -> None:
    """Stopped, it is bound to nothing; started again, to where it runs, with nothing known of before."""
    here, lease = guarded(binding=msgspec.structs.replace(HERE, before=(("cpu.shares", "1024"),)))
    gone = guard.runs_at(here, STAMP, lease.lease_id, None)
    assert (gone.answer.binding, gone.events[0].kind) == (UNBOUND, "GuardedStopped")
    here.apply(gone.changes[0])
    elsewhere = Binding(work=(Process(101, 9, "boot"),), cgroup="/machine/web")
    back = guard.runs_at(here, STAMP, lease.lease_id, elsewhere)
    assert (back.answer.binding, back.events[0].kind) == (elsewhere, "GuardedStarted")
    assert guard.runs_at(here, STAMP, "lease-unknown", elsewhere).changes == []


@pytest.mark.requirement("LEASE-14")
@pytest.mark.parametrize(
    ("on_busy", "name", "move"),
    [
        (OnBusy.KEEP, "BUSY", None),
        (OnBusy.KEEP, "PANIC", Move.FREEZE),
        (OnBusy.THROTTLE, "BUSY", Move.THROTTLE),
        (OnBusy.PAUSE, "BUSY", Move.FREEZE),
        (OnBusy.STOP, "BUSY", Move.FREEZE),
        (OnBusy.STOP, "PANIC", Move.FREEZE),
    ],
)
def test_it_gives_way_like_leased_work(on_busy: OnBusy, name: str, move: Move | None) -> None:
    """`stop` is a brake like the others, since it is started again; what does not run is left alone."""
    for binding, expected in ((HERE, move), (UNBOUND, None)):
        _, lease = guarded(on_busy, binding)
        found = ladder.steps([lease], view(name), Memory(), 0, lambda _: Need(0, 0))
        assert [step.move for step in found] == ([expected] if expected else [])


def test_measured_use_counts_as_used() -> None:
    """In units and cores, a little of it not at all: idle software keeps nobody out."""
    settings = CapacitySettings()
    whole = capacity.usable(view("QUIET"), settings)
    half = TOTALS.cpu_millicores // 2
    beside = capacity.usable(view("QUIET", guarded={"lease-a": half}), settings)
    assert (whole.units - beside.units, whole.cpu_millicores - beside.cpu_millicores) == (45, half)
    idle = capacity.usable(view("QUIET", guarded={"lease-a": TOTALS.cpu_millicores // 50}), settings)
    assert idle.units == whole.units
    full = capacity.usable(view("QUIET", guarded={"lease-a": 3 * TOTALS.cpu_millicores}), settings)
    assert (full.units, full.cpu_millicores) == (0, 0)
    (short,) = capacity.shortfalls(Book(), beside, TOTALS, {}, Charge(units=50))
    assert capacity.sentence(short) == "Capacity exceeded: used=45, requested=50, capacity=90"


def test_what_it_uses_is_a_mean_of_half_a_minute() -> None:
    """From a counter that starts again where the software does."""
    rate = measured.rated(None, 5_000, 0)
    for second in range(2, 240, 2):
        rate = measured.rated(rate, 5_000 + 500 * second, second * 1_000)
    assert 480 <= rate.millicores <= 500
    assert measured.rated(rate, 0, 240_000).millicores < rate.millicores


def test_a_cost_that_was_said_is_complained_about() -> None:
    """With the figure, and what to type."""
    lease = guard.stand(state(), STAMP, SETTINGS, asked(cost=20), HERE).answer
    assert guard.complaint(lease, 20) == ""
    assert "uses 63 units, more than the 20" in guard.complaint(lease, 63)
    assert guard.complaint(guarded()[1], 90) == ""
