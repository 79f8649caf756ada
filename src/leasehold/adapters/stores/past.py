"""A data folder read by somebody who is not its server, which may run or not: nothing is locked or made."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from leasehold.adapters.stores.samples import FILE as SAMPLES_FILE
from leasehold.adapters.stores.sqlite import FILE_NAME
from leasehold.ports.store import StoreError

ROWS_MAX = 1_000_000


class PastRows:
    """Finished and live rows and samples of a data folder. Raises StoreError that names the file."""

    def __init__(self, folder: Path) -> None:
        self._store = folder / FILE_NAME
        self._samples = folder / SAMPLES_FILE
        if not self._store.is_file():
            raise StoreError(f"{folder} is no data folder of leasehold: there is no {FILE_NAME} in it")

    def finished(self, noun: str, since_wall_ms: int) -> Iterator[tuple[str, bytes]]:
        """Records of a noun that ended at `since_wall_ms` or later, oldest first; the newest million."""
        query = (
            "SELECT key, value FROM (SELECT id, key, value FROM finished WHERE noun = ? AND wall_ms >= ?"
            " ORDER BY id DESC LIMIT ?) ORDER BY id"
        )
        yield from self._rows(self._store, query, (f"/{noun}/", since_wall_ms, ROWS_MAX))

    def live(self, noun: str) -> Iterator[tuple[str, bytes]]:
        """Live records of a noun."""
        query = "SELECT key, value FROM live WHERE key >= ? AND key < ? LIMIT ?"
        yield from self._rows(self._store, query, (f"/{noun}/", f"/{noun}0", ROWS_MAX))

    def samples(self, group: str, since_wall_ms: int) -> Iterator[tuple[int, str]]:
        """(wall ms, payload) of a group from `since_wall_ms` on, in order; none where no history is kept."""
        if self._samples.is_file():
            query = (
                "SELECT timestamp, payload_json FROM stats_samples WHERE metric_group = ? AND timestamp >= ?"
                " ORDER BY timestamp LIMIT ?"
            )
            yield from self._rows(self._samples, query, (group, since_wall_ms, ROWS_MAX))

    @staticmethod
    def _rows(file: Path, query: str, values: tuple[object, ...]) -> Iterator[tuple]:  # type: ignore[type-arg]
        try:
            with contextlib.closing(
                sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)
            ) as connection:
                yield from connection.execute(query, values)
        except sqlite3.Error as error:
            raise StoreError(f"{file} can't be read: {error}") from error
