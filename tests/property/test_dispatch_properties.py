"""The dispatcher over random lives of a node: no over-commit, promises kept, nobody starves."""

from __future__ import annotations

import functools
import os
import random
import subprocess
import sys
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.core import capacity, dispatch, order, reservation
from leasehold.core.line import Line
from leasehold.core.reservation import Reservation
from leasehold.model.charge import Charge
from leasehold.model.lease import Ask, Constraint, Lease
from leasehold.model.line import Flow, Presence, Waiter
from leasehold.model.priority import Priority
from leasehold.model.refusal import Code, Reason
from leasehold.model.settings import PolicySettings
from leasehold.testing.waiting import (
    GIB,
    TOTALS,
    all_held,
    as_present,
    ask,
    book_of,
    lease,
    line_of,
    quiet,
    waiter,
)

SETTINGS = PolicySettings()
VIEW = quiet(100)
USABLE = capacity.usable(VIEW, SETTINGS.capacity)
SLOTS = {"lock:net": 2}
SECOND = 1_000

names = st.sampled_from(
    [(), (("device:gpu:0", 1),), (("lock:db", 1),), (("lock:net", 1),), (("lock:net", 2),)]
)
constraints = st.sampled_from([(), (), (), (Constraint.NETWORK_HEAVY,), (Constraint.DISK_WRITE_HEAVY,)])


def asks(bounds: st.SearchStrategy[int]) -> st.SearchStrategy[Ask]:
    return st.builds(
        ask,
        units=st.integers(1, 90),
        holder=st.sampled_from(["ann", "bob", "cy"]),
        priority=st.sampled_from(list(Priority)),
        memory=st.sampled_from([0, 0, 4 * GIB, 12 * GIB]),
        cpu=st.sampled_from([0, 0, 1_000, 4_000]),
        named=names,
        constraints=constraints,
        bound_ms=bounds,
        expected_ms=st.integers(1, 60).map(lambda s: s * SECOND),
    )


bounded = asks(st.integers(1, 120).map(lambda s: s * SECOND))
some_bounded = asks(st.sampled_from([0, 0, 5 * SECOND, 60 * SECOND]))
lives = st.integers(1, 100)


