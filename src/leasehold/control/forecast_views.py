"""What the forecast says, in the shapes of the API (SENSE-18, 19)."""

from __future__ import annotations

from datetime import datetime

from leasehold.control.forecast import SCORED_DAYS, ForecastService
from leasehold.control.views import rfc3339
from leasehold.core import forecast, forecast_windows
from leasehold.core.calendar import DAYS, zone_of
from leasehold.core.forecast import AHEAD_MS, DAY_MS, HOUR_MS, SLOT_MS, Odds
from leasehold.model.errors import Invalid
from leasehold.model.forecast import DayForecast, Scores
from leasehold.ports.clock import Clock
from leasehold.wire import forecast as wire
from leasehold.wire.duration import duration_s

DURATION_S = (900, 86_400)


class ForecastViews:
    """Answers, also before anything was learned: then it is sure of nothing, and says so."""

    def __init__(self, service: ForecastService, clock: Clock) -> None:
        self._service = service
        self._clock = clock
        self._zone = zone_of(service.zone)

    def heatmap(self) -> wire.HeatmapOut:
        """Each hour of the week."""
        service, table = self._service, self._service.table
        settings = service.settings()
        cells = [
            wire.HeatCell(_share(odds.quiet_bp), round(odds.known_s / 3600, 2), service.confidence(odds))
            for odds in table.cells
        ]
        return wire.HeatmapOut(
            zone=service.zone,
            computed_at=rfc3339(self._clock.wall_ms()),
            confidence=service.confidence(self._typical()),
            note=service.doubt,
            overall=_share(table.overall.quiet_bp),
            known_days=round(table.known_s / 86_400, 1),
            half_life_days=settings.half_life_days,
            quiet_from=settings.quiet_from_pct / 100,
            days=[
                wire.HeatDay(name, cells[24 * number : 24 * number + 24])  # type: ignore[arg-type]
                for number, name in enumerate(DAYS)
            ],
        )

    def forecast(self, query: wire.ForecastQuery) -> wire.ForecastOut:
        """The best windows to come, and every hour. Raises Invalid for what is asked wrongly."""
        service = self._service
        duration_ms, within_ms = self._asked(query)
        wall_ms = self._clock.wall_ms()
        first_ms, slots = service.slots(wall_ms, within_ms + SLOT_MS)
        bars = service.bars(wall_ms, first_ms, len(slots))
        best = forecast_windows.best(first_ms, slots, wall_ms, duration_ms, within_ms, bars)
        return wire.ForecastOut(
            zone=service.zone,
            computed_at=rfc3339(wall_ms),
            duration_sec=duration_ms // 1000,
            within_sec=within_ms // 1000,
            confidence=service.confidence(self._typical()),
            note=service.doubt,
            windows=[self._window(one) for one in best],
            quiet=[self._window(one) for one in service.quiet(wall_ms, within_ms)],
            hours=self._hours(first_ms, slots, wall_ms + within_ms),
            score=self._score(service.scored_days()),
        )

    def scores(self, query: wire.ScoresQuery) -> wire.ScoresOut:
        """Forecast beside actuals, day by day."""
        since_ms = self._clock.wall_ms() - min(1_000 * duration_s(query.range), (SCORED_DAYS + 1) * DAY_MS)
        days = self._service.shown_days(since_ms)
        return wire.ScoresOut(
            zone=self._service.zone,
            score=self._score([day for day in days if day.scored]),
            days=[self._day(day) for day in days],
        )

    # -- shapes

    @staticmethod
    def _asked(query: wire.ForecastQuery) -> tuple[int, int]:
        duration, within = duration_s(query.duration), duration_s(query.within)
        if not DURATION_S[0] <= duration <= DURATION_S[1]:
            raise Invalid("duration: expected 15m to 24h", field="duration", expected="15m to 24h")
        if not duration <= within <= AHEAD_MS // 1000:
            expected = f"{query.duration} (the duration) to 14d"
            raise Invalid(f"within: expected {expected}", field="within", expected=expected)
        return 1000 * duration, 1000 * within

    def _typical(self) -> Odds:
        """The middle one of all hours of the week by what is known of them."""
        return sorted(self._service.table.cells, key=lambda odds: odds.known_s)[forecast.CELLS // 2]

    def _window(self, one: forecast_windows.Window) -> wire.ForecastWindow:
        return wire.ForecastWindow(
            start=rfc3339(one.start_ms),
            end=rfc3339(one.end_ms),
            duration_sec=(one.end_ms - one.start_ms) // 1000,
            probability=_share(one.odds.quiet_bp),
            lowest=_share(one.low_bp),
            confidence=self._service.confidence(one.odds),
        )

    def _hours(self, first_ms: int, slots: list[Odds], end_ms: int) -> list[wire.ForecastHour]:
        """Where the hour changes on the clocks of the zone a new one begins."""
        found: list[wire.ForecastHour] = []
        cell = -1
        for number, odds in enumerate(slots):
            at_ms = first_ms + SLOT_MS * number
            if at_ms >= end_ms:
                break
            if (now_cell := forecast.cell_of(at_ms, self._zone)) != cell:
                cell, start_ms = now_cell, at_ms if found else at_ms // HOUR_MS * HOUR_MS
                confidence = self._service.confidence(odds)
                found.append(wire.ForecastHour(rfc3339(start_ms), _share(odds.quiet_bp), confidence))
        return found

    def _score(self, days: list[DayForecast]) -> wire.ForecastScore | None:
        found = forecast.scores(days)
        if found is None:
            return None
        measured = [day for day in days if any(hour.seen_s for hour in day.hours)]
        brier = _brier(found)
        others = {"overall_mean": found.overall, "hour_of_day": found.of_day, "last_week": found.last_week}
        return wire.ForecastScore(
            days=len(measured),
            hindsight_days=sum(day.hindsight for day in measured),
            known_hours=round(found.seen_s / 3600, 1),
            brier=brier,
            skill=round(1 - found.forecast / found.overall, 4) if found.overall else 0.0,
            beats=[name for name, error in others.items() if found.forecast < error],
        )

    def _day(self, day: DayForecast) -> wire.ScoredDay:
        found = forecast.scores([day]) if day.scored else None
        return wire.ScoredDay(
            day=f"{datetime.fromtimestamp(day.start_ms / 1000, self._zone):%Y-%m-%d}",
            made_at=rfc3339(day.made_ms),
            hindsight=day.hindsight,
            known_hours=round(sum(hour.seen_s for hour in day.hours) / 3600, 1),
            brier=None if found is None else _brier(found),
            hours=[
                wire.ScoredHour(
                    rfc3339(hour.start_ms),
                    _share(hour.forecast_bp),
                    _share(hour.quiet_bp) if hour.seen_s else None,
                )
                for hour in day.hours
            ],
        )


def _brier(found: Scores) -> wire.Brier:
    return wire.Brier(
        forecast=round(found.forecast / 1e6, 4),
        overall_mean=round(found.overall / 1e6, 4),
        hour_of_day=round(found.of_day / 1e6, 4),
        last_week=round(found.last_week / 1e6, 4),
    )


def _share(basis_points: int) -> float:
    return basis_points / forecast.CERTAIN_BP
