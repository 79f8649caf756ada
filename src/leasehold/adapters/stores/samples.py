"""Samples, rollups, streaks and forecasts in a SQLite file of their own, on its own thread (SENSE-14…19).

`synchronous=NORMAL`: a power loss may take the last commits, never the file. One day of one node with 8
cores, 4 mounts and 4 interfaces is under 15 MB (tests/unit/test_sense_history.py).
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence

import msgspec
import structlog

from leasehold.adapters.stores.samples_rollups import Rollups
from leasehold.adapters.stores.samples_schema import opened
from leasehold.core import rollup
from leasehold.core.rollup import HOUR_S, MINUTE_S, Figures
from leasehold.core.streaks import Streak
from leasehold.model.errors import Unavailable
from leasehold.model.forecast import DayForecast
from leasehold.model.settings import HistorySettings
from leasehold.ports.samples import POINTS_MAX, Point, Sample
from leasehold.runtime.lanes import ThreadLane

log = structlog.get_logger(__name__)

FILE = "samples.sqlite3"
DAY_MS = 86_400_000
PRUNED_PER_WRITE = 64  # rows; sixteen times what a write adds, so pruning catches up and no write is long
FREED_PAGES_PER_WRITE = 32
KEPT = HistorySettings()


class SqliteSamples:
    """The port `Samples`. `kept` says for how long; it is asked at each write."""

    def __init__(self, folder: str, kept: Callable[[], HistorySettings] = lambda: KEPT) -> None:
        self._path = os.path.join(folder, FILE)
        self._kept = kept
        self._lane = ThreadLane("samples")
        self._database: sqlite3.Connection | None = None

    async def open(self) -> Streak | None:
        return await self._lane.run(self._open)

    async def write(
        self, samples: Sequence[Sample], ended: Sequence[Streak], open_streak: Streak | None, now_wall_ms: int
    ) -> None:
        await self._lane.run(self._write, samples, ended, open_streak, now_wall_ms)

    async def fill(
        self, minutes: Sequence[Sample], ended: Sequence[Streak] = (), per_minute: int = 6
    ) -> None:
        """Whole minutes of the past, in order, as if each had been sampled `per_minute` times, and the hours
        that they make. For demos and trials; no part of the port.
        """
        await self._lane.run(self._fill, minutes, ended, per_minute)

    async def points(
        self, group: str, metric: str, *, start_ms: int, end_ms: int, step_ms: int
    ) -> Sequence[Point]:
        return await self._lane.run(self._points, group, metric, start_ms, end_ms, step_ms)

    async def groups(self) -> dict[str, list[str]]:
        return await self._lane.run(self._groups)

    async def streaks(self, *, since_ms: int, limit: int) -> Sequence[Streak]:
        return await self._lane.run(self._streaks, since_ms, limit)

    async def keep_forecasts(self, days: Sequence[DayForecast]) -> None:
        await self._lane.run(self._keep_forecasts, days)

    async def forecasts(self, *, since_ms: int, limit: int) -> Sequence[DayForecast]:
        return await self._lane.run(self._forecasts, since_ms, limit)

    async def close(self) -> None:
        if self._database is not None:
            await self._lane.run(self._close)
        self._lane.close()

    # -- on the thread ----------------------------------------------------------------

    def _open(self) -> Streak | None:
        self._database = opened(self._path)
        row = self._database.execute(
            "SELECT start_time, end_time, score_sum, min_score, seen FROM open_streak"
        ).fetchone()
        return Streak(*row) if row else None

    def _connection(self) -> sqlite3.Connection:
        if self._database is None:
            raise Unavailable("history is not open (yet, or any more); try again")
        return self._database

    def _in_one(self, work: Callable[[sqlite3.Connection], None]) -> None:
        """`work` in one transaction, and a few freed pages given back."""
        database = self._connection()
        database.execute("BEGIN IMMEDIATE")
        try:
            work(database)
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        database.execute(f"PRAGMA incremental_vacuum({FREED_PAGES_PER_WRITE})")

    def _write(
        self, samples: Sequence[Sample], ended: Sequence[Streak], open_streak: Streak | None, now_wall_ms: int
    ) -> None:
        def work(database: sqlite3.Connection) -> None:
            database.executemany(
                "INSERT OR REPLACE INTO stats_samples VALUES (?, ?, ?)",
                [
                    (each.wall_ms, each.group, json.dumps(each.fields, separators=(",", ":")))
                    for each in samples
                ],
            )
            _keep_streaks(database, ended)
            database.execute("DELETE FROM open_streak")
            if open_streak is not None:
                row = _row(open_streak)
                database.execute("INSERT INTO open_streak VALUES (1, ?, ?, ?, ?, ?)", (*row[:2], *row[3:]))
            rollups = Rollups(database)
            groups = self._group_names(database)
            rollups.written(samples)
            rollups.roll(now_wall_ms, groups)
            self._prune(database, groups, now_wall_ms)

        self._in_one(work)

    def _fill(self, minutes: Sequence[Sample], ended: Sequence[Streak], per_minute: int) -> None:
        def work(database: sqlite3.Connection) -> None:
            rollups = Rollups(database)
            for each in minutes:
                start_ms = each.wall_ms // 60_000 * 60_000
                fields = {
                    name: Figures(value, value, value, value, per_minute)
                    for name, value in each.fields.items()
                }
                rollups.put(MINUTE_S, each.group, start_ms, fields)
            _keep_streaks(database, ended)
            if minutes:
                last_ms = minutes[-1].wall_ms // 60_000 * 60_000 + 60_000
                rollups.filled(minutes[0].wall_ms, last_ms, rollups.groups())

        self._in_one(work)

    def _prune(self, database: sqlite3.Connection, groups: Sequence[str], now_wall_ms: int) -> None:
        """Drop a slice of what is past its time, per group by its key: never a scan."""
        kept = self._kept()
        oldest = now_wall_ms - kept.raw_days * DAY_MS
        for group in groups:
            database.execute(
                "DELETE FROM stats_samples WHERE metric_group = ?1 AND timestamp IN"
                " (SELECT timestamp FROM stats_samples WHERE metric_group = ?1 AND timestamp < ?2"
                " ORDER BY timestamp LIMIT ?3)",
                (group, oldest, PRUNED_PER_WRITE),
            )
        rollups = Rollups(database)
        last_ms = now_wall_ms - kept.hour_days * DAY_MS
        for step_s, before_ms in ((MINUTE_S, now_wall_ms - kept.minute_days * DAY_MS), (HOUR_S, last_ms)):
            rollups.prune(step_s, before_ms, groups, PRUNED_PER_WRITE)
            rollups.forget_names(step_s, before_ms)
        streaks_ms = now_wall_ms - kept.streak_days * DAY_MS
        database.execute(
            "DELETE FROM quiet_streaks WHERE start_time IN"
            " (SELECT start_time FROM quiet_streaks WHERE end_time < ? ORDER BY end_time LIMIT ?)",
            (streaks_ms, PRUNED_PER_WRITE),
        )
        database.execute("DELETE FROM day_forecasts WHERE day < ?", (last_ms,))

    @staticmethod
    def _group_names(database: sqlite3.Connection) -> list[str]:
        """Distinct groups by jumping along the key, whatever the number of rows; and those of rollups."""
        rows = database.execute(
            "WITH RECURSIVE names(name) AS (SELECT min(metric_group) FROM stats_samples UNION ALL"
            " SELECT (SELECT min(metric_group) FROM stats_samples WHERE metric_group > name) FROM names"
            " WHERE name IS NOT NULL) SELECT name FROM names WHERE name IS NOT NULL"
        )
        return sorted({*(name for (name,) in rows), *Rollups(database).groups()})

    def _points(self, group: str, metric: str, start_ms: int, end_ms: int, step_ms: int) -> Sequence[Point]:
        parts = self._parts(group, metric, start_ms, end_ms, step_ms)
        found = rollup.by_step(parts, step_ms)
        return [Point(at_ms, figures) for at_ms, figures in found[-POINTS_MAX:]]

    def _parts(
        self, group: str, metric: str, start_ms: int, end_ms: int, step_ms: int
    ) -> Iterator[tuple[int, Figures]]:
        """What the points are made of: the coarsest that the step consists of, then what is finer."""
        rollups = Rollups(self._connection())
        at_ms = start_ms
        for step_s in (HOUR_S, MINUTE_S):
            until_ms = min(rollups.until(step_s) or 0, end_ms)
            if step_ms % (1000 * step_s) == 0 and at_ms < until_ms:
                yield from rollups.read(step_s, group, metric, at_ms, until_ms)
                at_ms = until_ms
        rows = self._connection().execute(
            "SELECT timestamp, value FROM (SELECT timestamp, json_extract(payload_json, ?) AS value"
            " FROM stats_samples WHERE metric_group = ? AND timestamp >= ? AND timestamp < ?"
            " ORDER BY timestamp) WHERE value IS NOT NULL",
            (f'$."{metric}"', group, at_ms, end_ms),
        )
        for wall_ms, value in rows:
            yield wall_ms, Figures(value, value, value, value, 1)

    def _groups(self) -> dict[str, list[str]]:
        database = self._connection()
        rollups = Rollups(database)
        found: dict[str, list[str]] = {}
        for name in self._group_names(database):
            row = database.execute(
                "SELECT payload_json FROM stats_samples WHERE metric_group = ?"
                " ORDER BY timestamp DESC LIMIT 1",
                (name,),
            ).fetchone()
            found[name] = sorted({*(json.loads(row[0]) if row else ()), *rollups.names(name)})
        return found

    def _streaks(self, since_ms: int, limit: int) -> Sequence[Streak]:
        rows = self._connection().execute(
            "SELECT start_time, end_time, score_sum, min_score, seen FROM quiet_streaks WHERE end_time > ?"
            " ORDER BY end_time DESC LIMIT ?",
            (since_ms, limit),
        )
        return [Streak(*row) for row in rows][::-1]

    def _keep_forecasts(self, days: Sequence[DayForecast]) -> None:
        def work(database: sqlite3.Connection) -> None:
            database.executemany(
                "INSERT OR REPLACE INTO day_forecasts VALUES (?, ?)",
                [(day.start_ms, msgspec.json.encode(day)) for day in days],
            )

        self._in_one(work)

    def _forecasts(self, since_ms: int, limit: int) -> Sequence[DayForecast]:
        rows = self._connection().execute(
            "SELECT payload_json FROM day_forecasts WHERE day >= ? ORDER BY day DESC LIMIT ?",
            (since_ms, limit),
        )
        return [day for (payload,) in rows if (day := _day_forecast(payload)) is not None][::-1]

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None


def _day_forecast(payload: bytes) -> DayForecast | None:
    """One that can't be read is none: it is made again, in hindsight."""
    try:
        return msgspec.json.decode(payload, type=DayForecast)
    except (msgspec.DecodeError, TypeError) as error:
        log.warning("day_forecast_unreadable", why=str(error))
        return None


def _keep_streaks(database: sqlite3.Connection, ended: Sequence[Streak]) -> None:
    database.executemany("INSERT OR REPLACE INTO quiet_streaks VALUES (?, ?, ?, ?, ?, ?)", map(_row, ended))


def _row(streak: Streak) -> tuple[int, int, float, int, int, int]:
    return (
        streak.start_ms,
        streak.end_ms,
        streak.score_mean,
        streak.score_min,
        streak.score_sum,
        streak.seen,
    )
