"""Samples rolled up to minutes, and these to hours, in the file of samples (SENSE-14).

What is rolled up follows from the rows that are stored, up to a mark that is stored with it: a crash loses
nothing, and samples of before there were rollups are taken up in time. Samples that are written late, or
after the clock was set back, set the mark back.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from struct import Struct

import msgspec

from leasehold.core import rollup, samples
from leasehold.core.rollup import HOUR_S, MINUTE_S, Figures
from leasehold.ports.samples import Sample

ROLLED_PER_WRITE = {MINUTE_S: 10, HOUR_S: 1}
"""Steps rolled up in one write: ten times what comes in, so a week without rollups is caught up in hours."""

ONE = Struct("<4fH")
"""A field's least, mean, greatest, last and count: 18 bytes, seven digits."""

USED_MS = 86_400_000
COUNT_MAX = 65_535
SETS_TOLD = 64
SETS_FORGOTTEN = 16
NAMES_MAX = 2_000
"""Names told of one group: more than this can only be names that come and go."""

Row = dict[str, Figures]


def packed(fields: Row, names: Sequence[str]) -> bytes:
    """The figures of the fields, in the order of their names."""
    found = [fields[name] for name in names]
    return b"".join(
        ONE.pack(each.low, each.mean, each.high, each.last, min(each.count, COUNT_MAX)) for each in found
    )


def _figures(blob: bytes, number: int) -> Figures:
    return Figures(*ONE.unpack_from(blob, number * ONE.size))


def _told(group: str, payload: str) -> dict[str, float]:
    """The fields of a stored sample. One that can't be read has none: no row may stop all that come after."""
    try:
        found = msgspec.json.decode(payload, type=dict[str, float])
    except (msgspec.DecodeError, TypeError):
        return {}
    return samples.with_share(found) if group == "quiet" else found


