"""Decisions about the care of the store: when a backup is due, which are too many, what a restore means."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from leasehold.core.calendar import zone_of
from leasehold.core.state import LEASES, STORAGE_RUNS, Change, Outcome, Stamp, State
from leasehold.model.event import Event
from leasehold.model.lease import Flag, Lease
from leasehold.model.storage import RUNS_KEPT, Care, Manifest, Sizes, StorageRun

REPLACED = "leasehold.sqlite3.replaced-"

AHEAD_MS = 300_000
"""A backup that is newer than the clock by more than this was made before the clock was set back."""

COMPACT_ABOVE = 0.10
"""OPS-16: the share of free pages above which a compaction is worth it."""

COMPACT_BYTES_MIN = 1 << 20
"""Less than this is not worth a backup first."""

EVENTS = {
    (Care.BACKUP, True): "BackupMade",
    (Care.BACKUP, False): "BackupFailed",
    (Care.CHECK, True): "BackupChecked",
    (Care.CHECK, False): "BackupDamaged",
    (Care.COMPACTION, True): "StoreCompacted",
    (Care.COMPACTION, False): "CompactionFailed",
    (Care.RESTORE, True): "StoreRestored",
    (Care.RESTORE, False): "RestoreFailed",
}
"""By what was done, and whether it went well."""


def last_good(manifests: Sequence[Manifest], wall_ms: int) -> Manifest | None:
    """The newest backup that the clock knows of: one from the future tells nothing about how old they are."""
    past = [one for one in manifests if one.made_wall_ms <= wall_ms + AHEAD_MS]
    return max(past, key=lambda one: (one.made_wall_ms, one.number), default=None)


def is_due(last_wall_ms: int | None, wall_ms: int, at: str, zone: str) -> bool:
    """Whether the time of the day `at` (HH:MM on the clocks of the zone) has come since the last backup."""
    if last_wall_ms is None:
        return True
    hour, minute = map(int, at.split(":"))
    now = datetime.fromtimestamp(wall_ms / 1000, zone_of(zone))
    then = now.replace(hour=hour, minute=minute, second=0, microsecond=0, fold=0)
    if then > now:
        then = (then - timedelta(days=1)).replace(fold=0)
    return last_wall_ms < then.timestamp() * 1000


def next_ms(wall_ms: int, at: str, zone: str) -> int:
    """The next instant at which the clocks of the zone show `at`."""
    hour, minute = map(int, at.split(":"))
    now = datetime.fromtimestamp(wall_ms / 1000, zone_of(zone))
    then = now.replace(hour=hour, minute=minute, second=0, microsecond=0, fold=0)
    if then <= now:
        then = (then + timedelta(days=1)).replace(fold=0)
    return round(then.timestamp() * 1000)


def kept_name(wall_ms: int) -> str:
    """The name that a replaced store gets: names sort by time."""
    then = datetime.fromtimestamp(wall_ms / 1000, UTC)
    return f"{REPLACED}{then:%Y%m%d-%H%M%S}-{wall_ms % 1000:03}"


def surplus(manifests: Sequence[Manifest], keep: int) -> list[Manifest]:
    """Those beyond the newest `keep`, by their numbers: the clock may have been set back."""
    return sorted(manifests, key=lambda one: one.number)[: max(0, len(manifests) - max(1, keep))]


def is_fragmented(sizes: Sizes) -> bool:
    """Whether a compaction is worth it."""
    return sizes.fragmentation > COMPACT_ABOVE and sizes.free_pages * sizes.page_bytes >= COMPACT_BYTES_MIN


def ran(run: StorageRun, state: State, stamp: Stamp) -> Outcome:
    """Note a piece of care, and forget the oldest of its kind beyond the last 20."""
    outcome = Outcome()
    outcome.changes.append(Change(STORAGE_RUNS, run.run_id, run))
    alike = [one for one in state.storage_runs.values() if one.care is run.care and one.run_id != run.run_id]
    alike.sort(key=lambda one: (one.ended_wall_ms, one.run_id))
    for old in alike[: max(0, len(alike) - RUNS_KEPT + 1)]:
        outcome.changes.append(Change(STORAGE_RUNS, old.run_id, None))
    outcome.events.append(_event(run, stamp))
    return outcome


def newest_of_each(state: State) -> list[StorageRun]:
    """The last run of each kind of care."""
    newest: dict[Care, StorageRun] = {}
    for run in sorted(state.storage_runs.values(), key=lambda one: (one.ended_wall_ms, one.run_id)):
        newest[run.care] = run
    return list(newest.values())


def taken_up(state: State, stamp: Stamp) -> Outcome:
    """The store was restored and nobody has noticed yet: its live leases are LOST (OPS-15).

    Each stays charged for one more time to live. Who holds it proves that by its next heartbeat: its id, and
    the token of its generation; bound processes of another boot are known to be gone by their boot's id.
    """
    outcome = Outcome()
    fresh = [run for run in state.storage_runs.values() if run.fresh]
    for run in sorted(fresh, key=lambda one: one.run_id):
        outcome.changes.append(Change(STORAGE_RUNS, run.run_id, replace(run, fresh=False)))
        event = _event(run, stamp)
        outcome.events.append(event)
    if not fresh:
        return outcome
    lost = [lease for lease in state.leases.values() if _may_be_lost(lease)]
    for lease in sorted(lost, key=lambda one: one.token):
        marked = replace(lease, flags=(*lease.flags, Flag.LOST))
        outcome.changes.append(Change(LEASES, lease.lease_id, marked))
        details = {"holder": lease.ask.holder, "why": "the store was restored"}
        outcome.events.append(Event("LeaseLost", lease.lease_id, stamp.wall_ms, details=details))
    return outcome


def _may_be_lost(lease: Lease) -> bool:
    return lease.is_live and lease.ask.guard is None and Flag.LOST not in lease.flags


def _event(run: StorageRun, stamp: Stamp) -> Event:
    details: dict[str, object] = {"reason": run.reason, "took_ms": run.ended_wall_ms - run.began_wall_ms}
    details |= {"bytes": run.bytes} if run.bytes else {}
    details |= {"why": run.why} if run.why else {}
    details |= {"kept": run.kept, "made_wall_ms": run.made_wall_ms} if run.kept else {}
    kind = EVENTS[run.care, not run.why]
    return Event(kind, run.backup_id or "store", stamp.wall_ms, run.by, details=details)
