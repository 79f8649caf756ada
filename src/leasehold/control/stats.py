"""What `/api/system-stats` answers, from the newest measurements and from history (SENSE-1, 8, 15…17)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from leasehold.control.collectors import CollectorState
from leasehold.control.sense import SenseService
from leasehold.control.views import on_wall, rfc3339
from leasehold.core.streaks import GAP_MAX_MS, Streak
from leasehold.model.errors import Unavailable
from leasehold.model.node import STALE_AFTER_MS
from leasehold.model.quiet import QuietAssessment, QuietState
from leasehold.ports.clock import Clock
from leasehold.wire import stats as wire
from leasehold.wire.addon import AddonStatsSnapshot
from leasehold.wire.duration import duration_s

DAY_S = 86_400
STREAK_RANGE_S_MAX = 3_660 * DAY_S
WARN_AFTER_MS = 3 * 2_000
"""Three missed host samples: not yet stale, no longer ok."""


class StatsService:
    """Answers. Raises Invalid for what is asked wrongly, Unavailable where no history is kept."""

    def __init__(
        self,
        sense: SenseService,
        clock: Clock,
        addons: Callable[[], dict[str, AddonStatsSnapshot]] = dict,
    ) -> None:
        self._sense = sense
        self._addons = addons
        self._clock = clock

    def current(self) -> wire.SystemStatsSnapshot:
        """The newest of everything."""
        sense = self._sense
        return wire.SystemStatsSnapshot(
            collected_at=self._at_wall(sense.measured_wall_ms),
            host=sense.host,
            process=sense.process,
            api=sense.api(),
            addons=self._addons(),
            quiet=self._quiet(sense.assessment),
            errors=sense.errors(),
        )

    def addons(self) -> wire.AddonsOut:
        """By add-on id (SENSE-5)."""
        return wire.AddonsOut(addons=self._addons())

    async def health(self) -> wire.StatsHealth:
        """The rollup: ok, warn or error, with reasons."""
        sense = self._sense
        age_ms = None if sense.measured_wall_ms is None else self._clock.wall_ms() - sense.measured_wall_ms
        status, reasons = rollup(age_ms, sense.assessment, sense.own_errors())
        assessment = sense.assessment
        return wire.StatsHealth(
            status=status,
            reasons=reasons,
            collected_at=self._at_wall(sense.measured_wall_ms),
            age_sec=None if age_ms is None else round(age_ms / 1000, 1),
            state=assessment.state.value if assessment else "UNKNOWN",
            quiet_score=assessment.quiet_score if assessment else None,
            streaks_24h=await self._streaks(DAY_S) if sense.history is not None else None,
        )

    def collectors(self) -> wire.CollectorsOut:
        """Each collector as it last ran."""
        return wire.CollectorsOut([self._collector(state) for state in self._sense.collectors()])

    async def streaks(self, query: wire.RangeQuery) -> wire.StreaksOut:
        """The quiet streaks of a range."""
        return await self._streaks(min(duration_s(query.range), STREAK_RANGE_S_MAX))

    async def history_groups(self) -> wire.HistoryGroups:
        """What history can be asked for."""
        if self._sense.history is None:
            raise Unavailable("this server keeps no history")
        kept, groups = await self._sense.history.groups()
        return wire.HistoryGroups(
            sample_sec=kept.sample_sec,
            raw_days=kept.raw_days,
            minute_days=kept.minute_days,
            hour_days=kept.hour_days,
            groups=[wire.HistoryGroup(group, names[0], sorted(names)) for group, names in groups.items()],
        )

    async def history(self, query: wire.HistoryQuery) -> wire.HistoryOut:
        """One metric over time."""
        if self._sense.history is None:
            raise Unavailable("this server keeps no history")
        series = await self._sense.history.series(
            query.group,
            query.metric,
            range_ms=1000 * duration_s(query.range),
            step_ms=None if query.step is None else 1000 * duration_s(query.step),
            aggregate=query.agg,
        )
        return wire.HistoryOut(
            group=series.group,
            metric=series.metric,
            agg=query.agg,
            start=rfc3339(series.start_ms),
            end=rfc3339(series.end_ms),
            step_sec=series.step_ms / 1000,
            values=series.values(),
        )

    # -- shapes -----------------------------------------------------------------------

    def _at(self, at_ms: int | None) -> str | None:
        """A time of the ledger's clock as wall time of now."""
        clock = self._clock
        return None if at_ms is None else rfc3339(on_wall(at_ms, clock.now_ms(), clock.wall_ms()))

    @staticmethod
    def _at_wall(wall_ms: int | None) -> str | None:
        return None if wall_ms is None else rfc3339(wall_ms)

    def _quiet(self, assessment: QuietAssessment | None) -> wire.QuietOut | None:
        if assessment is None:
            return None
        cooling = assessment.cooldown_until_ms > self._clock.now_ms()
        return wire.QuietOut(
            quiet_score=assessment.quiet_score,
            state=assessment.state.value,
            reasons=list(assessment.reasons),
            inputs=assessment.inputs,
            since=self._at(assessment.since_ms) or "",
            score_raw=assessment.score_raw,
            preset=assessment.preset,
            cooldown_until=self._at(assessment.cooldown_until_ms) if cooling else None,
        )

    def _collector(self, state: CollectorState) -> wire.CollectorOut:
        return wire.CollectorOut(
            name=state.name,
            interval_ms=state.interval_ms,
            runs=state.runs,
            last_start=self._at(state.last_start_ms),
            last_duration_ms=state.last_duration_ms,
            last_error=state.last_error,
            consecutive_failures=state.consecutive_failures,
            next_run=self._at(state.next_run_ms),
            late_ms=state.late_ms,
        )

    async def _streaks(self, range_s: int) -> wire.StreaksOut:
        if self._sense.history is None:
            raise Unavailable("this server keeps no history")
        now_ms = self._clock.wall_ms()
        found = await self._sense.history.streaks(range_ms=1000 * range_s)
        since_ms = now_ms - 1000 * range_s
        quiet_ms = sum(each.end_ms - max(since_ms, each.start_ms) for each in found)
        is_open = self._sense.assessment is not None and self._sense.assessment.state is QuietState.QUIET
        last = found[-1] if found else None
        return wire.StreaksOut(
            range_sec=range_s,
            quiet_sec=quiet_ms // 1000,
            streaks=[
                _streak(each, is_open=is_open and each is last and now_ms - each.end_ms <= GAP_MAX_MS)
                for each in found
            ],
        )


