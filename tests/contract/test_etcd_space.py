"""What the etcd store does beyond the contract: what does not fit, and what fills up."""

from __future__ import annotations

import pytest

from leasehold.adapters.stores.etcd import reading, upkeep
from leasehold.adapters.stores.etcd.session import Session
from leasehold.ports.store import Batch, CommitFailed, StoreError
from leasehold.testing.store_subject import awaited, live, opened
from tests.contract.etcd_subject import (
    EtcdSubject,
    another,
    large,
    with_old_records,
)

pytestmark = pytest.mark.requirement("CLUSTER-21")


# -- what does not fit


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
