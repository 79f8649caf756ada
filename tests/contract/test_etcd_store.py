"""What the etcd store does beyond the contract: its place, its fence, what is late."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from leasehold.adapters.stores.etcd import messages as m
from leasehold.adapters.stores.etcd.opening import etcd_store
from leasehold.adapters.stores.etcd.settings import EtcdSettings
from leasehold.ports.store import Batch, Fenced, StoreError, cold_key
from leasehold.runtime.clock import RealClock
from leasehold.testing.store_subject import awaited, live, opened
from tests.contract.etcd_subject import (
    EtcdSubject,
    another,
    large,
    numbers,
    until,
    when_free,
    with_old_records,
)

pytestmark = pytest.mark.requirement("CLUSTER-21")


# -- the leader's place


@pytest.mark.requirement("INV-2")
@awaited
async def test_the_place_names_its_holder_and_what_to_do(subject: EtcdSubject) -> None:
    """A second server is told who holds the store and when its place would be free."""
    async with opened(subject):
        with pytest.raises(StoreError, match=r"held by the first server: stop that one first.*within 30 s"):
            await another(subject).open()


@pytest.mark.requirement("INV-3")
@awaited
async def test_who_has_lost_its_place_is_fenced(subject: EtcdSubject) -> None:
    """When the leader's key is gone, and when another has taken it, nothing of the former commits."""
    async with opened(subject) as former:
        await former.commit(Batch(1, puts=[("/a", b"1")]))
        subject.hand.delete(f"{subject.prefix}/leader")
        with pytest.raises(Fenced, match="leader's key is gone"):
            await former.commit(Batch(2, puts=[("/a", b"2")]))
        latter = another(subject)
        await latter.open()
        with pytest.raises(Fenced, match="held by the second server now"):
            await former.commit(Batch(2, puts=[("/a", b"2")]))
        await latter.commit(Batch(2, puts=[("/a", b"3")]))
        with pytest.raises(Fenced):
            await former.commit(Batch(2, puts=[("/a", b"2")]))
        with pytest.raises(Fenced):
            await former.forget(2)
        await former.close()
        assert await live(latter) == {"/a": b"3"}
        await latter.commit(Batch(3))
        await latter.close()


@pytest.mark.requirement("INV-3")
@awaited
async def test_a_write_past_the_leader_fences_it(subject: EtcdSubject) -> None:
    """Whoever changes `batch_seq` behind the leader's back ends its leadership, place or not."""
    async with opened(subject) as store:
        await store.commit(Batch(1))
        subject.hand.put(f"{subject.prefix}/meta/batch_seq", b"2 0")
        with pytest.raises(Fenced, match="stands at batch 2"):
            await store.commit(Batch(2, puts=[("/a", b"2")]))


@pytest.mark.slow
@awaited
async def test_an_idle_or_busy_leader_keeps_its_place(subject: EtcdSubject) -> None:
    """Longer than its lease lasts it neither commits nor lets its event loop turn, and still leads."""
    store = another(subject, ttl_s=3)
    await store.open()
    await store.commit(Batch(1))
    time.sleep(7.0)  # noqa: ASYNC251 - a loop that does not turn is what is tested
    await store.commit(Batch(2))
    await store.close()


@pytest.mark.slow
@awaited
async def test_a_silent_leader_is_followed_by_another(subject: EtcdSubject) -> None:
    """Its lease ends without renewals; then the place is free, and the silent one is fenced."""
    silent, heir = another(subject, ttl_s=2), another(subject)
    await silent.open()
    await silent.commit(Batch(1, puts=[("/a", b"1")]))
    await asyncio.to_thread(silent._held()._place._tenure.stop)  # type: ignore[union-attr]
    await when_free(heir.open)
    assert await live(heir) == {"/a": b"1"}
    with pytest.raises(Fenced):
        await silent.commit(Batch(2))
    await silent.close()
    await heir.commit(Batch(2))
    await heir.close()


@awaited
async def test_closing_leaves_nothing_running(subject: EtcdSubject) -> None:
    """No task, no thread of ours and no key of the leader outlives it, whatever was under way."""
    before = asyncio.all_tasks()
    store = another(subject)
    await store.open()
    await store.commit(large(1))
    seen: list[int] = []
    follower = asyncio.create_task(numbers(store, 99, seen))
    await until(lambda: seen)
    await store.close()
    assert await follower == [1]
    assert asyncio.all_tasks() == before
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("leasehold")] == []
    assert f"{subject.prefix}/leader" not in subject.hand.keys(f"{subject.prefix}/")


@awaited
async def test_an_open_that_fails_leaves_the_place_free(subject: EtcdSubject) -> None:
    """Keys of another program and a later form are refused with a sentence, and nothing of theirs changes."""
    subject.hand.put(f"{subject.prefix}/mine", b"1")
    with pytest.raises(StoreError, match="keys of another program"):
        await another(subject).open()
    assert subject.hand.keys(subject.prefix + "/") == [f"{subject.prefix}/mine"]
    subject.hand.delete(f"{subject.prefix}/mine")
    subject.hand.put(f"{subject.prefix}/meta/format", b"7")
    with pytest.raises(StoreError, match="run the newer version"):
        await another(subject).open()


