"""How leased work gives way, rung by rung, and how it comes back (LEASE-14)."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.core import ladder, pause, reservation
from leasehold.core.brake import braked, free, ran_ms, stood_ms
from leasehold.core.ladder import Memory, Move, Need
from leasehold.core.lease import due, release, revoke
from leasehold.core.state import LEASES, Change, Outcome, Stamp, State
from leasehold.model.errors import Conflict
from leasehold.model.lease import (
    Brake,
    BrakeLevel,
    Constraint,
    Flag,
    Lease,
    LeaseState,
    OnBusy,
    Usage,
)
from leasehold.model.node import NodeView
from leasehold.model.node import State as NodeState
from leasehold.model.settings import PolicySettings
from leasehold.testing.waiting import NODE, TOTALS, ask, lease

SETTINGS = PolicySettings()
SECOND = 1_000
NEEDS_NOTHING = Need(0, 0)


def view(state: NodeState, now_ms: int = 0, *, short_of_memory: bool = False) -> NodeView:
    score = {"QUIET": 100, "NORMAL": 60, "BUSY": 40, "PANIC": 10, "UNKNOWN": None}[state]
    return NodeView(
        NODE, now_ms, state, score, 0, TOTALS, reasons=("others compile",), short_of_memory=short_of_memory
    )


def work(number: int, on_busy: OnBusy = OnBusy.KEEP, *constraints: Constraint, units: int = 10) -> Lease:
    of = msgspec.structs.replace(ask(units, constraints=constraints), on_busy=on_busy)
    return lease(number, of)


def moves(
    leases: list[Lease],
    state: NodeState,
    now_ms: int = 0,
    memory: Memory | None = None,
    *,
    short_of_memory: bool = False,
    needs: dict[str, Need] | None = None,
) -> list[tuple[Move, int]]:
    """What is to be done, each with the number of its lease."""
    seen = ladder.seen(memory or Memory(), view(state, now_ms), now_ms)
    known = needs or {}
    found = ladder.steps(
        leases,
        view(state, now_ms, short_of_memory=short_of_memory),
        seen,
        now_ms,
        lambda each: known.get(each.lease_id, NEEDS_NOTHING),
    )
    return [(step.move, int(step.lease_id.partition("-")[2])) for step in found]


def frozen(of: Lease, since_ms: int = 0, *, by: str = "") -> Lease:
    return braked(of, Brake(BrakeLevel.FROZEN, since_ms, 0, "why", by))


@pytest.mark.requirement("LEASE-14")
@pytest.mark.parametrize(
    ("on_busy", "busy", "panic"),
    [
        (OnBusy.KEEP, None, Move.FREEZE),
        (OnBusy.THROTTLE, Move.THROTTLE, Move.FREEZE),
        (OnBusy.PAUSE, Move.FREEZE, Move.FREEZE),
        (OnBusy.STOP, Move.REVOKE, Move.REVOKE),
    ],
)
def test_each_rung(on_busy: OnBusy, busy: Move | None, panic: Move) -> None:
    """What each on_busy does at BUSY and at PANIC, and that nothing of it happens otherwise."""
    leases = [work(1, on_busy)]
    assert moves(leases, "BUSY") == ([] if busy is None else [(busy, 1)])
    assert moves(leases, "PANIC") == [(panic, 1)]
    for state in ("QUIET", "NORMAL", "UNKNOWN"):
        assert moves(leases, state) == []  # type: ignore[arg-type]


@pytest.mark.requirement("LEASE-14")
def test_work_with_connections_is_throttled_and_never_frozen() -> None:
    """`network_heavy` loses its connections by a freeze, so it gets a quota instead, at PANIC too."""
    for on_busy in (OnBusy.PAUSE, OnBusy.KEEP, OnBusy.THROTTLE):
        assert moves([work(1, on_busy, Constraint.NETWORK_HEAVY)], "PANIC") == [(Move.THROTTLE, 1)]
    assert moves([work(1, OnBusy.PAUSE, Constraint.NETWORK_HEAVY)], "BUSY") == [(Move.THROTTLE, 1)]


def test_what_has_given_way_is_left_as_it_is() -> None:
    """Nothing is frozen twice, and nothing steps up while the machine is busy."""
    still = frozen(work(1, OnBusy.PAUSE))
    slow = braked(work(2, OnBusy.THROTTLE), Brake(BrakeLevel.THROTTLED, 0, 0, "why"))
    assert moves([still, slow], "BUSY", 100 * SECOND) == []
    assert moves([still, slow], "PANIC", 100 * SECOND) == [(Move.FREEZE, 2)]


def test_who_is_not_concerned() -> None:
    """Locks alone press nothing; an offer has started nothing; what is being taken back ends by itself."""
    lock = lease(1, ask(0, named=[("lock:db", 1)]))
    offer = msgspec.structs.replace(work(2, OnBusy.PAUSE), state=LeaseState.OFFERED)
    going = msgspec.structs.replace(work(3, OnBusy.STOP), state=LeaseState.REVOKING)
    assert moves([lock, offer, going], "PANIC") == []


@pytest.mark.requirement("LEASE-14")
def test_thaw_waits_for_calm_and_for_a_minute() -> None:
    """Ten seconds of NORMAL and sixty since the freeze began, whichever comes last."""
    leases = [frozen(work(1, OnBusy.PAUSE))]
    calm = Memory(calm_since_ms=55 * SECOND)
    assert moves(leases, "NORMAL", 59_999, Memory(calm_since_ms=0)) == []
    assert moves(leases, "NORMAL", 60_000, Memory(calm_since_ms=0)) == [(Move.THAW, 1)]
    assert moves(leases, "NORMAL", 64_999, calm) == []
    assert moves(leases, "QUIET", 65_000, calm) == [(Move.THAW, 1)]
    assert moves(leases, "UNKNOWN", 65_000, calm) == []


@pytest.mark.requirement("LEASE-14")
def test_the_oldest_goes_on_first_one_each_two_seconds() -> None:
    """Frozen or throttled, in the order in which they gave way."""
    slow = braked(work(2, OnBusy.THROTTLE), Brake(BrakeLevel.THROTTLED, 8, 0, "why"))
    leases = [frozen(work(3), 7), slow, frozen(work(1), 9)]
    memory, now_ms, order = Memory(calm_since_ms=0), 70 * SECOND, []
    while leases:
        found = moves(leases, "NORMAL", now_ms, memory)
        if found:
            order.append((now_ms, *found[0]))
            assert len(found) == 1
            leases = [each for each in leases if each.token != found[0][1]]
            memory = msgspec.structs.replace(memory, went_on_ms=now_ms)
        now_ms += 500
    assert order == [(70_000, Move.THAW, 3), (72_000, Move.LOOSEN, 2), (74_000, Move.THAW, 1)]


@pytest.mark.requirement("LEASE-14")
def test_what_a_person_paused_never_goes_on_by_itself() -> None:
    """Neither after calm nor when the server stops."""
    leases = [frozen(work(1, OnBusy.PAUSE), by="user:ann")]
    assert moves(leases, "QUIET", 29 * 60 * SECOND, Memory(calm_since_ms=0)) == []
    assert moves(leases, "QUIET", 10**9, Memory(calm_since_ms=0)) == [(Move.GIVE_BACK, 1)]
    assert ladder.farewell(leases) == []
    assert [step.move for step in ladder.farewell([frozen(work(2))])] == [Move.THAW]


@pytest.mark.requirement("LEASE-14")
def test_for_want_of_memory_the_least_work_is_lost() -> None:
    """One lease, then the next five seconds later; what holds nearly nothing is not worth it."""
    leases = [work(1), work(2), work(3)]
    needs = {
        "lease-000001": Need(90 * SECOND, 8 << 30),
        "lease-000002": Need(30 * SECOND, 4 << 30),
        "lease-000003": Need(1 * SECOND, 1 << 20),
    }
    first = moves(leases, "PANIC", 0, short_of_memory=True, needs=needs)
    assert first == [(Move.FREEZE, 1), (Move.FREEZE, 3), (Move.REVOKE, 2)]
    memory = Memory(revoked_ms=0)
    assert (Move.REVOKE, 2) not in moves(leases, "PANIC", 4_999, memory, short_of_memory=True, needs=needs)
    assert (Move.REVOKE, 2) in moves(leases, "PANIC", 5_000, memory, short_of_memory=True, needs=needs)
    assert all(move is Move.FREEZE for move, _ in moves(leases, "PANIC", 0, needs=needs))


@pytest.mark.requirement("LEASE-14")
def test_nobody_else_loses_work_before_what_was_taken_back_could_show() -> None:
    """While the one before is ending, for ten seconds at most; and by no measurement from before that."""
    short = view("PANIC", 4_999, short_of_memory=True)
    memory, rest = Memory(revoked_ms=0), work(2)

    def takes(of: NodeView, now_ms: int, *leases: Lease) -> bool:
        found = ladder.steps(leases, of, memory, now_ms, lambda _: NEEDS_NOTHING)
        return Move.REVOKE in {step.move for step in found}

    assert not takes(short, 6_999, rest)
    assert takes(view("PANIC", 5_000, short_of_memory=True), 6_999, rest)
    ending = msgspec.structs.replace(work(1), state=LeaseState.REVOKING)
    assert not takes(view("PANIC", 9_999, short_of_memory=True), 9_999, ending, rest)
    assert takes(view("PANIC", 10_000, short_of_memory=True), 10_000, ending, rest)


def stamped(now_ms: int) -> Stamp:
    return Stamp(now_ms, now_ms, 1, 7)


def state_with(*leases: Lease) -> State:
    state = State(NODE)
    for each in leases:
        state.apply(Change(LEASES, each.lease_id, each))
    return state


def applied(state: State, outcome: Outcome) -> Lease:
    for change in outcome.changes:
        state.apply(change)
    found: Lease = outcome.changes[-1].record
    return found


@pytest.mark.requirement("LEASE-14")
def test_time_stands_still_with_the_work() -> None:
    """Runtime, expected end and time to live: a freeze of 40 s is no part of any of them."""
    of = msgspec.structs.replace(ask(10, bound_ms=100 * SECOND), on_busy=OnBusy.PAUSE)
    state = state_with(lease(1, of))
    step = ladder.Step(Move.FREEZE, "lease-000001", "System is BUSY")
    still = applied(state, ladder.take(state, stamped(30 * SECOND), [step], SETTINGS))
    assert (still.flags, state.braked) == ((Flag.FROZEN,), {"lease-000001"})
    assert (ran_ms(still, 70 * SECOND), stood_ms(still, 70 * SECOND)) == (30 * SECOND, 40 * SECOND)
    frozen_end = reservation.running(still, 50 * SECOND)
    assert (frozen_end.ends_ms, frozen_end.expected_ms) == (None, 50 * SECOND + 60 * SECOND + 70 * SECOND)
    thaw = ladder.take(
        state, stamped(70 * SECOND), [ladder.Step(Move.THAW, "lease-000001", "calm")], SETTINGS
    )
    assert thaw.deadlines == [("lease-000001", 70 * SECOND + SETTINGS.lease.ttl_ms)]
    assert [(event.kind, event.details["stood_ms"]) for event in thaw.events] == [("LeaseThawed", 40_000)]
    again = applied(state, thaw)
    assert (again.flags, state.braked) == ((), set())
    assert reservation.running(again, 80 * SECOND).ends_ms == 140 * SECOND
    ended = release(state, again, stamped(90 * SECOND), SETTINGS, Usage(), "")
    assert ended.events[0].details["ran_ms"] == 50 * SECOND


def test_a_frozen_lease_does_not_expire_while_its_work_lives() -> None:
    """Nobody can renew while standing still; without any process left it ends as it should."""
    still = frozen(work(1))
    outcome = due(state_with(still), still, stamped(99), SETTINGS, work_lives=True)
    assert (outcome.changes, outcome.deadlines) == ([], [("lease-000001", 99 + SETTINGS.lease.ttl_ms)])
    assert due(state_with(still), still, stamped(99), SETTINGS, work_lives=False).changes[0].finished


@pytest.mark.requirement("LEASE-13")
def test_what_is_taken_back_may_go_on_to_end() -> None:
    """A frozen process can't act on SIGTERM: a revocation lets go of the brake."""
    still = frozen(work(1), by="user:ann")
    done = revoke(state_with(still), still, stamped(9), SETTINGS, by="ann", note="", grace_ms=1)
    assert (done.answer.brake, done.answer.flags, done.answer.stood_ms) == (None, (), 9)


