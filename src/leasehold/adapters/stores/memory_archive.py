"""The archive over a `Disk` in memory."""

from __future__ import annotations

from collections.abc import Sequence

from leasehold.adapters.stores.folding import FOLDS_MAX, PAGE_MAX, PRUNED_ROWS, bucket_of, merged
from leasehold.adapters.stores.memory import Disk
from leasehold.ports.archive import Fold


class MemoryArchive:
    """What the SQLite archive does, on lists. Sizes count values and records only."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    async def finished(
        self, prefix: str, *, limit: int, before: str | None = None
    ) -> Sequence[tuple[str, bytes]]:
        rows = [row for row in reversed(self._disk.finished) if row.key.startswith(prefix)]
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

    async def prune(self, *, before_wall_ms: int, bytes_max: int) -> int:
        disk = self._disk
        size = sum(len(row.value) for row in disk.finished) + sum(len(row.record) for row in disk.events)
        over = size > bytes_max
        ended = [row for row in disk.finished[:PRUNED_ROWS] if over or row.wall_ms < before_wall_ms]
        events = [row for row in disk.events[:PRUNED_ROWS] if over or row.wall_ms < before_wall_ms]
        folds = [place for place in disk.folds if place[0] < bucket_of(before_wall_ms)][:PRUNED_ROWS]
        disk.finished = [row for row in disk.finished if row not in ended]
        disk.events = [row for row in disk.events if row not in events]
        for place in folds:
            del disk.folds[place]
        return len(ended) + len(events) + len(folds)
