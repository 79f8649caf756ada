"""The contract of a store's cold part: written with the rest, never loaded, read by key (QUEUE-14)."""

from __future__ import annotations

import random

import pytest

from leasehold.model.ids import sortable
from leasehold.ports.store import READ_MAX, Batch, CommitFailed, CommitUnknown, Snapshot, StoreError, cold_key
from leasehold.testing.store_subject import Subject, Trouble, awaited, live, opened


def job(number: int) -> str:
    """The key of a job, as the ledger makes it."""
    return f"/jobs/{sortable(number)}"


class ColdContract:
    """What any store must do with cold keys. `subject` is a fixture."""

    @pytest.mark.requirement("QUEUE-14")
    @awaited
    async def test_cold_rows_are_durable_and_not_loaded(self, subject: Subject) -> None:
        """They outlive the handle and are read by key; the load has everything else."""
        async with opened(subject) as store:
            await store.commit(
                Batch(1, puts=[(job(7), b"hot"), (cold_key(job(7)), b"c" * 1_024), ("/leases/a", b"1")])
            )
        async with opened(subject) as store:
            assert await store.load() == Snapshot(1, 0, [(job(7), b"hot"), ("/leases/a", b"1")])
            asked = [
                cold_key(job(7)),
                cold_key(job(8)),
                job(7),
                "/leases/a",
                "/leases/b",
                cold_key("/leases/a"),
            ]
            assert await store.read(asked) == {
                cold_key(job(7)): b"c" * 1_024,
                job(7): b"hot",
                "/leases/a": b"1",
            }
            assert await store.read([]) == {}

    @awaited
    async def test_any_key_may_be_of_a_job_or_cold(self, subject: Subject) -> None:
        """Keys that look like a job's, and do not, are told apart; values come back byte by byte."""
        names = [
            *(sortable(number) for number in (0, 1, 31, 32, 10**15, (1 << 53) - 1, (1 << 55) - 1)),
            "0000000000i", "0000000000A", "0000000000", "000000000001", "", "x/y", "ä\U0001f512",
            "-0000000001", " 0000000001", "0000000001 ", "0_000000001", "z", "zzzzzzzzzzzz",
        ]  # fmt: skip
        keys = [f"/{noun}/{name}" for noun in ("jobs", "jobs2", "leases") for name in names]
        values = [b"", b"\0", b"\0\0", bytes(range(256)), b"x" * 9_000]
        hot = {key: values[place % 5] for place, key in enumerate(keys)}
        cold = {cold_key(key): values[place % 4] + b"c" for place, key in enumerate(keys)}
        async with opened(subject) as store:
            await store.commit(Batch(1, puts=[*hot.items()]))
            await store.commit(Batch(2, puts=[*cold.items()]))
            records = (await store.load()).records
            assert list(records) == sorted(hot.items())
            assert await store.read([*hot, *cold]) == hot | cold
            gone = keys[::2]
            await store.commit(Batch(3, deletes=[*gone, *map(cold_key, keys[1::2])]))
            assert await live(store) == {key: hot[key] for key in keys if key not in gone}
            assert (await store.read([*map(cold_key, keys)])).keys() == {cold_key(key) for key in gone}

    @awaited
    async def test_cold_rows_are_replaced_and_deleted_like_any(self, subject: Subject) -> None:
        """A put replaces, a delete removes, each only its own key, and what is not there may be deleted."""
        one, two = cold_key(job(1)), cold_key(job(2))
        async with opened(subject) as store:
            await store.commit(Batch(1, puts=[(job(1), b"h"), (one, b"1"), (two, b"2")]))
            await store.commit(Batch(2, puts=[(one, b"")], deletes=[two, cold_key(job(3)), job(1)]))
            assert await store.read([job(1), one, two]) == {one: b""}
            await store.commit(Batch(3, puts=[(two, b"again")], deletes=[one]))
            assert await store.read([one, two]) == {two: b"again"}
            assert await live(store) == {}

    @pytest.mark.requirement("INV-4")
    @awaited
    async def test_what_did_not_commit_has_no_cold_rows(self, subject: Subject) -> None:
        """A batch that failed left nothing that could be read, before and after a reopening."""
        key = cold_key(job(1))
        async with opened(subject) as store:
            await store.commit(Batch(1, puts=[(key, b"1")]))
            subject.arm(Trouble.FAILED)
            with pytest.raises(CommitFailed):
                await store.commit(Batch(2, puts=[(key, b"2"), (cold_key(job(2)), b"2")]))
            assert await store.read([key, cold_key(job(2))]) == {key: b"1"}
        async with opened(subject) as store:
            assert await store.read([key, cold_key(job(2))]) == {key: b"1"}

    @pytest.mark.requirement("INV-4")
    @pytest.mark.parametrize("trouble", [Trouble.UNKNOWN_COMMITTED, Trouble.UNKNOWN_LOST])
    @awaited
    async def test_an_unknown_outcome_is_one_for_hot_and_cold(
        self, subject: Subject, trouble: Trouble
    ) -> None:
        """Once `batch_seq` can be told, the cold rows are those of that batch, and so they stay."""
        key = cold_key(job(1))
        async with opened(subject) as store:
            await store.commit(Batch(1, puts=[(job(1), b"1"), (key, b"cold-1")]))
            subject.arm(trouble)
            with pytest.raises(CommitUnknown):
                await store.commit(Batch(2, puts=[(job(1), b"2"), (key, b"cold-2")]))
            subject.heal()
            seq = await store.batch_seq()
            wanted = {job(1): b"%d" % seq, key: b"cold-%d" % seq}
            assert await store.read(list(wanted)) == wanted
        async with opened(subject) as store:
            assert await store.read(list(wanted)) == wanted

    @pytest.mark.requirement("QUEUE-14")
    @awaited
    async def test_what_finishes_keeps_its_cold_row(self, subject: Subject) -> None:
        """The hot record leaves; the cold one can be read until the archive drops the end."""
        key = cold_key(job(1))
        async with opened(subject) as store:
            await store.commit(Batch(1, puts=[(job(1), b"hot"), (key, b"cold")]))
            await store.commit(Batch(2, finishes=[(job(1), b"end")]))
            assert await live(store) == {}
            assert await store.read([job(1), key]) == {key: b"cold"}

    @awaited
    async def test_a_cold_key_does_not_finish(self, subject: Subject) -> None:
        """Its maker has a bug and is told so; nothing is written."""
        async with opened(subject) as store:
            with pytest.raises(ValueError, match="cold"):
                await store.commit(Batch(1, finishes=[(cold_key(job(1)), b"x")]))
            assert await store.batch_seq() == 0

    @pytest.mark.requirement("INV-8")
    @awaited
    async def test_a_read_is_bounded(self, subject: Subject) -> None:
        """As many keys as the limit come at once, one more is refused; a key asked for twice comes once."""
        rows = [(cold_key(job(number)), b"%d" % number) for number in range(READ_MAX)]
        async with opened(subject) as store:
            for seq, start in enumerate(range(0, READ_MAX, 50), 1):
                await store.commit(Batch(seq, puts=rows[start : start + 50]))
            chance = random.Random(1)
            asked = chance.sample(rows, READ_MAX)
            assert await store.read([key for key, _ in asked]) == dict(rows)
            assert await store.read([rows[0][0]] * 3) == dict(rows[:1])
            with pytest.raises(ValueError, match="1,001"):
                await store.read([key for key, _ in rows] + ["/other"])

    @awaited
    async def test_a_closed_store_reads_nothing(self, subject: Subject) -> None:
        """It answers with an error, and does not hang."""
        store = subject.store()
        with pytest.raises(StoreError):
            await store.read(["/a"])
        await store.open()
        await store.close()
        with pytest.raises(StoreError):
            await store.read(["/a"])

    @awaited
    async def test_followers_get_what_a_load_would_give(self, subject: Subject) -> None:
        """A batch comes to them without its cold rows; they read those when they need them."""
        events = {"events": b"e", "first_event": 1, "last_event": 1}
        async with opened(subject) as store:
            puts = [(job(1), b"hot"), (cold_key(job(1)), b"cold")]
            deletes = ["/a", cold_key(job(2))]
            await store.commit(Batch(1, puts=puts, deletes=deletes, **events))  # type: ignore[arg-type]
            await store.commit(Batch(2, puts=puts[1:]))
            seen = []
            async for batch in store.watch(0):
                seen.append(batch)
                if batch.seq == 2:
                    break
            first = Batch(1, puts=puts[:1], deletes=["/a"], **events)  # type: ignore[arg-type]
            assert [_as_lists(batch) for batch in seen] == [_as_lists(first), _as_lists(Batch(2))]


def _as_lists(batch: Batch) -> tuple[object, ...]:
    parts = (list(batch.puts), list(batch.finishes), list(batch.deletes))
    return (batch.seq, *parts, batch.events, batch.first_event, batch.last_event)
