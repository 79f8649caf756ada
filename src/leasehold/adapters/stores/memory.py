"""A store in memory: the whole contract without a disk, and with faults on demand.

`Disk` is what would survive a crash; `MemoryStore` is one process's handle on it. The simulation keeps the
disk, drops the handle, and opens another one. Batching, undo and unknown outcomes live in the ledger, so a
fault here only delays, fails, or leaves an outcome unknown (PROVE-22).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from enum import StrEnum

import msgspec

from leasehold.adapters.stores.limits import checked_keys, checked_size, without_cold
from leasehold.adapters.stores.trail import Trail
from leasehold.model.audit import Called
from leasehold.ports.archive import Fold
from leasehold.ports.store import (
    COLD,
    Batch,
    CommitFailed,
    CommitUnknown,
    Fenced,
    Limits,
    Snapshot,
    StoreError,
)

LIMITS = Limits(keys=5_000, bytes=8 << 20, commands=5_000)
"""The same as SQLite's (CLUSTER-21), so that a simulation meets the limits that the product meets."""


class Fate(StrEnum):
    """What becomes of one commit."""

    COMMITTED = "committed"
    FAILED = "failed"
    UNKNOWN_COMMITTED = "unknown, but committed"
    UNKNOWN_LOST = "unknown, and not committed"


class Faults:
    """What goes wrong, and how long (ms) things take. Nothing, and no time, unless a subclass says so."""

    def before_ms(self, batch: Batch) -> int:
        """How long a commit takes before it is durable."""
        return 0

    def after_ms(self, batch: Batch) -> int:
        """How long a durable commit takes before its writer hears of it."""
        return 0

    def fate(self, batch: Batch) -> Fate:
        return Fate.COMMITTED

    def unreadable(self) -> str:
        """Why nothing can be read just now; empty: it can."""
        return ""


class Ended(msgspec.Struct, frozen=True):
    """A finished record: its place in the order of ends, when it ended, and what it is."""

    number: int
    wall_ms: int
    key: str
    value: bytes


class EventRow(msgspec.Struct, frozen=True):
    """The events of one batch."""

    first: int
    last: int
    wall_ms: int
    record: bytes


class Disk:
    """Durable state. `wall_ms` stamps what has finished, for the archive's times."""

    def __init__(self, wall_ms: Callable[[], int] = lambda: 0) -> None:
        self.wall_ms = wall_ms
        self.live: dict[str, bytes] = {}
        self.cold: dict[str, bytes] = {}
        self.finished: list[Ended] = []
        self.events: list[EventRow] = []
        self.folds: dict[tuple[int, str, str], Fold] = {}
        self.audit: list[Called] = []
        self.audit_seq = 0
        self.batch_seq = 0
        self.last_event = 0
        self.ends = 0
        self.holder: MemoryStore | None = None
        self.trail = Trail()

    def apply(self, batch: Batch, size: int) -> None:
        """Commit, or raise Fenced and change nothing."""
        if batch.seq != self.batch_seq + 1:
            raise Fenced(
                f"batch {batch.seq} does not follow the store's {self.batch_seq}: another writer was here"
            )
        wall_ms = self.wall_ms()
        for key, value in batch.puts:
            self._part(key)[key] = value
        for key, value in batch.finishes:
            self.live.pop(key, None)
            self.ends += 1
            self.finished.append(Ended(self.ends, wall_ms, key, value))
        for key in batch.deletes:
            self._part(key).pop(key, None)
        if batch.events:
            self.events.append(EventRow(batch.first_event, batch.last_event, wall_ms, batch.events))
            self.last_event = batch.last_event
        self.batch_seq = batch.seq
        self.trail.add(*without_cold(batch, size))

    def value(self, key: str) -> bytes | None:
        """What is stored under a live or cold key."""
        return self._part(key).get(key)

    def _part(self, key: str) -> dict[str, bytes]:
        return self.cold if key.startswith(COLD) else self.live

    def crash(self) -> None:
        """The process that held it is gone, without a word."""
        self.holder = None


class MemoryStore:
    """One process's handle on a `Disk`. `sleep` takes ms, and is needed only where the faults have delays."""

    def __init__(
        self,
        disk: Disk | None = None,
        *,
        faults: Faults | None = None,
        sleep: Callable[[int], Awaitable[None]] | None = None,
    ) -> None:
        self.disk = disk if disk is not None else Disk()
        self._faults = faults if faults is not None else Faults()
        self._sleep = sleep
        self._open = False

    @property
    def limits(self) -> Limits:
        return LIMITS

    async def open(self) -> None:
        if self.disk.holder is not None:
            raise StoreError("this store is held by another server: stop that one first")
        self.disk.holder = self
        self._open = True
        self.disk.trail.begin(self.disk.batch_seq)

    async def load(self) -> Snapshot:
        self._readable()
        return Snapshot(self.disk.batch_seq, self.disk.last_event, sorted(self.disk.live.items()))

    async def read(self, keys: Sequence[str]) -> dict[str, bytes]:
        self._readable()
        found = ((key, self.disk.value(key)) for key in checked_keys(keys))
        return {key: value for key, value in found if value is not None}

    async def commit(self, batch: Batch) -> None:
        size = checked_size(batch, LIMITS)
        await self._pause(self._faults.before_ms(batch))
        self._held()
        fate = self._faults.fate(batch)
        if fate is Fate.FAILED:
            raise CommitFailed("the disk is full")
        if fate is Fate.UNKNOWN_LOST:
            raise CommitUnknown(f"the outcome of batch {batch.seq} can't be told")
        self.disk.apply(batch, size)
        await self._pause(self._faults.after_ms(batch))
        if fate is Fate.UNKNOWN_COMMITTED:
            raise CommitUnknown(f"the outcome of batch {batch.seq} can't be told")

    async def batch_seq(self) -> int:
        self._readable()
        return self.disk.batch_seq

    def watch(self, after_seq: int) -> AsyncIterator[Batch]:
        return self.disk.trail.follow(after_seq)

    async def close(self) -> None:
        if self.disk.holder is self:
            self.disk.holder = None
            self.disk.trail.close()
        self._open = False

    async def _pause(self, delay_ms: int) -> None:
        if delay_ms and self._sleep is not None:
            await self._sleep(delay_ms)
        else:
            await asyncio.sleep(0)

    def _readable(self) -> None:
        why = self._faults.unreadable()
        if why:
            raise StoreError(why)
        if not self._open:
            raise StoreError("the store is not open")

    def _held(self) -> None:
        if not self._open:
            raise StoreError("the store is not open")
        if self.disk.holder is not self:
            raise Fenced("another server holds this store now")
