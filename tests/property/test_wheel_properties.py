"""The timing wheel over random histories: what is due comes, in order, in bounded portions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.core.wheel import SLOT_BITS, Wheel

moves = st.lists(
    st.tuples(st.sampled_from(["add", "add", "discard", "due"]), st.integers(0, 5), st.integers(1, 20)),
    max_size=80,
)


@pytest.mark.requirement("QUEUE-8", "INV-8")
@given(moves, st.integers(1, 10))
def test_what_is_due_comes_in_order(history: list[tuple[str, int, int]], limit: int) -> None:
    """Earliest slots first, within a slot by number, each once; what was taken out does not come."""
    wheel, filed = Wheel(), set[tuple[int, int]]()
    for what, slot, number in history:
        due_ms = (slot << SLOT_BITS) + number
        if what == "add":
            wheel.add(due_ms, number)
            filed.add((slot, number))
        elif what == "discard":
            wheel.discard(due_ms, number)
            filed.discard((slot, number))
        else:
            found = wheel.due(due_ms, limit)
            due = sorted(each for each in filed if each[0] <= slot)
            assert found == [each for _, each in due[: len(found)]]
            assert len(found) >= min(limit, len(due))
            assert len(found) < 2 * limit
            filed.difference_update(due[: len(found)])
        next_ms = wheel.next_ms()
        assert not filed or (next_ms is not None and next_ms <= min(filed)[0] << SLOT_BITS)
    assert wheel.due(10 << SLOT_BITS, 1_000) == [number for _, number in sorted(filed)]


@pytest.mark.requirement("QUEUE-8", "PROVE-11")
def test_a_slot_of_many_is_taken_in_portions() -> None:
    """However many are due at once, each call takes the next of them, and none twice."""
    wheel = Wheel()
    for number in range(5_000, 0, -1):
        wheel.add(1_000, number)
        wheel.add(1_000, number)
    taken: list[int] = []
    while found := wheel.due(2_000, 64):
        assert len(found) <= 64
        taken += found
    assert taken == list(range(1, 5_001))
    assert wheel.next_ms() is None
