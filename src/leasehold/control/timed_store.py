"""A store whose commits are timed: around the real one, so that no store has to do it (OPS-11)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from leasehold.ports.clock import Clock
from leasehold.ports.store import Batch, Limits, Snapshot, Store
from leasehold.runtime.windows import Durations

BOUNDS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000)

WINDOW_MS, SLOT_MS = 60_000, 10_000


class TimedStore:
    """The port `Store`: everything is the real one's; `commits` is how long its commits took."""

    def __init__(self, store: Store, clock: Clock, elapsed_ns: Callable[[], int]) -> None:
        self._store = store
        self._clock = clock
        self._elapsed_ns = elapsed_ns
        self.commits = Durations(WINDOW_MS, SLOT_MS, BOUNDS_MS)
        self._since_ms: int | None = None

    @property
    def limits(self) -> Limits:
        return self._store.limits

    async def open(self) -> None:
        await self._store.open()

    async def load(self) -> Snapshot:
        return await self._store.load()

    async def read(self, keys: Sequence[str]) -> dict[str, bytes]:
        return await self._store.read(keys)

    async def commit(self, batch: Batch) -> None:
        begun_ns = self._elapsed_ns()
        self._since_ms = self._clock.now_ms()
        try:
            await self._store.commit(batch)
        finally:
            self._since_ms = None
        self.commits.add(self._clock.now_ms(), (self._elapsed_ns() - begun_ns) / 1e6)

    @property
    def waits_ms(self) -> int:
        """How long the commit has been under way that is; 0 for none."""
        return 0 if self._since_ms is None else self._clock.now_ms() - self._since_ms

    async def batch_seq(self) -> int:
        return await self._store.batch_seq()

    def watch(self, after_seq: int) -> AsyncIterator[Batch]:
        return self._store.watch(after_seq)

    async def close(self) -> None:
        await self._store.close()
