"""The last committed batches, kept in memory for those who follow a store in the same process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from leasehold.ports.store import Batch, StoreError

KEPT_BATCHES = 1_000
"""A follower that is this far behind reads the snapshot again: that costs less than replaying."""

KEPT_BYTES = 4 << 20
"""What the trail may hold of memory that nothing else needs any more."""


class Trail:
    """Batches after some `seq`, in order, without gaps, while they are kept. For one event loop."""

    def __init__(self, kept_batches: int = KEPT_BATCHES, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept: deque[tuple[Batch, int]] = deque()
        self._kept_batches = kept_batches
        self._kept_bytes = kept_bytes
        self._bytes = 0
        self._seq = 0
        self._closed = False
        self._waiters: list[asyncio.Future[None]] = []

    def begin(self, seq: int) -> None:
        """Forget everything; what follows comes after `seq`."""
        self._kept.clear()
        self._bytes = 0
        self._seq = seq
        self._closed = False

    def add(self, batch: Batch, size: int) -> None:
        """Take a durable batch of `size` bytes. One that is here already is not taken twice."""
        if batch.seq <= self._seq:
            return
        assert batch.seq == self._seq + 1, f"batch {batch.seq} follows {self._seq}"
        self._seq = batch.seq
        self._kept.append((batch, size))
        self._bytes += size
        while len(self._kept) > self._kept_batches or self._bytes > self._kept_bytes:
            self._bytes -= self._kept.popleft()[1]
        self._wake()

    def close(self) -> None:
        """End every follower's iteration."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def follow(self, after_seq: int) -> AsyncIterator[Batch]:
        """Yield each batch after `after_seq`. StoreError: it is no longer kept, or is not of this store."""
        while not self._closed:
            if after_seq == self._seq:
                waiter = asyncio.get_running_loop().create_future()
                self._waiters.append(waiter)
                await waiter
                continue
            batch = self._at(after_seq + 1)
            yield batch
            after_seq = batch.seq

    def _at(self, seq: int) -> Batch:
        oldest = self._seq - len(self._kept) + 1
        if seq > self._seq:
            raise StoreError(
                f"batch {seq - 1} is not in this store, whose newest is {self._seq}: load it again"
            )
        if seq < oldest:
            raise StoreError(f"batch {seq} is no longer kept (the oldest is {oldest}): load the store again")
        return self._kept[seq - oldest][0]
