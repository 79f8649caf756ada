"""Whole numbers in rising order, in small blocks of machine words: a million cost eight megabytes.

The shape is that of a B+ tree of two levels (as in Grant Jenks, *sortedcontainers*, 2014): what is added in
rising order goes to the end, what is taken from the front leaves it, both at the cost of an append; elsewhere
two bisections find the place. Nothing is ever cleaned up at once, so no call takes long, and arrays of words
are nothing that a garbage collection has to look into.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import chain

BLOCK = 512
"""A block that is filled from its end holds so many; one that is filled elsewhere is split at twice that."""


class Numbers:
    """A set of numbers below 2^63 that is read in rising order.

    Block i holds what is at least `_firsts[i]` and less than `_firsts[i + 1]`; the first also what is less
    than all. Only an empty set has an empty block; else `blocks[0][0]` is the least number.
    """

    __slots__ = ("_firsts", "blocks")

    def __init__(self) -> None:
        self.blocks: list[array[int]] = [array("q")]
        self._firsts: list[int] = [0]

    def __bool__(self) -> bool:
        return bool(self.blocks[0])

    def __len__(self) -> int:
        return sum(map(len, self.blocks))

    def __contains__(self, number: int) -> bool:
        block = self.blocks[-1]
        if not block or number > block[-1]:
            return False
        block = self.blocks[max(0, bisect_right(self._firsts, number) - 1)]
        at = bisect_left(block, number)
        return at < len(block) and block[at] == number

    def add(self, number: int) -> None:
        """Add a number that is not there."""
        block = self.blocks[-1]
        if block and number < block[-1]:
            self._insert(number)
        elif len(block) < BLOCK:
            block.append(number)
        else:
            self.blocks.append(array("q", (number,)))
            self._firsts.append(number)

    def _insert(self, number: int) -> None:
        at = max(0, bisect_right(self._firsts, number) - 1)
        block = self.blocks[at]
        block.insert(bisect_left(block, number), number)
        if len(block) > 2 * BLOCK:
            self.blocks.insert(at + 1, block[BLOCK:])
            self._firsts.insert(at + 1, block[BLOCK])
            del block[BLOCK:]

    def remove(self, number: int) -> None:
        """Take out a number that is there."""
        at = 0
        block = self.blocks[0]
        if block[0] == number:
            del block[0]
        else:
            at = max(0, bisect_right(self._firsts, number) - 1)
            block = self.blocks[at]
            del block[bisect_left(block, number)]
        if not block and len(self.blocks) > 1:
            del self.blocks[at], self._firsts[at]

    def __iter__(self) -> Iterator[int]:
        """All of them, rising. The set must not change meanwhile."""
        return chain.from_iterable(self.blocks)


class Keys:
    """Pairs (due, number), in the order of pairs; of them the numbers are read. Blocks as in `Numbers`."""

    __slots__ = ("_dues", "_firsts", "_numbers")

    def __init__(self) -> None:
        self._dues: list[array[int]] = [array("q")]
        self._numbers: list[array[int]] = [array("q")]
        self._firsts: list[tuple[int, int]] = [(0, 0)]

    def __bool__(self) -> bool:
        return bool(self._numbers[0])

    def add(self, due_ms: int, number: int) -> bool:
        """Add a pair that is not there. Whether it is the first of all now."""
        dues, numbers = self._dues[-1], self._numbers[-1]
        if not dues:
            dues.append(due_ms)
            numbers.append(number)
            return True
        if due_ms < dues[-1] or (due_ms == dues[-1] and number < numbers[-1]):
            return self._insert(due_ms, number)
        if len(dues) < BLOCK:
            dues.append(due_ms)
            numbers.append(number)
        else:
            self._dues.append(array("q", (due_ms,)))
            self._numbers.append(array("q", (number,)))
            self._firsts.append((due_ms, number))
        return False

    def _insert(self, due_ms: int, number: int) -> bool:
        at, within = self._place(due_ms, number)
        dues, numbers = self._dues[at], self._numbers[at]
        dues.insert(within, due_ms)
        numbers.insert(within, number)
        if len(dues) > 2 * BLOCK:
            self._dues.insert(at + 1, dues[BLOCK:])
            self._numbers.insert(at + 1, numbers[BLOCK:])
            self._firsts.insert(at + 1, (dues[BLOCK], numbers[BLOCK]))
            del dues[BLOCK:], numbers[BLOCK:]
        return at == within == 0

    def _place(self, due_ms: int, number: int) -> tuple[int, int]:
        """The block of a pair, and its place within it: where it stands, or would."""
        at = max(0, bisect_right(self._firsts, (due_ms, number)) - 1)
        dues = self._dues[at]
        low = bisect_left(dues, due_ms)
        return at, bisect_left(self._numbers[at], number, low, bisect_right(dues, due_ms, low))

    def remove(self, due_ms: int, number: int) -> bool:
        """Take out a pair that is there. Whether it was the first of all."""
        at = within = 0
        numbers = self._numbers[0]
        if numbers[0] != number:
            at, within = self._place(due_ms, number)
            numbers = self._numbers[at]
        del numbers[within], self._dues[at][within]
        if not numbers and len(self._numbers) > 1:
            del self._numbers[at], self._dues[at], self._firsts[at]
        return at == within == 0

    @property
    def first(self) -> tuple[int, int]:
        """The first pair. There must be one."""
        return self._dues[0][0], self._numbers[0][0]

    def before(self, due_ms: int, number: int) -> int:
        """How many stand before this pair."""
        at, within = self._place(due_ms, number)
        return within + sum(len(block) for block in self._numbers[:at])

    def __iter__(self) -> Iterator[int]:
        """The numbers of all pairs, rising by pair. They must not change meanwhile."""
        return chain.from_iterable(self._numbers)