class Node:
    """A node on a clock of its own: arrivals, the dispatcher at each event, leases that end."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.line: Line[Waiter] = line_of([])
        self.flows: dict[str, Flow] = {}
        self.presence: dict[str, Presence] = {}
        self.leases: dict[str, Lease] = {}
        self.ends: dict[str, int] = {}
        self.share: dict[str, int] = {}
        self.reserved: Reservation | None = None
        self.promised: dict[int, int] = {}
        self.started: dict[int, int] = {}

    def arrive(self, each: Waiter, share: int) -> None:
        """`share`: which percentage of its bound (else of twice what is expected) it really runs."""
        self.line.add(each)
        self.presence[each.ticket] = Presence(True, 0, 0)
        self.share[each.ticket] = share

    def next_end(self) -> int | None:
        return min(self.ends.values(), default=None)

    def end_due(self) -> None:
        for lease_id in [key for key, ends_ms in self.ends.items() if ends_ms <= self.now_ms]:
            del self.leases[lease_id], self.ends[lease_id]

    def dispatch(self) -> None:
        plan = dispatch.plan(
            self.line,
            self.flows,
            as_present(self.presence, self.now_ms),
            book_of(self.leases.values()),
            VIEW,
            SLOTS,
            lambda: [reservation.running(each, self.now_ms) for each in self.leases.values()],
            SETTINGS,
            self.now_ms,
            lambda waiter: None,
            kept=self.reserved,
        )
        for each in plan.grants:
            self.grant(each)
        self.reserved = plan.reserved
        assert_within(self.leases.values())
        if self.reserved is not None and self.reserved.firm:
            number = self.reserved.number
            before = self.promised.setdefault(number, self.reserved.start_ms)
            assert self.reserved.start_ms <= before, "a promise was put off"
            self.promised[number] = self.reserved.start_ms

    def grant(self, each: Waiter) -> None:
        self.line.remove(each.number)
        granted = lease(each.number, each.ask, granted_ms=self.now_ms)
        self.leases[granted.lease_id] = granted
        takes_ms = each.ask.bound_ms or 2 * each.ask.expected_ms
        self.ends[granted.lease_id] = self.now_ms + max(1, takes_ms * self.share[each.ticket] // 100)
        self.started[each.number] = self.now_ms
        if each.ask.charge.is_work:
            cost = capacity.dominant_share_cost(each.ask.charge, TOTALS)
            for flow in order.charged(self.flows, each.ask, cost, SETTINGS.line):
                self.flows[flow.key] = flow


def assert_within(leases: Iterable[Lease]) -> None:
    """INV-1 and the limits that count leases, added up afresh."""
    held = book_of(leases)
    assert held.units <= USABLE.units
    assert held.cpu_millicores <= USABLE.cpu_millicores
    assert held.memory_bytes <= USABLE.memory_bytes
    assert held.disk_bytes <= USABLE.disk_bytes
    for name, used in held.named.items():
        assert used <= capacity.size_of(name, TOTALS, SLOTS)
    assert held.constraints.get("network_heavy", 0) <= 2
    assert held.constraints.get("disk_write_heavy:", 0) <= 1


def live(arrivals: list[tuple[int, Ask, int]]) -> Node:
    """Let everybody arrive, and run until nobody waits. Fails where nobody could ever start again."""
    node = Node()
    pending = sorted(enumerate(arrivals), key=lambda row: (row[1][0], row[0]))
    while pending or len(node.line):
        times = [row[1][0] * SECOND for row in pending[:1]]
        end = node.next_end()
        if end is not None:
            times.append(end)
        assert times, f"{len(node.line)} wait, nothing runs, and nothing is granted"
        node.now_ms = max(node.now_ms, min(times))
        node.end_due()
        while pending and pending[0][1][0] * SECOND <= node.now_ms:
            number, (at, each, share) = pending.pop(0)
            node.arrive(waiter(number, each, since_ms=at * SECOND), share)
        node.dispatch()
    return node


@pytest.mark.requirement("INV-1", "QUEUE-7", "PROVE-2")
@given(st.lists(st.tuples(st.integers(0, 60), bounded, lives), max_size=25))
def test_a_promise_is_never_put_off(arrivals: list[tuple[int, Ask, int]]) -> None:
    """Where every lease ends by its bound, whoever was promised a time starts by it; and all fits always."""
    node = live(arrivals)
    for number, promised_ms in node.promised.items():
        assert node.started[number] <= promised_ms


@pytest.mark.requirement("INV-1", "QUEUE-7", "PROVE-2")
@given(st.lists(st.tuples(st.integers(0, 60), some_bounded, lives), max_size=25))
def test_everybody_starts_in_the_end(arrivals: list[tuple[int, Ask, int]]) -> None:
    """Also where many leases have no bound: promises made by bounds are kept, and everybody starts."""
    node = live(arrivals)
    assert len(node.started) == len(arrivals)
    for number, promised_ms in node.promised.items():
        assert node.started[number] <= promised_ms


@pytest.mark.requirement("QUEUE-7")
@given(
    st.integers(60, 90),
    st.lists(st.integers(1, 30), min_size=3, max_size=3),
    st.integers(1, 60),
    st.booleans(),
)
def test_small_work_cannot_starve_large(large: int, small: list[int], life_s: int, has_bound: bool) -> None:
    """A large ask starts although small ones arrive each second for ever, with bounds or without."""
    node = Node()
    bound_ms = 60 * SECOND if has_bound else 0
    number = 0
    for second in range(2_000):
        node.now_ms = second * SECOND
        node.end_due()
        for units in small:
            number += 1
            each = ask(units, holder=f"h{number % 5}", bound_ms=bound_ms, expected_ms=30 * SECOND)
            node.arrive(waiter(number, each, since_ms=node.now_ms), 100 * life_s // 60)
        if second == 5:
            node.arrive(waiter(0, ask(large, holder="large", bound_ms=bound_ms), since_ms=node.now_ms), 100)
        node.dispatch()
        if 0 in node.started:
            return
    pytest.fail(f"{large} units waited for {node.now_ms // SECOND} s")


def gate(each: Waiter) -> Reason | None:
    """Some are gated, by what they ask alone."""
    return (
        Reason(Code.NOT_QUIET, "System is BUSY; waiting for QUIET")
        if each.ask.charge.units % 7 == 0
        else None
    )


@pytest.mark.requirement("INV-1", "LEASE-7", "PROVE-2")
@given(
    st.lists(some_bounded, max_size=10),
    st.lists(st.tuples(some_bounded, st.sampled_from(["held", "claims", "away"])), max_size=25),
    st.integers(0, 100),
)
def test_a_plan_keeps_the_rules(running: list[Ask], waiting: list[tuple[Ask, str]], score: int) -> None:
    """Only who is there is granted, nobody gated, and it all fits beside what pollers keep back."""
    view = quiet(score)
    usable = capacity.usable(view, SETTINGS.capacity)
    leases = [lease(number, each) for number, each in enumerate(running)]
    waiters = [waiter(number, each) for number, (each, _) in enumerate(waiting)]
    presence = {
        each.ticket: Presence(there == "held", 5_000 if there == "claims" else 0, 10_000)
        for each, (_, there) in zip(waiters, waiting, strict=True)
    }
    book = book_of(leases)
    made = dispatch.plan(
        line_of(waiters),
        {},
        as_present(presence, 1_000),
        book,
        view,
        SLOTS,
        lambda: [reservation.running(each, 1_000) for each in leases],
        SETTINGS,
        1_000,
        gate,
    )
    by_number = {each.number: each for each in waiters}
    for each in made.grants:
        assert presence[each.ticket].held
        assert gate(each) is None
    for number in made.holding:
        assert presence[by_number[number].ticket].reserves_until_ms > 1_000
    assert len({each.ticket for each in made.grants}) == len(made.grants)
    for each in [*made.grants, *(by_number[number] for number in made.holding)]:
        if each.ask.charge.is_work:
            assert capacity.within_counts(book, each.ask, TOTALS, SETTINGS.capacity)
        assert not capacity.shortfalls(book, usable, TOTALS, SLOTS, each.ask.charge)
        book.add_ask(each.ask)


@pytest.mark.requirement("QUEUE-7")
@given(st.lists(some_bounded, min_size=1, max_size=20))
def test_the_first_in_line_is_never_passed_while_it_fits(waiting: list[Ask]) -> None:
    """With nothing running, the first in the line is the first grant."""
    waiters = [waiter(number, each) for number, each in enumerate(waiting)]
    line = line_of(waiters)
    first = line.walk(
        {}, SETTINGS.line, 0, lambda charge: capacity.dominant_share_cost(charge, TOTALS)
    ).next()
    assert first is not None
    made = dispatch.plan(
        line,
        {},
        as_present(all_held(waiters), 0),
        book_of([]),
        VIEW,
        SLOTS,
        list,
        SETTINGS,
        0,
        lambda waiter: None,
    )
    assert made.grants[0] is first


def _running(leases: list[Lease]) -> list[reservation.Running]:
    return [reservation.running(each, 2_000) for each in leases]


@pytest.mark.requirement("INV-7", "PROVE-2")
@given(
    st.lists(some_bounded, max_size=8), st.lists(some_bounded, max_size=25), st.randoms(use_true_random=False)
)
def test_one_state_gives_one_plan(running: list[Ask], waiting: list[Ask], dice: random.Random) -> None:
    """In whatever order records came into their tables, the plan is the same."""
    plans = []
    for _ in range(2):
        leases = [lease(number, each) for number, each in enumerate(running)]
        waiters = [waiter(number, each) for number, each in enumerate(waiting)]
        flows: list[Flow] = []
        for each in running:
            flows.extend(order.charged({flow.key: flow for flow in flows}, each, 10, SETTINGS.line))
        table = list({flow.key: flow for flow in flows}.items())
        if plans:
            dice.shuffle(leases)
            dice.shuffle(waiters)
            dice.shuffle(table)
        plans.append(
            dispatch.plan(
                line_of(waiters),
                dict(table),
                as_present(all_held(waiters), 2_000),
                book_of(leases),
                VIEW,
                SLOTS,
                functools.partial(_running, leases),
                SETTINGS,
                2_000,
                gate,
            )
        )
    assert plans[0] == plans[1]


HASHED = """
from leasehold.core import dispatch, reservation
from leasehold.model.lease import Constraint
from leasehold.model.priority import Priority
from leasehold.model.settings import PolicySettings
from leasehold.testing.waiting import *
leases = [lease(n, ask(11, holder=f"h{n}", bound_ms=5000 * n, named=[("lock:l", 1)])) for n in range(3)]
waiters = [
    waiter(n, ask(7 * n % 60 + 1, holder=f"h{n % 9}", tenant=f"t{n % 4}", priority=Priority(n % 5),
        bound_ms=900 * (n % 3), named=[("lock:a", 1), ("lock:l", 1)] if n % 4 == 0 else [],
        constraints=tuple(Constraint)[: n % 3]))
    for n in range(200)
]
settings = PolicySettings()
made = dispatch.plan(
    line_of(waiters), {}, as_present(all_held(waiters), 7000), book_of(leases), quiet(95), {"lock:l": 5},
    lambda: [reservation.running(each, 7000) for each in leases], settings, 7000, lambda waiter: None)
print([each.ticket for each in made.grants], made.reserved, made.passed)
"""


@pytest.mark.requirement("INV-7")
def test_the_hash_seed_does_not_matter() -> None:
    """Two processes with different hash seeds make the same plan."""
    plans = [
        subprocess.run(
            [sys.executable, "-c", HASHED],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert plans[0] == plans[1]
    assert "tkt-" in plans[0]


def test_lock_charges_are_not_work() -> None:
    """What the tests above call work is what the model calls work."""
    assert not Charge(named=(("lock:db", 1),)).is_work
