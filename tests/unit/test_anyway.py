"""Jobs past their `start_anyway_by`: no quiet gate, no curve, and nothing else is lifted (QUEUE-19)."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.core import admission, dispatch
from leasehold.core.dispatch import Plan, Why
from leasehold.core.state import State
from leasehold.model.job import Job
from leasehold.model.lease import Ask, Constraint, Lease, OnBusy
from leasehold.model.line import Here, Waiter
from leasehold.model.node import NodeView
from leasehold.model.owner import Block, InForce
from leasehold.model.priority import Priority
from leasehold.model.refusal import Code
from leasehold.model.settings import PolicySettings
from leasehold.testing.waiting import GIB, ask, book_of, job, lease, line_of, quiet, waiter

SETTINGS = PolicySettings()


def anyway(of: Ask) -> Ask:
    return msgspec.structs.replace(of, anyway=True)


def busy(score: int = 20, **changes: object) -> NodeView:
    return msgspec.structs.replace(quiet(score), **({"state": "BUSY"} | changes))


def codes(view: NodeView, of: Ask, *leases: Lease, owner: InForce | None = None) -> list[Code]:
    """Why `of` may not start on such a node that holds such leases."""
    state = State("node-1")
    state.view = view
    state.owner = owner or state.owner
    state.book = book_of(leases)
    return [reason.code for reason in admission.reasons(state, of, 0, SETTINGS)]


@pytest.mark.requirement("QUEUE-19", "LEASE-4")
def test_the_quiet_gate_and_the_curve_are_lifted() -> None:
    """On a busy machine, whose curve leaves 14 units, 60 units start; before its time they do not."""
    assert codes(busy(), ask(60)) == [Code.NOT_QUIET, Code.CAPACITY]
    assert codes(busy(), ask(60, quiet_gate=False)) == [Code.CAPACITY]
    assert codes(busy(), anyway(ask(60))) == []
    assert codes(busy(), anyway(ask(60)), lease(1, ask(30))) == []


@pytest.mark.requirement("QUEUE-19", "LEASE-4")
def test_nothing_else_is_lifted() -> None:
    """PANIC, its cool-down, missing stats, blocks, pressed resources, room and work that gives way stay."""
    late = anyway(ask(60))
    blocked = InForce(blocks={"": Block("blocked", "allow", 1_000)})
    assert codes(busy(5, state="PANIC"), late) == [Code.PANIC]
    assert codes(busy(20, cooldown_until_ms=5), late) == [Code.COOLING_DOWN]
    assert codes(quiet(None), late) == [Code.STATS_UNKNOWN]
    assert codes(busy(), late, owner=blocked) == [Code.BLOCKED]
    pressed = msgspec.structs.replace(late, constraints=(Constraint.CPU_HEAVY,))
    assert codes(busy(pressed={"cpu": "pressed"}), pressed) == [Code.CONSTRAINT]
    assert codes(busy(), anyway(ask(60, memory=12 * GIB)), lease(1, ask(memory=8 * GIB))) == [Code.CAPACITY]
    assert codes(busy(), late, lease(1, ask(31))) == [Code.CAPACITY]
    assert codes(busy(), anyway(ask(91))) == [Code.NEVER_FITS]
    assert codes(busy(), msgspec.structs.replace(late, on_busy=OnBusy.PAUSE)) == [Code.NOT_QUIET]


@pytest.mark.requirement("QUEUE-19")
def test_windows_for_quiet_work_do_not_hold_it() -> None:
    """Where work that waits for quiet starts only in windows, it no longer waits for quiet."""
    closed = InForce(closed=Block("only at night", "the window", 1_000))
    assert codes(quiet(), ask(10), owner=closed) == [Code.BLOCKED]
    assert codes(quiet(), anyway(ask(10)), owner=closed) == []


def plan(
    entries: list[Waiter | Job], view: NodeView, *leases: Lease, owner: InForce | None = None
) -> Plan[Waiter | Job]:
    state = State("node-1")
    state.view = view
    state.owner = owner or state.owner
    return dispatch.plan(
        line_of(entries),
        {},
        lambda each: Here.READY,
        book_of(leases),
        view,
        {},
        lambda: [dispatch.reservation.running(each, 0) for each in leases],
        SETTINGS,
        0,
        lambda each: next(iter(admission.gates(state, each.ask, 0, SETTINGS)), None),
    )


@pytest.mark.requirement("QUEUE-19", "INV-1")
def test_the_dispatcher_lifts_them_for_that_entry_alone() -> None:
    """Of all on a busy machine the late job alone starts, and what it takes leaves the others less."""
    entries: list[Waiter | Job] = [job(0, ask(10)), waiter(1, ask(10)), job(2, anyway(ask(60)))]
    made = plan(entries, busy())
    assert [each.number for each in made.grants] == [2]
    assert [each.why for each in made.passed] == [Why.GATED]
    now = ask(10, quiet_gate=False)
    assert [each.number for each in plan([waiter(0, now)], busy()).grants] == [0]
    made = plan([waiter(0, now)], busy(), lease(1, anyway(ask(60))))
    assert made.grants == ()
    assert made.passed[0].why is Why.NO_ROOM


@pytest.mark.requirement("QUEUE-7", "QUEUE-19")
def test_a_late_job_is_promised_a_time_without_the_curve() -> None:
    """It is reserved for by what a quiet machine holds; a request for as much is not."""
    running = lease(1, ask(60, bound_ms=60_000))
    made = plan([job(0, anyway(ask(80)))], busy(), running)
    assert made.reserved is not None
    assert (made.reserved.number, made.reserved.start_ms) == (0, 60_000)
    assert made.reserved.usable_units == 90
    assert plan([waiter(0, ask(80, quiet_gate=False))], busy(), running).reserved is None


@pytest.mark.requirement("QUEUE-6", "QUEUE-8")
def test_a_gate_of_one_lane_does_not_stand_before_another() -> None:
    """Where a window lets NORMAL work start in state NORMAL, LOW work before it hides none of it."""
    entries: list[Waiter | Job] = [
        waiter(0, ask(10, priority=Priority.LOW)),
        waiter(1, ask(10, holder="bob")),
    ]
    made = plan(entries, quiet(70), owner=InForce(lenient=True))
    assert [each.number for each in made.grants] == [1]


@pytest.mark.requirement("LEASE-14", "QUEUE-8")
def test_what_is_throttled_is_not_hidden_by_what_would_be_stopped() -> None:
    """While the machine is busy, network work that gives way by a throttle starts; what stops does not."""
    network = ask(10, quiet_gate=False, constraints=(Constraint.NETWORK_HEAVY,))
    stops, pauses = (msgspec.structs.replace(network, on_busy=on) for on in (OnBusy.STOP, OnBusy.PAUSE))
    assert [each.number for each in plan([waiter(0, stops), waiter(1, pauses)], busy()).grants] == [1]
