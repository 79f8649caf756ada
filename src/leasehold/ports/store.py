"""The port of durable state (CLUSTER-21). Shaped so that SQLite, memory and etcd implement it unchanged.

A store is an ordered map from text keys (`/leases/<id>`) to bytes, changed only by fenced batches, each with
one event record. The ledger is its only writer. Nothing here knows what the bytes mean.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """What one batch may hold. The ledger closes a batch before it passes any of them."""

    keys: int
    bytes: int
    commands: int


COLD = "/cold/"
"""What begins so is written with the rest and never loaded: `Store.read` fetches it by key. The cold part of
`/jobs/<x>` is `/cold/jobs/<x>`; what finishes keeps it until the archive drops the finished record."""

READ_MAX = 1_000
"""Keys of one `Store.read`."""


def cold_key(key: str) -> str:
    """The key of the cold part of a record."""
    return COLD[:-1] + key


class Batch(msgspec.Struct, frozen=True):
    """One commit: all of it or nothing.

    `seq` is the batch's own number; it commits only where the store's `batch_seq` is `seq - 1` (the fence: a
    second writer fails at its first commit). Each key stands in at most one of `puts`, `finishes` and
    `deletes`, with its last value. `finishes` leave the live part and enter the archive in the same commit;
    no cold key is among them: a cold row is put, replaced and deleted, and goes with its finished record.
    `events` is the encoded record of all events of the batch, numbered `first_event` … `last_event` (empty
    when there are none).
    """

    seq: int
    puts: Sequence[tuple[str, bytes]] = ()
    finishes: Sequence[tuple[str, bytes]] = ()
    deletes: Sequence[str] = ()
    events: bytes = b""
    first_event: int = 0
    last_event: int = 0


class Snapshot(msgspec.Struct, frozen=True):
    """Everything live, as of `batch_seq`. `last_event` is the number of the newest event ever committed."""

    batch_seq: int
    last_event: int
    records: Sequence[tuple[str, bytes]]


class StoreError(Exception):
    """Base of what a store may raise. The sentence says what is wrong and what to do."""


class CommitFailed(StoreError):
    """Definitely not committed (disk full, read-only, no space for the journal). A later batch may work."""


class CommitUnknown(StoreError):
    """The outcome can't be told from here; `batch_seq()` tells once it can be read."""


class Fenced(StoreError):
    """Another writer has advanced `batch_seq`: leadership is lost."""


class StoreCorrupt(StoreError):
    """What is stored can't be read. Names the file and what was found."""


class Store(Protocol):
    """Durable state. Calls come from one event loop; an implementation may work in a thread of its own.

    Between `open` and `close` exactly one process holds the store (SQLite: a lock file; etcd: the leader
    key).
    """

    @property
    def limits(self) -> Limits:
        """Constant per implementation."""
        ...

    async def open(self) -> None:
        """Take the leader's place, migrate forward, check integrity. Raises StoreError, with what to do."""
        ...

    async def load(self) -> Snapshot:
        """All live records but the cold ones, sorted by key.

        A record that can't be read raises StoreCorrupt only where its key is lost too.
        """
        ...

    async def read(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The durable values of these keys, live and cold ones; absent keys are left out. At most READ_MAX.

        A read waits for no commit and holds none up. Raises StoreError, ValueError for too many keys.
        """
        ...

    async def commit(self, batch: Batch) -> None:
        """Return when the batch is durable (survives kill -9 and power loss).

        Raises CommitFailed, CommitUnknown or Fenced; any other exception is a bug and is treated as
        CommitUnknown. At most one commit is in flight at a time.
        """
        ...

    async def batch_seq(self) -> int:
        """The number of the last durable batch, read from the durable state itself, not from memory."""
        ...

    def watch(self, after_seq: int) -> AsyncIterator[Batch]:
        """Committed batches after `after_seq`, in order, without gaps; waits for new ones.

        They come without what `load` leaves out: cold keys are read when needed. Raises StoreError when that
        part is no longer kept.
        """
        ...

    async def close(self) -> None:
        """Give up the leader's place. Idempotent."""
        ...
