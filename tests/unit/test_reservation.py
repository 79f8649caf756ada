"""When the first waiter that doesn't fit will fit, and who may go before it."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.core import capacity, reservation
from leasehold.core.reservation import Reservation, Room
from leasehold.model.lease import Ask, Constraint, Lease
from leasehold.model.settings import CapacitySettings
from leasehold.testing.waiting import GIB, ask, book_of, lease, quiet

SETTINGS = CapacitySettings()
ROOM = Room.of(quiet(), {}, SETTINGS)
SECOND = 1_000


def earliest(
    of: Ask, leases: list[Lease], now_ms: int = 0, *, kept: Reservation | None = None, room: Room = ROOM
) -> Reservation | None:
    running = [reservation.running(each, now_ms) for each in leases]
    return reservation.earliest(1, of, book_of(leases), room, running, now_ms, kept=kept)


@pytest.mark.requirement("QUEUE-7")
@pytest.mark.parametrize(
    ("granted_ms", "bound_ms", "now_ms", "ends_ms"),
    [
        (0, 10_000, 5_000, 10_000),
        (0, 10_000, 10_000, 70_000),
        (0, 10_000, 600_000, 660_000),
        (0, 10_000, 6_000_000, 6_600_000),
    ],
)
def test_when_a_bounded_lease_ends(granted_ms: int, bound_ms: int, now_ms: int, ends_ms: int) -> None:
    """By its bound; past it, in max(60 s, 10 % of its age)."""
    found = reservation.running(lease(1, ask(bound_ms=bound_ms), granted_ms=granted_ms), now_ms)
    assert (found.ends_ms, found.expected_ms) == (ends_ms, ends_ms)


def test_when_an_unbounded_lease_is_expected_to_end() -> None:
    """Nobody promised an end; what was expected is a guess, drawn out like an overrun bound."""
    found = reservation.running(lease(1, ask(expected_ms=30_000)), 10_000)
    assert (found.ends_ms, found.expected_ms) == (None, 30_000)
    assert reservation.running(lease(1, ask(expected_ms=30_000)), 90_000).expected_ms == 150_000


@pytest.mark.requirement("QUEUE-7")
def test_the_earliest_time_is_when_enough_has_ended() -> None:
    """50 units beside 40 + 40 + 10 fit once one 40 has ended: the one whose bound comes first."""
    leases = [
        lease(1, ask(40, bound_ms=90 * SECOND)),
        lease(2, ask(40, bound_ms=30 * SECOND)),
        lease(3, ask(10, bound_ms=10 * SECOND)),
    ]
    found = earliest(ask(50), leases)
    assert found is not None
    assert (found.start_ms, found.firm, found.note) == (30 * SECOND, True, "")
    assert found.spare["units"] == 0
    small = earliest(ask(45), leases)
    assert small is not None
    assert small.spare["units"] == 5


@pytest.mark.requirement("QUEUE-7")
def test_what_ends_at_one_instant_ends_together() -> None:
    """Room that comes at the reserved instant itself is there for others too."""
    leases = [lease(number, ask(40, bound_ms=30 * SECOND)) for number in range(2)]
    found = earliest(ask(50), leases)
    assert found is not None
    assert (found.start_ms, found.spare["units"]) == (30 * SECOND, 40)


@pytest.mark.requirement("QUEUE-7")
def test_leases_without_a_bound_are_not_counted_on() -> None:
    """Where bounded ones suffice the time is firm; where an unbounded one must end it is a guess."""
    leases = [lease(1, ask(40, expected_ms=5 * SECOND)), lease(2, ask(40, bound_ms=30 * SECOND))]
    firm, guess = earliest(ask(50), leases), earliest(ask(60), leases)
    assert firm is not None
    assert guess is not None
    assert (firm.start_ms, firm.firm) == (30 * SECOND, True)
    assert (guess.start_ms, guess.firm) == (30 * SECOND, False)


@pytest.mark.requirement("QUEUE-7")
def test_nothing_is_reserved_that_can_not_come() -> None:
    """An ask above what the node has to give now gets no time, whatever ends."""
    less = msgspec.structs.replace(ROOM, usable=capacity.usable(quiet(50), SETTINGS))
    assert earliest(ask(50), [lease(1, ask(40, bound_ms=1))], room=less) is None


@pytest.mark.requirement("QUEUE-7")
def test_who_passed_does_not_push_the_guess_on() -> None:
    """With no bounds at all, leases granted after the waiter stood here do not put its guessed time off."""
    old, new = (
        lease(1, ask(60, expected_ms=10 * SECOND)),
        lease(2, ask(30, expected_ms=900 * SECOND), granted_ms=1),
    )
    kept = earliest(ask(90), [old])
    assert kept is not None
    found = earliest(ask(90), [old, new], 2, kept=kept)
    assert found is not None
    assert (found.start_ms, found.since_ms, found.firm) == (10 * SECOND, 0, False)
    # Once the old one has ended only those who passed are waited for: nobody passes any more.
    alone = earliest(ask(90), [new], 20 * SECOND, kept=found)
    assert alone is not None
    assert alone.start_ms == 20 * SECOND
    assert not reservation.may_start(ask(1, expected_ms=1), alone, 20 * SECOND)
    # For another waiter time begins afresh, and everybody who runs is waited for.
    other = reservation.earliest(
        2, ask(90), book_of([new]), ROOM, [reservation.running(new, 3)], 3, kept=found
    )
    assert other is not None
    assert (other.start_ms, other.since_ms) == (900 * SECOND + 1, 3)


@pytest.mark.requirement("QUEUE-7")
def test_who_may_go_before_a_firm_time() -> None:
    """With a bound no later, or beside it; what is only expected is no bound."""
    leases = [lease(1, ask(60, bound_ms=60 * SECOND))]
    found = earliest(ask(80), leases)
    assert found is not None
    assert reservation.may_start(ask(30, bound_ms=60 * SECOND), found, 0)
    assert not reservation.may_start(ask(30, bound_ms=60 * SECOND + 1), found, 0)
    assert not reservation.may_start(ask(30, bound_ms=60 * SECOND), found, 1)
    assert not reservation.may_start(ask(30, expected_ms=1), found, 0)
    assert reservation.may_start(ask(10), found, 0)
    assert reservation.may_start(ask(0, named=[("lock:db", 1)]), found, 0)


@pytest.mark.requirement("QUEUE-7")
def test_what_goes_beside_it_is_used_up() -> None:
    """Room beside the reservation is given once; who ends in time uses none of it."""
    found = earliest(ask(80), [lease(1, ask(60, bound_ms=60 * SECOND))])
    assert found is not None
    found = reservation.after(ask(30, bound_ms=SECOND), found, 0)
    assert found.spare["units"] == 10
    found = reservation.after(ask(6), found, 0)
    assert not reservation.may_start(ask(5), found, 0)
    assert reservation.may_start(ask(4), found, 0)


@pytest.mark.requirement("QUEUE-7")
def test_before_a_guess_what_is_expected_counts() -> None:
    """Where nobody promised anything, an expected duration is as good as a bound."""
    found = earliest(ask(80), [lease(1, ask(60, expected_ms=60 * SECOND))])
    assert found is not None
    assert reservation.may_start(ask(30, expected_ms=60 * SECOND), found, 0)
    assert not reservation.may_start(ask(30, expected_ms=60 * SECOND + 1), found, 0)


@pytest.mark.requirement("QUEUE-7", "LEASE-25")
def test_locks_devices_and_counts_are_kept_too() -> None:
    """The last lock, device or place of a constraint that the waiter needs is not given away beside it."""
    wanted = ask(
        80,
        memory=15 * GIB,
        named=[("device:gpu:0", 1), ("lock:db", 1)],
        constraints=(Constraint.DISK_WRITE_HEAVY,),
    )
    found = earliest(wanted, [lease(1, ask(60, bound_ms=60 * SECOND))])
    assert found is not None
    for other in (
        ask(1, named=[("device:gpu:0", 1)]),
        ask(0, named=[("lock:db", 1)]),
        ask(1, memory=GIB),
        ask(1, constraints=(Constraint.DISK_WRITE_HEAVY,)),
    ):
        assert not reservation.may_start(other, found, 0)
        assert reservation.may_start(msgspec.structs.replace(other, bound_ms=SECOND), found, 0)
    for free in (ask(1, named=[("device:gpu:1", 1)]), ask(0, named=[("lock:x", 1)]), ask(10, memory=1)):
        assert reservation.may_start(free, found, 0)


@pytest.mark.requirement("QUEUE-7")
def test_a_broken_promise_says_what_broke_it() -> None:
    """A lease past its bound, or a node that has less to give: the note names which."""
    running = lease(1, ask(60, bound_ms=60 * SECOND))
    kept = earliest(ask(80), [running])
    assert kept is not None
    late = earliest(ask(80), [running], 61 * SECOND, kept=kept)
    assert late is not None
    assert late.note == "lease-000001 of ann runs longer than its bound of 60 s"
    assert late.start_ms == 121 * SECOND
    # The note stays for as long as the new time is kept.
    again = earliest(ask(80), [running], 62 * SECOND, kept=msgspec.structs.replace(late, start_ms=10**9))
    assert again is not None
    assert again.note == late.note

    other = lease(2, ask(30, bound_ms=90 * SECOND))
    kept = earliest(ask(42), [running, other])
    assert kept is not None
    less = msgspec.structs.replace(ROOM, usable=capacity.usable(quiet(50), SETTINGS))
    shrunk = earliest(ask(42), [running, other], SECOND, kept=kept, room=less)
    assert shrunk is not None
    assert (shrunk.start_ms, shrunk.note) == (90 * SECOND, "usable units fell from 90 to 42")
    grown = lease(3, ask(1, memory=15 * GIB, bound_ms=95 * SECOND))
    kept = earliest(ask(42), [running, other])
    crowded = earliest(ask(42, memory=8 * GIB), [running, other, grown], SECOND, kept=kept)
    assert crowded is not None
    assert crowded.note == "the node has less to give than when the time was promised"
