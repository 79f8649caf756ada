"""Counters that come and go, summed into one that only grows."""

from __future__ import annotations

from collections.abc import Mapping


class Sums:
    """Adds up what each counter grew by since it was first seen.

    One that shrinks or vanishes takes nothing back.
    """

    def __init__(self) -> None:
        self._last: dict[str, int] = {}
        self._by_key: dict[str, int] = {}
        self._gone = 0

    def add(self, values: Mapping[str, int]) -> int:
        """Take this tick's counters by key, all of them; the sum of all growth ever."""
        grown: dict[str, int] = {}
        for key, value in values.items():
            before = self._last.get(key, value)
            grown[key] = self._by_key.get(key, 0) + max(0, value - before)
        self._gone += sum(total for key, total in self._by_key.items() if key not in values)
        self._last, self._by_key = dict(values), grown
        return self._gone + sum(grown.values())

    def of(self, key: str) -> int:
        """What one counter grew by since it was first seen."""
        return self._by_key.get(key, 0)
