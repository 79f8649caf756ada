"""The dispatcher by example: six at once, backfill, pollers, locks, gates, limits."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.core import capacity, dispatch, reservation
from leasehold.core.dispatch import Plan, Why
from leasehold.core.reservation import Reservation
from leasehold.model.lease import Ask, Constraint, Lease
from leasehold.model.line import Presence, Waiter
from leasehold.model.priority import Priority
from leasehold.model.refusal import Code, Reason
from leasehold.model.settings import CapacitySettings, LineSettings, PolicySettings
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
SECOND = 1_000


def plan(
    waiters: list[Waiter],
    leases: list[Lease] | None = None,
    *,
    presence: dict[str, Presence] | None = None,
    score: int = 100,
    semaphores: dict[str, int] | None = None,
    settings: PolicySettings = SETTINGS,
    now_ms: int = 0,
    gate: dispatch.Gate[Waiter] = lambda waiter: None,
    kept: Reservation | None = None,
) -> Plan[Waiter]:
    leases = leases or []
    view = quiet(score)
    return dispatch.plan(
        line_of(waiters),
        {},
        as_present(all_held(waiters) if presence is None else presence, now_ms),
        book_of(leases),
        view,
        semaphores or {},
        lambda: [reservation.running(each, now_ms) for each in leases],
        settings,
        now_ms,
        gate,
        kept=kept,
    )


def numbers(made: Plan[Waiter]) -> list[int]:
    return [each.number for each in made.grants]


def line(*asks: Ask) -> list[Waiter]:
    return [waiter(number, each) for number, each in enumerate(asks)]


@pytest.mark.requirement("QUEUE-6", "LEASE-7")
def test_two_of_six_start_and_the_third_is_next() -> None:
    """Six asks for 40 units on 90: two start, the third is reserved for, the shape is looked at once."""
    made = plan(line(*[ask(40)] * 6))
    assert numbers(made) == [0, 1]
    assert made.reserved is not None
    assert made.reserved.number == 2
    assert [(each.number, each.why) for each in made.passed] == [(2, Why.NO_ROOM)]
    assert not made.more


@pytest.mark.requirement("QUEUE-7")
def test_no_head_of_line_blocking() -> None:
    """Who ends before the large one could start, or fits beside it, goes first; who would delay it not."""
    running = [lease(1, ask(60, bound_ms=60 * SECOND))]
    waiters = line(ask(80), ask(15, bound_ms=30 * SECOND), ask(12, bound_ms=300 * SECOND), ask(10))
    made = plan(waiters, running)
    assert numbers(made) == [1, 3]
    assert made.reserved is not None
    assert (made.reserved.number, made.reserved.start_ms) == (0, 60 * SECOND)
    assert (made.passed[1].number, made.passed[1].why) == (2, Why.WOULD_DELAY)


@pytest.mark.requirement("QUEUE-7")
def test_a_newcomer_does_not_take_a_reservation_over() -> None:
    """Whoever was promised a time keeps it, and is granted first when room comes, whoever joined since."""
    running = [lease(1, ask(60, bound_ms=60 * SECOND))]
    old, new = waiter(0, ask(80, holder="ann")), waiter(1, ask(85, holder="new", priority=Priority.URGENT))
    kept = plan([old], running).reserved
    assert kept is not None
    made = plan([old, new], running, kept=kept, now_ms=SECOND)
    assert made.reserved is not None
    assert (made.reserved.number, made.reserved.start_ms) == (old.number, 60 * SECOND)
    assert numbers(plan([old, new], [], kept=kept, now_ms=60 * SECOND)) == [0]


@pytest.mark.requirement("QUEUE-7")
def test_a_reservation_ends_with_its_waiter_or_its_gate() -> None:
    """When its waiter has left, is away, or is gated, the reservation goes to whoever is first."""
    running = [lease(1, ask(60, bound_ms=60 * SECOND))]
    first, second = waiter(0, ask(80)), waiter(1, ask(70))
    kept = plan([first, second], running).reserved
    assert kept is not None
    assert kept.number == first.number

    def closed(each: Waiter) -> Reason | None:
        return Reason(Code.BLOCKED, "blocked") if each.number == 0 else None

    for made in (
        plan([second], running, kept=kept),
        plan([first, second], running, kept=kept, gate=closed),
        plan([first, second], running, kept=kept, presence=all_held([second])),
    ):
        assert made.reserved is not None
        assert made.reserved.number == second.number


@pytest.mark.requirement("LEASE-7")
def test_a_poller_keeps_its_room_until_its_time() -> None:
    """While it may come back its room is kept; after that others pass it; when it comes back it is first."""
    waiters = line(ask(60), ask(40))
    away = all_held(waiters) | {"tkt-000000": Presence(False, 5 * SECOND, 600 * SECOND)}
    before = plan(waiters, presence=away, now_ms=5 * SECOND - 1)
    assert (numbers(before), before.holding) == ([], (0,))
    after = plan(waiters, presence=away, now_ms=5 * SECOND)
    assert (numbers(after), after.holding) == ([1], ())
    assert numbers(plan(waiters)) == [0]


@pytest.mark.requirement("LEASE-7", "QUEUE-7")
def test_nothing_firm_is_promised_behind_a_poller() -> None:
    """Found by random histories: its lease would have ended by its bound from now, but it starts later.

    Once it has come back and runs, what follows from its bound is a promise.
    """
    waiters = line(ask(60, bound_ms=60 * SECOND), ask(80))
    away = all_held(waiters) | {"tkt-000000": Presence(False, 5 * SECOND, 600 * SECOND)}
    made = plan(waiters, presence=away)
    assert made.holding == (0,)
    assert made.reserved is not None
    assert (made.reserved.number, made.reserved.start_ms, made.reserved.firm) == (1, 60 * SECOND, False)
    back = plan(waiters, now_ms=4 * SECOND, kept=made.reserved)
    assert numbers(back) == [0]
    assert back.reserved is not None
    assert (back.reserved.number, back.reserved.start_ms, back.reserved.firm) == (1, 64 * SECOND, True)


@pytest.mark.requirement("LEASE-7")
def test_nobody_is_granted_whose_caller_is_unknown() -> None:
    """A waiter of whom no presence is known (just recovered) is passed."""
    made = plan(line(ask(10)), presence={})
    assert made == Plan((), (), None, (), False)


@pytest.mark.requirement("LEASE-21", "LEASE-24")
def test_locks_pass_reservations_of_units() -> None:
    """A lock is granted although the line waits for units; each lock is first come, first served."""
    running = [lease(1, ask(60, bound_ms=60 * SECOND)), lease(2, ask(0, named=[("lock:net", 2)]))]
    waiters = line(
        ask(80),
        ask(0, named=[("lock:net", 2)]),
        ask(0, named=[("lock:net", 1)]),
        ask(0, named=[("lock:db", 1)]),
        ask(0, named=[("lock:db", 1)]),
    )
    made = plan(waiters, running, semaphores={"lock:net": 3})
    assert numbers(made) == [3]
    assert [(each.number, each.why) for each in made.passed] == [
        (0, Why.NO_ROOM),
        (1, Why.NO_ROOM),
        (2, Why.BEHIND),
        (4, Why.NO_ROOM),
    ]
    assert made.reserved is not None
    assert made.reserved.number == 0


@pytest.mark.requirement("LEASE-21", "QUEUE-7")
def test_who_waits_for_a_lock_alone_keeps_no_units() -> None:
    """Work that only a lock keeps from starting reserves no room: others start, with bounds or without."""
    running = [lease(1, ask(0, named=[("lock:db", 1)]))]
    made = plan(line(ask(80, named=[("lock:db", 1)]), ask(90)), running)
    assert numbers(made) == [1]
    assert made.reserved is None


@pytest.mark.requirement("LEASE-4")
def test_gates_stand_before_the_line() -> None:
    """A gated waiter neither starts nor reserves; gates of the node hold for a shape, others for a flow."""
    asked: list[int] = []

    def gate(each: Waiter) -> Reason | None:
        asked.append(each.number)
        if each.ask.charge.units == 50:
            return Reason(Code.NOT_QUIET, "System is BUSY; waiting for QUIET")
        if each.ask.holder == "off":
            return Reason(Code.ADDON_DISABLED, "off is disabled")
        return None

    waiters = line(
        *[ask(50, holder=f"h{number}") for number in range(5)], ask(10, holder="off"), ask(10, holder="on")
    )
    made = plan(waiters, gate=gate)
    assert numbers(made) == [6]
    assert made.reserved is None
    assert asked == [0, 5, 6]
    reasons = [each.reason.code for each in made.passed if each.reason is not None]
    assert reasons == [Code.NOT_QUIET, Code.ADDON_DISABLED]


@pytest.mark.requirement("LEASE-4", "LEASE-25")
def test_counts_are_limits_and_not_reservations() -> None:
    """Who has as many leases as allowed, or whose constraint is taken, is passed and reserves nothing."""
    settings = PolicySettings(capacity=CapacitySettings(max_per_holder_per_node=2))
    made = plan(line(*[ask(10)] * 3, ask(10, holder="bob")), settings=settings)
    assert numbers(made) == [0, 3, 1]
    assert [each.why for each in made.passed] == [Why.AT_LIMIT]
    heavy = ask(10, constraints=(Constraint.DISK_WRITE_HEAVY,))
    made = plan(line(heavy, heavy, ask(10)))
    assert numbers(made) == [0, 2]
    assert made.reserved is None


@pytest.mark.requirement("LEASE-4", "QUEUE-7")
def test_the_last_lease_that_a_holder_may_have_is_kept_for_its_reservation() -> None:
    """Only the reserved waiter's own holder is held back by that count; others of the same shape start."""
    settings = PolicySettings(capacity=CapacitySettings(max_per_holder_per_node=2))
    running = [lease(1, ask(60, holder="bob", bound_ms=60 * SECOND)), lease(2, ask(1, holder="ann"))]
    waiters = line(ask(80, holder="ann"), ask(1, holder="ann"), ask(1, holder="cy"))
    made = plan(waiters, running, settings=settings)
    assert numbers(made) == [2]
    assert [each.why for each in made.passed] == [Why.NO_ROOM, Why.WOULD_DELAY]


