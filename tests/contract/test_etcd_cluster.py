"""Three members of etcd over mutual TLS, of which one is killed or hangs while batches are committed."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from leasehold.adapters.stores.etcd.opening import etcd_store
from leasehold.adapters.stores.etcd.settings import EtcdSettings, EtcdTls
from leasehold.adapters.stores.etcd.store import EtcdStore
from leasehold.ports.store import Batch, CommitFailed, CommitUnknown, StoreError
from leasehold.runtime.clock import RealClock
from leasehold.runtime.lean import elapsed_s
from leasehold.testing.certificates import TestAuthority
from leasehold.testing.etcd import Cluster, Member, missing
from leasehold.testing.etcd_hand import Hand
from leasehold.testing.store_subject import live

pytestmark = [pytest.mark.requirement("CLUSTER-21", "CLUSTER-28"), pytest.mark.slow]

BEFORE, AFTER = 40, 80
STALL_S_MAX = 40.0
"""Two seconds where nothing else runs; a busy machine elects slowly."""


class Three:
    """The cluster, and our files for it."""

    def __init__(self, cluster: Cluster, tls: EtcdTls) -> None:
        self.cluster = cluster
        self.tls = tls

    def roles(self) -> tuple[Member, Member]:
        """The leader, and a member that does not lead."""
        leads = {}
        for member in self.cluster.members:
            with Hand(member.endpoint, self.tls) as hand:
                leads[hand.is_leader()] = member
        return leads[True], leads[False]

    def store(self, prefix: str, first: Member) -> EtcdStore:
        """A store that talks to this member as long as it answers."""
        others = [member.endpoint for member in self.cluster.members if member is not first]
        settings = EtcdSettings(
            (first.endpoint, *others), prefix=prefix, tls=self.tls, ttl_s=20, commit_s=15.0, read_s=15.0
        )
        return etcd_store(settings, RealClock())


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Three]:
    if why := missing():
        pytest.skip(why)
    authority = TestAuthority(tmp_path / "ca")
    with Cluster(tmp_path, 3, tls=authority.pair("member")) as cluster:
        yield Three(cluster, authority.pair("ours"))


class Writer:
    """Commits batch after batch, as the ledger does; each adds one to what stands under `/n`."""

    def __init__(self, store: EtcdStore) -> None:
        self.store = store
        self.seq = 0
        self.stall_s = 0.0
        self.unknown = 0
        self.failed = 0

    async def write(self, count: int) -> None:
        """Return when so many more are acknowledged."""
        for _ in range(count):
            began_at = elapsed_s()
            await self._commit(Batch(self.seq + 1, puts=[("/n", b"%d" % (self.seq + 1))]))
            self.seq += 1
            self.stall_s = max(self.stall_s, elapsed_s() - began_at)

    async def _commit(self, batch: Batch) -> None:
        while True:
            try:
                await self.store.commit(batch)
                return
            except CommitFailed:
                self.failed += 1
            except CommitUnknown:
                self.unknown += 1
                if await self._seq() == batch.seq:
                    return

    async def _seq(self) -> int:
        while True:
            try:
                return await self.store.batch_seq()
            except StoreError:
                await asyncio.sleep(0.1)


async def followed(store: EtcdStore, last: int) -> list[int]:
    seen = []
    async for batch in store.watch(0):
        seen.append(batch.seq)
        if batch.seq == last:
            break
    return seen


def kill(member: Member) -> None:
    member.kill()


def freeze(member: Member) -> None:
    member.send(signal.SIGSTOP)


@pytest.mark.requirement("INV-4")
@pytest.mark.parametrize(
    ("harm", "who", "first"),
    [
        pytest.param(kill, "leader", "leader", id="the leader is killed, which we talk to"),
        pytest.param(kill, "leader", "follower", id="the leader is killed, behind a follower"),
        pytest.param(kill, "follower", "follower", id="a follower is killed, which we talk to"),
        pytest.param(freeze, "leader", "leader", id="the leader hangs, which we talk to"),
        pytest.param(freeze, "follower", "follower", id="a follower hangs, which we talk to"),
    ],
)
async def test_nothing_is_lost_or_doubled_when_a_member_goes(
    three: Three, harm: Callable[[Member], None], who: str, first: str, record_property: Callable[..., None]
) -> None:
    """Each batch is there once, in order, for the store and its follower; the stall is measured."""
    leader, follower = three.roles()
    roles = {"leader": leader, "follower": follower}
    store = three.store("/killed", roles[first])
    await store.open()
    writer = Writer(store)
    reader = asyncio.create_task(followed(store, BEFORE + AFTER))
    await writer.write(BEFORE)
    before_s = writer.stall_s
    harming = asyncio.create_task(asyncio.to_thread(harm, roles[who]))
    await writer.write(AFTER)
    await harming
    assert await live(store) == {"/n": b"%d" % (BEFORE + AFTER)}
    assert await store.batch_seq() == BEFORE + AFTER
    assert await reader == list(range(1, BEFORE + AFTER + 1))
    survivor = next(member for member in three.cluster.members if member is not roles[who])
    with Hand(survivor.endpoint, three.tls) as hand:
        assert hand.version_of("/killed/live/n") == BEFORE + AFTER
    if harm is freeze:
        roles[who].send(signal.SIGCONT)  # What it has kept back since comes now, and must do nothing.
        await writer.write(20)
        with Hand(roles[who].endpoint, three.tls) as hand:
            assert hand.version_of("/killed/live/n") == BEFORE + AFTER + 20
    await store.close()
    told = f"{writer.stall_s:.2f} s ({before_s * 1_000:.0f} ms before)"
    told += f", {writer.failed} failed, {writer.unknown} unknown"
    record_property("stall", told)
    print(f"stall: {told}")
    assert writer.stall_s < STALL_S_MAX
