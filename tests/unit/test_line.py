"""The waiting line: places, heads, lanes, and what a pass leaves out."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from leasehold.control.supervisor import forget_flows
from leasehold.core import dispatch
from leasehold.core.book import Book
from leasehold.core.branch import rounded, shape_of
from leasehold.core.line import EXACT_PLACES, Line, plain_cost
from leasehold.core.state import Stamp, State
from leasehold.model.line import Flow, Here, Waiter
from leasehold.model.priority import Priority
from leasehold.model.refusal import Code, Reason
from leasehold.model.settings import PolicySettings
from leasehold.testing.waiting import GIB, LINE, all_held, as_present, ask, line_of, quiet, waiter


def tickets(line: Line[Any], flows: dict[str, Flow] | None = None, **settings: object) -> list[int]:
    """The numbers of all waiters in the order of one pass in which everything fits."""
    policy = msgspec.structs.replace(LINE, **settings) if settings else LINE
    walk = line.walk(flows or {}, policy, 1_000, plain_cost)
    found = []
    while (each := walk.next()) is not None:
        found.append(each.number)
        walk.take()
    return found


@pytest.mark.requirement("QUEUE-6")
def test_lanes_are_weighted_not_ranked() -> None:
    """HIGH and LOW backlogs of equal jobs are served 8 to 2; neither waits for the other's end."""
    line = line_of(
        waiter(number, ask(priority=Priority.HIGH if number % 2 else Priority.LOW)) for number in range(40)
    )
    first_ten = tickets(line)[:10]
    assert sum(number % 2 for number in first_ten) == 8


@pytest.mark.requirement("QUEUE-6")
def test_within_a_lane_the_earliest_due_comes_first() -> None:
    """By deadline or submission, then by number."""
    early = msgspec.structs.replace(waiter(3, ask()), due_ms=5)
    line = line_of([waiter(1, ask(), since_ms=50), waiter(2, ask(), since_ms=50), early])
    assert tickets(line) == [3, 1, 2]


@pytest.mark.requirement("QUEUE-6")
def test_holders_take_turns_whatever_they_queue() -> None:
    """A holder with a hundred waiters and one with two: the two are not behind the hundred."""
    line = line_of(waiter(number, ask(holder="ann")) for number in range(100))
    line.add(waiter(100, ask(holder="bob")))
    line.add(waiter(101, ask(holder="bob")))
    assert tickets(line)[:4] == [0, 100, 1, 101]


@pytest.mark.requirement("QUEUE-6")
def test_a_strict_lane_serves_what_is_overdue_first() -> None:
    """Where LOW is strict, a LOW waiter whose due time has passed goes before HIGH ones; others don't."""
    overdue = msgspec.structs.replace(waiter(5, ask(priority=Priority.LOW)), due_ms=1_000)
    later = msgspec.structs.replace(waiter(6, ask(priority=Priority.LOW)), due_ms=1_001)
    line = line_of([waiter(number, ask(priority=Priority.HIGH)) for number in range(5)] + [overdue, later])
    flows = {"default/ann/LOW": Flow("default/ann/LOW", 10**9)}
    assert tickets(line, flows)[:2] == [0, 1]
    assert tickets(line, flows, strict=(Priority.LOW,))[:2] == [5, 0]


@pytest.mark.requirement("QUEUE-6")
def test_a_strict_lane_takes_v_with_it() -> None:
    """When an overdue job moves V past others' tags, these all start at V, and go by priority again."""
    overdue = msgspec.structs.replace(waiter(0, ask(priority=Priority.LOW)), due_ms=1_000)
    line = line_of([overdue, waiter(1, ask()), waiter(2, ask(priority=Priority.HIGH))])
    flows = {
        key: Flow(key, finish)
        for key, finish in (("default/ann/LOW", 10**9), ("default/ann/HIGH", 500), ("default/ann/NORMAL", 0))
    }
    assert tickets(line, flows) == [1, 2, 0]
    assert tickets(line, flows, strict=(Priority.LOW,)) == [0, 2, 1]


@pytest.mark.requirement("LEASE-24")
def test_locks_and_slots_move_no_tags() -> None:
    """They press nothing, so a holder's locks don't wait for its turn: all go by their numbers."""
    lock = [("lock:db", 1)]
    line = line_of(
        waiter(number, ask(0, holder=holder, named=lock))
        for number, holder in enumerate(("ann", "ann", "bob"))
    )
    assert tickets(line) == [0, 1, 2]


def test_a_number_stands_once() -> None:
    """Adding it twice is a mistake; removing it twice is not; who comes back keeps the place."""
    line = line_of(waiter(number, ask()) for number in range(3))
    with pytest.raises(ValueError, match="number 1 is"):
        line.add(waiter(1, ask()))
    assert 1 in line
    removed = line.remove(1)
    assert removed is not None
    assert line.remove(1) is None
    assert line.entry(1) is None
    assert tickets(line) == [0, 2]
    line.add(removed)
    assert tickets(line) == [0, 1, 2]
    assert line.entry(1) is removed