@pytest.mark.requirement("QUEUE-8", "INV-8")
def test_a_pass_looks_at_a_limited_number() -> None:
    """At the limit the pass ends, and says whether another one is due."""
    settings = PolicySettings(line=LineSettings(looked_at=3))
    made = plan(line(*[ask(10)] * 5), settings=settings)
    assert (numbers(made), made.more) == ([0, 1, 2], True)
    made = plan(line(*[ask(90 - number) for number in range(5)]), [lease(1, ask(90))], settings=settings)
    assert (numbers(made), made.more, len(made.passed)) == ([], False, 3)


@pytest.mark.requirement("QUEUE-7")
def test_a_waiter_that_can_not_fit_now_keeps_nobody_back() -> None:
    """While the node gives less than it needs, the reservation goes to the first that can come to fit."""
    running = [lease(1, ask(30, bound_ms=60 * SECOND))]
    made = plan(line(ask(80), ask(40), ask(10, bound_ms=SECOND)), running, score=50)
    assert numbers(made) == [2]
    assert made.reserved is not None
    assert made.reserved.number == 1


@pytest.mark.requirement("QUEUE-7")
def test_a_kept_promise_with_a_lock_holds_after_units_have_come() -> None:
    """Promised for when the lock's holder ends, it stays promised while only the lock is missing."""
    locked = lease(1, ask(10, bound_ms=60 * SECOND, named=[("lock:db", 1)]))
    units = lease(2, ask(70, bound_ms=30 * SECOND))
    first = waiter(0, ask(80, named=[("lock:db", 1)]))
    kept = plan([first], [locked, units]).reserved
    assert kept is not None
    assert kept.start_ms == 60 * SECOND
    later = waiter(1, ask(80, bound_ms=60 * SECOND))
    made = plan([first, later], [locked], kept=kept, now_ms=30 * SECOND)
    assert numbers(made) == []
    assert made.reserved is not None
    assert made.reserved.start_ms == 60 * SECOND


@pytest.mark.requirement("INV-1")
def test_memory_counts_beside_units() -> None:
    """Grants of one plan are charged together in every dimension."""
    made = plan(line(*[ask(10, memory=6 * GIB, holder=f"h{number}") for number in range(4)]))
    assert numbers(made) == [0, 1]
    assert capacity.usable(quiet(), SETTINGS.capacity).memory_bytes < 18 * GIB
    assert TOTALS.memory_bytes == 16 * GIB


@pytest.mark.requirement("LEASE-7")
def test_an_empty_line_needs_no_plan() -> None:
    """Nobody waits: nothing is done, and an old reservation is gone."""
    kept = Reservation(9, 5, True, 0, {}, 90)
    assert plan([], kept=kept) == Plan((), (), None, (), False)
    assert msgspec.json.encode(plan(line(ask(1))))
