"""A timing wheel: what is due when, for millions of entries that mostly go before their time comes.

Source: Varghese and Lauck, *Hashed and Hierarchical Timing Wheels*, SOSP 1987; here with one level of slots
of about a second, made when they are needed.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import islice

from leasehold.core.rising import Numbers

SLOT_BITS = 10
"""A slot is 1,024 ms long."""

EMPTY = -1
"""In place of the number of a slot that had one. Numbers are above it."""


class Wheel:
    """Numbers filed by a time in ms. Filing and taking out cost the same however many there are.

    Also where a million are due at one time (all of them by 06:00): they stand sorted, so that the first are
    taken without a look at the others. A slot with a single number is that number.
    """

    __slots__ = ("_order", "_slots")

    def __init__(self) -> None:
        self._slots: dict[int, int | Numbers] = {}
        self._order: list[int] = []

    def add(self, due_ms: int, number: int) -> None:
        """File a number; at one time it stands at most once."""
        at = due_ms >> SLOT_BITS
        slot = self._slots.get(at)
        if slot is None:
            self._slots[at] = number
            heappush(self._order, at)
        elif isinstance(slot, Numbers):
            if number not in slot:
                slot.add(number)
        elif slot == EMPTY:
            self._slots[at] = number
        elif slot != number:
            both = self._slots[at] = Numbers()
            both.add(slot)
            both.add(number)

    def discard(self, due_ms: int, number: int) -> None:
        """Take a number out of where it was filed, if it still stands there."""
        at = due_ms >> SLOT_BITS
        slot = self._slots.get(at)
        if isinstance(slot, Numbers):
            if number in slot:
                slot.remove(number)
        elif slot == number:
            self._slots[at] = EMPTY

    def due(self, now_ms: int, limit: int) -> list[int]:
        """Take out numbers whose slot has begun, the earliest slots first, within a slot by number.

        At most about `limit`: what is over it comes with the next call. A number may come up to a slot before
        its time: whoever looks at it files it again.
        """
        now, found = now_ms >> SLOT_BITS, list[int]()
        while self._order and self._order[0] <= now and len(found) < limit:
            at = self._order[0]
            slot = self._slots[at]
            if isinstance(slot, Numbers):
                taken = list(islice(slot, limit))
                for number in taken:
                    slot.remove(number)
                found += taken
            elif slot != EMPTY:
                found.append(slot)
            if not isinstance(slot, Numbers) or not slot:
                heappop(self._order)
                del self._slots[at]
        return found

    def next_ms(self) -> int | None:
        """When the earliest slot begins; None when nothing is filed. Slots that emptied count until then."""
        return self._order[0] << SLOT_BITS if self._order else None