class Rollups:
    """All of it that is done on one connection, within the caller's transaction."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._known: dict[tuple[int, str, tuple[str, ...]], tuple[int, int]] = {}

    # -- marks

    def until(self, step_s: int) -> int | None:
        """Before which instant (wall ms) all is rolled up; None: nothing is."""
        row = self._database.execute("SELECT until FROM rolled WHERE step_sec = ?", (step_s,)).fetchone()
        return None if row is None else row[0]

    def _mark(self, step_s: int, until_ms: int) -> None:
        self._database.execute("INSERT OR REPLACE INTO rolled VALUES (?, ?)", (step_s, until_ms))

    def written(self, samples: Sequence[Sample]) -> None:
        """Samples were stored: where they lie before a mark, it is set back to them."""
        if not samples:
            return
        first_ms = min(each.wall_ms for each in samples)
        for step_s in rollup.STEPS_S:
            until_ms = self.until(step_s)
            if until_ms is not None and first_ms < until_ms:
                self._mark(step_s, first_ms // (1000 * step_s) * 1000 * step_s)

    def filled(self, first_ms: int, last_ms: int, groups: Sequence[str]) -> None:
        """Minutes from outside were put: the hours that they make are rolled up too, all of them."""
        minute_ms = self.until(MINUTE_S) or 0
        self._mark(MINUTE_S, max(minute_ms, last_ms))
        hour_ms, until_ms = 1000 * HOUR_S, self.until(HOUR_S)
        if until_ms is None or first_ms < until_ms:
            self._mark(HOUR_S, first_ms // hour_ms * hour_ms)
        hours = (max(minute_ms, last_ms) - first_ms) // hour_ms + 1
        self.roll_step(HOUR_S, self._over(HOUR_S, 0), groups, hours)

    # -- rolling up

    def roll(self, now_wall_ms: int, groups: Sequence[str]) -> None:
        """A slice of what is over and not rolled up yet."""
        for step_s, at_once in ROLLED_PER_WRITE.items():
            self.roll_step(step_s, self._over(step_s, now_wall_ms), groups, at_once)

    def _over(self, step_s: int, now_wall_ms: int) -> int:
        """Up to where steps are complete: minutes by the clock, hours once all their minutes are."""
        if step_s == MINUTE_S:
            return now_wall_ms
        return self.until(MINUTE_S) or 0

    def roll_step(self, step_s: int, over_ms: int, groups: Sequence[str], at_once: int) -> None:
        """At most `at_once` steps that end by `over_ms`; spans in which there is nothing are skipped."""
        step_ms = 1000 * step_s
        mark_ms = self.until(step_s)
        at_ms = mark_ms or 0
        for _ in range(at_once):
            first_ms = self._next(step_s, groups, at_ms)
            if first_ms is None or first_ms // step_ms * step_ms + step_ms > over_ms:
                # What comes later will be written later: nothing before this step is left.
                at_ms = max(at_ms, over_ms // step_ms * step_ms)
                break
            start_ms = first_ms // step_ms * step_ms
            for group in groups:
                self.put(step_s, group, start_ms, self._gathered(step_s, group, start_ms))
            at_ms = start_ms + step_ms
        if at_ms != mark_ms:
            self._mark(step_s, at_ms)

    def _next(self, step_s: int, groups: Sequence[str], at_ms: int) -> int | None:
        """When the first row at or after an instant is, that a step of this length is made of."""
        source = (
            "stats_samples WHERE" if step_s == MINUTE_S else f"stats_rollups WHERE step_sec = {MINUTE_S} AND"
        )
        query = f"SELECT min(timestamp) FROM {source} metric_group = ? AND timestamp >= ?"  # noqa: S608 - fixed
        found = [self._database.execute(query, (group, at_ms)).fetchone()[0] for group in groups]
        return min((each for each in found if each is not None), default=None)

    def _gathered(self, step_s: int, group: str, start_ms: int) -> Row:
        end_ms = start_ms + 1000 * step_s
        if step_s == MINUTE_S:
            values: dict[str, list[float]] = {}
            for (payload,) in self._database.execute(
                "SELECT payload_json FROM stats_samples WHERE metric_group = ? AND timestamp >= ?"
                " AND timestamp < ? ORDER BY timestamp",
                (group, start_ms, end_ms),
            ):
                for name, value in _told(group, payload).items():
                    values.setdefault(name, []).append(value)
            return {name: rollup.of(known) for name, known in values.items()}
        parts: dict[str, list[Figures]] = {}
        names = self._names(MINUTE_S, group)
        for fields_id, blob in self._database.execute(
            "SELECT fields_id, figures FROM stats_rollups WHERE step_sec = ? AND metric_group = ?"
            " AND timestamp >= ? AND timestamp < ? ORDER BY timestamp",
            (MINUTE_S, group, start_ms, end_ms),
        ):
            if len(blob) != ONE.size * len(names.get(fields_id, ())):
                continue
            for name, (low, mean, high, last, count) in zip(
                names[fields_id], ONE.iter_unpack(blob), strict=True
            ):
                parts.setdefault(name, []).append(Figures(low, mean, high, last, count))
        return {name: rollup.merged(known) for name, known in parts.items()}

    def put(self, step_s: int, group: str, start_ms: int, fields: Row) -> None:
        """One step of a group in the place of what was there; nothing where there are no fields."""
        if not fields:
            return
        names = sorted(fields)
        self._database.execute(
            "INSERT OR REPLACE INTO stats_rollups VALUES (?, ?, ?, ?, ?)",
            (step_s, group, start_ms, self._fields_id(step_s, group, names, start_ms), packed(fields, names)),
        )

    def _fields_id(self, step_s: int, group: str, names: Sequence[str], at_ms: int) -> int:
        """The number of a set of names, noted as in use until a day from now."""
        key = (step_s, group, tuple(names))
        known = self._known.get(key)
        if known is None or known[1] < at_ms:
            text, until_ms = json.dumps(names, separators=(",", ":")), at_ms + USED_MS
            number = self._database.execute(
                "INSERT INTO stats_fields (step_sec, metric_group, names_json, used) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET used = max(used, excluded.used) RETURNING id",
                (step_s, group, text, until_ms),
            ).fetchone()[0]
            known = self._known[key] = (number, until_ms)
        return known[0]

    # -- reading

    def _names(self, step_s: int, group: str) -> dict[int, list[str]]:
        rows = self._database.execute(
            "SELECT id, names_json FROM stats_fields WHERE metric_group = ? AND step_sec = ?", (group, step_s)
        )
        return {number: json.loads(text) for number, text in rows}

    def names(self, group: str) -> list[str]:
        """The fields of a group that kept rollups have, sorted; where they come and go, those of late."""
        rows = self._database.execute(
            "SELECT names_json FROM stats_fields WHERE metric_group = ? ORDER BY used DESC LIMIT ?",
            (group, SETS_TOLD),
        )
        return sorted({name for (text,) in rows for name in json.loads(text)})[:NAMES_MAX]

    def groups(self) -> list[str]:
        """The groups of which rollups are kept."""
        return [name for (name,) in self._database.execute("SELECT DISTINCT metric_group FROM stats_fields")]

    def read(
        self, step_s: int, group: str, metric: str, start_ms: int, end_ms: int
    ) -> Iterator[tuple[int, Figures]]:
        """One field at one step, in order of time."""
        place = {
            number: names.index(metric)
            for number, names in self._names(step_s, group).items()
            if metric in names
        }
        for at_ms, fields_id, blob in self._database.execute(
            "SELECT timestamp, fields_id, figures FROM stats_rollups WHERE step_sec = ? AND metric_group = ?"
            " AND timestamp >= ? AND timestamp < ? ORDER BY timestamp",
            (step_s, group, start_ms, end_ms),
        ):
            if fields_id in place and len(blob) >= (place[fields_id] + 1) * ONE.size:
                yield at_ms, _figures(blob, place[fields_id])

    # -- forgetting

    def prune(self, step_s: int, before_ms: int, groups: Sequence[str], at_most: int) -> None:
        """Drop a slice of the rows of one step that are older, per group by its key: never a scan."""
        for group in groups:
            self._database.execute(
                "DELETE FROM stats_rollups WHERE step_sec = ?1 AND metric_group = ?2 AND timestamp IN"
                " (SELECT timestamp FROM stats_rollups WHERE step_sec = ?1 AND metric_group = ?2"
                " AND timestamp < ?3 ORDER BY timestamp LIMIT ?4)",
                (step_s, group, before_ms, at_most),
            )

    def forget_names(self, step_s: int, before_ms: int) -> None:
        """Drop a slice of the sets of names that no row of the step has any more, unused since an instant."""
        old = self._database.execute(
            "SELECT id, metric_group, used FROM stats_fields WHERE step_sec = ? AND used < ?"
            " ORDER BY used LIMIT ?",
            (step_s, before_ms, SETS_FORGOTTEN),
        ).fetchall()
        left = "SELECT 1 FROM stats_rollups WHERE step_sec = ? AND metric_group = ? AND timestamp <= ?"
        for number, group, used_ms in old:
            if self._database.execute(left, (step_s, group, used_ms)).fetchone() is None:
                self._database.execute("DELETE FROM stats_fields WHERE id = ?", (number,))
