"""A clock that moves when a test says so: sleepers wake in the order of their due time."""

from __future__ import annotations

import asyncio
import heapq
import itertools

SETTLE_ROUNDS = 50
"""How often the loop may go round until everything that was woken has run on to its next wait."""


class ManualClock:
    """The port `Clock`. Wall time runs along from `wall_start_ms`."""

    def __init__(self, now_ms: int = 1_000_000, wall_start_ms: int = 1_800_000_000_000) -> None:
        self._now_ms = now_ms
        self._wall_offset_ms = wall_start_ms - now_ms
        self._sleepers: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now_ms(self) -> int:
        return self._now_ms

    def wall_ms(self) -> int:
        return self._now_ms + self._wall_offset_ms

    async def sleep(self, delay_ms: int) -> None:
        if delay_ms <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now_ms + delay_ms, next(self._order), future))
        await future

    async def advance(self, span_ms: int) -> None:
        """Move on by `span_ms`, stopping at each due time until what it woke has settled."""
        end_ms = self._now_ms + span_ms
        await settled()
        while self._sleepers and self._sleepers[0][0] <= end_ms:
            due_ms, _, future = heapq.heappop(self._sleepers)
            self._now_ms = max(self._now_ms, due_ms)
            if not future.done():
                future.set_result(None)
                await settled()
        self._now_ms = end_ms


async def settled() -> None:
    """Let everything run that can without time passing."""
    for _ in range(SETTLE_ROUNDS):
        await asyncio.sleep(0)