@pytest.mark.requirement("LEASE-9", "LEASE-14")
def test_a_person_pauses_and_resumes() -> None:
    """At once, with events that name the person; twice is no error; an offer can't be paused."""
    state = state_with(work(1))
    paused = pause.pause(state.leases["lease-000001"], stamped(10), "user:ann", "a call")
    still = applied(state, paused)
    assert still.flags == (Flag.FROZEN, Flag.PAUSED)
    assert still.brake is not None
    assert still.brake.why == "paused by user:ann: a call"
    assert [(event.kind, event.actor) for event in paused.events] == [("LeaseFrozen", "user:ann")]
    assert pause.pause(still, stamped(11), "user:bob", "").changes == []
    resumed = pause.resume(state, still, stamped(20), SETTINGS, "user:ann", "")
    assert [event.kind for event in resumed.events] == ["LeaseThawed"]
    goes_on = applied(state, resumed)
    assert (goes_on.flags, goes_on.stood_ms) == ((), 10)
    assert pause.resume(state, goes_on, stamped(21), SETTINGS, "user:ann", "").changes == []
    offer = msgspec.structs.replace(work(2), state=LeaseState.OFFERED)
    with pytest.raises(Conflict, match="only ACTIVE work can be paused"):
        pause.pause(offer, stamped(1), "user:ann", "")


