"""What is due, by key:

a heap with one entry per key, corrected when it comes up (work is found by key, not by scan).
"""

from __future__ import annotations

import heapq


class Timers:
    """One due time per key. Moving one later is free: the entry is put back when it comes up too early."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, str]] = []
        self._due: dict[str, int] = {}

    def set(self, key: str, due_ms: int) -> None:
        """The next due time of `key`; an earlier one than was set before takes effect at once."""
        before = self._due.get(key)
        self._due[key] = due_ms
        if before is None or due_ms < before:
            heapq.heappush(self._heap, (due_ms, key))

    def drop(self, key: str) -> None:
        self._due.pop(key, None)

    def pop_due(self, now_ms: int) -> list[str]:
        """The keys whose time has come, earliest first; they are forgotten until set again."""
        due = []
        while self._heap and self._heap[0][0] <= now_ms:
            _, key = heapq.heappop(self._heap)
            wanted_ms = self._due.get(key)
            if wanted_ms is None:
                continue
            if wanted_ms > now_ms:
                heapq.heappush(self._heap, (wanted_ms, key))
                continue
            del self._due[key]
            due.append(key)
        return due

    def next_ms(self) -> int | None:
        """When something may be due next; None when nothing is set. Never later than the truth."""
        return self._heap[0][0] if self._heap else None

    def __len__(self) -> int:
        return len(self._due)
