"""Records by number: a mapping whose parts grow one after the other."""

from __future__ import annotations

import pytest

from leasehold.core.by_number import BLOCK_BITS, SHARD_MASK, ByNumber


def test_it_maps_numbers() -> None:
    """What a dict does: add, replace, look up, take out, count, walk."""
    records: ByNumber[str] = ByNumber()
    assert not records
    numbers = [at << BLOCK_BITS - 1 for at in range(5 * SHARD_MASK)]
    for number in numbers:
        records[number] = str(number)
    records[numbers[0]] = "first"
    assert len(records) == len(numbers)
    assert records
    assert sorted(records) == numbers
    assert min(records.items()) == (0, "first")
    assert sorted(records.values()) == sorted(["first", *map(str, numbers[1:])])
    assert records.get(numbers[0]) == records[numbers[0]] == "first"
    assert numbers[1] in records
    assert records.pop(numbers[1]) == str(numbers[1])
    assert records.pop(numbers[1]) is None
    assert numbers[1] not in records
    del records[numbers[2]]
    assert records.get(numbers[2]) is None
    with pytest.raises(KeyError):
        records[numbers[2]]


@pytest.mark.requirement("QUEUE-8", "PROVE-11")
def test_no_two_parts_grow_at_once() -> None:
    """Numbers that follow each other fill one part after the other, so their growth is spread."""
    records: ByNumber[None] = ByNumber()
    for number in range(1 << BLOCK_BITS):
        records[number] = None
    assert sum(map(bool, records.shards)) == 1
    records[1 << BLOCK_BITS] = None
    assert sum(map(bool, records.shards)) == 2
