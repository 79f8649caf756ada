"""The contract of `ports.archive`, as a suite that every implementation runs (PROVE-1)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace

from leasehold.model.audit import Called, Wanted
from leasehold.model.ids import sortable
from leasehold.ports.archive import Archive, Fold
from leasehold.ports.store import Batch, Store, cold_key
from leasehold.testing.store_subject import Subject, awaited, live, opened

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
ALL = 1 << 60
"""More bytes than any test writes."""


class ArchiveSubject(Subject):
    """A durable state whose wall clock can be set: `wall_ms` stamps what the next commits finish."""

    wall_ms: int


@asynccontextmanager
async def beside(subject: Subject) -> AsyncIterator[tuple[Store, Archive]]:
    """An open store and its archive for the length of the block."""
    async with opened(subject) as store:
        archive = subject.archive(store)
        try:
            yield store, archive
        finally:
            await subject.close_archive(archive)


class ArchiveContract:
    """What any archive must do. `subject` is a fixture."""

    @awaited
    async def test_finishing_moves_a_record_in_one_commit(self, subject: ArchiveSubject) -> None:
        """A finished record is in the archive and not live, also one that was never live."""
        async with beside(subject) as (store, archive):
            await store.commit(Batch(1, puts=[("/leases/a", b"1"), ("/leases/b", b"1")]))
            assert await archive.find("/leases/a") is None
            await store.commit(Batch(2, finishes=[("/leases/a", b"2"), ("/leases/c", b"3")]))
            assert await live(store) == {"/leases/b": b"1"}
            assert await archive.find("/leases/a") == b"2"
            assert await archive.find("/leases/c") == b"3"
            assert await archive.find("/leases/b") is None

    @awaited
    async def test_finished_records_come_newest_first_in_pages(self, subject: ArchiveSubject) -> None:
        """Pages by the last key of the one before show each record of the noun once, newest end first."""
        async with beside(subject) as (store, archive):
            ended = []
            for seq in range(1, 8):
                rows = [(f"/leases/{seq * 37 % 11}-{n}", b"%d" % seq) for n in range(3)]
                await store.commit(Batch(seq, finishes=[*rows, (f"/jobs/{seq}", b"j")]))
                ended.extend(rows)
            seen: list[tuple[str, bytes]] = []
            before = None
            while page := await archive.finished("/leases/", limit=4, before=before):
                assert len(page) <= 4
                seen.extend(page)
                before = page[-1][0]
            assert seen == ended[::-1]
            assert len(await archive.finished("/jobs/", limit=100)) == 7
            assert len(await archive.finished("/", limit=100)) == 28
            assert await archive.finished("/leases/", limit=5, before="/leases/none") == []

    @awaited
    async def test_a_prefix_may_be_part_of_an_id(self, subject: ArchiveSubject) -> None:
        """`/leases/lease-7f` finds what begins so, and letters of patterns mean themselves."""
        async with beside(subject) as (store, archive):
            keys = [
                "/leases/lease-7fa",
                "/leases/lease-7fb",
                "/leases/lease-8",
                "/leases/lease-%",
                "/jobs/lease-7f",
            ]
            await store.commit(Batch(1, finishes=[(key, b"x") for key in keys]))
            assert [key for key, _ in await archive.finished("/leases/lease-7f", limit=9)] == keys[1::-1]
            assert [key for key, _ in await archive.finished("/leases/lease-%", limit=9)] == [
                "/leases/lease-%"
            ]

    @awaited
    async def test_a_key_that_ended_twice_is_found_as_it_last_was(self, subject: ArchiveSubject) -> None:
        """`find` answers with the newest end."""
        async with beside(subject) as (store, archive):
            for seq in (1, 2, 3):
                await store.commit(Batch(seq, finishes=[("/leases/a", b"%d" % seq)]))
            assert await archive.find("/leases/a") == b"3"

    @awaited
    async def test_events_come_from_a_number_in_order(self, subject: ArchiveSubject) -> None:
        """A record that holds any event above the number asked for is in the answer, none below it."""
        async with beside(subject) as (store, archive):
            await store.commit(Batch(1, events=b"1-3", first_event=1, last_event=3))
            await store.commit(Batch(2, puts=[("/a", b"1")]))
            await store.commit(Batch(3, events=b"4-9", first_event=4, last_event=9))
            assert await archive.events(after=0, limit=10) == [b"1-3", b"4-9"]
            assert await archive.events(after=2, limit=10) == [b"1-3", b"4-9"]
            assert await archive.events(after=3, limit=10) == [b"4-9"]
            assert await archive.events(after=0, limit=1) == [b"1-3"]
            assert await archive.events(after=9, limit=10) == []

    @pytest.mark.requirement("INV-8")
    @awaited
    async def test_a_page_is_bounded(self, subject: ArchiveSubject) -> None:
        """No limit asked for gives more than 1,000 rows."""
        async with beside(subject) as (store, archive):
            await store.commit(Batch(1, finishes=[(f"/leases/{n}", b"x") for n in range(1_100)]))
            assert len(await archive.finished("/leases/", limit=100_000)) == 1_000

    @pytest.mark.requirement("LEASE-16")
    @awaited
    async def test_counters_fold_per_holder_and_code(self, subject: ArchiveSubject) -> None:
        """First, last, count and the last sentence, over as many flushes as there were, newest first."""
        async with beside(subject) as (_, archive):
            at = 1_000 * HOUR_MS
            await archive.fold(
                [Fold("a", "BUSY", at, at + 10, 3, "old"), Fold("b", "BUSY", at, at + 5, 1, "b")]
            )
            await archive.fold(
                [Fold("a", "BUSY", at + 20, at + 90, 4, "new"), Fold("a", "FULL", at, at, 1, "f")]
            )
            await archive.fold([Fold("a", "BUSY", at + 2 * HOUR_MS, at + 2 * HOUR_MS, 5, "newest")])
            every = [
                Fold("a", "BUSY", at, at + 2 * HOUR_MS, 12, "newest"),
                Fold("b", "BUSY", at, at + 5, 1, "b"),
                Fold("a", "FULL", at, at, 1, "f"),
            ]
            assert await archive.folds(holder=None, since_wall_ms=0) == every
            assert await archive.folds(holder="b", since_wall_ms=0) == every[1:2]
            assert await archive.folds(holder="nobody", since_wall_ms=0) == []
            recent = await archive.folds(holder=None, since_wall_ms=at + HOUR_MS)
            assert recent == [Fold("a", "BUSY", at + 2 * HOUR_MS, at + 2 * HOUR_MS, 5, "newest")]

    @pytest.mark.requirement("LEASE-16")
    @awaited
    async def test_what_is_past_its_time_goes_in_slices(self, subject: ArchiveSubject) -> None:
        """Ended records, events and counters older than the time go, in slices; live and newer ones stay."""
        async with beside(subject) as (store, archive):
            subject.wall_ms = 10 * DAY_MS
            old = [(f"/leases/old-{n}", b"x") for n in range(1_234)]
            await store.commit(Batch(1, finishes=old, events=b"old", first_event=1, last_event=1))
            await archive.fold([Fold("a", "OLD", 10 * DAY_MS, 10 * DAY_MS, 1)])
            subject.wall_ms = 20 * DAY_MS
            await archive.fold([Fold("a", "NEW", 20 * DAY_MS, 20 * DAY_MS, 1)])
            new = Batch(
                2, puts=[("/leases/live", b"x")], finishes=[("/leases/new", b"x")],
                events=b"new", first_event=2, last_event=2,
            )  # fmt: skip
            await store.commit(new)
            slices = []
            while went := await archive.prune(before_wall_ms=15 * DAY_MS, bytes_max=ALL):
                slices.append(went)
            assert sum(slices) == 1_234 + 1 + 1
            assert len(slices) > 1
            assert await archive.finished("/", limit=1_000) == [("/leases/new", b"x")]
            assert await archive.events(after=0, limit=10) == [b"new"]
            assert [fold.code for fold in await archive.folds(holder=None, since_wall_ms=0)] == ["NEW"]
            assert await live(store) == {"/leases/live": b"x"}
            assert await archive.find("/leases/old-7") is None

    @pytest.mark.requirement("QUEUE-14")
    @awaited
    async def test_a_noun_may_have_a_time_of_its_own(self, subject: ArchiveSubject) -> None:
        """Finished jobs go sooner, or stay longer, than everything else, however they lie among it."""
        async with beside(subject) as (store, archive):
            for day in range(1, 5):
                subject.wall_ms = day * DAY_MS
                rows = [(f"/{noun}/{day}-{n:03}", b"x") for n in range(400) for noun in ("jobs", "leases")]
                number = {"first_event": day, "last_event": day}
                await store.commit(Batch(day, finishes=rows, events=b"%d" % day, **number))  # type: ignore[arg-type]

            async def left(jobs_day: int, others_day: int) -> tuple[set[str], set[str], int]:
                apart = {"/jobs/": jobs_day * DAY_MS}
                while await archive.prune(before_wall_ms=others_day * DAY_MS, bytes_max=ALL, apart=apart):
                    pass
                jobs, leases = [
                    {key.split("-")[0] for key, _ in await archive.finished(f"/{noun}/", limit=1_000)}
                    for noun in ("jobs", "leases")
                ]
                return jobs, leases, len(await archive.events(after=0, limit=9))

            assert await left(3, 1) == ({"/jobs/3", "/jobs/4"}, {"/leases/2", "/leases/3", "/leases/4"}, 4)
            assert await archive.find("/leases/1-007") == b"x"
            assert await archive.find("/jobs/2-007") is None
            assert await left(3, 5) == ({"/jobs/3", "/jobs/4"}, set(), 0)

    @pytest.mark.requirement("QUEUE-14")
    @awaited
    async def test_a_job_that_ended_twice_is_listed_once(self, subject: ArchiveSubject) -> None:
        """Pages by cursor come to an end, and show each job as it last ended, in the order of those ends."""
        keys = [f"/jobs/{sortable(number)}" for number in range(1, 10)]
        async with beside(subject) as (store, archive):
            await store.commit(Batch(1, finishes=[(key, b"first") for key in keys]))
            await store.commit(Batch(2, puts=[(key, b"again") for key in keys[2:6]]))
            await store.commit(Batch(3, finishes=[(key, b"second") for key in keys[2:6]]))
            await store.commit(Batch(4, finishes=[(keys[3], b"third")]))
            wanted = [(keys[3], b"third"), *((keys[n], b"second") for n in (5, 4, 2))]
            wanted += [(keys[n], b"first") for n in (8, 7, 6, 1, 0)]
            seen: list[tuple[str, bytes]] = []
            while page := await archive.finished("/jobs/", limit=2, before=seen[-1][0] if seen else None):
                seen.extend(page)
                assert len(seen) <= len(keys)
            assert seen == wanted
            assert await archive.find(keys[3]) == b"third"

    @pytest.mark.requirement("LEASE-16", "QUEUE-14")
    @awaited
    async def test_what_lives_costs_the_history_nothing(self, subject: ArchiveSubject) -> None:
        """Its size is that of what has ended, payloads with it; a queue of any length is no part of that."""
        async with beside(subject) as (store, archive):
            keys = [f"/jobs/{sortable(number)}" for number in range(1, 101)]
            puts = [row for key in keys for row in ((key, b"hot"), (cold_key(key), b"c" * 10_000))]
            await store.commit(Batch(1, puts=puts, finishes=[("/leases/a", b"end")]))
            assert await archive.prune(before_wall_ms=0, bytes_max=100_000) == 0
            await store.commit(Batch(2, finishes=[(key, b"end") for key in keys[:9]]))
            assert await archive.prune(before_wall_ms=0, bytes_max=100_000) == 0
            await store.commit(Batch(3, finishes=[(key, b"end") for key in keys[9:12]]))
            assert await archive.prune(before_wall_ms=0, bytes_max=100_000) > 0
            assert await archive.find(keys[0]) is None
            assert (await store.read([cold_key(key) for key in keys[:12]])) == {}
            assert len(await store.read([cold_key(key) for key in keys[12:]])) == 88
            await store.commit(Batch(4, finishes=[(keys[50], b"end")]))
            assert await archive.prune(before_wall_ms=0, bytes_max=100_000) == 0, "what went counts no more"

    @pytest.mark.requirement("LEASE-16")
    @awaited
    async def test_over_its_size_the_oldest_goes_first(self, subject: ArchiveSubject) -> None:
        """Only as much goes as is too much, from the old end, whatever its time; live records never do."""
        async with beside(subject) as (store, archive):
            subject.wall_ms = 20 * DAY_MS
            value = b"x" * 1_000
            for seq in range(1, 9):
                rows = [(f"/leases/{seq}-{n}", value) for n in range(500)]
                await store.commit(Batch(seq, finishes=rows, puts=[(f"/live/{seq}", value)]))
            while await archive.prune(before_wall_ms=0, bytes_max=2_500_000):
                pass
            left = [key for key, _ in await archive.finished("/leases/", limit=1_000)]
            assert left[0] == "/leases/8-499"
            assert await archive.find("/leases/1-0") is None
            assert await archive.find("/leases/7-0") == value
            assert len(await live(store)) == 8

    @pytest.mark.requirement("QUEUE-14")
    @awaited
    async def test_a_cold_row_goes_with_its_last_end(self, subject: ArchiveSubject) -> None:
        """Only what neither lives again nor ended once more later loses its cold part."""
        day, keys = 10 * DAY_MS, [f"/jobs/{sortable(number)}" for number in range(1, 5)]
        cold = {cold_key(key): b"cold" for key in keys}
        async with beside(subject) as (store, archive):
            subject.wall_ms = day
            await store.commit(Batch(1, puts=[*((key, b"hot") for key in keys), *cold.items()]))
            await store.commit(Batch(2, finishes=[(key, b"first") for key in keys[:3]]))
            subject.wall_ms = 2 * day
            await store.commit(Batch(3, puts=[(key, b"again") for key in keys[1:3]]))
            await store.commit(Batch(4, finishes=[(keys[2], b"second")]))
            assert await store.read(list(cold)) == cold
            while await archive.prune(before_wall_ms=day + 1, bytes_max=ALL):
                pass
            assert await archive.find(keys[0]) is None
            assert await archive.find(keys[2]) == b"second"
            assert (await store.read(list(cold))).keys() == set(list(cold)[1:])
            assert (await live(store)).keys() == {keys[1], keys[3]}
            await store.commit(Batch(5, finishes=[(keys[1], b"second")]))
            while await archive.prune(before_wall_ms=3 * day, bytes_max=ALL):
                pass
            assert (await store.read(list(cold))).keys() == {cold_key(keys[3])}

    @awaited
    async def test_folding_and_pruning_leave_batches_alone(self, subject: ArchiveSubject) -> None:
        """The archive's own writes take no batch number and end no writer's leadership."""
        async with beside(subject) as (store, archive):
            await store.commit(Batch(1))
            await archive.fold([Fold("a", "BUSY", 1, 1, 1)])
            await archive.prune(before_wall_ms=0, bytes_max=ALL)
            await store.commit(Batch(2))
            assert await store.batch_seq() == 2

    @pytest.mark.requirement("OPS-7")
    @awaited
    async def test_calls_of_their_own_are_rows_by_number(self, subject: ArchiveSubject) -> None:
        """Each comes back as it was, numbered, in pages forward and in pages from the new end."""
        async with beside(subject) as (_, archive):
            calls = [call(n, ids={"node_id": f"n{n}"}, pid=n, request_id=f"{n:016x}") for n in range(1, 8)]
            await archive.record(calls[:3])
            await archive.record(calls[3:])
            rows = [replace(one, seq=n) for n, one in enumerate(calls, 1)]
            assert await archive.recorded(Wanted(after=0)) == rows
            assert await archive.recorded(Wanted(after=2, limit=3)) == rows[2:5]
            assert await archive.recorded(Wanted(limit=2)) == rows[5:]
            assert await archive.recorded(Wanted(before=6, limit=2)) == rows[3:5]
            assert await archive.recorded(Wanted(after=7)) == []

    @pytest.mark.requirement("OPS-7", "LEASE-16")
    @awaited
    async def test_calls_alike_fold_into_one_row_an_hour(self, subject: ArchiveSubject) -> None:
        """First, last, count and what the last one said; the row moves to the end with each change."""
        async with beside(subject) as (store, archive):
            at = 1_000 * HOUR_MS
            one = call(at, status=401, folded=True, count=3, pid=7)
            other = call(at + 2, status=401, folded=True, address="10.0.0.9")
            await archive.record([one, other])
            later = call(at + 9, status=401, folded=True, count=4, pid=8, request_id="new")
            await archive.record([replace(later, first_wall_ms=at + 5)])
            whole = replace(later, first_wall_ms=at, count=7, seq=3)
            assert await archive.recorded(Wanted(after=0)) == [replace(other, seq=2), whole]
            assert await archive.recorded(Wanted(after=2)) == [whole], "who follows sees the change"
            await archive.record([replace(one, first_wall_ms=at + HOUR_MS, last_wall_ms=at + HOUR_MS)])
            assert [row.count for row in await archive.recorded(Wanted())] == [1, 7, 3]
            assert await store.batch_seq() == 0, "no batch is made of it"

    @pytest.mark.requirement("OPS-7")
    @awaited
    async def test_the_audit_is_asked_by_who_outcome_and_time(self, subject: ArchiveSubject) -> None:
        """By a principal or the id of its credential, by what came of it, and by when it was."""
        async with beside(subject) as (_, archive):
            await archive.record(
                [
                    call(1, who="ann"),
                    call(2, who="nobody", credential_id="tok-1", status=401),
                    call(3, who="ann", status=403),
                    call(4, who="ann", status=409),
                    call(5, who="system", status=0),
                    call(6, who="user:bob"),
                    call(7, who="token:ci/tok-2", credential_id="tok-2"),
                    call(8, who="token:ci%/tok-3"),
                ]
            )

            async def found(**wanted: Any) -> list[int]:
                return [row.seq for row in await archive.recorded(Wanted(**wanted))]

            assert await found(who="ann") == [1, 3, 4]
            assert await found(who="tok-1") == [2]
            assert await found(who="an") == []
            assert await found(outcome="denied") == [2, 3]
            assert await found(outcome="done", who="ann") == [1]
            assert await found(outcome="done") == [1, 6, 7, 8]
            assert await found(outcome="failed") == [4]
            assert await found(outcome="lost") == [5]
            assert await found(since_wall_ms=7) == [7, 8]
            assert await found(who="bob") == await found(who="user:bob") == [6]
            assert await found(who="ci") == await found(who="tok-2") == [7]
            assert await found(who="token") == []

    @pytest.mark.requirement("OPS-7", "LEASE-16")
    @awaited
    async def test_the_audit_goes_with_its_time_and_not_with_the_size_of_events(
        self, subject: ArchiveSubject
    ) -> None:
        """What is older goes in slices; a store over its size costs no record of the audit."""
        async with beside(subject) as (_, archive):
            await archive.record([call(n) for n in range(700)])
            await archive.record([call(9_000), call(9_001, folded=True, status=401)])
            assert await archive.prune(before_wall_ms=0, bytes_max=0) == 0
            slices = []
            while went := await archive.prune(before_wall_ms=9_000, bytes_max=ALL):
                slices.append(went)
            assert sum(slices) == 700
            assert len(slices) > 1
            assert [row.last_wall_ms for row in await archive.recorded(Wanted())] == [9_000, 9_001]

    @pytest.mark.requirement("INV-8")
    @awaited
    async def test_a_page_of_the_audit_is_bounded(self, subject: ArchiveSubject) -> None:
        """No limit asked for gives more than 1,000 records."""
        async with beside(subject) as (_, archive):
            await archive.record([call(n) for n in range(1_100)])
            assert len(await archive.recorded(Wanted(limit=100_000))) == 1_000
            assert len(await archive.recorded(Wanted(after=0, limit=100_000))) == 1_000


def call(wall_ms: int, **more: Any) -> Called:
    """A record of the audit, of this time."""
    given = {"who": "ann", "what": "PUT /api/nodes/{node_id}/admission", "status": 200, **more}
    return Called(first_wall_ms=wall_ms, last_wall_ms=wall_ms, **given)
