"""History beyond a week: minutes and hours made of samples, each kept its time (SENSE-14, 15)."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from leasehold.adapters.stores import samples_schema
from leasehold.adapters.stores.samples import FILE, SqliteSamples
from leasehold.control.history import History
from leasehold.core import rhythm, rollup
from leasehold.core.rhythm import Rhythm
from leasehold.core.rollup import Figures
from leasehold.core.streaks import Streak
from leasehold.model.settings import HistorySettings
from leasehold.ports.samples import Point, Sample
from leasehold.testing.manual_clock import ManualClock

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
T0 = 1_800_000_000_000 // HOUR_MS * HOUR_MS


def sample(at_ms: int, value: float, group: str = "host", name: str = "cpu_pct") -> Sample:
    return Sample(at_ms, group, {name: value})


async def write(store: SqliteSamples, rows: list[Sample], now_ms: int) -> None:
    await store.write(rows, [], None, now_ms)


async def told(store: SqliteSamples, start_ms: int, end_ms: int, step_ms: int) -> list[Point]:
    return list(await store.points("host", "cpu_pct", start_ms=start_ms, end_ms=end_ms, step_ms=step_ms))


def rows_of(folder: Path, step_s: int) -> list[int]:
    """The starts of the rollups of a step that the file has."""
    database = sqlite3.connect(folder / FILE)
    found = database.execute(
        "SELECT timestamp FROM stats_rollups WHERE step_sec = ? AND metric_group = 'host' ORDER BY 1",
        (step_s,),
    )
    starts = [at_ms for (at_ms,) in found]
    database.close()
    return starts


@pytest.mark.requirement("SENSE-14")
async def test_samples_become_minutes_and_minutes_become_hours(tmp_path: Path) -> None:
    """Least, mean, greatest, last and count, as if they were made of the samples; only of what is over."""
    store = SqliteSamples(str(tmp_path))
    await store.open()
    values = [(T0 + 10_000 * n, float(n % 7)) for n in range(2 * 360 + 3)]
    for at_ms, value in values:
        await write(store, [sample(at_ms, value)], at_ms)
    assert rows_of(tmp_path, 60) == [T0 + MINUTE_MS * n for n in range(120)]
    assert rows_of(tmp_path, 3600) == [T0, T0 + HOUR_MS]
    found = await told(store, T0, T0 + 3 * HOUR_MS, HOUR_MS)
    for number, point in enumerate(found):
        known = [value for at_ms, value in values if at_ms // HOUR_MS * HOUR_MS == T0 + number * HOUR_MS]
        assert point.start_ms == T0 + number * HOUR_MS
        mean = pytest.approx(sum(known) / len(known))
        assert point.figures == Figures(min(known), mean, max(known), known[-1], len(known))  # type: ignore[arg-type]
    assert [point.figures.count for point in found] == [360, 360, 3]
    await store.close()


@pytest.mark.requirement("SENSE-15")
async def test_what_is_no_longer_kept_as_sampled_is_told_from_rollups_with_its_gaps(tmp_path: Path) -> None:
    """Samples go after a day, minutes after two: hours remain, and a step without any is null."""
    kept = HistorySettings(raw_days=1, minute_days=2, hour_days=10)
    store, clock = SqliteSamples(str(tmp_path), lambda: kept), ManualClock(wall_start_ms=T0)
    history = History(store, clock, lambda: kept)
    await history.open()
    for n in range(180):  # An hour and a half, then nothing for five days.
        await write(store, [sample(T0 + 30_000 * n, 50.0)], T0 + 30_000 * n)
    later_ms = T0 + 5 * DAY_MS
    await clock.advance(5 * DAY_MS + 20_000)
    for n in range(6):
        await write(store, [sample(later_ms + 1_000 * n, 10.0)], later_ms + 1_000 * n)
    assert rows_of(tmp_path, 60) == []
    assert rows_of(tmp_path, 3600) == [T0, T0 + HOUR_MS]
    series = await history.series("host", None, range_ms=6 * DAY_MS, step_ms=HOUR_MS, aggregate="mean")
    by_start = dict(zip(range(series.start_ms, series.end_ms, HOUR_MS), series.values(), strict=True))
    assert by_start[T0] == by_start[T0 + HOUR_MS] == 50.0
    assert by_start[T0 + 2 * HOUR_MS] is None
    assert by_start[later_ms] == 10.0
    assert sum(value is not None for value in by_start.values()) == 3
    assert (await store.groups())["host"] == ["cpu_pct"]
    await history.close()


@pytest.mark.requirement("SENSE-14")
async def test_rollups_are_pruned_a_slice_per_write(tmp_path: Path) -> None:
    """However much is past its time, one write drops a slice of it, and writes go on until all is gone."""
    kept = HistorySettings(raw_days=1, minute_days=1, hour_days=1)
    store = SqliteSamples(str(tmp_path), lambda: kept)
    await store.open()
    await store.fill([sample(T0 + MINUTE_MS * n, 1.0) for n in range(240)])
    left = []
    for n in range(5):
        at_ms = T0 + 3 * DAY_MS + 1_000 * n
        await write(store, [sample(at_ms, 2.0)], at_ms)
        left.append((len(rows_of(tmp_path, 60)), len(rows_of(tmp_path, 3600))))
    assert left == [(176, 0), (112, 0), (48, 0), (0, 0), (0, 0)]
    await store.close()


@pytest.mark.requirement("SENSE-14")
async def test_late_samples_and_a_clock_set_back_are_taken_up(tmp_path: Path) -> None:
    """What was kept while the disk was full, or comes before what was rolled up already, counts too."""
    store = SqliteSamples(str(tmp_path))
    await store.open()
    for n in (0, 10, 70, 80, 130):
        await write(store, [sample(T0 + 1000 * n, 1.0)], T0 + 1000 * n)
    await write(store, [sample(T0 + 20_000, 4.0)], T0 + 140_000)
    found = await told(store, T0, T0 + 5 * MINUTE_MS, MINUTE_MS)
    assert [(point.figures.mean, point.figures.count) for point in found] == [(2.0, 3), (1.0, 2), (1.0, 1)]
    year_ms = 366 * DAY_MS
    await write(store, [sample(T0 + year_ms, 9.0)], T0 + year_ms)  # The clock was wrong,
    for n in (200, 210, 260):  # and is right again.
        await write(store, [sample(T0 + 1000 * n, 3.0)], T0 + 1000 * n)
    assert T0 + 180_000 in rows_of(tmp_path, 60)
    await store.close()


@pytest.mark.requirement("SENSE-14")
async def test_a_file_of_before_there_were_rollups_is_taken_up(tmp_path: Path) -> None:
    """Version 1 of the file: its samples stay, and are rolled up a few minutes per write."""
    database = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    database.executescript(samples_schema.SCHEMA_1)
    old = [(T0 + 10_000 * n, "host", '{"cpu_pct":5.5}') for n in range(500)]
    database.executemany("INSERT INTO stats_samples VALUES (?, ?, ?)", old)
    database.close()
    store = SqliteSamples(str(tmp_path))
    await store.open()
    now_ms, counts = T0 + 6_000_000, []
    for n in range(10):
        await write(store, [sample(now_ms + 10_000 * n, 1.0)], now_ms + 10_000 * n)
        counts.append(len(rows_of(tmp_path, 60)))
    assert counts[:3] == [10, 20, 30]
    assert counts[-1] == 85
    found = await told(store, T0, T0 + 2 * HOUR_MS, HOUR_MS)
    assert [(round(point.figures.low, 1), point.figures.count) for point in found] == [(5.5, 360), (1.0, 150)]
    await store.close()


@pytest.mark.requirement("SENSE-14")
async def test_a_row_that_cannot_be_read_stops_nothing(tmp_path: Path) -> None:
    """Garbage in a sample and in a minute: what is left is rolled up, and goes on being written."""
    store = SqliteSamples(str(tmp_path))
    await store.open()
    for n in range(6):
        await write(store, [sample(T0 + 10_000 * n, 5.0)], T0 + 10_000 * n)
    database = sqlite3.connect(tmp_path / FILE)
    database.execute(
        'UPDATE stats_samples SET payload_json = \'{"cpu_pct": "hot\' WHERE timestamp = ?', (T0,)
    )
    database.commit()
    for n in range(6, 18):
        await write(store, [sample(T0 + 10_000 * n, 5.0)], T0 + 10_000 * n)
    database.execute("UPDATE stats_rollups SET figures = x'00' WHERE timestamp = ?", (T0 + MINUTE_MS,))
    database.commit()
    database.close()
    for n in range(18, 370):
        await write(store, [sample(T0 + 10_000 * n, 5.0)], T0 + 10_000 * n)
    hour = (await told(store, T0, T0 + HOUR_MS, HOUR_MS))[0].figures
    assert (hour.mean, hour.count) == (5.0, 360 - 1 - 6)
    await store.close()


@pytest.mark.requirement("SENSE-14", "SENSE-18")
async def test_samples_of_before_tell_whether_it_was_quiet_by_their_state(tmp_path: Path) -> None:
    """So the week before an upgrade is learned from too; an unknown state is neither."""
    store = SqliteSamples(str(tmp_path))
    await store.open()
    for n, state in enumerate((0, 0, 0, 2, 4, 4, 0)):
        await write(store, [sample(T0 + 10_000 * n, state, "quiet", "state")], T0 + 10_000 * n)
    found = await store.points("quiet", "quiet", start_ms=T0, end_ms=T0 + MINUTE_MS, step_ms=MINUTE_MS)
    assert (found[0].figures.mean, found[0].figures.count) == (0.75, 4)
    await store.close()


@pytest.mark.requirement("SENSE-14")
async def test_names_that_come_and_go_do_not_stay_for_ever(tmp_path: Path) -> None:
    """Interfaces of containers: each set of names stands once, and goes when no hour has it any more."""
    kept = HistorySettings(raw_days=1, minute_days=1, hour_days=1)
    store = SqliteSamples(str(tmp_path), lambda: kept)
    await store.open()
    await store.fill(
        [Sample(T0 + MINUTE_MS * n, "host", {"cpu_pct": 1.0, f"veth{n}": 2.0}) for n in range(8)]
    )
    assert len((await store.groups())["host"]) == 9
    for n in range(12):
        at_ms = T0 + 3 * DAY_MS + 70_000 * n
        await write(store, [sample(at_ms, 2.0)], at_ms)
    assert (await store.groups())["host"] == ["cpu_pct"]
    await store.close()


@pytest.mark.requirement("SENSE-14")
async def test_a_write_that_fails_rolls_up_nothing(tmp_path: Path) -> None:
    """Samples and what is made of them stand or fall together; the next write makes up for it."""
    store = SqliteSamples(str(tmp_path))
    await store.open()
    await write(store, [sample(T0, 1.0)], T0)
    refused = Streak(T0, T0, 90, None, 1)  # type: ignore[arg-type]
    with pytest.raises(sqlite3.Error):
        await store.write([sample(T0 + 70_000, 1.0)], [refused], None, T0 + 70_000)
    assert rows_of(tmp_path, 60) == []
    await write(store, [sample(T0 + 80_000, 2.0)], T0 + 80_000)
    assert rows_of(tmp_path, 60) == [T0]
    await store.close()


WRITER = """
import asyncio, sys
from leasehold.adapters.stores.samples import SqliteSamples
from leasehold.ports.samples import Sample
async def main():
    store, at_ms = SqliteSamples(sys.argv[1]), int(sys.argv[2])
    await store.open()
    while True:
        await store.write([Sample(at_ms, "host", {"cpu_pct": at_ms // 10_000 % 97})], [], None, at_ms)
        print(at_ms, flush=True)
        at_ms += 10_000
asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.requirement("SENSE-14")
async def test_kill_9_at_any_moment_leaves_rollups_that_are_those_of_the_samples(tmp_path: Path) -> None:
    """Three times in the midst of writing: each minute and hour is what its samples make, none is missing."""
    last_ms = T0 - 10_000
    for lines in (400, 37, 211):
        writer = subprocess.Popen(  # noqa: ASYNC220 - nothing else runs here
            [sys.executable, "-c", WRITER, str(tmp_path), str(last_ms + 10_000)], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        for _ in range(lines):
            last_ms = int(writer.stdout.readline())
        writer.kill()
        rest, _ = writer.communicate()
        last_ms = int((rest.split() or [last_ms])[-1])
    store = SqliteSamples(str(tmp_path))
    await store.open()
    database = sqlite3.connect(tmp_path / FILE)
    known = [at_ms for (at_ms,) in database.execute("SELECT timestamp FROM stats_samples ORDER BY 1")]
    database.close()
    assert known[-1] >= last_ms
    await write(store, [sample(known[-1] + 20_000, 1.0)], known[-1] + 20_000)
    begun = sorted({at_ms // MINUTE_MS * MINUTE_MS for at_ms in known})
    assert rows_of(tmp_path, 60) == [at_ms for at_ms in begun if at_ms + MINUTE_MS <= known[-1] + 20_000]
    for step_ms in (MINUTE_MS, HOUR_MS):
        end_ms = known[-1] // step_ms * step_ms
        for point in await told(store, T0, end_ms, step_ms):
            values = [at_ms // 10_000 % 97 for at_ms in known if at_ms // step_ms * step_ms == point.start_ms]
            assert (point.figures.low, point.figures.count) == (min(values), len(values))
            assert point.figures.mean == pytest.approx(sum(values) / len(values), rel=1e-6)
    await store.close()


@pytest.mark.slow
@pytest.mark.requirement("SENSE-14", "SENSE-15")
async def test_a_year_is_told_at_once(tmp_path: Path) -> None:
    """8,760 hours of four groups: any figure of the year in a tenth of a second, at any step."""
    store = SqliteSamples(str(tmp_path))
    await store.open()
    machine, rows = Rhythm(seed=3), []
    day_ms = T0 // DAY_MS * DAY_MS
    for n in range(8_760):
        moment = rhythm.at(machine, day_ms + HOUR_MS * n)
        rows += [Sample(moment.wall_ms, group, fields) for group, fields in moment.groups().items()]
    for first in range(0, len(rows), 4_000):
        await store.fill(rows[first : first + 4_000])
    best_s = 9.0
    for step_ms in (HOUR_MS, DAY_MS, DAY_MS):
        started = time.perf_counter()
        found = await told(store, day_ms, day_ms + 365 * DAY_MS, step_ms)
        best_s = min(best_s, time.perf_counter() - started)
        assert len(found) == 365 * DAY_MS // step_ms
    assert best_s < 0.4, "a hundred milliseconds, on a machine four times as slow"
    await store.close()


def test_parts_of_parts_are_the_same_as_the_whole() -> None:
    """Whatever the steps in between: the figures are those of all samples."""
    values = [3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0]
    whole = rollup.of(values)
    for cut in range(1, len(values)):
        parts = [rollup.of(values[:cut]), rollup.of(values[cut:])]
        found = rollup.merged(parts)
        assert (found.low, found.high, found.last, found.count) == (1.0, 9.0, 2.0, 7)
        assert found.mean == pytest.approx(whole.mean)
    assert rollup.by_step([(0, whole), (10, whole), (60, whole)], 60)[1] == (60, whole)