def test_places_far_back_are_ranked_by_due_time() -> None:
    """Exact to 64, then the rank by due time, never less than 65; who does not wait has no place."""
    line = line_of(waiter(number, ask(holder=f"h{number % 3}"), since_ms=number) for number in range(200))
    assert line.position(0, {}, LINE) == 1
    assert line.position(EXACT_PLACES - 1, {}, LINE) == EXACT_PLACES
    assert line.position(150, {}, LINE) == 151
    asked = [0, EXACT_PLACES - 1, 150, 999_999]
    one_by_one = {number: line.position(number, {}, LINE) for number in asked[:3]}
    assert line.positions(asked, {}, LINE) == one_by_one
    line.add(msgspec.structs.replace(waiter(500, ask(200, expected_ms=10**9)), due_ms=1))
    with pytest.raises(KeyError):
        line.position(999_999, {}, LINE)


@pytest.mark.requirement("QUEUE-8")
def test_heads_stop_at_the_limit_and_leave_out_the_ineligible() -> None:
    """A wake looks at a limited number of heads; one that may not start stands for its whole shape."""
    line = line_of(waiter(number, ask(40 + number % 10)) for number in range(30))
    settings = PolicySettings(line=msgspec.structs.replace(LINE, looked_at=4))
    asked: list[int] = []

    def gate(each: Waiter) -> Reason | None:
        asked.append(each.number)
        return None if each.number == 2 else Reason(Code.NOT_QUIET, "System is BUSY; waiting for QUIET")

    here = as_present(all_held(line.entries.values()), 0)
    made = dispatch.plan(line, {}, here, Book(), quiet(), {}, list, settings, 0, gate)
    assert asked == [0, 1, 2, 3]
    assert [each.number for each in made.grants] == [2]


@pytest.mark.requirement("QUEUE-8")
def test_shapes_tell_apart_what_is_answered_differently() -> None:
    """Units, names, gates and constraints exactly; sizes and times to an eighth; not the holder."""
    plain = shape_of(ask(10, memory=GIB, bound_ms=60_000))
    assert plain == shape_of(ask(10, memory=GIB, bound_ms=60_000, holder="bob"))
    now = [ask(10, quiet_gate=False, priority=priority) for priority in Priority]
    assert len({shape_of(each) for each in now}) == 1
    assert plain == shape_of(ask(10, memory=GIB - 5, bound_ms=59_999))
    for other in (
        ask(11, memory=GIB, bound_ms=60_000),
        ask(10, memory=2 * GIB, bound_ms=60_000),
        ask(10, memory=GIB, bound_ms=0),
        ask(10, memory=GIB, bound_ms=60_000, quiet_gate=False),
        ask(10, memory=GIB, bound_ms=60_000, priority=Priority.HIGH),
        ask(10, memory=GIB, bound_ms=60_000, priority=Priority.LOW),
        msgspec.structs.replace(ask(10, memory=GIB, bound_ms=60_000), anyway=True),
        ask(10, memory=GIB, bound_ms=60_000, named=[("lock:db", 1)]),
    ):
        assert shape_of(other) != plain


def test_rounding_goes_up_by_less_than_an_eighth() -> None:
    """Four significant bits, upwards; small numbers and zero as they are."""
    assert [rounded(number) for number in (0, 1, 15, 16, 17, 100, 1_000)] == [0, 1, 15, 16, 18, 104, 1_024]
    for number in range(1, 5_000):
        assert number <= rounded(number) < number * 9 / 8 + 1


def test_a_pass_can_be_told_what_to_leave_out() -> None:
    """A shape is skipped in one flow or dropped in all; who was taken out of turn is not shown again."""
    line = line_of(waiter(number, ask(10 + number % 2, holder=f"h{number % 4}")) for number in range(8))
    walk = line.walk({}, LINE, 0, plain_cost)
    early = line.entry(3)
    assert early is not None
    walk.take_first(early)
    walk.leave_out(4)
    first = walk.next()
    assert first is not None
    assert first.number == 0
    walk.drop_shape()
    second = walk.next()
    assert second is not None
    assert second.number == 1
    walk.skip_shape()
    assert [each.number for each in iter(walk.next, None) if walk.take() is None] == [7]


def test_who_is_not_here_is_passed_over() -> None:
    """A pass shows only those who are here, in the same order."""
    line = line_of(waiter(number, ask()) for number in range(6))

    def here(each: Waiter) -> Here:
        return Here.AWAY if each.number in (0, 3) else Here.READY

    walk = line.walk({}, LINE, 0, plain_cost, here)
    shown = []
    while (each := walk.next()) is not None:
        shown.append(each.number)
        walk.take()
    assert shown == [1, 2, 4, 5]


@pytest.mark.requirement("QUEUE-6", "INV-8")
def test_flows_are_forgotten_once_nobody_of_them_waits() -> None:
    """A flow that would start at V anyway is dropped with all below it, unless somebody of it waits."""
    state = State("node-1")
    keys = ("", "default", "default/ann", "default/ann/LOW", "default/bob")
    state.flows = {key: Flow(key, 0, 0 if "/" in key else 5) for key in keys}
    stamp = Stamp(0, 0, 1, 0)
    state.line.add(waiter(1, ask(holder="ann")))
    assert [change.key for change in forget_flows(state, stamp).changes] == ["default/bob"]
    state.line.remove(1)
    gone = [change.key for change in forget_flows(state, stamp).changes]
    assert gone == ["default/ann", "default/ann/LOW", "default/bob"]
