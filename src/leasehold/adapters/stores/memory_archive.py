"""The archive over a `Disk` in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from leasehold.adapters.stores.folding import (
    AUDIT_ROWS_MAX,
    FOLDS_MAX,
    PAGE_MAX,
    PRUNED_ROWS,
    added,
    bucket_of,
    merged,
    place_of,
)
from leasehold.adapters.stores.memory import Disk
from leasehold.model.audit import Called, Wanted
from leasehold.ports.archive import Fold
from leasehold.ports.store import cold_key


class MemoryArchive:
    """What the SQLite archive does, on lists. Sizes count values and records only."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    async def finished(
        self, prefix: str, *, limit: int, before: str | None = None
    ) -> Sequence[tuple[str, bytes]]:
        newest_end = {row.key: row.number for row in self._disk.finished}
        rows = [row for row in reversed(self._disk.finished) if row.key.startswith(prefix)]
        rows = [row for row in rows if newest_end[row.key] == row.number or not row.key.startswith("/jobs/")]
        if before is not None:
            newest = max((row.number for row in self._disk.finished if row.key == before), default=0)
            rows = [row for row in rows if row.number < newest]
        return [(row.key, row.value) for row in rows[: min(limit, PAGE_MAX)]]

    async def find(self, key: str) -> bytes | None:
        return next((row.value for row in reversed(self._disk.finished) if row.key == key), None)

    async def events(self, *, after: int, limit: int) -> Sequence[bytes]:
        return [row.record for row in self._disk.events if row.last > after][: min(limit, PAGE_MAX)]

    async def fold(self, folds: Sequence[Fold]) -> None:
        for fold in folds:
            place = (bucket_of(fold.last_wall_ms), fold.holder, fold.code)
            kept = self._disk.folds.get(place)
            self._disk.folds[place] = fold if kept is None else merged(kept, fold)

    async def folds(self, *, holder: str | None, since_wall_ms: int) -> Sequence[Fold]:
        together: dict[tuple[str, str], Fold] = {}
        for fold in self._disk.folds.values():
            if fold.last_wall_ms >= since_wall_ms and holder in (None, fold.holder):
                kept = together.get((fold.holder, fold.code))
                together[fold.holder, fold.code] = fold if kept is None else merged(kept, fold)
        newest_first = sorted(
            together.values(), key=lambda fold: (-fold.last_wall_ms, fold.holder, fold.code)
        )
        return newest_first[:FOLDS_MAX]

    async def record(self, calls: Sequence[Called]) -> None:
        disk = self._disk
        for call in calls:
            place = place_of(call)
            if place is not None:
                for row in [row for row in disk.audit if place_of(row) == place]:
                    disk.audit.remove(row)
                    call = added(call, first_wall_ms=row.first_wall_ms, count=row.count)
            disk.audit_seq += 1
            disk.audit.append(replace(call, seq=disk.audit_seq))

    async def recorded(self, wanted: Wanted) -> Sequence[Called]:
        rows = [row for row in self._disk.audit if _is_wanted(row, wanted)]
        limit = min(wanted.limit, PAGE_MAX)
        return rows[:limit] if wanted.after is not None else rows[-limit:]

    async def prune(
        self, *, before_wall_ms: int, bytes_max: int, apart: Mapping[str, int] | None = None
    ) -> int:
        disk = self._disk
        over = self._size() > bytes_max
        past = [row for row in disk.finished if row.wall_ms < _until(row.key, before_wall_ms, apart or {})]
        ended = (disk.finished if over else past)[:PRUNED_ROWS]
        events = [row for row in disk.events[:PRUNED_ROWS] if over or row.wall_ms < before_wall_ms]
        folds = [place for place in disk.folds if place[0] < bucket_of(before_wall_ms)][:PRUNED_ROWS]
        disk.finished = [row for row in disk.finished if row not in ended]
        kept = {row.key for row in disk.finished} | disk.live.keys()
        for row in ended:
            if row.key not in kept:
                disk.cold.pop(cold_key(row.key), None)
        disk.events = [row for row in disk.events if row not in events]
        for place in folds:
            del disk.folds[place]
        return len(ended) + len(events) + len(folds) + self._prune_audit(before_wall_ms)

    def _size(self) -> int:
        disk = self._disk
        cold = {cold_key(row.key) for row in disk.finished} & disk.cold.keys()
        size = sum(len(row.value) for row in disk.finished) + sum(len(disk.cold[key]) for key in cold)
        return size + sum(len(row.record) for row in disk.events)

    def _prune_audit(self, before_wall_ms: int) -> int:
        disk = self._disk
        old = [row for row in disk.audit if row.last_wall_ms < before_wall_ms][:PRUNED_ROWS]
        kept = [row for row in disk.audit if row not in old]
        over = min(max(0, len(kept) - AUDIT_ROWS_MAX), PRUNED_ROWS)
        disk.audit = kept[over:]
        return len(old) + over


def _is_wanted(row: Called, wanted: Wanted) -> bool:
    if wanted.after is not None and row.seq <= wanted.after:
        return False
    if wanted.before is not None and row.seq >= wanted.before:
        return False
    if row.last_wall_ms < wanted.since_wall_ms or wanted.outcome not in (None, row.outcome):
        return False
    who = wanted.who
    if who is None or who in (row.who, row.credential_id):
        return True
    return row.who == f"user:{who}" or row.who.startswith(f"token:{who}/")


def _until(key: str, before_wall_ms: int, apart: Mapping[str, int]) -> int:
    """When what ended under this key is past its time."""
    return apart.get(key[: key.find("/", 1) + 1], before_wall_ms)