@pytest.mark.requirement("LEASE-14")
def test_who_was_resumed_while_busy_is_spared_until_it_is_calm() -> None:
    """A person's word is not undone by the next look; after a calm the lease is like the others again."""
    state = state_with(frozen(work(1, OnBusy.PAUSE)))
    state.view = view("BUSY")
    outcome = pause.resume(state, state.leases["lease-000001"], stamped(5), SETTINGS, "user:ann", "")
    spared = applied(state, outcome)
    assert spared.flags == (Flag.RESUMED,)
    assert moves([spared], "BUSY", 10) == moves([spared], "PANIC", 10) == []
    assert moves([spared], "NORMAL", 10_010, Memory(calm_since_ms=10)) == [(Move.UNSPARE, 1)]
    step = ladder.Step(Move.UNSPARE, "lease-000001", "")
    assert applied(state, ladder.take(state, stamped(11_000), [step], SETTINGS)).flags == ()
    assert state.braked == set()


def test_a_pause_of_what_stands_already_counts_from_the_first_freeze() -> None:
    """The time that it stood before is not lost when a person takes the freeze over."""
    still = frozen(work(1), 100)
    paused = pause.pause(still, stamped(500), "user:ann", "").answer
    assert paused.brake.since_ms == 100
    assert (paused.brake.paused_ms, stood_ms(paused, 600), free(paused, 600).stood_ms) == (500, 500, 500)


def test_an_old_measurement_decides_nothing() -> None:
    """Half a minute without one is UNKNOWN: what runs runs, what stands stands."""
    leases = [work(1, OnBusy.PAUSE), frozen(work(2))]
    old = view("BUSY", 0)
    memory = ladder.seen(Memory(calm_since_ms=0), old, 31 * SECOND)
    assert memory.calm_since_ms is None
    assert ladder.steps(leases, old, memory, 31 * SECOND, lambda each: NEEDS_NOTHING) == []
