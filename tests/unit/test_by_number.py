"""Records by number: a mapping in pages, none of which is ever large."""

from __future__ import annotations

import random

import pytest

from leasehold.core.by_number import PAGE_BITS, ByNumber


@pytest.mark.requirement("QUEUE-8", "PROVE-11")
def test_it_maps_numbers_as_a_dict_does() -> None:
    """Add, replace, look up, take out, count and walk, over several pages; empty ones are gone."""
    dice = random.Random(4)
    records: ByNumber[str] = ByNumber()
    model: dict[int, str] = {}
    numbers = [dice.randrange(5 << PAGE_BITS) for _ in range(300)]
    for step in range(3_000):
        number = dice.choice(numbers)
        if dice.random() < 0.5:
            records[number] = model[number] = str(step)
        elif dice.random() < 0.5:
            assert records.pop(number) == model.pop(number, None)
        elif number in model:
            del records[number], model[number]
        assert (number in records) == (number in model)
        assert records.get(number) == model.get(number)
        assert len(records) == len(model)
    assert bool(records) == bool(model)
    assert dict(records.items()) == model
    assert sorted(records) == sorted(model)
    assert sorted(records.values()) == sorted(model.values())
    pages = [number >> PAGE_BITS for number in records]
    assert pages == sorted(pages)
    for number in list(model):
        assert records[number] == model[number]
        del records[number]
    assert not records.pages
    records[1] = "one"
    records.clear()
    assert not records


def test_what_is_not_there_is_a_key_error() -> None:
    """As of a dict, whether its page is there or not; what is no number is not in it."""
    records: ByNumber[str] = ByNumber()
    records[1] = "one"
    for number in (2, 1 << PAGE_BITS):
        with pytest.raises(KeyError):
            records[number]
        with pytest.raises(KeyError):
            del records[number]
    assert "one" not in records
