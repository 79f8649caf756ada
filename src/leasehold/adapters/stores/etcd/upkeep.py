"""What keeps an etcd small (CLUSTER-23): records of batches end by themselves, history is compacted."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from leasehold.adapters.stores.etcd import messages as m
from leasehold.adapters.stores.etcd.errors import COMPACTED, Refused
from leasehold.adapters.stores.etcd.link import Link
from leasehold.ports.store import StoreError

log = structlog.get_logger(__name__)

KEPT_S = 25 * 3_600
"""How long the record of a batch stays at most: a day after the last that shares its lease."""

SHARED_MS = 3_600_000
SHARED_RECORDS = 1_000
"""Records share an etcd lease, for an hour or so many: what ends with one lease goes in one transaction."""

COMPACTED_BYTES = 64 << 20
COMPACTED_MS = 300_000
"""Between two marks: history is compacted up to the mark before, so one to two such spans are kept. Without
it, an etcd with default settings is full (2 GiB) after so many bytes written, however few records live."""


class Upkeep:
    """Beside the commits of one open store. `now_ms` never jumps."""

    def __init__(self, link: Link, now_ms: Callable[[], int], *, compacts: bool, within_s: float) -> None:
        self._link = link
        self._now_ms = now_ms
        self._within_s = within_s
        self._compacts = compacts
        self._lease = 0
        self._lease_since_ms = 0
        self._records = 0
        self._bytes = 0
        self._mark_ms = now_ms()
        self._mark_revision = 0
        self._task: asyncio.Task[None] | None = None

    async def lease(self) -> int:
        """The etcd lease for the record of the next batch. StoreError where there is none to be had."""
        is_old = self._now_ms() - self._lease_since_ms > SHARED_MS or self._records >= SHARED_RECORDS
        if not self._lease or is_old:
            request = m.LeaseGrantRequest(TTL=KEPT_S)
            self._lease = (await self._link.ask(m.LEASE_GRANT, request, self._within_s)).ID
            self._lease_since_ms = self._now_ms()
            self._records = 0
        self._records += 1
        return self._lease

    def forget_lease(self) -> None:
        """It is gone from etcd: the next batch gets another."""
        self._lease = 0

    def committed(self, size: int, revision: int) -> None:
        """A batch of `size` bytes was committed at this revision."""
        self._bytes += size
        is_due = self._bytes >= COMPACTED_BYTES or self._now_ms() - self._mark_ms >= COMPACTED_MS
        if not self._compacts or not is_due or (self._task is not None and not self._task.done()):
            return
        before, self._mark_revision = self._mark_revision, revision
        self._bytes, self._mark_ms = 0, self._now_ms()
        if before:
            self._task = asyncio.create_task(self._compact(before), name="etcd-compaction")

    async def _compact(self, revision: int) -> None:
        try:
            await self._link.ask(m.COMPACT, m.CompactionRequest(revision=revision), self._within_s)
        except StoreError as exc:
            if isinstance(exc, Refused) and COMPACTED in exc.details:
                return  # Somebody else has done it.
            log.warning("etcd_not_compacted", why=str(exc))

    async def close(self) -> None:
        """End what is under way."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
