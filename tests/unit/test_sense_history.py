"""History: samples by group and metric, gaps, streaks, pruning, and the size of a day (SENSE-14…16)."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from leasehold.adapters.stores.samples import FILE, SqliteSamples
from leasehold.control.history import History
from leasehold.core import streaks
from leasehold.core.stats import derive
from leasehold.core.streaks import Streak
from leasehold.model.errors import Invalid
from leasehold.model.quiet import INPUTS, QuietAssessment, QuietState
from leasehold.model.settings import HistorySettings
from leasehold.model.snapshot import HostStats, ProcessStats
from leasehold.ports.samples import Sample
from leasehold.testing.hosts import FakeMachine
from leasehold.testing.manual_clock import ManualClock, settled
from tests.history_of_a_day import sizes_of_a_day

DAY_MS = 86_400_000
T0 = 1_800_000_000_000


@asynccontextmanager
async def opened(folder: Path, raw_days: int = 7) -> AsyncIterator[SqliteSamples]:
    store = SqliteSamples(str(folder), lambda: HistorySettings(raw_days=raw_days))
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def host_samples(values: dict[int, float]) -> list[Sample]:
    return [Sample(T0 + 1000 * at_s, "host", {"cpu_pct": value}) for at_s, value in values.items()]


@pytest.mark.requirement("SENSE-15")
@pytest.mark.parametrize(
    ("how", "expected"),
    [("mean", [2.0, 5.0]), ("min", [1.0, 5.0]), ("max", [3.0, 5.0]), ("last", [3.0, 5.0]), ("count", [2, 1])],
)
async def test_a_metric_is_aggregated_by_steps(tmp_path: Path, how: str, expected: list[float]) -> None:
    """Two samples in the first minute, one in the third; the second has none and is no point."""
    async with opened(tmp_path) as store:
        await store.write(host_samples({0: 1.0, 10: 3.0, 120: 5.0}), [], None, T0)
        found = await store.points("host", "cpu_pct", start_ms=T0, end_ms=T0 + 300_000, step_ms=60_000)
    assert [point.start_ms for point in found] == [T0, T0 + 120_000]
    assert [point.figures.told(how) for point in found] == expected  # type: ignore[arg-type]


@pytest.mark.requirement("SENSE-14")
async def test_what_is_past_its_time_is_pruned_a_slice_per_write(tmp_path: Path) -> None:
    """No write removes more than its slice; as many writes as needed remove all of it, and nothing else."""
    async with opened(tmp_path, raw_days=1) as store:
        old = [Sample(T0 + n, "host", {"cpu_pct": 1.0}) for n in range(150)]
        await store.write(old, [], None, T0)
        left = []
        for n in range(4):
            now_ms = T0 + DAY_MS + 10_000 + n
            await store.write([Sample(now_ms, "host", {"cpu_pct": 2.0})], [], None, now_ms)
            found = await store.points("host", "cpu_pct", start_ms=T0, end_ms=T0 + 1_000, step_ms=500)
            left.append(found[0].figures.count if found else 0)
        assert left == [86, 22, 0, 0]
        end_ms = T0 + DAY_MS + 20_000
        kept = await store.points("host", "cpu_pct", start_ms=T0 + DAY_MS, end_ms=end_ms, step_ms=500)
        assert kept[0].figures.count == 4


@pytest.mark.requirement("SENSE-14")
async def test_a_file_that_cannot_be_read_is_set_aside(tmp_path: Path) -> None:
    """History is not worth a stop: a new file is begun, the damaged one is kept for whoever wants it."""
    (tmp_path / FILE).write_bytes(b"this is no database" * 100)
    async with opened(tmp_path) as store:
        await store.write(host_samples({0: 1.0}), [], None, T0)
        assert await store.groups() == {"host": ["cpu_pct"]}
    assert (tmp_path / f"{FILE}.damaged").read_bytes().startswith(b"this is no database")


@pytest.mark.requirement("SENSE-16")
async def test_a_streak_left_open_by_a_crash_ended_when_it_was_last_seen(tmp_path: Path) -> None:
    """The next start finds it and stores it: downtime breaks a streak, and loses none."""
    running = Streak(T0, T0 + 50_000, 95 * 6, 90, 6)
    async with opened(tmp_path) as store:
        await store.write([], [], running, T0 + 50_000)
    store = SqliteSamples(str(tmp_path))
    clock = ManualClock(wall_start_ms=T0 + 3_600_000)
    history = History(store, clock)
    await history.open()
    found = await history.streaks(range_ms=DAY_MS)
    assert found == [running]
    assert found[0].score_mean == 95.0
    await history.close()


@pytest.mark.requirement("SENSE-16")
def test_a_streak_runs_while_quiet_is_seen_and_ends_with_it_or_with_downtime() -> None:
    """Start, end, mean and least score; a gap of more than 30 s breaks it."""
    current: Streak | None = None
    done: list[Streak] = []
    told = [(0, "QUIET", 90), (2, "QUIET", 100), (4, "NORMAL", 70), (6, "QUIET", 80), (8, "QUIET", 82)]
    told += [(60, "QUIET", 95), (62, "UNKNOWN", None)]
    for at_s, state, score in told:
        current, ended = streaks.fold(current, T0 + 1000 * at_s, QuietState(state), score)
        done += [ended] if ended else []
    spans = [((each.start_ms - T0) // 1000, (each.end_ms - T0) // 1000) for each in done]
    assert spans == [(0, 2), (6, 8), (60, 60)]
    assert [(each.score_mean, each.score_min) for each in done] == [(95.0, 90), (81.0, 80), (95.0, 95)]
    assert current is None


def assessment(score: int = 93) -> QuietAssessment:
    inputs: dict[str, float | None] = dict.fromkeys(INPUTS, 12.345)
    inputs |= {"cpu_avg_10s": 12.345, "cpu_avg_2m": 12.345}
    return QuietAssessment(0, QuietState.QUIET, score, score, ("calm",), inputs, {}, 0, 0, "server")


def newest(clock: ManualClock) -> tuple[HostStats, ProcessStats, None, QuietAssessment]:
    machine = FakeMachine()
    before = machine.host.counters(clock.now_ms() - 2_000)
    machine.others_pct = 30.0
    now = machine.host.counters(clock.now_ms())
    host = derive(before, now, machine.host.surroundings())
    return host, machine.host.process(), None, assessment()


async def recorded(tmp_path: Path, ticks: int) -> tuple[History, ManualClock]:
    """A history with that many samples ten seconds apart."""
    clock = ManualClock(wall_start_ms=T0)
    history = History(SqliteSamples(str(tmp_path)), clock)
    await history.open()
    collector = history.collector(lambda: newest(clock))
    for _ in range(ticks):
        collector.take(collector.prepare())
        assert history._writing is not None
        await history._writing
        await clock.advance(10_000)
    return history, clock


@pytest.mark.requirement("SENSE-15")
async def test_a_question_without_metric_gets_the_headline_with_gaps_as_null(tmp_path: Path) -> None:
    """Groups, metrics and headline as documented; the time before the first sample has no points."""
    history, _ = await recorded(tmp_path, 6)
    series = await history.series("host", None, range_ms=300_000, step_ms=None, aggregate="mean")
    assert (series.metric, series.step_ms) == ("cpu_pct", 10_000)
    assert (series.end_ms - series.start_ms) // series.step_ms == 30
    assert [point.figures.told(series.aggregate) for point in series.points] == [30.0] * 6
    series = await history.series("quiet", "cpu_avg_2m", range_ms=600_000, step_ms=600_000, aggregate="max")
    assert series.values()[-1] == 12.3
    await history.close()


@pytest.mark.requirement("SENSE-15")
@pytest.mark.parametrize(
    ("changed", "names"),
    [
        ({"group": "hosts"}, "api, host, process, quiet"),
        ({"metric": "cpu"}, "cpu_pct"),
        ({"range_ms": 731 * DAY_MS}, "10s to 730d"),
        ({"range_ms": 1_000}, "10s to 730d"),
        ({"range_ms": 8 * DAY_MS, "step_ms": 90_000}, "120s to 691200s, in multiples of 60s"),
        ({"range_ms": 31 * DAY_MS, "step_ms": 5_400_000}, "3600s to 2678400s, in multiples of 3600s"),
        ({"step_ms": 1_000}, "10s to 3600s"),
        ({"range_ms": 7 * DAY_MS, "step_ms": 10_000}, "61s to 604800s"),
        ({"aggregate": "median"}, "mean, min, max, last, count"),
    ],
)
async def test_a_wrong_question_is_told_what_is_allowed(
    tmp_path: Path, changed: dict[str, object], names: str
) -> None:
    """Group, metric, range, step and aggregate: 422 with the field and the choices."""
    history, _ = await recorded(tmp_path, 1)
    asked = {"group": "host", "metric": None, "range_ms": 3_600_000, "step_ms": None, "aggregate": "mean"}
    asked |= changed
    with pytest.raises(Invalid) as caught:
        await history.series(asked.pop("group"), asked.pop("metric"), **asked)  # type: ignore[arg-type]
    assert names in str(caught.value)
    await history.close()


@pytest.mark.requirement("SENSE-15")
@pytest.mark.parametrize("range_ms", [10_000, 3_600_000, 9 * 3_600_000, DAY_MS, 7 * DAY_MS, 730 * DAY_MS])
async def test_no_answer_has_more_than_ten_thousand_points(tmp_path: Path, range_ms: int) -> None:
    """Left alone, the resolution suits the range; a whole number of samples falls on each point."""
    history, _ = await recorded(tmp_path, 1)
    series = await history.series("host", None, range_ms=range_ms, step_ms=None, aggregate="mean")
    assert 1 <= (series.end_ms - series.start_ms) // series.step_ms <= 601
    assert series.step_ms % 10_000 == 0
    await history.close()


@pytest.mark.requirement("SENSE-14")
async def test_a_store_that_refuses_loses_nothing_it_could_keep(tmp_path: Path) -> None:
    """While the disk is full rows wait, up to a limit; when it takes them again they are written."""
    history, clock = await recorded(tmp_path, 1)
    store = history.store
    assert isinstance(store, SqliteSamples)
    real, store._write = store._write, full  # type: ignore[method-assign, assignment]
    collector = history.collector(lambda: newest(clock))
    for _ in range(3):
        collector.take(collector.prepare())
        await clock.advance(10_000)
        assert history._writing is not None
        await history._writing
    store._write = real  # type: ignore[method-assign]
    collector.take(collector.prepare())
    await settled()
    await history._writing
    series = await history.series("host", None, range_ms=600_000, step_ms=600_000, aggregate="count")
    assert sum(point.figures.told(series.aggregate) for point in series.points) == 5
    await history.close()


@pytest.mark.requirement("SENSE-14")
async def test_a_store_that_cannot_be_opened_is_opened_later(tmp_path: Path) -> None:
    """The server starts without history, keeps what it samples, and writes it once the folder is there."""
    folder, clock = tmp_path / "missing", ManualClock(wall_start_ms=T0)
    history = History(SqliteSamples(str(folder)), clock)
    await history.open()
    collector = history.collector(lambda: newest(clock))
    for _ in range(2):
        collector.take(collector.prepare())
        assert history._writing is not None
        await history._writing
        folder.mkdir(exist_ok=True)
        await clock.advance(10_000)
    series = await history.series("host", None, range_ms=600_000, step_ms=600_000, aggregate="count")
    assert sum(point.figures.told(series.aggregate) for point in series.points) == 2
    await history.close()


def full(*_: object) -> None:
    raise sqlite3.OperationalError("database or disk is full")


@pytest.mark.slow
@pytest.mark.requirement("SENSE-14")
async def test_a_day_of_raw_samples_is_under_15_megabytes(tmp_path: Path) -> None:
    """8,640 samples of four groups of one node, written as the server writes them."""
    raw, rolled = await sizes_of_a_day(tmp_path)
    assert raw < 15_000_000, f"{raw:,} bytes"
    assert rolled < 2_500_000, f"{rolled:,} bytes of minutes and hours"
