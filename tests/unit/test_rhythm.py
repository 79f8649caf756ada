"""The generator of plausible minutes: the same for a seed, a week that can be told from its hours."""

from __future__ import annotations

from datetime import UTC, date, datetime

from leasehold.core import rhythm, samples
from leasehold.core.rhythm import MINUTE_MS, Rhythm

DAY_MS = 86_400_000
MONDAY_MS = round(datetime(2026, 1, 5, tzinfo=UTC).timestamp() * 1000)


def _quiet_share(given: Rhythm, start_ms: int, days: int, hours: range) -> float:
    """The share of minutes that are quiet, of the hours of the day (UTC), in so many days."""
    found = [
        moment.is_quiet
        for moment in rhythm.minutes(given, start_ms, start_ms + days * DAY_MS)
        if moment.wall_ms // 3_600_000 % 24 in hours
    ]
    return sum(found) / len(found)


def test_the_same_seed_gives_the_same_minutes_in_any_order() -> None:
    """A minute depends on its seed and its time alone, and another seed is another machine."""
    given = Rhythm(seed=11, zone="Europe/Berlin")
    once = [moment.groups() for moment in rhythm.minutes(given, MONDAY_MS, MONDAY_MS + DAY_MS)]
    again = [
        rhythm.at(Rhythm(seed=11, zone="Europe/Berlin"), MONDAY_MS + number * MINUTE_MS).groups()
        for number in reversed(range(1440))
    ]
    assert once == again[::-1]
    other = [moment.groups() for moment in rhythm.minutes(Rhythm(seed=12), MONDAY_MS, MONDAY_MS + DAY_MS)]
    assert once != other
    scores = sum(each["quiet"]["quiet_score"] for each in once)
    assert scores == 130_124  # the figures themselves are fixed, on any machine


def test_a_week_has_quiet_nights_busy_workdays_and_a_backup() -> None:
    """Four weeks of one seed: nights are quiet but for the backup, workdays less, weekends in between."""
    given = Rhythm(seed=2)
    nights = _quiet_share(given, MONDAY_MS, 28, range(22, 24))
    work = sum(_quiet_share(given, MONDAY_MS + 7 * DAY_MS * week, 5, range(9, 17)) for week in range(4)) / 4
    backup = _quiet_share(given, MONDAY_MS, 28, range(2, 3))
    assert nights > 0.9
    assert 0.5 < work < 0.9
    assert backup < 0.7


def test_a_shifted_week_is_later_and_a_holiday_is_a_sunday() -> None:
    """People's hours move in a shifted week, the backup does not; on a holiday nobody works."""
    plain = Rhythm(seed=2)
    shifted = Rhythm(seed=2, shifted=(date(2026, 1, 5),), shift_min=420)
    assert (
        _quiet_share(shifted, MONDAY_MS, 5, range(9, 15))
        > 0.98
        > _quiet_share(plain, MONDAY_MS, 5, range(9, 15))
    )
    assert _quiet_share(shifted, MONDAY_MS, 5, range(17, 23)) < _quiet_share(
        plain, MONDAY_MS, 5, range(17, 23)
    )
    assert _quiet_share(shifted, MONDAY_MS, 5, range(2, 3)) == _quiet_share(plain, MONDAY_MS, 5, range(2, 3))
    holiday = Rhythm(seed=2, holidays=(date(2026, 1, 7),))
    assert rhythm.day_of(holiday, date(2026, 1, 7)) != rhythm.day_of(plain, date(2026, 1, 7))
    assert rhythm.day_of(holiday, date(2026, 1, 8)) == rhythm.day_of(plain, date(2026, 1, 8))


def test_fields_are_named_as_history_names_them() -> None:
    """Every group tells fields that the product stores too, and the headline of each is among them."""
    groups = rhythm.at(Rhythm(seed=5), MONDAY_MS).groups()
    assert set(groups) == {"host", "process", "api", "quiet"}
    assert {"cpu_pct", "load_1m", "memory_pct", "core_pct:7"} <= groups["host"].keys()
    assert {"rss_bytes", "cpu_pct"} <= groups["process"].keys()
    assert {"requests_per_sec", "p95_ms"} <= groups["api"].keys()
    assert {"quiet_score", "state", "foreign_cpu_avg_2m"} <= groups["quiet"].keys()
    assert not samples.ELSEWHERE & groups["quiet"].keys()


def test_nothing_is_told_of_a_machine_that_is_off() -> None:
    """A span in which the machine is switched off is a gap."""
    off = ((MONDAY_MS + 10 * MINUTE_MS, MONDAY_MS + 20 * MINUTE_MS),)
    found = list(rhythm.minutes(Rhythm(seed=1, off=off), MONDAY_MS, MONDAY_MS + 30 * MINUTE_MS))
    assert [moment.wall_ms for moment in found[9:11]] == [MONDAY_MS + 9 * MINUTE_MS, off[0][1]]
    assert len(found) == 20
