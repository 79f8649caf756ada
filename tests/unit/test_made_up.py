"""Made-up data: marked before anything else, the same for the same seed, and never taken for measured."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from leasehold.adapters.hosts.linux import LinuxHost
from leasehold.adapters.hosts.made_up import MadeUpHost
from leasehold.adapters.stores import made_up as mark
from leasehold.adapters.stores.samples import SqliteSamples
from leasehold.bootstrap import demo
from leasehold.bootstrap.machine import host_of
from leasehold.core import stats
from leasehold.core.made_up import DAY_MS, WEEK_MS, rhythm_of, streaks
from leasehold.core.rhythm import MINUTE_MS, at, minutes
from leasehold.model.made_up import MadeUp
from leasehold.runtime.clock import RealClock

NOW_MS = 1_764_150_000_000
DEMO = MadeUp(7, 3, "Europe/Berlin", NOW_MS)


def test_the_mark_is_read_back_and_a_broken_one_still_marks(tmp_path: Path) -> None:
    """A folder without a mark is measured; one with a mark that can't be read is made up all the same."""
    assert mark.read(tmp_path) is None
    mark.write(tmp_path, DEMO)
    assert mark.read(tmp_path) == DEMO
    assert "MADE-UP" in DEMO.sentence
    for garbage in (b"", b"{", b'{"seed": "x"}', b'{"seed": 1, "more": 2}'):
        (tmp_path / mark.FILE).write_bytes(garbage)
        found = mark.read(tmp_path)
        assert found is not None
        assert "MADE-UP" in found.sentence


def test_only_a_marked_folder_has_a_made_up_machine(tmp_path: Path) -> None:
    """Without the mark the machine is the real one, whatever else lies in the folder."""
    assert isinstance(host_of(tmp_path, mark.read(tmp_path), RealClock()), LinuxHost)
    mark.write(tmp_path, DEMO)
    assert isinstance(host_of(tmp_path, mark.read(tmp_path), RealClock()), MadeUpHost)


def test_the_folder_is_marked_before_it_is_filled(tmp_path: Path) -> None:
    """Who is killed while the history is made leaves a folder that says what it is."""

    class Killed(Exception):
        pass

    def kill(days: int) -> None:
        raise Killed

    with pytest.raises(Killed):
        demo.make(tmp_path, DEMO, kill)
    assert demo.marked(tmp_path) == DEMO


async def read(folder: Path, metric: str, start_ms: int, step_ms: int) -> list[tuple[int, float]]:
    """One metric of the quiet group, as history reads it."""
    store = SqliteSamples(str(folder))
    await store.open()
    try:
        points = await store.points("quiet", metric, start_ms=start_ms, end_ms=NOW_MS, step_ms=step_ms)
        return [(point.start_ms, point.figures.mean) for point in points]
    finally:
        await store.close()


@pytest.mark.slow
def test_weeks_are_filled_to_the_present_with_a_gap_where_it_was_off(tmp_path: Path) -> None:
    """Minutes and hours are there from the first week to now; ten days ago some hours are missing."""
    told: list[int] = []
    demo.make(tmp_path, DEMO, told.append)
    assert told == list(range(1, 22))
    start_ms = (NOW_MS - 3 * WEEK_MS) // 3_600_000 * 3_600_000
    hours = asyncio.run(read(tmp_path, "quiet_score", start_ms, 3_600_000))
    gap = [
        at_ms
        for at_ms, _ in hours
        if NOW_MS - 10 * DAY_MS + 3_600_000 < at_ms < NOW_MS - 10 * DAY_MS + 5 * 3_600_000
    ]
    assert gap == []
    assert 21 * 24 - 8 <= len(hours) <= 21 * 24 + 1
    fine = asyncio.run(read(tmp_path, "quiet_score", NOW_MS - 600_000, MINUTE_MS))
    assert [score for _, score in fine] == [at(rhythm_of(DEMO), at_ms).score for at_ms, _ in fine]
    assert len(fine) >= 9


@pytest.mark.slow
def test_the_same_seed_makes_the_same_history_and_another_another(tmp_path: Path) -> None:
    """Figures of a demo can be spoken about: its seed gives them again."""
    found = []
    for number, seed in enumerate((3, 3, 4)):
        folder = tmp_path / str(number)
        folder.mkdir()
        demo.make(folder, MadeUp(seed, 1, "UTC", NOW_MS), lambda days: None)
        found.append(asyncio.run(read(folder, "quiet_score", NOW_MS - 6 * DAY_MS, 3_600_000)))
    assert len(found[0]) > 140
    assert found[0] == found[1]
    assert found[0] != found[2]


def test_streaks_are_unbroken_and_all_of_them() -> None:
    """Each streak is quiet from end to end, none touches the next, and no quiet minute is left out."""
    rhythm = rhythm_of(DEMO)
    found = list(minutes(rhythm, NOW_MS - 2 * DAY_MS, NOW_MS))
    quiet = {moment.wall_ms for moment in found if moment.is_quiet}
    ended = list(streaks(found, MINUTE_MS))
    assert len(ended) > 3
    covered = {at_ms for one in ended for at_ms in range(one.start_ms, one.end_ms + 1, MINUTE_MS)}
    last = max(ended, key=lambda one: one.end_ms).end_ms
    assert covered == {at_ms for at_ms in quiet if at_ms <= last}
    assert all(one.score_min <= one.score_mean <= 100 for one in ended)


def test_the_made_up_machine_measures_what_its_rhythm_says(tmp_path: Path) -> None:
    """Read twice, the counters give back the load of the moment; they never run backwards."""
    clock = [NOW_MS]
    host = MadeUpHost(rhythm_of(DEMO), LinuxHost(str(tmp_path)), lambda: clock[0])
    before = host.counters(0)
    for tick in range(1, 200):
        clock[0] = NOW_MS + tick * 60_000
        now = host.counters(tick * 2_000)
        assert now.cpu_busy_ms >= before.cpu_busy_ms
        assert now.cpu_busy_ms <= now.cpu_total_ms
        shown = stats.derive(before, now, host.surroundings())
        load = at(rhythm_of(DEMO), clock[0])
        fields = load.groups()["host"]
        cores = [fields[f"core_pct:{core}"] for core in range(8)]
        assert shown.cpu_pct == pytest.approx(sum(cores) / 8, abs=0.3)
        assert shown.memory_pct == pytest.approx(load.load.memory_pct, abs=0.1)
        assert shown.disk_read_bytes_per_sec == pytest.approx(load.load.read_bytes_per_s, rel=0.01, abs=2)
        before = now
