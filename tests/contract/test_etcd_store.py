"""What the etcd store does beyond the contract: its place, its fence, what is late, and what is too much."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from leasehold.adapters.stores.etcd import reading, upkeep
from leasehold.adapters.stores.etcd.opening import etcd_store
from leasehold.adapters.stores.etcd.session import Session
from leasehold.adapters.stores.etcd.settings import EtcdSettings
from leasehold.adapters.stores.etcd.store import LIMITS, EtcdStore
from leasehold.ports.store import Batch, CommitFailed, Fenced, StoreError, cold_key
from leasehold.runtime.clock import RealClock
from leasehold.testing.store_subject import awaited, live, opened
from tests.contract.etcd_subject import EtcdSubject, behind_a_network, until, when_free

pytestmark = pytest.mark.requirement("CLUSTER-21")


@pytest.fixture(scope="module")
def etcd_network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with behind_a_network(tmp_path_factory.mktemp("etcd")) as network:
        yield network


@pytest.fixture
def subject(etcd_network: Any) -> Iterator[EtcdSubject]:
    subject = EtcdSubject(*etcd_network)
    yield subject
    subject.heal()


def another(subject: EtcdSubject, **changes: object) -> EtcdStore:
    """A store of another server on the same prefix."""
    return etcd_store(subject.settings(**({"name": "the second server"} | changes)), RealClock())


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
    follower = asyncio.create_task(_numbers(store, 99, seen))
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


# -- what does not fit


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
    rows = [(f"/old/{n}", b"old") for n in range(2 * (LIMITS.keys // 3))]
    await store.commit(Batch(1, puts=rows))


@pytest.mark.requirement("INV-4")
@awaited
async def test_a_large_batch_is_whole_after_a_crash(
    subject: EtcdSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed with most of a batch not in its place, the next server has all of it, and followers too."""
    store = another(subject)
    await store.open()
    await with_old_records(store)

    async def never(session: Session) -> None:
        raise StoreError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(Session, "_move", never)
        await store.commit(large(2))
        asked = [key for key, _ in large(2).puts] + [f"/old/{n}" for n in range(600)]
        assert await store.read(asked[:1_000]) == dict(large(2).puts)
        with pytest.raises(StoreError, match="killed here"):
            await store.load()
        with pytest.raises(CommitFailed, match="killed here"):
            await store.commit(Batch(3))
        await store.close()
    assert f"{subject.prefix}/meta/rest" in subject.hand.keys(f"{subject.prefix}/meta/")
    heir = another(subject)
    await heir.open()
    assert f"{subject.prefix}/meta/rest" not in subject.hand.keys(f"{subject.prefix}/meta/")
    assert await live(heir) == dict(large(2).puts)
    batch = await anext(heir.watch(1))
    assert (list(batch.puts), list(batch.finishes)) == (list(large(2).puts), list(large(2).finishes))
    await heir.commit(Batch(3))
    await heir.close()


@awaited
async def test_what_follows_a_large_batch_comes_after_it(subject: EtcdSubject) -> None:
    """Keys that a large batch is still moving to their place are overwritten by the next one, not by it."""
    async with opened(subject) as store:
        await with_old_records(store)
        await store.commit(large(2))
        await store.commit(Batch(3, deletes=[key for key, _ in large(2).puts]))
        await store.commit(Batch(4, puts=[("/old/0", b"again")]))
        assert await live(store) == {"/old/0": b"again"}


@pytest.mark.requirement("INV-8")
@awaited
async def test_what_etcd_finds_too_large_is_refused_as_a_whole(subject: EtcdSubject) -> None:
    """Long keys that end are written thrice: over etcd's 1.5 MiB it says so, and the store goes on."""
    async with opened(subject) as store:
        await store.commit(Batch(1))
        ends = [(f"/{n}/" + "k" * 5_000, b"x" * 200) for n in range(180)]
        with pytest.raises(CommitFailed, match="max-request-bytes"):
            await store.commit(Batch(2, finishes=ends))
        await store.commit(Batch(2, puts=[("/a", b"1")]))
        assert await live(store) == {"/a": b"1"}


