"""A network to etcd that loses, delays and cuts at random, under a history of batches small and large."""

from __future__ import annotations

import asyncio
import contextlib
import random

import pytest
from msgspec.structs import replace

from leasehold.adapters.stores.etcd.store import EtcdStore
from leasehold.ports.store import Batch, CommitFailed, CommitUnknown, StoreError
from leasehold.runtime.clock import RealClock
from leasehold.testing.history import History, check
from leasehold.testing.lossy_proxy import LossyProxy
from tests.contract.etcd_subject import EtcdSubject

pytestmark = [pytest.mark.requirement("CLUSTER-21", "INV-3", "INV-4"), pytest.mark.slow]

BATCHES = 150
LARGE_EACH = 8
LARGE_KEYS = 400


class LargeHistory(History):
    """Now and then a batch that does not fit into one transaction."""

    def next(self) -> Batch:
        batch = super().next()
        if batch.seq % LARGE_EACH:
            return batch
        more = [(f"/leases/{batch.seq}-large-{n}", b"store-%d-" % batch.seq) for n in range(LARGE_KEYS)]
        return replace(batch, puts=[*batch.puts, *more])


async def disturb(ways: list[LossyProxy], chance: random.Random) -> None:
    """For ever: harm one way after the other for a while, and heal it."""
    while True:
        way = chance.choice(ways)
        kind = chance.choice(("cut", "requests", "answers", "hold"))
        if kind == "cut":
            way.cut()
        elif kind == "hold":
            way.hold(True)
        else:
            way.lose(**{kind: True})
        await asyncio.sleep(chance.uniform(0.05, 0.8))
        way.hold(False)
        if kind in ("requests", "answers"):
            way.heal()
        await asyncio.sleep(chance.uniform(0.0, 0.3))


async def committed(store: EtcdStore, batch: Batch) -> None:
    """Commit as the ledger does: what failed again, what is unknown only where it was not done."""
    while True:
        try:
            await store.commit(batch)
            return
        except CommitFailed:
            continue
        except CommitUnknown:
            if await asked(store) == batch.seq:
                return


async def asked(store: EtcdStore) -> int:
    while True:
        with contextlib.suppress(StoreError):
            return await store.batch_seq()


@pytest.mark.parametrize("seed", range(3))
async def test_no_network_loses_or_doubles_a_batch(subject: EtcdSubject, seed: int) -> None:
    """After each batch, and at the end, the store is what the history says; a follower has seen all of it."""
    chance = random.Random(seed)
    history, replayed = LargeHistory(seed), LargeHistory(seed)
    with LossyProxy(subject.hand_endpoint) as one, LossyProxy(subject.hand_endpoint) as two:
        settings = subject.settings(
            endpoints=(one.endpoint, two.endpoint), attempt_s=0.3, commit_s=2.0, read_s=2.0
        )
        store = EtcdStore(settings, RealClock())
        await store.open()

        async def follow() -> None:
            async for batch in store.watch(0):
                replayed.apply(batch)
                if batch.seq == BATCHES:
                    return

        follower = asyncio.create_task(follow())
        disturber = asyncio.create_task(disturb([one, two], chance))
        for _ in range(BATCHES):
            batch = history.next()
            await committed(store, batch)
            history.apply(batch)
            await asyncio.sleep(chance.uniform(0, 0.02))
        disturber.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await disturber
        for way in (one, two):
            way.hold(False)
            way.heal()
        await follower
        assert await check(store, history, BATCHES) == BATCHES
        assert replayed.snapshot() == history.snapshot()
        assert replayed.ended == history.ended
        await store.close()
