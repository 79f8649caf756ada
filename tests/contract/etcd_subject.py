"""A prefix of a real etcd under test: trouble comes from its own alarm, and from the network before it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from leasehold.adapters.stores.etcd.opening import etcd_store
from leasehold.adapters.stores.etcd.settings import EtcdSettings, EtcdTls
from leasehold.adapters.stores.etcd.store import LIMITS, EtcdStore
from leasehold.adapters.stores.memory import Disk
from leasehold.adapters.stores.memory_archive import MemoryArchive
from leasehold.ports.archive import Archive
from leasehold.ports.store import Batch, CommitFailed, Store, StoreError
from leasehold.runtime.clock import RealClock
from leasehold.testing.certificates import TestAuthority
from leasehold.testing.etcd import Cluster, missing
from leasehold.testing.etcd_hand import Hand
from leasehold.testing.lossy_proxy import LossyProxy
from leasehold.testing.store_subject import Trouble

PREFIXES = itertools.count(1)
TTL_S = 30
"""Longer than any test cuts the network for."""


class EtcdSubject:
    """`proxy` is the only way of a store to its etcd; `hand` goes there directly."""

    def __init__(self, proxy: LossyProxy, hand: Hand, tls: EtcdTls | None) -> None:
        self.wall_ms = 0
        self.proxy = proxy
        self.hand = hand
        self.hand_endpoint = hand.endpoint
        self.prefix = f"/ledger-{next(PREFIXES)}"
        self.disk = Disk(lambda: self.wall_ms)
        self.is_full = False
        self._tls = tls

    def settings(self, **changes: object) -> EtcdSettings:
        told: dict[str, object] = {
            "endpoints": (self.proxy.endpoint,), "prefix": self.prefix, "name": "the first server",
            "tls": self._tls, "ttl_s": TTL_S, "commit_s": 2.0, "read_s": 2.0, "attempt_s": 1.0,
        }  # fmt: skip
        return EtcdSettings(**(told | changes))  # type: ignore[arg-type]

    def store(self) -> EtcdStore:
        return _UntilRefused(self)

    def archive(self, store: Store) -> Archive:
        return FedArchive(self.disk, store)

    async def close_archive(self, archive: Archive) -> None:
        pass

    def arm(self, trouble: Trouble) -> None:
        if trouble is Trouble.FAILED:
            self.is_full = True
            self.hand.full(True)
        elif trouble is Trouble.UNKNOWN_COMMITTED:
            self.proxy.lose(answers=True)
        else:
            self.proxy.lose(requests=True)

    def heal(self) -> None:
        self.proxy.heal()
        if self.is_full:
            self.is_full = False
            self.hand.full(False)

    def damage(self, key: str) -> None:
        self.hand.put(f"{self.prefix}/live{key}", b"\xc1 spoilt")


class _UntilRefused(EtcdStore):
    """Has somebody make room as soon as a commit was refused for want of it."""

    def __init__(self, subject: EtcdSubject) -> None:
        super().__init__(subject.settings(), RealClock())
        self._subject = subject

    async def commit(self, batch: Batch) -> None:
        try:
            await super().commit(batch)
        except CommitFailed:
            self._subject.heal()
            raise


class FedArchive(MemoryArchive):
    """An archive beside a server: it knows what `watch` has told it, and asks before it answers."""

    def __init__(self, disk: Disk, store: Store) -> None:
        super().__init__(disk)
        self._fed = disk
        self._store = store

    async def finished(
        self, prefix: str, *, limit: int, before: str | None = None
    ) -> Sequence[tuple[str, bytes]]:
        newest = await self._store.batch_seq()
        if self._fed.batch_seq < newest:
            async for batch in self._store.watch(self._fed.batch_seq):
                self._fed.apply(batch, 0)
                if batch.seq == newest:
                    break
        return await super().finished(prefix, limit=limit, before=before)


async def when_free(take: Callable[[], Awaitable[None]]) -> None:
    """Open a store, or start a ledger, as soon as the one before has gone."""
    while True:
        try:
            return await take()
        except StoreError as error:
            if "held by" not in str(error):
                raise
        await asyncio.sleep(0.1)


async def until(is_so: Callable[[], object]) -> None:
    """Return when it is so."""
    while not is_so():  # noqa: ASYNC110 - it is other tasks that make it so
        await asyncio.sleep(0.01)


@contextmanager
def behind_a_network(
    folder: Path, *, with_tls: bool = False
) -> Iterator[tuple[LossyProxy, Hand, EtcdTls | None]]:
    """One etcd with default settings, the network before it, and a hand on it."""
    if why := missing():
        pytest.skip(why)
    authority = TestAuthority(folder / "ca") if with_tls else None
    tls = authority.pair("member") if authority else None
    ours = authority.pair("server") if authority else None
    with (
        Cluster(folder, tls=tls) as cluster,
        LossyProxy(cluster.endpoints[0]) as proxy,
        Hand(cluster.endpoints[0], ours) as hand,
    ):
        yield proxy, hand, ours


def another(subject: EtcdSubject, **changes: object) -> EtcdStore:
    """A store of another server on the same prefix."""
    return etcd_store(subject.settings(**({"name": "the second server"} | changes)), RealClock())


def large(seq: int) -> Batch:
    """As many keys as fit into a batch, of each kind."""
    third = LIMITS.keys // 3
    return Batch(
        seq,
        puts=[(f"/new/{n}", b"%d" % seq) for n in range(third)],
        finishes=[(f"/old/{n}", b"end") for n in range(third)],
        deletes=[f"/old/{n}" for n in range(third, 2 * third)],
        events=b"e", first_event=1, last_event=1,
    )  # fmt: skip


async def with_old_records(store: EtcdStore) -> None:
    """What `large` ends, as batch 1."""
    rows = [(f"/old/{n}", b"old") for n in range(2 * (LIMITS.keys // 3))]
    await store.commit(Batch(1, puts=rows))


async def numbers(store: EtcdStore, last: int, seen: list[int] | None = None) -> list[int]:
    """The numbers of the batches that a follower gets; they can be seen while it follows."""
    seen = [] if seen is None else seen
    async for batch in store.watch(0):
        seen.append(batch.seq)
        if batch.seq == last:
            return seen
    return seen
