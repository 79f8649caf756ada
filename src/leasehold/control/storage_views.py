"""The care of the store as the API tells it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from leasehold.control import codec
from leasehold.control.views import rfc3339
from leasehold.model.alert import NOTHING_THERE, Reading
from leasehold.model.storage import Listed, Manifest, Since, Sizes, StorageRun
from leasehold.wire import storage as wire

REWRITE_BYTES_PER_S = 100_000_000
"""How fast a file is written anew: the slow end of what was measured."""

KINDS_SHOWN = 20


def age_of(last_good: Manifest | None, since_wall_ms: int, wall_ms: int, *, scheduled: bool) -> Reading:
    """How old the last proven backup is, in hours; where there is none, how long one could have been made."""
    if not scheduled:
        return NOTHING_THERE
    hours = round(
        (wall_ms - (last_good.made_wall_ms if last_good is not None else since_wall_ms)) / 3_600_000, 1
    )
    if last_good is None:
        return Reading(hours, f"there is no backup, {hours:g} h after the start")
    return Reading(hours, f"the last backup that was proven is {hours:g} h old")


def backup(manifest: Manifest) -> wire.BackupOut:
    """A backup that can be used."""
    counts = manifest.counts
    return wire.BackupOut(
        backup_id=manifest.backup_id,
        made_at=rfc3339(manifest.made_wall_ms),
        proven_at=rfc3339(manifest.proven_wall_ms),
        bytes=manifest.bytes,
        records=counts.get("live", 0) + counts.get("jobs", 0),
        jobs=counts.get("jobs", 0),
        reason=manifest.reason,
        version=manifest.version,
        samples=len(manifest.files) > 1,
        unreadable=manifest.unreadable,
    )


def listed(one: Listed) -> wire.BackupOut:
    """A backup, or why it is none."""
    if one.manifest is None:
        return wire.BackupOut(one.backup_id, problem=one.problem)
    return backup(one.manifest)


def run(one: StorageRun) -> wire.CareOut:
    """One piece of care."""
    return wire.CareOut(
        run_id=one.run_id,
        care=one.care.value,
        outcome="failed" if one.why else "done",
        began_at=rfc3339(one.began_wall_ms),
        ended_at=rfc3339(one.ended_wall_ms),
        by=one.by,
        reason=one.reason,
        backup_id=one.backup_id,
        bytes=one.bytes,
        why=one.why,
        kept=one.kept,
    )


def loss(since: Since) -> wire.Loss:
    """What a restore would lose, by the kinds of its events."""
    kinds: Counter[str] = Counter()
    for record in since.events:
        try:
            kinds.update(event.kind for event in codec.decode_events(record))
        except (msgspec.DecodeError, msgspec.ValidationError):
            kinds["unreadable"] += 1
    return wire.Loss(
        events=kinds.total(), by_kind=dict(kinds.most_common(KINDS_SHOWN)), runs_again=since.runs_again
    )


def report(
    sizes: Sizes,
    runs: Sequence[StorageRun],
    last_good: Manifest | None,
    last_failure: StorageRun | None,
    running: str,
    read_only: str,
) -> wire.StorageOut:
    """All of it on one page."""
    return wire.StorageOut(
        file_bytes=sizes.file_bytes,
        free_bytes=sizes.free_pages * sizes.page_bytes,
        fragmentation=round(sizes.fragmentation, 4),
        journal_bytes=sizes.journal_bytes,
        samples_bytes=sizes.samples_bytes,
        disk_free_bytes=sizes.disk_free_bytes,
        in_slices=sizes.in_slices,
        read_only=read_only,
        rewrite_sec=0.0 if sizes.in_slices else round(sizes.file_bytes / REWRITE_BYTES_PER_S + 1),
        last_good_backup=backup(last_good) if last_good is not None else None,
        last_failure=run(last_failure) if last_failure is not None else None,
        running=running,
        runs=[run(one) for one in runs],
    )
