"""The waiting line over random histories: it is what it would be if built afresh, read in one order."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.core import order
from leasehold.core.branch import shape_of
from leasehold.core.line import Line, plain_cost
from leasehold.model.line import Flow, Waiter
from leasehold.model.priority import Priority
from leasehold.model.settings import LineSettings
from leasehold.testing.waiting import LINE, ask, line_of, waiter

asks = st.builds(
    ask,
    units=st.sampled_from([0, 10, 10, 30, 90]),
    holder=st.sampled_from(["ann", "bob", "cy/d", "eve"]),
    tenant=st.sampled_from(["default", "lab"]),
    priority=st.sampled_from(list(Priority)),
    named=st.just([("lock:db", 1)]),
    expected_ms=st.sampled_from([1_000, 60_000]),
    bound_ms=st.sampled_from([0, 1_000, 60_000]),
)
waiting = st.lists(st.tuples(asks, st.integers(0, 10_000)), max_size=40).map(
    lambda rows: [waiter(number, each, since_ms=since) for number, (each, since) in enumerate(rows)]
)


def served(
    line: Line[Waiter], flows: order.Flows, settings: LineSettings = LINE, now_ms: int = 0
) -> list[int]:
    """Everybody in the order of one pass in which everything fits."""
    walk = line.walk(flows, settings, now_ms, plain_cost)
    found = []
    while (each := walk.next()) is not None:
        walk.take()
        found.append(each.number)
    return found


@pytest.mark.requirement("QUEUE-6")
@given(waiting, st.booleans())
def test_one_pass_is_the_same_as_many(waiters: list[Waiter], strict: bool) -> None:
    """Granting all in one pass gives the order of granting one at a time and looking afresh."""
    line = line_of(waiters)
    settings = msgspec.structs.replace(LINE, strict=(Priority.LOW, Priority.HIGH)) if strict else LINE
    now_ms = LINE.offsets_ms[Priority.LOW] + 5_000
    at_once = served(line, {}, settings, now_ms)
    flows: dict[str, Flow] = {}
    one_by_one = []
    while len(line):
        first = line.walk(flows, settings, now_ms, plain_cost).next()
        assert first is not None
        assert line.position(first.number, flows, settings, now_ms=now_ms) == 1
        one_by_one.append(first.number)
        line.remove(first.number)
        if first.ask.charge.is_work:
            for flow in order.charged(flows, first.ask, plain_cost(first.ask.charge), settings):
                flows[flow.key] = flow
    assert at_once == one_by_one


@pytest.mark.requirement("QUEUE-6")
@given(waiting, st.randoms(use_true_random=False))
def test_the_line_forgets_how_it_came_to_be(waiters: list[Waiter], dice: random.Random) -> None:
    """Whatever came and went in whatever order, the line reads as one built from those who wait."""
    line: Line[Waiter] = Line()
    present: dict[int, Waiter] = {}
    for each in dice.choices(waiters, k=3 * len(waiters)) if waiters else ():
        if each.number in present:
            assert line.remove(each.number) is present.pop(each.number)
        else:
            line.add(each)
            present[each.number] = each
        if dice.random() < 0.3:  # Looking leaves no trace either.
            assert sorted(served(line, {})) == sorted(present)
    fresh = line_of(sorted(present.values(), key=lambda each: each.number))
    assert len(line) == len(present)
    assert served(line, {}) == served(fresh, {})
    for number in list(present):
        line.remove(number)
    assert not line.root.children
    assert not line.shapes
    assert not line._filings


@given(waiting)
def test_places_are_the_order(waiters: list[Waiter]) -> None:
    """`position` says what one pass does, for everybody."""
    line = line_of(waiters)
    for place, number in enumerate(served(line, {}), 1):
        assert line.position(number, {}, LINE) == place
        assert line.positions([number], {}, LINE) == {number: place}


@pytest.mark.requirement("QUEUE-8")
@given(waiting)
def test_heads_are_the_first_of_each_shape(waiters: list[Waiter]) -> None:
    """Where each is passed with its shape, each (flow, shape) is shown once, by whoever comes first in it."""
    walk = line_of(waiters).walk({}, LINE, 0, plain_cost)
    shown = []
    while (each := walk.next()) is not None:
        shown.append(each)
        walk.skip_shape()
    found = {(order.flow_keys(each.ask), shape_of(each.ask)): each for each in shown}
    assert len(found) == len(shown)
    for each in waiters:
        head = found[order.flow_keys(each.ask), shape_of(each.ask)]
        assert (head.due_ms, head.number) <= (each.due_ms, each.number)
