"""Commits are timed around the store, whatever becomes of them (OPS-11, OPS-12)."""

from __future__ import annotations

import asyncio
from itertools import count

import pytest

from leasehold.adapters.stores.memory import Disk, MemoryStore
from leasehold.control.timed_store import TimedStore
from leasehold.ports.store import Batch, Fenced
from leasehold.testing.manual_clock import ManualClock, settled

pytestmark = pytest.mark.requirement("OPS-12")


class Slow(MemoryStore):
    """Commits when it is let."""

    def __init__(self) -> None:
        super().__init__(Disk())
        self.answers = asyncio.Event()

    async def commit(self, batch: Batch) -> None:
        await self.answers.wait()
        await super().commit(batch)


async def test_a_commit_is_timed_and_seen_while_it_is_under_way() -> None:
    """Its duration counts once it is durable; until then it tells how long it has been waited for."""
    clock, ticks = ManualClock(), count(0, 20_000_000)
    store = Slow()
    timed = TimedStore(store, clock, lambda: next(ticks))
    await timed.open()
    assert timed.limits == store.limits
    assert (await timed.load()).batch_seq == 0
    under_way = asyncio.ensure_future(timed.commit(Batch(1, puts=[("/a/b", b"c")])))
    await settled()
    await clock.advance(7_000)
    assert timed.waits_ms == 7_000
    assert timed.commits.quantiles(clock.now_ms()).count == 0
    store.answers.set()
    await under_way
    assert timed.waits_ms == 0
    found = timed.commits.quantiles(clock.now_ms())
    assert found.count == 1
    assert found.p50_ms == pytest.approx(20, rel=0.2)
    assert await timed.read(["/a/b"]) == {"/a/b": b"c"}
    with pytest.raises(Fenced):
        await timed.commit(Batch(7))
    assert (timed.waits_ms, timed.commits.quantiles(clock.now_ms()).count) == (0, 1)
    assert await timed.batch_seq() == 1
    await timed.close()
