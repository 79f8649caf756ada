"""Plausible minutes of a machine that people live with: for `leasehold demo`, trials and tests.

Never shown as measured. Deterministic: the same `Rhythm` gives the same figures at any instant, asked in any
order, on any machine. Nothing is drawn but from its seed (SplitMix64: Steele, Lea, Flood, *Fast Splittable
Pseudorandom Number Generators*, OOPSLA 2014).

    rhythm = Rhythm(seed=7, zone="Europe/Berlin", shifted=(date(2026, 3, 9),), holidays=(date(2026, 4, 6),))
    for moment in minutes(rhythm, start_ms, end_ms):        # or `at(rhythm, wall_ms)` for one instant
        moment.wall_ms, moment.score, moment.state          # the quiet score 0–100, and its state
        moment.groups()["host"]["cpu_pct"]                  # fields by metric group, named as history does

A seed is a household: when its people begin to work, how often they build, when the backup runs. Its days
differ as days do: late starts, days off, meetings, films, a game on Saturday. Work comes in bursts.
A shifted week has all that people do some hours later (what timers do stays); a holiday is lived like a
Sunday. Limits: one machine, no trend over months, no seasons; a minute has one state, while real ones mix.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from functools import lru_cache

import msgspec

from leasehold.core.calendar import zone_of
from leasehold.core.dice import Dice
from leasehold.core.pressures import pressure_bp, score
from leasehold.model.quiet import PRESETS, QuietSettings

MINUTE_MS = 60_000
DAY_MIN = 1_440
GIB = 1 << 30


class Rhythm(msgspec.Struct, frozen=True):
    """What decides every figure.

    `shifted`: Mondays of weeks in which people do everything `shift_min` minutes later. `holidays`: days that
    are lived like a Sunday. `off`: spans (start, end) in wall ms in which the machine is switched off.
    """

    seed: int
    zone: str = "UTC"
    shifted: tuple[date, ...] = ()
    shift_min: int = 300
    holidays: tuple[date, ...] = ()
    off: tuple[tuple[int, int], ...] = ()
    cores: int = 8
    memory_bytes: int = 32 * GIB
    preset: str = "server"


class Load(msgspec.Struct, frozen=True, gc=False):
    """Something that runs from one minute of a day to another, which may lie beyond midnight."""

    start_min: int
    end_min: int
    cpu_pct: float = 0.0
    io_pct: float = 0.0
    memory_pct: float = 0.0
    read_bytes_per_s: int = 0
    write_bytes_per_s: int = 0
    rx_bytes_per_s: int = 0
    rps: float = 0.0


class Moment(msgspec.Struct, frozen=True):
    """One instant: what the machine does, the score that follows by the product's own formula, its state.

    `state` is a number as history stores it (0 QUIET … 3 PANIC). Percentages are of the whole machine.
    """

    wall_ms: int
    score: int
    state: int
    load: Load
    wobble: tuple[float, ...]
    rhythm: Rhythm

    @property
    def is_quiet(self) -> bool:
        return self.state == 0

    def groups(self) -> dict[str, dict[str, float]]:
        """The fields of the groups host, process, api and quiet, named as in `core/samples.py`."""
        return {
            "host": _host(self),
            "process": _process(self),
            "api": _api(self),
            "quiet": _quiet(self),
        }


def minutes(rhythm: Rhythm, start_ms: int, end_ms: int, step_ms: int = MINUTE_MS) -> Iterator[Moment]:
    """Moments from `start_ms` to before `end_ms` (wall ms), each `step_ms`; none while the machine is off."""
    for wall_ms in range(start_ms, end_ms, step_ms):
        if not any(begin <= wall_ms < end for begin, end in rhythm.off):
            yield at(rhythm, wall_ms)


def at(rhythm: Rhythm, wall_ms: int) -> Moment:
    """The moment of one instant."""
    dice = Dice(rhythm.seed, 1, wall_ms)
    wobble = tuple(dice.unit() for _ in range(6))
    load = _sum(_running(rhythm, wall_ms), wobble)
    settings = PRESETS[rhythm.preset]
    found = _score(settings, rhythm, load)
    thresholds = (settings.quiet_from, settings.normal_from, settings.busy_from)
    return Moment(wall_ms, found, sum(found < least for least in thresholds), load, wobble, rhythm)


# -- habits and days ------------------------------------------------------------------


class Habits(msgspec.Struct, frozen=True):
    """What a household does each week. Times are minutes of the day."""

    work_from: int
    work_until: int
    build_every_min: float
    off_share: float
    evening_share: float
    evening_from: int
    game_share: float
    backup_at: int
    index_day: int


@lru_cache(maxsize=64)
def habits_of(seed: int) -> Habits:
    """The habits of one seed."""
    dice = Dice(seed, 2)
    return Habits(
        work_from=int(dice.between(450, 570)),
        work_until=int(dice.between(1_005, 1_095)),
        build_every_min=dice.between(18, 40),
        off_share=dice.between(0.04, 0.12),
        evening_share=dice.between(0.5, 0.85),
        evening_from=int(dice.between(1_140, 1_215)),
        game_share=dice.between(0.3, 0.7),
        backup_at=30 * int(dice.between(2, 9)),
        index_day=int(dice.between(0, 7)),
    )


@lru_cache(maxsize=256)
def day_of(rhythm: Rhythm, day: date) -> tuple[Load, ...]:
    """What runs on one day of the zone, in order of its begin."""
    habits = habits_of(rhythm.seed)
    dice = Dice(rhythm.seed, 3, day.toordinal())
    weekday = 6 if day in rhythm.holidays else day.weekday()
    monday = date.fromordinal(day.toordinal() - day.weekday())
    later = rhythm.shift_min if monday in rhythm.shifted else 0
    people = list(_work(dice, habits, weekday) if weekday < 5 else _weekend(dice, habits, weekday))
    people += _evening(dice, habits, weekday)
    moved = [
        msgspec.structs.replace(load, start_min=load.start_min + later, end_min=load.end_min + later)
        for load in people
    ]
    timers = _timers(dice, habits, day.weekday())
    return tuple(sorted([*moved, *timers], key=lambda load: (load.start_min, load.end_min, load.cpu_pct)))


def _work(dice: Dice, habits: Habits, weekday: int) -> Iterator[Load]:
    """A working day: an editor all day, builds and tests in bursts, lunch, fewer builds on Wednesdays."""
    if dice.chance(habits.off_share):
        return
    begin = int(dice.near(habits.work_from, 50))
    end = int(dice.near(habits.work_until - (120 if weekday == 4 else 0), 60))
    lunch = int(dice.near(750, 30))
    yield Load(begin, end, cpu_pct=5, memory_pct=14, rx_bytes_per_s=60_000, rps=0.1)
    at_min = begin + dice.between(3, 30)
    while at_min < end:
        length = 3 + 28 * dice.unit() ** 2
        if not lunch <= at_min < lunch + 45:
            yield _burst(dice, int(at_min), int(at_min + length), 35, 95)
        slow = 2.0 if weekday == 2 and at_min > 780 else 1.0
        at_min += length + slow * habits.build_every_min * dice.between(0.3, 1.7)


def _weekend(dice: Dice, habits: Habits, weekday: int) -> Iterator[Load]:
    """Photos on a late morning, now and then a game in the afternoon."""
    if dice.chance(0.45):
        begin = int(dice.near(645, 60))
        yield _burst(dice, begin, begin + int(dice.between(15, 80)), 30, 70)
    if dice.chance(habits.game_share * (1.0 if weekday == 5 else 0.6)):
        begin = int(dice.near(900, 75))
        yield _burst(dice, begin, begin + int(dice.between(60, 200)), 45, 85)


def _evening(dice: Dice, habits: Habits, weekday: int) -> Iterator[Load]:
    """A film, which is transcoded as it is watched: spells of load with pauses between them."""
    if not dice.chance(min(0.95, habits.evening_share + (0.15 if weekday in (4, 5) else 0))):
        return
    at_min = dice.near(habits.evening_from, 35)
    end = dice.near(habits.evening_from + (170 if weekday in (4, 5) else 125), 40)
    while at_min < end:
        length = dice.between(12, 40)
        yield Load(
            int(at_min),
            int(min(end, at_min + length)),
            cpu_pct=dice.between(34, 72),
            io_pct=dice.between(2, 10),
            memory_pct=dice.between(4, 9),
            read_bytes_per_s=int(dice.between(1, 6) * 1_000_000),
            rx_bytes_per_s=int(dice.between(0.2, 2) * 1_000_000),
            rps=dice.between(0.4, 3),
        )
        at_min += length + dice.between(2, 14)


def _timers(dice: Dice, habits: Habits, weekday: int) -> Iterator[Load]:
    """What no person starts: the nightly backup, an index once a week, a check of the disks on Sunday."""
    begin = int(dice.near(habits.backup_at, 4))
    yield _copying(dice, begin, begin + int(dice.between(22, 50)))
    if weekday == habits.index_day:
        yield _burst(dice, 330, 330 + int(dice.between(25, 70)), 50, 90)
    if weekday == 6:
        begin = int(dice.near(habits.backup_at + 90, 5))
        yield _copying(dice, begin, begin + int(dice.between(110, 170)))


def _burst(dice: Dice, begin: int, end: int, cpu_from: float, cpu_to: float) -> Load:
    return Load(
        begin,
        end,
        cpu_pct=dice.between(cpu_from, cpu_to),
        io_pct=dice.between(1, 14),
        memory_pct=dice.between(66, 76) if dice.chance(0.01) else dice.between(4, 22),
        read_bytes_per_s=int(dice.between(1, 40) * 1_000_000),
        write_bytes_per_s=int(dice.between(1, 30) * 1_000_000),
        rps=dice.between(0, 0.4),
    )


def _copying(dice: Dice, begin: int, end: int) -> Load:
    return Load(
        begin,
        end,
        cpu_pct=dice.between(8, 20),
        io_pct=dice.between(38, 68),
        memory_pct=dice.between(1, 4),
        read_bytes_per_s=int(dice.between(60, 140) * 1_000_000),
        write_bytes_per_s=int(dice.between(20, 60) * 1_000_000),
    )


# -- one instant ----------------------------------------------------------------------


def _running(rhythm: Rhythm, wall_ms: int) -> Iterator[Load]:
    """What runs at an instant: of its day, and of the day before beyond midnight."""
    shown = datetime.fromtimestamp(wall_ms / 1000, zone_of(rhythm.zone))
    minute = 60 * shown.hour + shown.minute
    today = shown.date()
    yesterday = date.fromordinal(today.toordinal() - 1)
    for day, since in ((today, minute), (yesterday, minute + DAY_MIN)):
        for load in day_of(rhythm, day):
            if load.start_min <= since < load.end_min:
                yield load


def _sum(loads: Iterator[Load], wobble: tuple[float, ...]) -> Load:
    """All of them at once, on top of a machine that idles; each figure wobbles a little from minute to
    minute.
    """
    running = list(loads)
    busy, calm = 0.85 + 0.3 * wobble[0], 0.5 + wobble[1]
    return Load(
        0,
        0,
        cpu_pct=min(100.0, 2.5 * calm + busy * sum(load.cpu_pct for load in running)),
        io_pct=min(100.0, calm + (0.85 + 0.3 * wobble[2]) * sum(load.io_pct for load in running)),
        memory_pct=min(97.0, 21 + 2 * wobble[3] + sum(load.memory_pct for load in running)),
        read_bytes_per_s=int(busy * sum(load.read_bytes_per_s for load in running) + 9_000 * calm),
        write_bytes_per_s=int(busy * sum(load.write_bytes_per_s for load in running) + 40_000 * calm),
        rx_bytes_per_s=int(busy * sum(load.rx_bytes_per_s for load in running) + 3_000 * calm),
        rps=busy * sum(load.rps for load in running) + 0.02 * calm,
    )


def _inputs(rhythm: Rhythm, load: Load) -> dict[str, float]:
    """The inputs of the quiet assessment that follow from a load."""
    return {
        "foreign_cpu_avg_10s": load.cpu_pct,
        "foreign_cpu_avg_2m": load.cpu_pct,
        "foreign_runnable_per_core": load.cpu_pct / 100,
        "psi_cpu": max(0.0, load.cpu_pct - 70) * 0.8,
        "psi_io": load.io_pct,
        "foreign_mem_pct": load.memory_pct,
        "mem_left_mb": rhythm.memory_bytes * (100 - load.memory_pct) / 100 / 1_000_000,
    }


def _score(settings: QuietSettings, rhythm: Rhythm, load: Load) -> int:
    found = _inputs(rhythm, load)
    return score(
        settings,
        {name: pressure_bp(settings.inputs[name], round(1000 * value)) for name, value in found.items()},
    )


def _host(moment: Moment) -> dict[str, float]:
    load, rhythm, wobble = moment.load, moment.rhythm, moment.wobble
    used = rhythm.memory_bytes * load.memory_pct / 100
    fields = {
        "cpu_pct": load.cpu_pct,
        "load_1m": rhythm.cores * (load.cpu_pct / 100) * (0.9 + 0.3 * wobble[4]),
        "memory_pct": load.memory_pct,
        "memory_used_bytes": used,
        "disk_read_bytes_per_sec": load.read_bytes_per_s,
        "disk_write_bytes_per_sec": load.write_bytes_per_s,
        "psi_cpu_some_10s": max(0.0, load.cpu_pct - 70) * 0.8,
        "psi_memory_some_10s": 0.0,
        "psi_memory_full_10s": 0.0,
        "psi_io_some_10s": load.io_pct,
        "psi_io_full_10s": load.io_pct * 0.7,
        "disk_free_pct:/": 41 - (moment.wall_ms // 86_400_000) % 60 / 10,
        "rx_bytes_s:eth0": load.rx_bytes_per_s,
        "tx_bytes_s:eth0": load.rx_bytes_per_s * 0.2,
    }
    for core in range(rhythm.cores):
        lean = 0.6 + 0.8 * ((wobble[5] * 7 + core * 0.37) % 1)
        fields[f"core_pct:{core}"] = min(100, round(load.cpu_pct * lean))
    return _short(fields)


def _process(moment: Moment) -> dict[str, float]:
    return _short(
        {
            "rss_bytes": 66_000_000 + 4_000_000 * moment.wobble[4],
            "cpu_pct": 0.6 + 0.8 * moment.wobble[5],
            "threads": 9,
            "open_files": 34 + int(6 * moment.wobble[3]),
        }
    )


def _api(moment: Moment) -> dict[str, float]:
    rps, wobble = moment.load.rps, moment.wobble
    return _short(
        {
            "requests": int(60 * rps),
            "in_flight": int(rps * (0.5 + wobble[3])),
            "held": 1,
            "requests_per_sec": rps,
            "error_pct": 0.0,
            "p50_ms": 1.2 + wobble[4],
            "p95_ms": 4 + 5 * wobble[5] + moment.load.cpu_pct / 12,
            "p99_ms": 9 + 14 * wobble[5] + moment.load.cpu_pct / 4,
        }
    )


def _quiet(moment: Moment) -> dict[str, float]:
    inputs = _inputs(moment.rhythm, moment.load)
    return _short(
        {
            "quiet_score": moment.score,
            "score_raw": moment.score,
            "state": moment.state,
            "quiet": int(moment.is_quiet),
            "cpu_avg_10s": moment.load.cpu_pct,
            "cpu_avg_2m": moment.load.cpu_pct,
            **inputs,
        }
    )


def _short(fields: dict[str, float]) -> dict[str, float]:
    """Rounded as history rounds: large figures whole, small ones to a hundredth."""
    return {
        name: int(value)
        if isinstance(value, int) or abs(value) >= 1000
        else round(value, 1 if abs(value) >= 10 else 2)
        for name, value in fields.items()
    }
