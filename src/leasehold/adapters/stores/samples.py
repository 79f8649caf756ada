"""Samples and streaks in a SQLite file of their own, on a thread of its own (SENSE-14…16).

`synchronous=NORMAL`: a power loss may take the last commits, never the file. One day of one node with 8
cores, 4 mounts and 4 interfaces is under 15 MB (tests/unit/test_samples_size.py).
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Sequence

import structlog

from leasehold.core.streaks import Streak
from leasehold.model.errors import Unavailable
from leasehold.ports.samples import Bucket, Sample
from leasehold.runtime.lanes import ThreadLane

log = structlog.get_logger(__name__)

FILE = "samples.sqlite3"
RAW_DAYS = 7
STREAK_DAYS = 730
DAY_MS = 86_400_000
PRUNED_PER_WRITE = 64  # rows; sixteen times what a write adds, so pruning catches up and no write is long
FREED_PAGES_PER_WRITE = 32
BUCKETS_MAX = 10_000
WAL_PAGES = 64  # half a megabyte beside the file; a checkpoint every two minutes
SCHEMA_VERSION = 1
# Rows lie in the order of time, so that pages fill up; kept by key, each payload would spill over a page.
SCHEMA = """
PRAGMA page_size = 8192;
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
BEGIN;
CREATE TABLE stats_samples (
    timestamp INTEGER NOT NULL, metric_group TEXT NOT NULL, payload_json TEXT NOT NULL
);
CREATE UNIQUE INDEX stats_samples_by_group ON stats_samples (metric_group, timestamp);
CREATE TABLE stats_rollups (
    step_sec INTEGER NOT NULL, metric_group TEXT NOT NULL, timestamp INTEGER NOT NULL,
    payload_json TEXT NOT NULL
);
CREATE UNIQUE INDEX stats_rollups_by_group ON stats_rollups (step_sec, metric_group, timestamp);
CREATE TABLE quiet_streaks (
    start_time INTEGER PRIMARY KEY, end_time INTEGER NOT NULL, avg_score REAL NOT NULL,
    min_score INTEGER NOT NULL, score_sum INTEGER NOT NULL, seen INTEGER NOT NULL
);
CREATE INDEX quiet_streaks_by_end ON quiet_streaks (end_time);
CREATE TABLE open_streak (
    one INTEGER PRIMARY KEY CHECK (one = 1), start_time INTEGER NOT NULL, end_time INTEGER NOT NULL,
    min_score INTEGER NOT NULL, score_sum INTEGER NOT NULL, seen INTEGER NOT NULL
);
PRAGMA user_version = 1;
COMMIT;
"""
AGGREGATES = {
    "mean": "avg(value)",
    "min": "min(value)",
    "max": "max(value)",
    "count": "count(value)",
    "last": "value",
}


class SqliteSamples:
    """The port `Samples`.

    A file that can't be read is set aside and a new one begun: history is not worth a stop.
    """

    def __init__(self, folder: str, raw_days: int = RAW_DAYS) -> None:
        self._path = os.path.join(folder, FILE)
        self._raw_ms = raw_days * DAY_MS
        self._lane = ThreadLane("samples")
        self._database: sqlite3.Connection | None = None

    async def open(self) -> Streak | None:
        return await self._lane.run(self._open)

    async def write(
        self, samples: Sequence[Sample], ended: Sequence[Streak], open_streak: Streak | None, now_wall_ms: int
    ) -> None:
        await self._lane.run(self._write, samples, ended, open_streak, now_wall_ms)

    async def buckets(
        self, group: str, metric: str, *, start_ms: int, end_ms: int, step_ms: int, how: str
    ) -> Sequence[Bucket]:
        return await self._lane.run(self._buckets, group, metric, start_ms, end_ms, step_ms, how)

    async def groups(self) -> dict[str, list[str]]:
        return await self._lane.run(self._groups)

    async def streaks(self, *, since_ms: int, limit: int) -> Sequence[Streak]:
        return await self._lane.run(self._streaks, since_ms, limit)

    async def close(self) -> None:
        if self._database is not None:
            await self._lane.run(self._close)
        self._lane.close()

    # -- on the thread ----------------------------------------------------------------

    def _open(self) -> Streak | None:
        try:
            self._database = self._connected()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise Unavailable(
                    f"{self._path} can't be opened: {error}; check the folder and the disk"
                ) from error
            aside = f"{self._path}.damaged"
            log.error("samples_set_aside", path=self._path, aside=aside, why=str(error))
            for suffix in ("-wal", "-shm"):
                if os.path.exists(self._path + suffix):
                    os.remove(self._path + suffix)
            os.replace(self._path, aside)
            self._database = self._connected()
        row = self._database.execute(
            "SELECT start_time, end_time, score_sum, min_score, seen FROM open_streak"
        ).fetchone()
        return Streak(*row) if row else None

    def _connected(self) -> sqlite3.Connection:
        database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        try:
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version == 0:
                database.executescript(SCHEMA)
            elif version > SCHEMA_VERSION:
                raise Unavailable(
                    f"{self._path} has schema version {version}, this program knows {SCHEMA_VERSION}; "
                    "start the newer program, or move the file away"
                )
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
            database.execute("PRAGMA cache_size = -512")  # KiB; a write touches four leaves
            database.execute("SELECT count(*) FROM quiet_streaks").fetchone()
        except BaseException:
            database.close()
            raise
        return database

    def _connection(self) -> sqlite3.Connection:
        if self._database is None:
            raise Unavailable("history is not open (yet, or any more); try again")
        return self._database

    def _write(
        self, samples: Sequence[Sample], ended: Sequence[Streak], open_streak: Streak | None, now_wall_ms: int
    ) -> None:
        database = self._connection()
        database.execute("BEGIN IMMEDIATE")
        try:
            database.executemany(
                "INSERT OR REPLACE INTO stats_samples VALUES (?, ?, ?)",
                [
                    (each.wall_ms, each.group, json.dumps(each.fields, separators=(",", ":")))
                    for each in samples
                ],
            )
            database.executemany(
                "INSERT OR REPLACE INTO quiet_streaks VALUES (?, ?, ?, ?, ?, ?)", map(_row, ended)
            )
            database.execute("DELETE FROM open_streak")
            if open_streak is not None:
                database.execute(
                    "INSERT INTO open_streak VALUES (1, ?, ?, ?, ?, ?)",
                    (
                        open_streak.start_ms,
                        open_streak.end_ms,
                        open_streak.score_min,
                        open_streak.score_sum,
                        open_streak.seen,
                    ),
                )
            self._prune(database, now_wall_ms)
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        database.execute(f"PRAGMA incremental_vacuum({FREED_PAGES_PER_WRITE})")

    def _prune(self, database: sqlite3.Connection, now_wall_ms: int) -> None:
        """Drop a slice of what is past its time, per group by its key: never a scan."""
        oldest = now_wall_ms - self._raw_ms
        for group in self._group_names(database):
            database.execute(
                "DELETE FROM stats_samples WHERE metric_group = ?1 AND timestamp IN"
                " (SELECT timestamp FROM stats_samples WHERE metric_group = ?1 AND timestamp < ?2"
                " ORDER BY timestamp LIMIT ?3)",
                (group, oldest, PRUNED_PER_WRITE),
            )
        database.execute(
            "DELETE FROM quiet_streaks WHERE end_time < ?", (now_wall_ms - STREAK_DAYS * DAY_MS,)
        )

    @staticmethod
    def _group_names(database: sqlite3.Connection) -> list[str]:
        """Distinct groups by jumping along the key, whatever the number of rows."""
        rows = database.execute(
            "WITH RECURSIVE names(name) AS (SELECT min(metric_group) FROM stats_samples UNION ALL"
            " SELECT (SELECT min(metric_group) FROM stats_samples WHERE metric_group > name) FROM names"
            " WHERE name IS NOT NULL) SELECT name FROM names WHERE name IS NOT NULL"
        )
        return [name for (name,) in rows]

    def _buckets(
        self, group: str, metric: str, start_ms: int, end_ms: int, step_ms: int, how: str
    ) -> Sequence[Bucket]:
        # For `last` SQLite takes the bare column from the row that has the maximum.
        newest = ", max(timestamp)" if how == "last" else ""
        rows = self._connection().execute(
            f"SELECT timestamp / :step * :step AS start, {AGGREGATES[how]}{newest} FROM ("  # noqa: S608 - fixed texts
            " SELECT timestamp, json_extract(payload_json, :path) AS value FROM stats_samples"
            " WHERE metric_group = :group AND timestamp >= :start AND timestamp < :end)"
            " WHERE value IS NOT NULL GROUP BY 1 ORDER BY 1 LIMIT :most",
            {
                "step": step_ms,
                "path": f'$."{metric}"',
                "group": group,
                "start": start_ms,
                "end": end_ms,
                "most": BUCKETS_MAX,
            },
        )
        return [Bucket(row[0], row[1]) for row in rows]

    def _groups(self) -> dict[str, list[str]]:
        database = self._connection()
        found: dict[str, list[str]] = {}
        for name in self._group_names(database):
            row = database.execute(
                "SELECT payload_json FROM stats_samples WHERE metric_group = ?"
                " ORDER BY timestamp DESC LIMIT 1",
                (name,),
            ).fetchone()
            found[name] = sorted(json.loads(row[0]))
        return found

    def _streaks(self, since_ms: int, limit: int) -> Sequence[Streak]:
        rows = self._connection().execute(
            "SELECT start_time, end_time, score_sum, min_score, seen FROM quiet_streaks WHERE end_time > ?"
            " ORDER BY end_time DESC LIMIT ?",
            (since_ms, limit),
        )
        return [Streak(*row) for row in rows][::-1]

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def _row(streak: Streak) -> tuple[int, int, float, int, int, int]:
    return (
        streak.start_ms,
        streak.end_ms,
        streak.score_mean,
        streak.score_min,
        streak.score_sum,
        streak.seen,
    )
