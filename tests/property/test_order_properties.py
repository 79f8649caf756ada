"""Fairness of start-time fair queuing over random backlogs (QUEUE-6)."""

from __future__ import annotations

from collections import defaultdict
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.core import order
from leasehold.core.line import Line, plain_cost
from leasehold.model.lease import Ask
from leasehold.model.line import Flow, Waiter
from leasehold.model.priority import Priority
from leasehold.testing.waiting import LINE, ask, line_of, waiter

TENANTS = ["default", "lab"]
HOLDERS = ["ann", "bob", "cy"]

settings_strategy = st.builds(
    lambda tenants, holders: msgspec.structs.replace(LINE, tenant_weights=tenants, holder_weights=holders),
    st.dictionaries(st.sampled_from(TENANTS), st.integers(1, 5)),
    st.dictionaries(st.sampled_from(HOLDERS), st.integers(1, 5)),
)
asks = st.builds(
    ask,
    units=st.integers(1, 90),
    holder=st.sampled_from(HOLDERS),
    tenant=st.sampled_from(TENANTS),
    priority=st.sampled_from([Priority.HIGH, Priority.NORMAL, Priority.LOW]),
    expected_ms=st.integers(1, 5_000),
)
arrivals = st.lists(st.tuples(st.integers(0, 40), asks), min_size=2, max_size=60)


def work(each: Ask) -> int:
    return plain_cost(each.charge) * each.expected_ms


class Machine:
    """Serves one waiter at a time, in the line's order; keeps the tags as a ledger would."""

    def __init__(self, settings: order.LineSettings) -> None:
        self.settings = settings
        self.line: Line[Waiter] = line_of([])
        self.flows: dict[str, Flow] = {}

    def serve(self) -> Waiter | None:
        first = self.line.walk(self.flows, self.settings, 0, plain_cost).next()
        if first is not None:
            self.line.remove(first.number)
            for flow in order.charged(self.flows, first.ask, plain_cost(first.ask.charge), self.settings):
                self.flows[flow.key] = flow
        return first


@pytest.mark.requirement("QUEUE-6", "PROVE-2")
@given(arrivals, settings_strategy)
def test_two_backlogged_flows_get_their_shares(
    arriving: list[tuple[int, Ask]], settings: order.LineSettings
) -> None:
    """Over any interval in which two siblings wait, their shares of work differ by at most a job of each.

    |W_a/w_a - W_b/w_b| <= c_a/w_a + c_b/w_b at each level, c the greatest job; a unit-millisecond is added
    for each job, since divisions are rounded.
    """
    machine = Machine(settings)
    pending = sorted(enumerate(arriving), key=lambda row: (row[1][0], row[0]))
    served: list[tuple[Waiter, frozenset[str]]] = []
    step = 0
    while pending or len(machine.line):
        while pending and pending[0][1][0] <= step:
            number, (_, each) = pending.pop(0)
            machine.line.add(waiter(number, each))
        backlogged = frozenset(
            key for each in machine.line.entries.values() for key in order.flow_keys(each.ask)
        )
        first = machine.serve()
        if first is not None:
            served.append((first, backlogged))
        step += 1
    greatest: dict[str, int] = defaultdict(int)
    weight: dict[str, int] = {}
    for each, _ in served:
        for key, its_weight in zip(order.flow_keys(each.ask), order.weights(each.ask, settings), strict=True):
            greatest[key] = max(greatest[key], work(each.ask))
            weight[key] = its_weight
    for one in sorted(weight):
        for other in sorted(weight):
            siblings = one.rpartition("/")[0] == other.rpartition("/")[0] and one.count("/") == other.count(
                "/"
            )
            if siblings and one < other:
                assert_fair(served, one, other, greatest, weight)


def assert_fair(
    served: list[tuple[Waiter, frozenset[str]]],
    one: str,
    other: str,
    greatest: dict[str, int],
    weight: dict[str, int],
) -> None:
    """Over every interval in which both always wait, the difference of normalised work keeps its bound."""
    bound = Fraction(greatest[one], weight[one]) + Fraction(greatest[other], weight[other])
    gone = Fraction(0)
    # Prefix sums within a stretch where both wait: the widest interval lies between their extremes.
    lowest = highest = Fraction(0)
    jobs = 0
    for each, backlogged in served:
        if one not in backlogged or other not in backlogged:
            gone, lowest, highest, jobs = Fraction(0), Fraction(0), Fraction(0), 0
            continue
        keys = order.flow_keys(each.ask)
        if one in keys:
            gone += Fraction(work(each.ask), weight[one])
        elif other in keys:
            gone -= Fraction(work(each.ask), weight[other])
        jobs += 1
        lowest, highest = min(lowest, gone), max(highest, gone)
        assert highest - lowest <= bound + jobs


