"""The store of several servers, in etcd v3: one writer at a time, each batch one transaction (CLUSTER-21)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence

from leasehold.adapters.stores.etcd.session import Session
from leasehold.adapters.stores.etcd.settings import EtcdSettings
from leasehold.adapters.stores.limits import checked_keys, checked_size
from leasehold.ports.clock import Clock
from leasehold.ports.store import Batch, Limits, Snapshot, StoreError

LIMITS = Limits(keys=1_000, bytes=1_280 << 10, commands=1_000)
"""Beyond 126 keys a batch takes more transactions than one; etcd's requests end at 1.5 MiB, of which names
and frames take some. What is refused all the same is refused as a whole."""


class EtcdStore:
    """Durable state below one prefix. Made by `opening.etcd_store`; for one event loop.

    Beyond the port: `forget`, for the archives that `watch` feeds.
    """

    def __init__(self, settings: EtcdSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._session: Session | None = None

    @property
    def limits(self) -> Limits:
        return LIMITS

    async def open(self) -> None:
        if self._session is not None:
            raise StoreError(f"the store {self._settings.prefix} in etcd is open already")
        self._session = Session(self._settings, self._clock)
        try:
            await self._session.begin()
        except BaseException:
            await self.close()
            raise

    async def load(self) -> Snapshot:
        return await self._held().load()

    async def read(self, keys: Sequence[str]) -> dict[str, bytes]:
        return await self._held().read(checked_keys(keys))

    async def commit(self, batch: Batch) -> None:
        size = checked_size(batch, LIMITS)
        await self._held().commit(batch, size)

    async def batch_seq(self) -> int:
        return await self._held().batch_seq()

    async def watch(self, after_seq: int) -> AsyncGenerator[Batch, None]:
        if self._session is not None:
            async with contextlib.aclosing(self._session.follow(after_seq)) as batches:
                async for batch in batches:
                    yield batch

    async def forget(self, through_seq: int) -> None:
        """Drop the records of batches up to this one, which every archive has. Raises StoreError."""
        await self._held().forget(through_seq)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.end()

    def _held(self) -> Session:
        if self._session is None:
            raise StoreError(f"the store {self._settings.prefix} in etcd is not open")
        return self._session
