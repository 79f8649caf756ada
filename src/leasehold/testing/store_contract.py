"""The contract of `ports.store`, as a suite that every implementation runs (PROVE-1).

Give a class of tests `StoreContract` as its base and a fixture `subject`. An implementation that passes can
stand under the ledger.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest

from leasehold.ports.store import Batch, CommitFailed, CommitUnknown, Fenced, Snapshot, Store, StoreError
from leasehold.testing.cold_contract import ColdContract
from leasehold.testing.history import KEPT_ENDS, History, check
from leasehold.testing.store_subject import HANG_S, Subject, Trouble, awaited, live, opened

__all__ = ["HANG_S", "StoreContract", "Subject", "Trouble", "awaited", "live", "opened"]


class StoreContract(ColdContract):
    """What any store must do. `subject` is a fixture."""

    @awaited
    async def test_an_empty_store_is_at_zero(self, subject: Subject) -> None:
        """Nothing was ever committed: nothing is there, and the first batch is number 1."""
        async with opened(subject) as store:
            assert await store.load() == Snapshot(0, 0, [])
            assert await store.batch_seq() == 0

    @pytest.mark.requirement("INV-4")
    @awaited
    async def test_what_was_committed_is_there_after_reopening(self, subject: Subject) -> None:
        """Records, batch number and event number outlive the handle that wrote them."""
        async with opened(subject) as store:
            await store.commit(
                Batch(
                    1,
                    puts=[("/leases/b", b"2"), ("/leases/a", b"1")],
                    events=b"e",
                    first_event=1,
                    last_event=3,
                )
            )
            await store.commit(Batch(2, puts=[("/leases/a", b"3")]))
        async with opened(subject) as store:
            assert await store.load() == Snapshot(2, 3, [("/leases/a", b"3"), ("/leases/b", b"2")])
            assert await store.batch_seq() == 2

    @awaited
    async def test_records_load_sorted_by_key(self, subject: Subject) -> None:
        """The order of keys is that of their code points, whatever order they were written in."""
        keys = ["/z", "/a/2", "/a/10", "/Z", "/a", "/ä", "/\U0001f512", "/a/"]
        async with opened(subject) as store:
            await store.commit(Batch(1, puts=[(key, b"x") for key in keys]))
            assert [key for key, _ in (await store.load()).records] == sorted(keys)

    @awaited
    async def test_keys_and_values_come_back_as_they_were(self, subject: Subject) -> None:
        """No byte of a value and no letter of a key means anything to the store."""
        rows = [
            ("/quoted/\"'\\", bytes(range(256))),
            ("/empty", b""),
            ('/json/{"a": [1]}', b'{"a": 1}'),
            ("/long/" + "k" * 500, b"x" * (1 << 20)),
            ("/unicode/ä☃\U0001f512", "☃".encode()),
            ("/zero", b"\0\0"),
            ("/empty/last", b""),
        ]
        async with opened(subject) as store:
            await store.commit(Batch(1, puts=rows))
            await store.commit(Batch(2, puts=[("/empty/alone", b"")]))
            assert await live(store) == dict([*rows, ("/empty/alone", b"")])

    @awaited
    async def test_deletes_and_overwrites_leave_the_last_value(self, subject: Subject) -> None:
        """A delete removes, a put replaces, and deleting what is not there is nothing."""
        async with opened(subject) as store:
            await store.commit(Batch(1, puts=[("/a", b"1"), ("/b", b"1"), ("/c", b"1")]))
            await store.commit(Batch(2, puts=[("/a", b"22")], deletes=["/b", "/never"]))
            assert await live(store) == {"/a": b"22", "/c": b"1"}

    @awaited
    async def test_an_empty_batch_takes_a_number(self, subject: Subject) -> None:
        """A batch without changes is a commit like any other."""
        async with opened(subject) as store:
            await store.commit(Batch(1))
            assert await store.batch_seq() == 1

    @awaited
    async def test_a_batch_without_events_keeps_the_event_number(self, subject: Subject) -> None:
        """`last_event` is the newest event ever, not the last batch's."""
        async with opened(subject) as store:
            await store.commit(Batch(1, events=b"x", first_event=1, last_event=7))
            await store.commit(Batch(2, puts=[("/a", b"1")]))
            assert (await store.load()).last_event == 7

    # -- the fence

    @pytest.mark.requirement("INV-3")
    @pytest.mark.parametrize("seq", [0, 1, 3, 900])
    @awaited
    async def test_a_batch_that_does_not_follow_is_fenced(self, subject: Subject, seq: int) -> None:
        """After batch 1 only batch 2 commits; any other changes nothing at all."""
        async with opened(subject) as store:
            await store.commit(Batch(1, puts=[("/a", b"1"), ("/b", b"1")]))
            with pytest.raises(Fenced):
                await store.commit(
                    Batch(
                        seq, puts=[("/a", b"2")], deletes=["/b"], finishes=[("/c", b"2")],
                        events=b"e", first_event=1, last_event=1,
                    )
                )  # fmt: skip
            assert await store.load() == Snapshot(1, 0, [("/a", b"1"), ("/b", b"1")])
            await store.commit(Batch(2, puts=[("/a", b"3")]))
            assert await live(store) == {"/a": b"3", "/b": b"1"}

    @pytest.mark.requirement("INV-2")
    @awaited
    async def test_one_server_holds_the_store(self, subject: Subject) -> None:
        """A second one is refused with a sentence, and may come when the first has gone."""
        async with opened(subject):
            second = subject.store()
            with pytest.raises(StoreError, match="held by"):
                await second.open()
        async with opened(subject) as store:
            assert await store.batch_seq() == 0

    @awaited
    async def test_a_closed_store_answers_with_an_error(self, subject: Subject) -> None:
        """Closing twice is once; what is asked of a closed store is refused, and does not hang."""
        store = subject.store()
        await store.open()
        await store.close()
        await store.close()
        with pytest.raises(StoreError):
            await store.load()
        with pytest.raises(StoreError):
            await store.commit(Batch(1))
        with pytest.raises(StoreError):
            await store.batch_seq()

    # -- limits

    @pytest.mark.requirement("INV-8")
    @awaited
    async def test_limits_are_kept_exactly(self, subject: Subject) -> None:
        """A batch of as many keys as the limit commits, one more is definitely refused; bytes likewise."""
        async with opened(subject) as store:
            rows = [(f"/k/{number}", b"v") for number in range(store.limits.keys)]
            await store.commit(Batch(1, puts=rows))
            with pytest.raises(CommitFailed, match="keys"):
                await store.commit(Batch(2, puts=rows, deletes=["/other"]))
            key = "/large"
            room = store.limits.bytes - len(key) - 1
            with pytest.raises(CommitFailed, match="bytes"):
                await store.commit(
                    Batch(2, puts=[(key, b"x" * (room + 1))], events=b"e", first_event=1, last_event=1)
                )
            await store.commit(Batch(2, puts=[(key, b"x" * room)], events=b"e", first_event=1, last_event=1))
            assert len(await live(store)) == store.limits.keys + 1

    @awaited
    async def test_the_same_key_twice_is_a_bug_of_the_caller(self, subject: Subject) -> None:
        """It is refused with ValueError before anything is written."""
        async with opened(subject) as store:
            for batch in (
                Batch(1, puts=[("/a", b"1"), ("/a", b"2")]),
                Batch(1, puts=[("/a", b"1")], deletes=["/a"]),
                Batch(1, puts=[("/a", b"1")], finishes=[("/a", b"2")]),
            ):
                with pytest.raises(ValueError, match="/a"):
                    await store.commit(batch)
            assert await store.load() == Snapshot(0, 0, [])

    # -- what goes wrong

    @pytest.mark.requirement("INV-4")
    @awaited
    async def test_a_failed_commit_changes_nothing_and_the_next_works(self, subject: Subject) -> None:
        """CommitFailed is definite: the same number may be used for another batch."""
        async with opened(subject) as store:
            await store.commit(Batch(1, puts=[("/a", b"1")]))
            subject.arm(Trouble.FAILED)
            with pytest.raises(CommitFailed):
                await store.commit(Batch(2, puts=[("/a", b"2"), ("/b", b"2")]))
            assert await store.load() == Snapshot(1, 0, [("/a", b"1")])
            await store.commit(Batch(2, puts=[("/c", b"3")]))
        async with opened(subject) as store:
            assert await store.load() == Snapshot(2, 0, [("/a", b"1"), ("/c", b"3")])

    @pytest.mark.requirement("INV-4")
    @pytest.mark.parametrize("trouble", [Trouble.UNKNOWN_COMMITTED, Trouble.UNKNOWN_LOST])
    @awaited
    async def test_an_unknown_outcome_is_told_by_batch_seq(self, subject: Subject, trouble: Trouble) -> None:
        """Nothing is said while it can't be known; then `batch_seq` tells, and the store goes on."""
        async with opened(subject) as store:
            await store.commit(Batch(1, puts=[("/a", b"1")]))
            subject.arm(trouble)
            with pytest.raises(CommitUnknown):
                await store.commit(Batch(2, puts=[("/a", b"2")]))
            with pytest.raises(StoreError):
                await store.batch_seq()
            subject.heal()
            seq = await store.batch_seq()
            assert seq == (2 if trouble is Trouble.UNKNOWN_COMMITTED else 1)
            assert await live(store) == {"/a": b"2" if seq == 2 else b"1"}
            await store.commit(Batch(seq + 1, puts=[("/b", b"3")]))
            followed = [await anext(batches) async for batches in _watching(store, 1) for _ in range(seq)]
            assert [batch.seq for batch in followed] == list(range(2, seq + 2))
        async with opened(subject) as store:
            assert await live(store) == {"/a": b"2" if seq == 2 else b"1", "/b": b"3"}

    @pytest.mark.requirement("INV-9")
    @awaited
    async def test_a_record_that_cannot_be_read_keeps_its_key(self, subject: Subject) -> None:
        """One spoilt value neither stops the load nor hides its key or any other record."""
        async with opened(subject) as store:
            await store.commit(Batch(1, puts=[(f"/leases/{n}", b"good" * 10) for n in range(5)]))
        subject.damage("/leases/2")
        async with opened(subject) as store:
            records = await live(store)
            assert sorted(records) == [f"/leases/{n}" for n in range(5)]
            assert records["/leases/2"] != b"good" * 10
            assert all(isinstance(value, bytes) for value in records.values())
            await store.commit(Batch(2, finishes=[("/leases/2", b"settled")]))
            assert "/leases/2" not in await live(store)

    # -- followers

    @awaited
    async def test_a_follower_sees_each_batch_once_in_order(self, subject: Subject) -> None:
        """From any kept number on, batches already committed and batches yet to come are one sequence."""
        async with opened(subject) as store:
            batches = [Batch(seq, puts=[("/a", b"%d" % seq)]) for seq in range(1, 7)]
            for batch in batches[:3]:
                await store.commit(batch)
            seen: list[Batch] = []

            async def follow() -> None:
                async for batch in store.watch(1):
                    seen.append(batch)
                    if batch.seq == 6:
                        return

            follower = asyncio.create_task(follow())
            for batch in batches[3:]:
                await store.commit(batch)
            await follower
            assert seen == batches[1:]

    @awaited
    async def test_a_follower_hears_nothing_of_what_did_not_commit(self, subject: Subject) -> None:
        """Fenced and failed batches are in no follower's sequence."""
        async with opened(subject) as store:
            await store.commit(Batch(1))
            subject.arm(Trouble.FAILED)
            with pytest.raises(CommitFailed):
                await store.commit(Batch(2, puts=[("/lost", b"1")]))
            with pytest.raises(Fenced):
                await store.commit(Batch(9, puts=[("/fenced", b"1")]))
            kept = Batch(2, puts=[("/kept", b"1")])
            await store.commit(kept)
            assert [await anext(batches) async for batches in _watching(store, 1)] == [kept]

    @awaited
    async def test_a_follower_from_elsewhere_is_told(self, subject: Subject) -> None:
        """A number that the store has not reached is an error, not a long wait."""
        async with opened(subject) as store:
            await store.commit(Batch(1))
            with pytest.raises(StoreError):
                await anext(store.watch(8))

    @awaited
    async def test_closing_ends_the_followers(self, subject: Subject) -> None:
        """Who follows a store that is closed comes to an end."""
        async with opened(subject) as store:
            follower = asyncio.create_task(_collect(store.watch(0)))
            await asyncio.sleep(0)
        assert await follower == []

    # -- all together

    @pytest.mark.parametrize("seed", range(4))
    @awaited
    async def test_any_history_leaves_what_it_says(self, subject: Subject, seed: int) -> None:
        """Random batches, failures and reopenings leave exactly the records, numbers and ends of a model."""
        chance = random.Random(seed)
        history = History(seed)
        for _ in range(6):
            async with opened(subject) as store:
                await check(store, history, history.seq)
                for _ in range(25):
                    batch = history.next()
                    if chance.random() < 0.1:
                        subject.arm(Trouble.FAILED)
                        with pytest.raises(CommitFailed):
                            await store.commit(batch)
                    await store.commit(batch)
                    history.apply(batch)
                archive = subject.archive(store)
                assert list(await archive.finished("/", limit=KEPT_ENDS)) == history.ended[::-1]
                await subject.close_archive(archive)
                await check(store, history, history.seq)


async def _collect(batches: AsyncIterator[Batch]) -> list[Batch]:
    return [batch async for batch in batches]


async def _watching(store: Store, after_seq: int) -> AsyncIterator[AsyncIterator[Batch]]:
    yield store.watch(after_seq)
