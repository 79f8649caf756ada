"""The whole ledger on etcd: killed, superseded, and without its store for a while."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from leasehold.control.ledger import Ledger
from leasehold.model.errors import LeaseholdError, NotLeader, NotReady, OutcomeUnknown, StoreUnavailable
from leasehold.model.lease import Lease
from leasehold.ports.store import StoreError
from leasehold.testing.etcd import Cluster, missing
from leasehold.testing.etcd_hand import Hand
from leasehold.testing.etcd_load import TTL_S, granted, ledger_on, store_at
from tests.contract.etcd_subject import until, when_free

pytestmark = [pytest.mark.requirement("CLUSTER-21"), pytest.mark.slow]

PREFIXES = itertools.count(1)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if why := missing():
        pytest.skip(why)
    with Cluster(tmp_path_factory.mktemp("etcd")) as cluster:
        yield cluster


@pytest.fixture
def prefix() -> str:
    return f"/ledger-{next(PREFIXES)}"


@asynccontextmanager
async def started(cluster: Cluster, prefix: str, name: str) -> AsyncIterator[Ledger]:
    """A ledger that has taken its place as soon as that was free."""
    ledger = ledger_on(store_at(cluster.endpoints[0], prefix, name))
    await when_free(ledger.start)
    try:
        yield ledger
    finally:
        await ledger.stop()


@pytest.mark.requirement("INV-3", "INV-4")
async def test_a_killed_server_has_lost_no_lease(cluster: Cluster, prefix: str) -> None:
    """What was acknowledged before kill -9 is there for the next one, which goes on with higher tokens."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "leasehold.testing.etcd_load", cluster.endpoints[0], prefix,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    told = [(await child.stdout.readline()).split() for _ in range(120)]
    second = ledger_on(store_at(cluster.endpoints[0], prefix, "the second server"))
    with pytest.raises(StoreError, match=f"held by process {child.pid}"):
        await second.start()
    child.kill()
    told += [
        line.split() for line in (await child.stdout.read()).splitlines(keepends=True) if line.endswith(b"\n")
    ]
    await child.wait()
    async with started(cluster, prefix, "the second server") as ledger:
        held = {lease.lease_id: lease.token for lease in ledger.state.leases.values()}
        assert len(told) >= 120
        assert {lease_id.decode(): int(token) for lease_id, token in told}.items() <= held.items()
        assert len(held) <= len(told) + 1
        lease = await granted(ledger, "parent")
        assert lease.token > max(held.values())


@pytest.mark.requirement("INV-3")
async def test_a_superseded_ledger_grants_nothing_more(cluster: Cluster, prefix: str) -> None:
    """Another takes the place behind its back: its first commit after that fails, and it says why."""
    async with started(cluster, prefix, "the first server") as former:
        kept = await granted(former, "ann")
        with Hand(cluster.endpoints[0]) as hand:
            hand.delete(f"{prefix}/leader")
        async with started(cluster, prefix, "the second server") as latter:
            assert [lease.token for lease in latter.state.leases.values()] == [kept.token]
            with pytest.raises(NotLeader, match="held by the second server now"):
                await granted(former, "bob")
            with pytest.raises(NotLeader):
                await granted(former, "bob")
            assert [lease.ask.holder for lease in former.state.leases.values()] == ["ann"]
            await granted(latter, "cyd")
            assert {lease.ask.holder for lease in latter.state.leases.values()} == {"ann", "cyd"}


@pytest.mark.requirement("INV-4", "OPS-17")
async def test_without_etcd_for_a_while_it_goes_on(cluster: Cluster, prefix: str) -> None:
    """Killed between two commits, etcd is missed with STORE_UNAVAILABLE; when it is back grants go on."""
    async with started(cluster, prefix, "the first server") as ledger:
        before = await granted(ledger, "ann")
        cluster.members[0].kill()
        with pytest.raises(StoreUnavailable, match="no member of etcd can be reached"):
            await granted(ledger, "bob")
        assert ledger.read_only
        assert await ledger.read(lambda state: len(state.leases)) == 1
        await asyncio.sleep(TTL_S + 1)  # Longer than the leader's lease: nobody counted its time meanwhile.
        await asyncio.to_thread(cluster.restart, cluster.members[0])
        after = await once_possible(ledger)
        assert after.token > before.token
        assert {lease.ask.holder for lease in ledger.state.leases.values()} == {"ann", "dan"}
        assert not ledger.lost


@pytest.mark.requirement("INV-4")
async def test_etcd_killed_under_load_loses_nothing(cluster: Cluster, prefix: str) -> None:
    """Commits are under way when it dies: who got a lease has it, who got an error may ask again."""
    async with started(cluster, prefix, "the first server") as ledger:
        acknowledged: list[str] = []
        refused: list[LeaseholdError] = []
        stopping = asyncio.Event()

        async def caller(number: int) -> None:
            while not stopping.is_set():
                try:
                    acknowledged.append((await granted(ledger, f"holder-{number}")).lease_id)
                except (StoreUnavailable, NotReady, OutcomeUnknown) as error:
                    refused.append(error)
                    await asyncio.sleep(0.1)

        callers = [asyncio.create_task(caller(number)) for number in range(16)]
        await until(lambda: len(acknowledged) >= 200)
        await asyncio.to_thread(cluster.members[0].kill)
        await until(lambda: refused)
        await asyncio.to_thread(cluster.restart, cluster.members[0])
        done = len(acknowledged)
        await until(lambda: len(acknowledged) >= done + 200)
        stopping.set()
        await asyncio.gather(*callers)
        assert not ledger.lost
        in_memory = set(ledger.state.leases)
    async with started(cluster, prefix, "the second server") as again:
        assert set(acknowledged) <= set(again.state.leases)
        assert in_memory == set(again.state.leases)
        assert len(acknowledged) == len(set(acknowledged))


async def once_possible(ledger: Ledger) -> Lease:
    """A lease as soon as the store takes one."""
    while True:
        try:
            return await granted(ledger, "dan")
        except (StoreUnavailable, NotReady, OutcomeUnknown):
            await asyncio.sleep(0.1)
