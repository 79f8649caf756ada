"""A timing wheel: what is due when, for millions of entries that mostly go before their time comes.

Source: Varghese and Lauck, *Hashed and Hierarchical Timing Wheels*, SOSP 1987; here with one level of slots
of about a second, made when they are needed.
"""

from __future__ import annotations

from heapq import heappop, heappush

SLOT_BITS = 10
"""A slot is 1,024 ms long."""


class Wheel:
    """Numbers filed by a time in ms. Filing and taking out cost the same however many there are."""

    __slots__ = ("_order", "_slots")

    def __init__(self) -> None:
        self._slots: dict[int, set[int]] = {}
        self._order: list[int] = []

    def add(self, due_ms: int, number: int) -> None:
        """File a number; at one time it stands at most once."""
        at = due_ms >> SLOT_BITS
        slot = self._slots.get(at)
        if slot is None:
            slot = self._slots[at] = set()
            heappush(self._order, at)
        slot.add(number)

    def discard(self, due_ms: int, number: int) -> None:
        """Take a number out of where it was filed, if it still stands there."""
        slot = self._slots.get(due_ms >> SLOT_BITS)
        if slot is not None:
            slot.discard(number)

    def due(self, now_ms: int, limit: int) -> list[int]:
        """Take out numbers whose slot has begun, the earliest slots first, within a slot by number.

        At most about `limit`: what is over it comes with the next call. A number may come up to a slot before
        its time: whoever looks at it files it again.
        """
        now, found = now_ms >> SLOT_BITS, list[int]()
        while self._order and self._order[0] <= now and len(found) < limit:
            at = self._order[0]
            slot = self._slots[at]
            if len(slot) > limit:
                taken = sorted(slot)[:limit]
                slot.difference_update(taken)
            else:
                taken = sorted(slot)
                heappop(self._order)
                del self._slots[at]
            found += taken
        return found

    def next_ms(self) -> int | None:
        """When the earliest slot begins; None when nothing is filed. Slots that emptied count until then."""
        return self._order[0] << SLOT_BITS if self._order else None
