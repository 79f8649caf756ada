"""Numbers and pairs in blocks: whatever comes and goes, they read as a sorted list."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.core import rising
from leasehold.core.rising import Keys, Numbers

moves = st.lists(st.tuples(st.integers(-5, 20), st.integers(0, 60)), max_size=200)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of four, so that they are split and dropped all the time."""
    monkeypatch.setattr(rising, "BLOCK", 4)


def assert_blocks(blocks: list[list[int]], firsts: list[int]) -> None:
    """The bounds of blocks are bounds, and none is empty or too large."""
    assert len(blocks) == len(firsts)
    assert all(0 < len(block) <= 8 for block in blocks) or blocks == [[]]
    for at, (first, following) in enumerate(pairwise(firsts)):
        assert blocks[at][-1] < following
        assert at == 0 or first <= blocks[at][0]


@pytest.mark.requirement("QUEUE-8")
@given(moves)
def test_numbers_read_as_a_sorted_list(history: list[tuple[int, int]]) -> None:
    """Each move takes a number out where it is there, and adds it where it is not."""
    numbers, model = Numbers(), set[int]()
    for _, number in history:
        change: Callable[[int], None] = numbers.remove if number in model else numbers.add
        change(number)
        model ^= {number}
        assert list(numbers) == sorted(model)
        assert all((other in numbers) == (other in model) for other in range(-1, 62))
        assert bool(numbers) == bool(model)
        assert not model or numbers.blocks[0][0] == min(model)
        assert_blocks([list(block) for block in numbers.blocks], numbers._firsts)


@pytest.mark.requirement("QUEUE-6", "QUEUE-8")
@given(moves)
def test_keys_read_by_due_time_and_number(history: list[tuple[int, int]]) -> None:
    """The same for pairs; how many stand before each is counted right."""
    keys, model = Keys(), dict[int, int]()
    for due_ms, number in history:
        if number in model:
            keys.remove(model.pop(number), number)
        else:
            keys.add(due_ms, number)
            model[number] = due_ms
        pairs = sorted((due, number) for number, due in model.items())
        assert list(keys) == [number for _, number in pairs]
        assert bool(keys) == bool(model)
        for place, pair in enumerate(pairs):
            assert keys.before(*pair) == place
        assert keys.before(due_ms, -1) == sum(due < due_ms for due, _ in pairs)
        assert [len(block) for block in keys._dues] == [len(block) for block in keys._numbers]
        assert len(keys._firsts) == len(keys._numbers)
