"""A heap whose dead entries are dropped lazily, and that is read in rising order without being changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import Any, Generic, TypeVar

Entry = TypeVar("Entry", bound=tuple[Any, ...])

SLACK = 32
"""Dead entries that are always tolerated; above it they are cleaned out once they are the majority."""


class Heap(Generic[Entry]):
    """Entries are tuples that differ; `alive` tells whether one still counts. Each death is reported once.

    Adding costs log n; a death costs nothing now and its share of a clean-up later; reading the k least costs
    k log k.
    """

    __slots__ = ("_alive", "_dead", "_entries")

    def __init__(self, alive: Callable[[Entry], bool]) -> None:
        self._entries: list[Entry] = []
        self._alive = alive
        self._dead = 0

    def __len__(self) -> int:
        return len(self._entries) - self._dead

    def push(self, entry: Entry) -> None:
        """Add a living entry."""
        heappush(self._entries, entry)

    def died(self) -> None:
        """One of the entries is no longer alive."""
        self._dead += 1
        if self._dead > SLACK and self._dead * 2 > len(self._entries):
            self._entries = [entry for entry in self._entries if self._alive(entry)]
            heapify(self._entries)
            self._dead = 0

    def least(self) -> Entry:
        """The least living entry; dead ones before it are dropped. The heap must hold one (`len` tells)."""
        while not self._alive(self._entries[0]):
            heappop(self._entries)
            self._dead -= 1
        return self._entries[0]

    def rising(self) -> Iterator[Entry]:
        """Living entries from the least on. The heap is not changed, and must not change while it is read."""
        entries = self._entries
        frontier = [(entries[0], 0)] if entries else []
        while frontier:
            entry, at = heappop(frontier)
            if self._alive(entry):
                yield entry
            for child in (2 * at + 1, 2 * at + 2):
                if child < len(entries):
                    heappush(frontier, (entries[child], child))
