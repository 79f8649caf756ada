"""The care of the store: when it is due, what it asks first, what is told of it (OPS-15, OPS-16)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest

from leasehold.adapters.stores.memory import Fate, Faults
from leasehold.control.storage import AGAIN_MS, SLICE_PAGES
from leasehold.core import storage as decisions
from leasehold.core.state import State
from leasehold.model.errors import Conflict, NotFound, Unavailable
from leasehold.model.storage import RUNS_KEPT, Care, Intent, Manifest
from leasehold.ports.store import Batch
from leasehold.testing.manual_clock import settled
from leasehold.wire.storage import RestoreIn
from tests.unit.storage_server import ANN, DAY_MS, FRAGMENTED, HOUR_MS, MINUTE_MS, Scene, scene


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def of(number: int, made_ms: int) -> Manifest:
    return Manifest(f"backup-{number}", number, "schedule", made_ms, made_ms, "1", 3, 1, 1, 1, {}, {})


# -- when


@pytest.mark.requirement("OPS-15")
@pytest.mark.parametrize(
    ("last", "now", "due"),
    [
        ("2026-06-01T03:00:10+02:00", "2026-06-02T02:59:59+02:00", False),
        ("2026-06-01T03:00:10+02:00", "2026-06-02T03:00:00+02:00", True),
        ("2026-06-01T12:00:00+02:00", "2026-06-01T23:00:00+02:00", False),
        ("2026-06-01T02:00:00+02:00", "2026-06-01T09:00:00+02:00", True),
        ("2026-03-28T03:00:10+01:00", "2026-03-29T01:59:59+01:00", False),
        ("2026-03-28T03:00:10+01:00", "2026-03-29T03:00:00+02:00", True),
        ("2026-10-24T03:00:10+02:00", "2026-10-25T03:00:00+01:00", True),
    ],
)
def test_a_backup_is_due_at_its_time_of_the_day(last: str, now: str, due: bool) -> None:
    """On the clocks of the place, over both changes of the clocks, and soon after a start that comes late."""
    assert decisions.is_due(at(last), at(now), "03:00", "Europe/Berlin") is due


def test_the_first_backup_is_due_at_once() -> None:
    """Whatever the time."""
    assert decisions.is_due(None, at("2026-06-01T12:00:00Z"), "03:00", "UTC")


def test_the_next_time_is_ahead() -> None:
    """Later today, or tomorrow."""
    now = at("2026-06-01T12:00:00Z")
    assert decisions.next_ms(now, "13:30", "UTC") == at("2026-06-01T13:30:00Z")
    assert decisions.next_ms(now, "12:00", "UTC") == at("2026-06-02T12:00:00Z")


def test_a_backup_from_the_future_tells_nothing() -> None:
    """The clock was set back: else none would be made for years."""
    now = at("2026-06-01T12:00:00Z")
    past, future = of(1, now - HOUR_MS), of(2, now + 365 * DAY_MS)
    assert decisions.last_good([future, past], now) is past
    assert decisions.last_good([future], now) is None


def test_the_newest_are_kept_by_their_numbers() -> None:
    """Not by their times, which the clock may have got wrong; and never none."""
    manifests = [of(number, -number) for number in range(1, 11)]
    assert [one.number for one in decisions.surplus(manifests, 7)] == [1, 2, 3]
    assert [one.number for one in decisions.surplus(manifests[:1], 0)] == []


def test_names_of_replaced_stores_sort_by_time() -> None:
    """They are kept and dropped by name."""
    instant = round(datetime(2026, 1, 2, tzinfo=UTC).timestamp() * 1000)
    names = [decisions.kept_name(instant + step) for step in (0, 1, 999, 1_000, DAY_MS)]
    assert names == sorted(set(names))


# -- by schedule


@pytest.mark.requirement("OPS-15")
async def test_backups_are_made_daily_and_some_are_kept() -> None:
    """One soon after the start, then one each night; each holds a lease that it asked for like everybody."""
    async with scene() as here:
        await here.pass_by(2 * MINUTE_MS, MINUTE_MS)
        assert here.storage.made == ["schedule"]
        here.settings = msgspec.structs.replace(here.settings, keep=3)
        await here.pass_by(4 * DAY_MS, HOUR_MS)
        assert here.storage.made == ["schedule"] * 5
        assert [one.number for one in here.storage.there] == [3, 4, 5]
        kinds = await here.server.events()
        assert kinds.count("BackupMade") == 5
        assert kinds.count("LeaseGranted") == kinds.count("LeaseReleased") == 5


@pytest.mark.requirement("OPS-16")
async def test_while_people_need_the_machine_it_waits_and_after_a_day_it_does_not() -> None:
    """It is BACKGROUND work: a busy machine is left alone, but not for longer than 24 hours."""
    async with scene() as here:
        await here.server.see("BUSY")
        for _ in range(23):
            await here.clock.advance(HOUR_MS)
            await here.server.see("BUSY")
        assert here.storage.made == []
        waiting = here.server.ledger.state.waiters.values()
        assert [one.ask.job_type for one in waiting] == ["store-backup"]
        for _ in range(2):
            await here.clock.advance(HOUR_MS)
            await here.server.see("BUSY")
        assert here.storage.made == ["schedule"]


async def test_a_failure_is_told_and_tried_again_later() -> None:
    """An event, the figures, the report; no sooner than in an hour, and made good by the next that works."""
    async with scene() as here:
        here.storage.problem = "the disk is full"
        await here.pass_by(30 * MINUTE_MS, MINUTE_MS)
        kinds = await here.server.events()
        assert kinds.count("BackupFailed") == 1
        failure = (await here.service.report()).last_failure
        assert failure is not None
        assert (failure.care, failure.outcome, failure.why) == ("backup", "failed", "the disk is full")
        here.storage.problem = ""
        await here.pass_by(AGAIN_MS, MINUTE_MS)
        assert here.storage.made == ["schedule"]
        assert (await here.service.report()).last_failure is None


async def test_it_can_be_turned_off() -> None:
    """Then only people make backups."""
    async with scene() as here:
        here.settings = msgspec.structs.replace(here.settings, enabled=False)
        await here.pass_by(2 * DAY_MS, HOUR_MS)
        assert here.storage.made == []
        assert (await here.service.backups()).next_at is None
        await here.service.backup(ANN)
        assert here.storage.made == ["command"]


async def test_a_clock_that_was_set_back_stops_no_backup() -> None:
    """One from the future counts for nothing; the next is made, once."""
    async with scene() as here:
        here.storage.there = [of(1, here.clock.wall_ms() + 365 * DAY_MS)]
        await here.pass_by(HOUR_MS, MINUTE_MS)
        assert here.storage.made == ["schedule"]


# -- compaction


@pytest.mark.requirement("OPS-16")
async def test_a_fragmented_store_is_compacted_every_six_hours_after_a_fresh_backup() -> None:
    """In slices; one that is hardly fragmented is left alone."""
    async with scene() as here:
        await here.pass_by(HOUR_MS, MINUTE_MS)
        here.storage.now = FRAGMENTED
        await here.pass_by(6 * HOUR_MS, MINUTE_MS)
        assert here.storage.now.free_pages == 0
        assert set(here.storage.slices[:-1]) == {SLICE_PAGES}
        assert here.storage.made == ["schedule"]
        runs = (await here.service.report()).runs
        assert [(one.care, one.bytes) for one in runs if one.care == "compaction"] == [
            ("compaction", 4_000 * 4_096)
        ]
        here.storage.now = msgspec.structs.replace(FRAGMENTED, free_pages=900)
        await here.pass_by(7 * HOUR_MS, HOUR_MS)
        assert (await here.server.events()).count("StoreCompacted") == 1
        here.storage.now = FRAGMENTED
        asked = asyncio.create_task(here.service.compact(ANN))
        await here.pass_by(MINUTE_MS, MINUTE_MS)
        assert (await asked).bytes == 4_000 * 4_096
        assert here.storage.made == ["schedule", "command"]  # The other one was not fresh any more.
        assert (await here.server.events()).count("StoreCompacted") == 2


async def test_a_store_of_before_says_how_it_can_be_compacted() -> None:
    """Not while it serves."""
    async with scene() as here:
        here.storage.now = msgspec.structs.replace(FRAGMENTED, in_slices=False)
        with pytest.raises(Conflict, match="leasehold store compact"):
            await here.service.compact(ANN)
        assert (await here.service.report()).rewrite_sec > 0


# -- what people ask for


async def test_one_piece_of_care_at_a_time() -> None:
    """The second is refused, and told what is under way."""
    async with scene() as here:
        here.service.running = "a backup"
        with pytest.raises(Conflict, match="a backup is under way"):
            await here.service.backup(ANN)
        here.service.running = ""


@pytest.mark.requirement("OPS-15")
async def test_a_damaged_backup_is_refused_and_reported() -> None:
    """In words, as an event, among the runs; and nothing is noted for a restart."""
    async with scene() as here:
        made = await here.service.backup(ANN)
        here.storage.problem = f"{made.backup_id} is damaged: leasehold.sqlite3 is not what was written"
        for ask in (
            here.service.check(ANN, made.backup_id),
            here.service.restore(ANN, RestoreIn(made.backup_id)),
        ):
            with pytest.raises(Conflict, match="is damaged"):
                await ask
        assert (here.restarts, here.storage.intents) == (0, [])
        assert (await here.server.events()).count("BackupDamaged") == 2
        here.storage.damaged[made.backup_id] = "manifest.json does not fit its own checksum"
        with pytest.raises(Conflict, match="checksum"):
            await here.service.restore(ANN, RestoreIn(made.backup_id))
        with pytest.raises(NotFound, match="no backup backup-77"):
            await here.service.restore(ANN, RestoreIn("backup-77"))


async def test_a_restore_tells_what_it_takes_and_then_starts_anew() -> None:
    """A dry run changes nothing; the real one is noted first."""
    async with scene() as here:
        made = await here.service.backup(ANN)
        told = await here.service.restore(ANN, RestoreIn(made.backup_id, dry_run=True))
        assert told.loss is not None
        assert (told.loss.events, told.loss.by_kind, told.loss.runs_again) == (
            2,
            {"JobSubmitted": 1, "unreadable": 1},
            2,
        )
        assert (told.restarting, here.restarts, here.storage.intents) == (False, 0, [])
        asked = await here.service.restore(ANN, RestoreIn(made.backup_id))
        (intent,) = here.storage.intents
        assert (here.restarts, asked.restarting, asked.restore_id) == (1, True, intent.restore_id)
        assert (intent.folder, intent.by) == (f"/backups/{made.backup_id}", "user:ann")


async def test_what_cannot_be_noted_is_not_restored() -> None:
    """A full disk: nothing is stopped for it."""
    async with scene() as here:
        made = await here.service.backup(ANN)

        async def full(intent: Intent) -> None:
            here.storage.problem = "the disk is full"
            here.storage._fail()

        here.storage.intend = full  # type: ignore[method-assign]
        with pytest.raises(Unavailable, match="the disk is full"):
            await here.service.restore(ANN, RestoreIn(made.backup_id))
        assert here.restarts == 0


# -- what is told


class FullDisk(Faults):
    """Fails commits while it is told to."""

    full = False

    def fate(self, batch: Batch) -> Fate:
        return Fate.FAILED if self.full else Fate.COMMITTED


@pytest.mark.requirement("OPS-17")
async def test_a_failure_on_a_full_disk_is_noted_once_there_is_room() -> None:
    """The store takes no writes: the failure is shown all the same, and committed first afterwards."""
    async with scene() as here:
        faults = FullDisk()
        here.server.store._faults = faults
        faults.full, here.storage.problem = True, "no space left"
        with pytest.raises(Unavailable, match="no space left"):
            await here.service.backup(ANN)
        assert (await here.service.report()).last_failure is not None
        assert here.server.ledger.read_only
        faults.full = False
        await here.clock.advance(3_000)
        await settled()
        assert (await here.server.events()).count("BackupFailed") == 1


async def test_the_last_twenty_runs_of_each_kind_are_kept() -> None:
    """Oldest first to go; other kinds are not touched."""
    async with scene() as here:
        await here.service.backup(ANN)
        for _ in range(RUNS_KEPT + 5):
            await here.service.check(ANN, "backup-1")
            await here.clock.advance(1_000)
        state: State = here.server.ledger.state
        counts = [sum(run.care is care for run in state.storage_runs.values()) for care in Care]
        assert dict(zip(Care, counts, strict=True)) == {
            Care.BACKUP: 1,
            Care.CHECK: RUNS_KEPT,
            Care.COMPACTION: 0,
            Care.RESTORE: 0,
        }


async def test_a_restore_that_could_not_be_done_is_told_by_its_own_id() -> None:
    """Whoever asked for it finds it after the restart."""
    async with scene() as here:
        intent = Intent("care-7", "backup-1", "/backups/backup-1", "kept", "user:ann", 5)
        await here.service.failed_restore(intent, "backup-1 is damaged")
        runs = (await here.service.report()).runs
        assert [(one.run_id, one.outcome, one.why) for one in runs] == [
            ("care-7", "failed", "backup-1 is damaged")
        ]
        assert "RestoreFailed" in await here.server.events()


async def test_what_failed_last_is_known_after_a_restart() -> None:
    """The alert on it does not end by a restart."""
    async with scene() as here:
        here.storage.problem = "the disk is full"
        with pytest.raises(Unavailable):
            await here.service.backup(ANN)
        again = Scene(here.server, here.storage)
        again.service.start()
        assert set(again.service.failing) == {Care.BACKUP}
        await again.service.stop()
        assert here.storage.closed
