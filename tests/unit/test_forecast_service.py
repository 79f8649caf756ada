"""The forecast over recorded history: learned at start, kept up, made once a day, held to what happened."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from leasehold.adapters.stores.samples import FILE, SqliteSamples
from leasehold.control.forecast import ForecastService
from leasehold.control.forecast_views import ForecastViews
from leasehold.core.forecast import DAY_MS, HOUR_MS
from leasehold.model.errors import Invalid, Unavailable
from leasehold.model.owner import Foreseen
from leasehold.model.settings import ForecastSettings
from leasehold.ports.samples import Sample
from leasehold.testing.manual_clock import ManualClock, settled
from leasehold.wire.forecast import ForecastQuery, ScoresQuery

BERLIN = "Europe/Berlin"
WEEK_MS = 7 * DAY_MS
MONDAY_MS = round(datetime.fromisoformat("2026-11-02T00:00+01:00").timestamp() * 1000)


def busy_at_nine(hour: int) -> int:
    """Quiet but for nine to eleven on workdays."""
    return 0 if hour % 24 in (9, 10) and hour % 168 < 120 else 1


def minutes(first_ms: int, last_ms: int, how: Callable[[int], int] = busy_at_nine) -> list[Sample]:
    """Every tenth minute from one instant to another, by the hour since `MONDAY_MS`."""
    return [
        Sample(at_ms, "quiet", {"quiet": float(how((at_ms - MONDAY_MS) // HOUR_MS)), "quiet_score": 90.0})
        for at_ms in range(first_ms, last_ms, 600_000)
    ]


class Machine:
    """A history, a clock and the service over them."""

    def __init__(self, folder: Path, wall_ms: int) -> None:
        self.store = SqliteSamples(str(folder))
        self.clock = ManualClock(wall_start_ms=wall_ms)
        self.told: list[Foreseen] = []
        self.settings = ForecastSettings()
        self.blocked: list[tuple[int, int]] = []
        self.service = self.started()

    def started(self) -> ForecastService:
        return ForecastService(
            self.store,
            self.clock,
            BERLIN,
            lambda: self.settings,
            offload,
            self.told.append,
            sample_s=60,
            blocked=lambda start_ms, end_ms: self.blocked,
        )

    async def filled(self, first_ms: int, last_ms: int, how: Callable[[int], int] = busy_at_nine) -> None:
        await self.store.fill(minutes(first_ms, last_ms, how), per_minute=10)

    async def at(self, wall_ms: int) -> None:
        await self.clock.advance(wall_ms - self.clock.wall_ms())
        await self.service.look()

    def views(self) -> ForecastViews:
        return ForecastViews(self.service, self.clock)


async def offload(function: Callable[..., Any], *arguments: Any) -> Any:
    return await asyncio.to_thread(function, *arguments)


@asynccontextmanager
async def machine(folder: Path, weeks: int, and_ms: int = 0) -> AsyncIterator[Machine]:
    """One with so many weeks of history, at the end of them and a bit more."""
    here = Machine(folder, MONDAY_MS + weeks * WEEK_MS + and_ms)
    await here.store.open()
    await here.filled(MONDAY_MS, here.clock.wall_ms())
    try:
        yield here
    finally:
        await here.store.close()


@pytest.mark.requirement("SENSE-18")
async def test_it_learns_from_history_at_start_and_goes_on_with_each_hour(tmp_path: Path) -> None:
    """What a restart learns anew is what was learned hour by hour."""
    async with machine(tmp_path, 3) as here:
        await here.service.look()
        first = here.service.table
        assert first.cells[9].quiet_bp < 4_500 < 9_000 < first.cells[12].quiet_bp
        for hour in range(1, 30):
            start_ms = MONDAY_MS + 3 * WEEK_MS
            await here.filled(start_ms + (hour - 1) * HOUR_MS, start_ms + hour * HOUR_MS, lambda hour: 0)
            await here.at(start_ms + hour * HOUR_MS + 61_000)
        assert here.service.table.cells[12].quiet_bp < first.cells[12].quiet_bp
        again = here.started()
        await again.look()
        assert again.table == here.service.table


@pytest.mark.requirement("SENSE-19")
async def test_each_day_is_forecast_once_and_scored_when_it_is_over(tmp_path: Path) -> None:
    """Made at its begin, kept over a restart, held against what happened, beside the naive ways."""
    async with machine(tmp_path, 3, 60_000) as here:
        await here.service.look()
        today_ms = MONDAY_MS + 3 * WEEK_MS
        made = here.service.days[today_ms]
        assert (made.made_ms, made.hindsight, made.scored) == (today_ms + 60_000, False, False)
        assert [hour.start_ms for hour in made.hours][:2] == [today_ms + HOUR_MS, today_ms + 2 * HOUR_MS]
        await here.filled(today_ms, today_ms + DAY_MS, lambda hour: 0)  # A day as no other.
        here.service = here.started()
        await here.at(today_ms + DAY_MS + 61_000)
        scored = here.service.days[today_ms]
        assert scored.scored
        assert [hour.forecast_bp for hour in scored.hours] == [hour.forecast_bp for hour in made.hours]
        assert {hour.quiet_bp for hour in scored.hours} == {0}
        shown = here.views().scores(ScoresQuery("2d")).days[-2]
        assert (shown.day, shown.hindsight, shown.known_hours) == ("2026-11-23", False, 23.0)
        assert shown.brier is not None
        assert shown.brier.forecast > 0.7
        kept = await here.store.forecasts(since_ms=today_ms, limit=9)
        assert [day.scored for day in kept] == [True, False]


@pytest.mark.requirement("SENSE-19")
async def test_days_before_are_told_in_hindsight_from_what_was_known_before_them(tmp_path: Path) -> None:
    """History that was there before the forecast is scored too, and said to be so."""
    async with machine(tmp_path, 4, 12 * HOUR_MS) as here:
        await here.service.look()
        found = here.views().scores(ScoresQuery())
        assert found.score is not None
        assert found.score.days == found.score.hindsight_days == len(found.days) - 1 == 27
        assert found.score.brier.forecast < found.score.brier.overall_mean
        assert "overall_mean" in found.score.beats
        today = found.days[-1]
        assert (today.day, today.hindsight, today.brier) == ("2026-11-30", False, None)
        made_ms = here.service.days[MONDAY_MS + WEEK_MS].made_ms
        assert made_ms == MONDAY_MS + WEEK_MS


@pytest.mark.requirement("SENSE-18")
async def test_little_data_is_unsure_and_opens_no_window(tmp_path: Path) -> None:
    """Three days are known: it says so, and work that waits for a window is told why none is forecast."""
    async with machine(tmp_path, 0, 3 * DAY_MS) as here:
        await here.service.look()
        shown = here.views().forecast(ForecastQuery())
        assert (shown.confidence, shown.quiet) == ("unsure", [])
        assert {one.confidence for one in shown.windows} == {"unsure"}
        assert "3.0 days are known" in shown.note
        assert here.views().heatmap().confidence == "unsure"
        assert here.told[-1].spans == ()
        assert "3.0 days are known" in here.told[-1].why_none


@pytest.mark.requirement("SENSE-18")
async def test_a_forecast_that_was_worse_than_the_mean_is_sure_of_nothing(tmp_path: Path) -> None:
    """Weeks in which each hour is the opposite of the week before: it has no business to open windows."""
    here = Machine(tmp_path, MONDAY_MS + 6 * WEEK_MS + HOUR_MS)
    await here.store.open()
    await here.filled(MONDAY_MS, here.clock.wall_ms(), lambda hour: (hour // 12 + hour // 168) % 2)
    here.settings = ForecastSettings(half_life_days=7)
    here.service = here.started()
    await here.service.look()
    assert "mean of all time was the better forecast" in here.service.doubt
    assert here.told[-1].spans == ()
    await here.store.close()


@pytest.mark.requirement("SENSE-19", "QUEUE-19")
async def test_the_windows_to_come_are_told_as_they_change(tmp_path: Path) -> None:
    """From eleven on until nine of the next workday; a settings change is taken up with the next look."""
    async with machine(tmp_path, 4, 10 * HOUR_MS) as here:
        await here.service.look()
        spans = here.told[-1].spans
        monday_ms = MONDAY_MS + 4 * WEEK_MS
        assert [span[:2] for span in spans[:2]] == [
            (monday_ms + 11 * HOUR_MS, monday_ms + 33 * HOUR_MS),
            (monday_ms + 35 * HOUR_MS, monday_ms + 57 * HOUR_MS),
        ]
        assert all(span[2] >= 8_000 for span in spans)
        here.settings = ForecastSettings(quiet_from_pct=100)
        await here.service.look()
        assert here.told[-1] == Foreseen(zone=BERLIN, why_none="no time of the week is quiet to 100 %")


@pytest.mark.requirement("SENSE-19", "SENSE-20")
async def test_a_time_that_the_owner_blocks_is_never_proposed(tmp_path: Path) -> None:
    """Quiet as it may be: the windows and the spans for work end before it and begin after it."""
    async with machine(tmp_path, 4, 12 * HOUR_MS) as here:
        noon_ms = MONDAY_MS + 4 * WEEK_MS + 12 * HOUR_MS
        here.blocked = [(noon_ms, noon_ms + 6 * HOUR_MS)]
        await here.service.look()
        assert here.told[-1].spans[0][:2] == (noon_ms + 6 * HOUR_MS, noon_ms + 21 * HOUR_MS)
        shown = here.views().forecast(ForecastQuery("2h", "8h"))
        assert [one.start for one in shown.windows] == ["2026-11-30T17:00:00.000Z"]
        assert shown.hours[1].probability > 0.9


@pytest.mark.requirement("SENSE-19")
async def test_the_best_windows_and_the_hours_to_come(tmp_path: Path) -> None:
    """Of the length asked for, within the time; hours by the clocks; errors that say what is right."""
    async with machine(tmp_path, 4, 8 * HOUR_MS + 600_000) as here:
        await here.service.look()
        shown = here.views().forecast(ForecastQuery("3h", "12h"))
        assert shown.windows[0].start == "2026-11-30T10:00:00.000Z"
        assert shown.windows[0].probability > 0.95
        assert [hour.start for hour in shown.hours][:2] == [
            "2026-11-30T07:00:00.000Z",
            "2026-11-30T08:00:00.000Z",
        ]
        assert len(shown.hours) == 13
        cells = here.views().heatmap().days[0].hours
        assert len(cells) == 24
        assert cells[9].probability == shown.hours[1].probability < 0.3
        for duration, within in (("5m", "24h"), ("25h", "7d"), ("2h", "1h"), ("2h", "15d")):
            with pytest.raises(Invalid, match="expected"):
                here.views().forecast(ForecastQuery(duration, within))


@pytest.mark.requirement("SENSE-18")
async def test_a_clock_set_back_is_no_reason_to_stop(tmp_path: Path) -> None:
    """A year ahead and back again: what is to come is told from what was known until now."""
    async with machine(tmp_path, 3) as here:
        await here.service.look()
        before = here.service.table
        now_ms = here.clock.wall_ms()
        ahead_ms = now_ms + 366 * DAY_MS
        await here.filled(ahead_ms - DAY_MS, ahead_ms, lambda hour: 0)
        await here.at(ahead_ms + HOUR_MS)
        assert here.service.table != before
        here.clock._wall_offset_ms -= 366 * DAY_MS + HOUR_MS
        await here.service.look()
        assert here.service.table == before


@pytest.mark.requirement("SENSE-19")
async def test_a_kept_forecast_that_cannot_be_read_is_made_again(tmp_path: Path) -> None:
    """Garbage in one row loses that row alone."""
    async with machine(tmp_path, 3, HOUR_MS) as here:
        await here.service.look()
        day_ms = MONDAY_MS + 2 * WEEK_MS
        database = sqlite3.connect(tmp_path / FILE)
        for payload, at_ms in ((b'{"start_ms": "x"}', day_ms), ("\x00", day_ms + DAY_MS)):
            database.execute("UPDATE day_forecasts SET payload_json = ? WHERE day = ?", (payload, at_ms))
        database.commit()
        database.close()
        again = here.started()
        await again.look()
        assert again.days[day_ms].hindsight
        assert len(again.scored_days()) == len(here.service.scored_days())


@pytest.mark.requirement("SENSE-18")
async def test_a_history_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    """The store can't be opened: it goes on looking, and answers that it is sure of nothing."""
    here = Machine(tmp_path, MONDAY_MS + 3 * WEEK_MS)
    here.service.start()
    await settled()
    with pytest.raises(Unavailable):
        await here.service.look()
    assert here.views().forecast(ForecastQuery()).note == "history is still being read"
    await here.store.open()
    await here.filled(MONDAY_MS, here.clock.wall_ms())
    await here.clock.advance(30_000)
    for _ in range(200):
        if here.told and here.told[-1].spans:
            break
        await asyncio.sleep(0.05)
    assert here.told[-1].spans
    await here.service.stop()
    await here.store.close()
