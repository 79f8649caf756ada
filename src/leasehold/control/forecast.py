"""The service of the forecast: learns from recorded hours, and is held to what it said (SENSE-18, 19).

What it learned lives in memory and follows from the history; what it said of each day is kept with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import structlog

from leasehold.core import forecast, forecast_windows
from leasehold.core.calendar import zone_of
from leasehold.core.forecast import DAY_MS, HOUR_MS, SLOT_MS, Confidence, Learner, Odds, Seen, Table
from leasehold.model.errors import LeaseholdError
from leasehold.model.forecast import DayForecast, Scores
from leasehold.model.owner import Foreseen
from leasehold.model.settings import ForecastSettings
from leasehold.ports.clock import Clock
from leasehold.ports.samples import POINTS_MAX, Samples

log = structlog.get_logger(__name__)

LOOK_MS = 30_000
SETTLED_MS = 60_000
"""How long after an hour it is taken to be written: samples come each few seconds, and may be late."""

HALF_LIVES = 10
"""After so many an hour counts for a thousandth: older ones are not read."""

SCORED_DAYS = 28
KEPT_SPANS = 64
FORESEEN_MS = 7 * DAY_MS

WORSE_PCT = 105
WRONG_MILLIONTHS = 50_000
"""Worse than the mean of all time by 5 %, and by mean squares of more than this: then it is sure of nothing.
On a machine that is nearly always quiet errors are far below, and a few make one look the worse.
"""

GROUP, METRIC = "quiet", "quiet"


class Offload(Protocol):
    """Runs a call that takes long on a thread."""

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Awaitable[Any]: ...


class ForecastService:
    """One per server, on the clocks of its zone. `foresee` is told the coming windows as they change."""

    def __init__(
        self,
        store: Samples,
        clock: Clock,
        zone: str,
        settings: Callable[[], ForecastSettings],
        offload: Offload,
        foresee: Callable[[Foreseen], None] = lambda foreseen: None,
        sample_s: int = 10,
        blocked: Callable[[int, int], Sequence[tuple[int, int]]] = lambda start_ms, end_ms: (),
    ) -> None:
        """`sample_s`: how long one recorded sample stands for. `blocked`: when the owner keeps work out."""
        self.zone = zone
        self.settings = settings
        self.table: Table = Learner(zone, settings().half_life_days).table(clock.wall_ms())
        self.days: dict[int, DayForecast] = {}
        """By midnight: those of the last weeks, and today's."""
        self.doubt = "history is still being read"
        """Why it is sure of nothing; "" where it is not."""
        self._store = store
        self._clock = clock
        self._tz = zone_of(zone)
        self._offload = offload
        self._sample_s = sample_s
        self._blocked = blocked
        self._foresee = foresee
        self._learner: Learner | None = None
        self._asked_ms = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Learn from history, then go on with each hour."""
        self._task = asyncio.get_running_loop().create_task(self._go_on(), name="forecast")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _go_on(self) -> None:
        while True:
            try:
                await self.look()
            except LeaseholdError as error:
                log.info("forecast_put_off", why=error.message)
            except Exception:  # The next look tries again.
                log.exception("forecast")
            await self._clock.sleep(LOOK_MS)

    # -- learning

    async def look(self) -> None:
        """Take up what was recorded since, make and score what is due, and tell the windows to come."""
        wall_ms = self._clock.wall_ms()
        learner = self._learner
        if learner is None or wall_ms < learner.until_ms - HOUR_MS:  # The clock was set back.
            learner = await self._rebuilt(wall_ms)
        await self._take_hours(learner, wall_ms)
        self.table = learner.table(wall_ms)
        await self._keep_days(learner, wall_ms)
        self.doubt = self._doubted()
        self._foresee(self._foreseen(wall_ms))

    async def _rebuilt(self, wall_ms: int) -> Learner:
        """Everything anew from history. Days of which nothing was said then are told in hindsight."""
        half_life_days = self.settings().half_life_days
        since_ms = wall_ms - SCORED_DAYS * DAY_MS
        kept = await self._store.forecasts(since_ms=since_ms, limit=SCORED_DAYS + 2)
        days = max(HALF_LIVES * half_life_days, SCORED_DAYS + 14)
        hours = await self._hours(wall_ms - days * DAY_MS, _settled(wall_ms))
        learner = Learner(self.zone, half_life_days)
        today_ms = forecast.day_of(wall_ms, self._tz)[0]
        afterwards = await self._offload(forecast.replayed, learner, hours, since_ms, today_ms)
        self.days = {day.start_ms: day for day in kept if day.start_ms <= today_ms}
        missing = [day for day in afterwards if day.start_ms not in self.days]
        self.days.update((day.start_ms, day) for day in missing)
        if missing:
            await self._store.keep_forecasts(missing)
        self._learner, self._asked_ms = learner, _settled(wall_ms)
        log.info("forecast_learned", hours=len(hours), days_in_hindsight=len(missing), zone=self.zone)
        return learner

    async def _take_hours(self, learner: Learner, wall_ms: int) -> None:
        if (until_ms := _settled(wall_ms)) <= self._asked_ms:
            return
        for seen in await self._hours(max(self._asked_ms, learner.until_ms), until_ms):
            learner.learn(seen)
        self._asked_ms = until_ms

    async def _hours(self, start_ms: int, end_ms: int) -> list[Seen]:
        """The hours that were measured, in order: the newest `POINTS_MAX`."""
        start_ms = max(start_ms // HOUR_MS * HOUR_MS, end_ms - POINTS_MAX * HOUR_MS)
        points = await self._store.points(GROUP, METRIC, start_ms=start_ms, end_ms=end_ms, step_ms=HOUR_MS)
        return [
            Seen(
                point.start_ms,
                min(3_600, point.figures.count * self._sample_s),
                min(forecast.CERTAIN_BP, round(forecast.CERTAIN_BP * point.figures.mean)),
            )
            for point in points
        ]

    # -- being held to it

    async def _keep_days(self, learner: Learner, wall_ms: int) -> None:
        """Today's forecast is made once; those of days that are over are held against what happened."""
        today_ms, end_ms = forecast.day_of(wall_ms, self._tz)
        changed: list[DayForecast] = []
        for day in list(self.days.values()):
            if not day.scored and day.end_ms <= self._asked_ms:
                hours = {seen.start_ms: seen for seen in await self._hours(day.start_ms, day.end_ms)}
                changed.append(forecast.scored(day, hours.get))
        if today_ms not in self.days and learner.known_s >= 86_400:
            changed.append(forecast.day_forecast(learner, today_ms, end_ms, wall_ms))
        if changed:
            await self._store.keep_forecasts(changed)
            self.days.update((day.start_ms, day) for day in changed)
        oldest_ms = wall_ms - (SCORED_DAYS + 1) * DAY_MS
        self.days = {at_ms: day for at_ms, day in sorted(self.days.items()) if at_ms >= oldest_ms}

    def scored_days(self) -> list[DayForecast]:
        """Days that are over and were measured, oldest first."""
        return [day for day in self.days.values() if day.scored and any(hour.seen_s for hour in day.hours)]

    def shown_days(self, since_ms: int) -> Sequence[DayForecast]:
        """Days that end after an instant, oldest first, today's last with what has happened so far."""
        learner = self._learner
        return [
            day if day.scored or learner is None else forecast.scored(day, learner.seen_at, over=False)
            for day in self.days.values()
            if day.end_ms > since_ms
        ]

    def scores(self) -> Scores | None:
        """How good the days' forecasts were; None before there is one."""
        return forecast.scores(self.scored_days())

    # -- what is to come

    def _doubted(self) -> str:
        table, found = self.table, self.scores()
        if not table.is_learned:
            days = table.known_s / 86_400
            return f"{days:.1f} days are known, and a week has to be seen first"
        if (
            found is not None
            and found.forecast > WRONG_MILLIONTHS
            and 100 * found.forecast > WORSE_PCT * found.overall
        ):
            return (
                f"over the last {len(self.scored_days())} days the mean of all time was the better forecast"
            )
        return ""

    def confidence(self, odds: Odds) -> Confidence:
        """Of one figure, given how it is with all of them."""
        return "unsure" if self.doubt else odds.confidence

    def slots(self, wall_ms: int, ahead_ms: int) -> tuple[int, list[Odds]]:
        """What is expected of each quarter of an hour from the one that has begun on."""
        return forecast_windows.slots(self.table, self._tz, wall_ms, ahead_ms)

    def quiet(self, wall_ms: int, ahead_ms: int) -> list[forecast_windows.Window]:
        """The whole spans in which quiet is likely enough for work that waits for a window."""
        if self.doubt:
            return []
        settings = self.settings()
        least_ms = 1_000 * settings.window_min_sec
        first_ms, slots = self.slots(wall_ms - least_ms, ahead_ms + least_ms)
        return forecast_windows.stretches(
            first_ms,
            slots,
            100 * settings.quiet_from_pct,
            least_ms,
            wall_ms,
            self.bars(wall_ms, first_ms, len(slots)),
        )

    def bars(self, wall_ms: int, first_ms: int, count: int) -> list[bool]:
        """In which of so many quarters of an hour the owner keeps work out."""
        spans = self._blocked(wall_ms, first_ms + count * SLOT_MS)
        return forecast_windows.barred(first_ms, count, spans)

    def _foreseen(self, wall_ms: int) -> Foreseen:
        if self.doubt:
            return Foreseen(zone=self.zone, why_none=self.doubt)
        found = self.quiet(wall_ms, FORESEEN_MS)[:KEPT_SPANS]
        spans = tuple((one.start_ms, one.end_ms, one.odds.quiet_bp) for one in found)
        pct = self.settings().quiet_from_pct
        return Foreseen(spans, self.zone, "" if spans else f"no time of the week is quiet to {pct} %")


def _settled(wall_ms: int) -> int:
    """Up to which whole hour everything is written."""
    return (wall_ms - SETTLED_MS) // HOUR_MS * HOUR_MS