def _streak(streak: Streak, *, is_open: bool) -> wire.StreakOut:
    return wire.StreakOut(
        start_time=rfc3339(streak.start_ms),
        end_time=rfc3339(streak.end_ms),
        duration_sec=(streak.end_ms - streak.start_ms) // 1000,
        avg_score=streak.score_mean,
        min_score=streak.score_min,
        open=is_open,
    )


def rollup(
    age_ms: int | None, assessment: QuietAssessment | None, errors: dict[str, str]
) -> tuple[Literal["ok", "warn", "error"], list[str]]:
    """Error: nothing is known, or it is old. Warn: a collector fails or is late, or the machine suffers."""
    if age_ms is None or assessment is None:
        return "error", ["nothing has been measured yet"]
    if age_ms > STALE_AFTER_MS or assessment.state is QuietState.UNKNOWN:
        return "error", [f"the newest measurement is {age_ms // 1000} s old", *assessment.reasons]
    warnings = [f"{name}: {why}" for name, why in sorted(errors.items())]
    if age_ms > WARN_AFTER_MS:
        warnings.append(f"the newest measurement is {age_ms // 1000} s old; one is expected every 2 s")
    if assessment.state is QuietState.PANIC:
        warnings.extend(assessment.reasons)
    return ("warn", warnings) if warnings else ("ok", ["every collector works and the figures are fresh"])