@pytest.mark.slow
@awaited
async def test_a_load_is_taken_in_pages_that_fit(
    subject: EtcdSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than an answer may hold is loaded all the same, in order and once."""
    monkeypatch.setattr(reading, "PAGE_KEYS", 40)
    value = b"x" * (1 << 20)
    rows = [(f"/large/{n:02}", value) for n in range(35)] + [(f"/small/{n:03}", b"s") for n in range(300)]
    async with opened(subject) as store:
        for seq, row in enumerate(rows[:35], 1):
            await store.commit(Batch(seq, puts=[row]))
        await store.commit(Batch(36, puts=rows[35:]))
        assert (await store.load()).records == rows
        assert await store.read([key for key, _ in rows]) == dict(rows)


# -- space


@pytest.mark.requirement("CLUSTER-23")
@awaited
async def test_a_full_etcd_says_what_to_do(subject: EtcdSubject) -> None:
    """Without space nothing is written, what is there can be read, and after the alarm it goes on."""
    store = another(subject)
    await store.open()
    await store.commit(Batch(1, puts=[("/a", b"1")]))
    subject.hand.full(True)
    subject.is_full = True
    with pytest.raises(CommitFailed, match=r"etcdctl alarm disarm"):
        await store.commit(Batch(2))
    assert await live(store) == {"/a": b"1"}
    subject.heal()
    await store.commit(Batch(2))
    await store.close()


@pytest.mark.requirement("CLUSTER-23")
@awaited
async def test_history_is_compacted_and_records_are_forgotten(
    subject: EtcdSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old revisions go, a span later; who follows from there, or from a forgotten batch, loads again."""
    monkeypatch.setattr(upkeep, "COMPACTED_BYTES", 40_000)
    before = subject.hand.revision()
    async with opened(subject) as store:
        for seq in range(1, 31):
            await store.commit(Batch(seq, puts=[("/a", b"%05d" % seq * 1_000)]))
        with pytest.raises(StoreError, match="compacted in etcd: load the store again"):
            await anext(store.watch(0))
        with pytest.raises(Exception, match="compacted"):
            subject.hand.at(before)
        assert (await anext(store.watch(29))).seq == 30
        await store.forget(29)
        assert subject.hand.keys(f"{subject.prefix}/events/") == [f"{subject.prefix}/events/{30:016}"]
        with pytest.raises(StoreError, match="no longer kept"):
            await anext(store.watch(20))
        assert (await anext(store.watch(29))).seq == 30


@pytest.mark.requirement("CLUSTER-23")
@awaited
async def test_records_end_by_themselves(subject: EtcdSubject, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record of a batch is bound to an etcd lease; where that is gone, the next batch gets another."""
    monkeypatch.setattr(upkeep, "SHARED_RECORDS", 3)
    async with opened(subject) as store:
        for seq in range(1, 6):
            await store.commit(Batch(seq, puts=[("/a", b"%d" % seq)]))
        leases = [subject.hand.lease_of(f"{subject.prefix}/events/{seq:016}") for seq in range(1, 6)]
        assert leases[0] == leases[1] == leases[2] != leases[3] == leases[4]
        assert subject.hand.lease_of(f"{subject.prefix}/live/a") == 0
        for lease in set(leases):
            subject.hand.revoke(lease)
        assert subject.hand.keys(f"{subject.prefix}/events/") == []
        with pytest.raises(CommitFailed, match="lease not found"):
            await store.commit(Batch(6))
        await store.commit(Batch(6))
        assert await live(store) == {"/a": b"5"}


# -- followers


@awaited
async def test_a_follower_outlives_a_broken_network(subject: EtcdSubject) -> None:
    """Its stream is cut again and again; it sees each batch once, in order."""
    store = another(subject, endpoints=(subject.proxy.endpoint, subject.hand_endpoint), commit_s=20.0)
    await store.open()
    reader = asyncio.create_task(_numbers(store, 60))
    for seq in range(1, 61):
        await store.commit(Batch(seq, puts=[("/a", b"%d" % seq)]))
        if seq % 10 == 0:
            subject.proxy.cut()
            await asyncio.sleep(0.05)
    assert await reader == list(range(1, 61))
    await store.close()


async def _numbers(store: EtcdStore, last: int, seen: list[int] | None = None) -> list[int]:
    """The numbers of the batches that a follower gets; they can be seen while it follows."""
    seen = [] if seen is None else seen
    async for batch in store.watch(0):
        seen.append(batch.seq)
        if batch.seq == last:
            return seen
    return seen


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
