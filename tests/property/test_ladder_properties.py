"""Properties of the ladder under any course of states (LEASE-14)."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.core import ladder, quiet
from leasehold.core.ladder import Memory, Move, Need, Step
from leasehold.core.state import LEASES, Change, Stamp, State
from leasehold.model.lease import Constraint, Lease, OnBusy
from leasehold.model.node import NodeView
from leasehold.model.quiet import PRESETS, QuietState, Reading
from leasehold.model.settings import PolicySettings
from leasehold.testing.waiting import NODE, TOTALS, ask, lease

SETTINGS = PolicySettings()
LOOK_MS = 500
DOWN = frozenset({Move.FREEZE, Move.THROTTLE, Move.REVOKE})
UP = frozenset({Move.THAW, Move.LOOSEN})

spans = st.lists(
    st.tuples(st.sampled_from(("QUIET", "NORMAL", "BUSY", "PANIC", "UNKNOWN")), st.integers(1, 60)),
    min_size=1,
    max_size=12,
)
"""States of the node, each with how many half seconds it lasts."""

kinds = st.lists(st.tuples(st.sampled_from(list(OnBusy)), st.booleans()), min_size=1, max_size=6)
"""Leases: on_busy, and whether they are network_heavy."""


class Course:
    """A node with leases, looked at each half second, its decisions applied to a real state."""

    def __init__(self, kinds: list[tuple[OnBusy, bool]]) -> None:
        self.state = State(NODE)
        self.memory = Memory()
        self.now_ms = 0
        self.taken: list[tuple[int, Step]] = []
        for number, (on_busy, network) in enumerate(kinds, 1):
            of = msgspec.structs.replace(
                ask(10, constraints=(Constraint.NETWORK_HEAVY,) if network else ()), on_busy=on_busy
            )
            self.state.apply(Change(LEASES, f"lease-{number:06}", lease(number, of)))

    def look(self, node_state: str, *, short_of_memory: bool = False) -> list[Step]:
        score = None if node_state == "UNKNOWN" else 50
        view = NodeView(
            NODE,
            self.now_ms,
            node_state,  # type: ignore[arg-type]
            score,
            0,
            TOTALS,
            short_of_memory=short_of_memory,
        )
        self.memory = ladder.seen(self.memory, view, self.now_ms)
        found = ladder.steps(
            list(self.state.leases.values()), view, self.memory, self.now_ms, lambda each: Need(each.token, 1)
        )
        for change in ladder.take(self.state, Stamp(self.now_ms, self.now_ms, 1, 1), found, SETTINGS).changes:
            self.state.apply(change)
        self.memory = ladder.after(self.memory, found, self.now_ms)
        self.taken.extend((self.now_ms, step) for step in found)
        self.now_ms += LOOK_MS
        return found

    def frozen(self) -> list[Lease]:
        return [each for each in self.state.leases.values() if each.is_frozen]


@pytest.mark.requirement("LEASE-14", "PROVE-2")
@given(spans, kinds, st.booleans())
def test_nothing_goes_up_and_down_at_once(
    course: list[tuple[str, int]], kinds: list[tuple[OnBusy, bool]], short: bool
) -> None:
    """In no look does one lease step down and another up; at most one goes on in two seconds."""
    seen = Course(kinds)
    for node_state, looks in course:
        for _ in range(looks):
            moves = {step.move for step in seen.look(node_state, short_of_memory=short)}
            assert not (moves & DOWN and moves & UP)
    ups = [at_ms for at_ms, step in seen.taken if step.move in UP]
    assert all(later - earlier >= ladder.EACH_MS for earlier, later in pairwise(ups))
    for at_ms, step in seen.taken:
        connected = Constraint.NETWORK_HEAVY in seen.state.leases[step.lease_id].ask.constraints
        assert not (connected and step.move is Move.FREEZE), at_ms


@pytest.mark.requirement("LEASE-14", "PROVE-2")
@given(spans, kinds)
def test_a_lease_is_frozen_at_most_once_a_minute(
    course: list[tuple[str, int]], kinds: list[tuple[OnBusy, bool]]
) -> None:
    """However the states change, two freezes of one lease are at least sixty seconds apart."""
    seen = Course(kinds)
    for node_state, looks in course:
        for _ in range(looks):
            seen.look(node_state)
    last: dict[str, int] = {}
    for at_ms, step in seen.taken:
        if step.move is Move.FREEZE:
            assert at_ms - last.get(step.lease_id, -(10**9)) >= ladder.STANDS_MS
            last[step.lease_id] = at_ms


@pytest.mark.requirement("LEASE-14", "PROVE-2")
@given(spans, kinds)
def test_in_the_end_everything_goes_on_oldest_first(
    course: list[tuple[str, int]], kinds: list[tuple[OnBusy, bool]]
) -> None:
    """Sixty seconds of calm and two for each lease bring all of them back, in the order of the freezes."""
    seen = Course(kinds)
    for node_state, looks in course:
        for _ in range(looks):
            seen.look(node_state)
    waiting = sorted(
        (each.brake.since_ms, each.token) for each in seen.state.leases.values() if each.brake is not None
    )
    began = len(seen.taken)
    for _ in range((60_000 + 2_000 * len(kinds)) // LOOK_MS + 2):
        seen.look("NORMAL")
    assert not seen.state.braked
    went_on = [int(step.lease_id[-6:]) for _, step in seen.taken[began:] if step.move in UP]
    assert went_on == [token for _, token in waiting]


@pytest.mark.requirement("LEASE-14", "SENSE-9", "PROVE-2")
@pytest.mark.parametrize("preset", ["server", "desktop"])
@given(st.integers(2, 200), st.integers(60, 100))
def test_a_load_of_any_length_is_followed_by_a_thaw_within_90_s(
    preset: str, load_ticks: int, load_pct: int
) -> None:
    """From the measurements to the ladder: whatever the load froze runs again 90 s after its end."""
    course, settings, memory = Course([(OnBusy.PAUSE, False)]), PRESETS[preset], quiet.Memory()
    ended_ms = 0
    for tick in range(load_ticks + 10 + 46):
        at_ms = tick * 2_000
        loaded = 10 <= tick < load_ticks + 10
        ended_ms = at_ms if loaded else ended_ms
        memory, found = quiet.fold(settings, memory, _reading(at_ms, load_pct if loaded else 0), at_ms)
        while course.now_ms <= at_ms:
            course.look(found.state.value)
        assert found.state is not QuietState.UNKNOWN
    assert not course.frozen(), f"still frozen {course.now_ms - ended_ms} ms after the end"


def _reading(at_ms: int, foreign_pct: int) -> Reading:
    """Two cores of which others use a share, with as many of their tasks runnable."""
    return Reading(
        at_ms=at_ms,
        span_ms=2_000,
        cores=2,
        cpu_total_ms=4_000,
        cpu_busy_ms=40 * foreign_pct,
        cpu_foreign_ms=40 * foreign_pct,
        runnable_foreign_milli=30 * foreign_pct,
        psi_cpu_bp=50 * foreign_pct,
        memory_bp=2_000,
        memory_foreign_bp=2_000,
    )