@pytest.mark.requirement("QUEUE-6")
@given(st.lists(asks, min_size=1, max_size=40), settings_strategy, asks)
def test_a_newcomer_is_served_next(before: list[Ask], settings: order.LineSettings, newcomer: Ask) -> None:
    """A flow that was not there waits for no waiting job of others, however long their backlog is."""
    machine = Machine(settings)
    for number, each in enumerate(before):
        machine.line.add(waiter(number, each))
    for _ in range(len(before) // 2):
        machine.serve()
    # Everybody who waits has been served before, so that nobody else is new.
    new = msgspec.structs.replace(newcomer, tenant="newcomer")
    waits = {order.flow_keys(each.ask)[0] for each in machine.line.entries.values()}
    machine.line.add(waiter(1_000, new))
    if all(
        key in machine.flows and machine.flows[key].finish > machine.flows[order.ROOT].virtual
        for key in waits
    ):
        first = machine.serve()
        assert first is not None
        assert first.ask.tenant == "newcomer"


@pytest.mark.requirement("QUEUE-6", "QUEUE-7")
@given(asks, st.lists(asks, min_size=10, max_size=10))
def test_nobody_starves(patient: Ask, stream: list[Ask]) -> None:
    """Whoever waits is served after a bounded amount of others' work, however many keep arriving."""
    machine = Machine(LINE)
    machine.line.add(waiter(0, patient))
    for number, each in enumerate(stream, 1):
        machine.line.add(waiter(number, each))
    number = len(stream)
    done = 0
    # At most 2 tenants, 3 holders and 3 lanes compete, each ahead by its greatest job and its weight.
    most = 2 * 3 * 3 * 2 * 90 * 5_000 * 16
    while True:
        first = machine.serve()
        assert first is not None
        if first.number == 0:
            return
        done += work(first.ask)
        assert done <= most
        number += 1
        machine.line.add(waiter(number, stream[number % len(stream)]))


@pytest.mark.requirement("QUEUE-6", "INV-7")
@given(
    asks,
    st.integers(1, 100),
    st.integers(1, 10**9),
    st.dictionaries(st.sampled_from(HOLDERS), st.integers(1, 9)),
)
def test_a_correction_makes_good_what_was_guessed(
    each: Ask, cost: int, real_ms: int, holder_weights: dict[str, int]
) -> None:
    """Charged by a guess and corrected at the end, a flow stands where the truth would have put it."""
    settings = msgspec.structs.replace(LINE, holder_weights=holder_weights)
    base = {flow.key: flow for flow in order.charged({}, ask(5, tenant=each.tenant), 50, settings)}
    guessed = base | {flow.key: flow for flow in order.charged(base, each, cost, settings)}
    fixed = order.corrected(guessed, each, cost, each.expected_ms, real_ms, settings)
    true = {
        flow.key: flow
        for flow in order.charged(base, msgspec.structs.replace(each, expected_ms=real_ms), cost, settings)
    }
    corrected = guessed | {flow.key: flow for flow in fixed}
    for key in order.flow_keys(each):
        assert abs(corrected[key].finish - true[key].finish) <= 1
        assert corrected[key].virtual == true[key].virtual
    assert corrected[order.ROOT] == true[order.ROOT]


@given(st.lists(st.tuples(asks, st.booleans(), st.integers(1, 10_000)), max_size=40))
def test_tags_only_move_forward(history: list[tuple[Ask, bool, int]]) -> None:
    """V never falls, and no correction takes a start tag below it: idle flows save nothing up."""
    flows: dict[str, Flow] = {}
    for each, early, real_ms in history:
        before = dict(flows)
        for flow in order.charged(flows, each, plain_cost(each.charge), LINE):
            flows[flow.key] = flow
        if early:
            for flow in order.corrected(
                flows, each, plain_cost(each.charge), each.expected_ms, real_ms, LINE
            ):
                flows[flow.key] = flow
        for key, flow in before.items():
            assert flows[key].virtual >= flow.virtual
        for key in order.flow_keys(each):
            parent = flows[key.rpartition("/")[0]]
            assert order.start_tag(flows[key], parent) >= parent.virtual


@given(st.lists(asks, min_size=1, max_size=30), asks)
def test_forgetting_idle_flows_changes_no_start(history: list[Ask], newcomer: Ask) -> None:
    """A flow that may be forgotten starts at the same tag whether it is remembered or not."""
    flows: dict[str, Flow] = {}
    for each in history:
        for flow in order.charged(flows, each, plain_cost(each.charge), LINE):
            flows[flow.key] = flow
    kept = dict(flows)
    for key, flow in flows.items():
        if key.count("/") == 1 and order.forgettable(flow, flows[key.partition("/")[0]]):
            for gone in (key, *order.below(flows, key)):
                del kept[gone]
    tenant, holder, _ = order.flow_keys(newcomer)
    assert order.start_tag(kept.get(holder), kept.get(tenant)) == order.start_tag(
        flows.get(holder), flows.get(tenant)
    )