@awaited
async def test_ledgers_share_an_etcd_by_their_prefixes(subject: EtcdSubject) -> None:
    """Two stores in one etcd, of which one's name begins the other's, know nothing of each other."""
    near = another(subject, prefix=f"{subject.prefix}-b")
    async with opened(subject) as store:
        await near.open()
        await near.commit(Batch(1, puts=[("/a", b"theirs")]))
        await store.commit(Batch(1, puts=[("/a", b"ours"), (cold_key("/a"), b"c")]))
        assert await live(near) == {"/a": b"theirs"}
        assert await live(store) == {"/a": b"ours"}
        assert await near.read(["/a", cold_key("/a")]) == {"/a": b"theirs"}
        followed = [await anext(near.watch(0)), await anext(store.watch(0))]
        assert [list(batch.puts) for batch in followed] == [[("/a", b"theirs")], [("/a", b"ours")]]
        await near.close()


# -- what is late


@pytest.mark.requirement("INV-3", "INV-4")
@awaited
async def test_a_commit_that_comes_late_does_nothing(subject: EtcdSubject) -> None:
    """One way to etcd keeps a commit back; the store goes on by another, and the late one changes nothing."""
    direct = subject.hand_endpoint
    store = another(subject, endpoints=(subject.proxy.endpoint, direct), commit_s=20.0)
    await store.open()
    await store.commit(Batch(1, puts=[("/a", b"1")]))
    subject.proxy.hold(True)
    await store.commit(Batch(2, puts=[("/a", b"2")]))
    await store.commit(Batch(3, deletes=["/a"]))
    subject.proxy.hold(False)
    for seq in range(4, 10):
        await store.commit(Batch(seq, puts=[("/b", b"%d" % seq)]))
        await asyncio.sleep(0.05)
    assert await live(store) == {"/b": b"9"}
    seen = []
    async for batch in store.watch(0):
        seen.append(batch.seq)
        if batch.seq == 9:
            break
    assert seen == list(range(1, 10))
    await store.close()


@pytest.mark.requirement("INV-3", "INV-4")
@awaited
async def test_no_request_is_done_twice(subject: EtcdSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was ever sent to write something, the network may deliver again: it finds its time gone."""
    sent: list[Any] = []
    async with opened(subject) as store:
        assert store._session is not None
        link = store._session._link
        call = link.call

        async def recorded(method: m.Method, request: Any, within_s: float) -> Any:
            if method is m.TXN and request.compare:
                sent.append(request)
            return await call(method, request, within_s)

        monkeypatch.setattr(link, "call", recorded)
        await with_old_records(store)
        await store.commit(large(2))
        await store.load()
        store._session._unsettled = 3  # As after a commit without an answer: it is settled by a write.
        assert await store.batch_seq() == 2
        await store.commit(Batch(3, deletes=[key for key, _ in large(2).puts]))
        assert len(sent) > 12
        before = subject.hand.revision()
        assert not any(subject.hand.call(m.TXN, request).succeeded for request in sent)
        assert subject.hand.revision() == before
        assert await live(store) == {}


@awaited
async def test_a_cancelled_commit_is_asked_after(subject: EtcdSubject) -> None:
    """Nobody waited for its outcome; the next commit says so, and `batch_seq` tells."""
    async with opened(subject) as store:
        await store.commit(Batch(1))
        subject.proxy.hold(True)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(store.commit(Batch(2, puts=[("/a", b"2")])), 0.3)
        subject.proxy.hold(False)
        with pytest.raises(StoreError, match="ask for batch_seq first"):
            await store.commit(Batch(2))
        seq = await store.batch_seq()
        assert await live(store) == ({"/a": b"2"} if seq == 2 else {})
        await store.commit(Batch(seq + 1))


# -- followers


@awaited
async def test_a_follower_outlives_a_broken_network(subject: EtcdSubject) -> None:
    """Its stream is cut again and again; it sees each batch once, in order."""
    store = another(subject, endpoints=(subject.proxy.endpoint, subject.hand_endpoint), commit_s=20.0)
    await store.open()
    reader = asyncio.create_task(numbers(store, 60))
    for seq in range(1, 61):
        await store.commit(Batch(seq, puts=[("/a", b"%d" % seq)]))
        if seq % 10 == 0:
            subject.proxy.cut()
            await asyncio.sleep(0.05)
    assert await reader == list(range(1, 61))
    await store.close()


# -- settings and errors


@awaited
async def test_an_etcd_that_is_not_there_is_named(subject: EtcdSubject) -> None:
    """The sentence tells the addresses and gRPC's reason; nothing hangs."""
    store = another(subject, endpoints=("127.0.0.1:1",), read_s=0.5)
    with pytest.raises(StoreError, match=r"no member of etcd can be reached \(127.0.0.1:1\): .*refused"):
        await store.open()
    await store.close()


@pytest.mark.parametrize(
    "endpoint", ["", "etcd", "etcd:", ":2379", "etcd:0", "etcd:70000", "https://etcd:2379"]
)
def test_addresses_that_cannot_be_used_are_told(endpoint: str) -> None:
    """Before anything is asked of the network."""
    with pytest.raises(StoreError, match="host:port"):
        etcd_store(EtcdSettings((endpoint,)), RealClock())
