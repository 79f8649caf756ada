"""Samples and quiet streaks.

Written each few seconds, asked by group, metric, range and step (SENSE-14…16).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec
import structlog

from leasehold.control.collectors import Collector
from leasehold.core import rollup, streaks
from leasehold.core import samples as fields_of
from leasehold.core.rollup import AGGREGATES, Aggregate
from leasehold.core.streaks import Streak
from leasehold.model.errors import Invalid, LeaseholdError
from leasehold.model.quiet import QuietAssessment
from leasehold.model.settings import HistorySettings
from leasehold.model.snapshot import ApiStats, HostStats, ProcessStats
from leasehold.ports.clock import Clock
from leasehold.ports.samples import POINTS_MAX, Point, Sample, Samples

log = structlog.get_logger(__name__)

WRITE_TIMEOUT_MS = 20_000
SHOWN = 600
"""About how many points there are where nobody says how long a step is to be."""

MINUTE_MS, DAY_MS = 60_000, 86_400_000
STREAKS_MAX = 1_000
NAMED = 64
"""Metrics named in an error."""
UNWRITTEN_MAX = 720  # rows kept for a store that refuses: a quarter of an hour of eight groups
ADDON = "addon:"
"""Before an add-on's id in the name of its metric group."""

HEADLINES = {"host": "cpu_pct", "process": "rss_bytes", "api": "requests_per_sec", "quiet": "quiet_score"}
"""What a group shows when no metric is asked for."""

ADDON_HEADLINE = "up"

Newest = tuple[HostStats | None, ProcessStats | None, ApiStats | None, QuietAssessment | None]
Groups = dict[str, dict[str, float]]
"""Fields by metric group."""


class Series(msgspec.Struct, frozen=True):
    """An answered question. Steps without a sample are absent from `points`."""

    group: str
    metric: str
    aggregate: Aggregate
    start_ms: int
    end_ms: int
    step_ms: int
    points: Sequence[Point]

    def values(self) -> list[float | None]:
        """One per step; where nothing was sampled there is nothing."""
        known = {point.start_ms: exact(point.figures.told(self.aggregate)) for point in self.points}
        return [known.get(start) for start in range(self.start_ms, self.end_ms, self.step_ms)]


class History:
    """Takes samples from the newest measurements, and answers questions about them."""

    def __init__(
        self, store: Samples, clock: Clock, settings: Callable[[], HistorySettings] = HistorySettings
    ) -> None:
        self.store = store
        self._settings = settings
        self._sample_ms = 1000 * settings().sample_sec
        self._clock = clock
        self._open: Streak | None = None
        self._ended: list[Streak] = []
        self._unwritten: list[Sample] = []
        self._writing: asyncio.Task[None] | None = None
        self._is_open = False

    async def open(self) -> None:
        """Open the store, or try again with each write: no history is no reason not to start."""
        try:
            left_open = await self.store.open()
        except LeaseholdError as error:
            log.warning("history_not_open", why=error.message)
            return
        self._is_open = True
        # A streak that an earlier process left open ended when it was last seen.
        if left_open is not None:
            self._ended.append(left_open)

    async def close(self) -> None:
        """Write what is left, then close the store."""
        if self._writing is not None:
            await asyncio.wait((self._writing,), timeout=1.0)
        await self.store.close()

    def collector(self, newest: Callable[[], Newest], addons: Callable[[], Groups] = dict) -> Collector:
        """The collector that takes a sample each few seconds; the store writes on a thread of its own.

        `addons` gives the fields of each add-on.
        """
        return Collector(
            name="history",
            interval_ms=self._sample_ms,
            timeout_ms=WRITE_TIMEOUT_MS,
            prepare=lambda: (*newest(), addons()),
            take=self._take,
        )

    def saw(self, assessment: QuietAssessment) -> None:
        """One assessment, for the streaks."""
        wall_ms = self._clock.wall_ms()
        self._open, ended = streaks.fold(self._open, wall_ms, assessment.state, assessment.quiet_score)
        if ended is not None:
            self._ended.append(ended)

    def _take(self, newest: tuple[*Newest, Groups]) -> None:
        wall_ms = self._clock.wall_ms()
        host, process, api, assessment, addons = newest
        rows = {
            "host": fields_of.host(host) if host else {},
            "process": fields_of.process(process) if process else {},
            "api": fields_of.api(api) if api else {},
            "quiet": fields_of.quiet(assessment) if assessment else {},
            **addons,
        }
        new = [Sample(wall_ms, group, fields) for group, fields in rows.items() if fields]
        self._unwritten = (self._unwritten + new)[-UNWRITTEN_MAX:]
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._write(), name="history-write")

    async def _write(self) -> None:
        if not self._is_open:
            await self.open()
        rows, ended = self._unwritten, self._ended[-STREAKS_MAX:]
        self._unwritten, self._ended = [], []
        try:
            await self.store.write(rows, ended, self._open, self._clock.wall_ms())
        except Exception as error:  # noqa: BLE001 - history may be lost, the server goes on
            log.warning("history_not_written", why=str(error), rows=len(rows))
            self._unwritten = (rows + self._unwritten)[-UNWRITTEN_MAX:]
            self._ended = (ended + self._ended)[-STREAKS_MAX:]

    # -- questions --------------------------------------------------------------------

    async def series(
        self, group: str, metric: str | None, *, range_ms: int, step_ms: int | None, aggregate: str
    ) -> Series:
        """One metric over the last `range_ms`. Raises Invalid, naming what is allowed."""
        if aggregate not in AGGREGATES:
            raise _invalid("agg", aggregate, ", ".join(AGGREGATES))
        kept = self._settings()
        if not self._sample_ms <= range_ms <= kept.hour_days * DAY_MS:
            raise _invalid(
                "range", f"{range_ms // 1000}s", f"{self._sample_ms // 1000}s to {kept.hour_days}d"
            )
        step_ms = _step(range_ms, step_ms, self._finest_ms(range_ms))
        metric = await self._metric(group, metric)
        end_ms = self._clock.wall_ms() // step_ms * step_ms + step_ms
        start_ms = end_ms - -(-range_ms // step_ms) * step_ms
        points = await self.store.points(group, metric, start_ms=start_ms, end_ms=end_ms, step_ms=step_ms)
        return Series(group, metric, aggregate, start_ms, end_ms, step_ms, points)

    def _finest_ms(self, range_ms: int) -> int:
        """The finest step that is kept for such a range."""
        kept = self._settings()
        days = (kept.raw_days, kept.minute_days, kept.hour_days)
        return 1000 * rollup.finest_s(range_ms // 1000, self._sample_ms // 1000, days)

    async def groups(self) -> tuple[HistorySettings, dict[str, list[str]]]:
        """For how long what is kept, and the groups with their figures, the headline of each first."""
        known = await self.store.groups()
        found = {}
        for group, fields in sorted(known.items()):
            headline = _headline(group, fields)
            found[group] = [headline, *(name for name in fields if name != headline)]
        return self._settings(), found

    async def _metric(self, group: str, metric: str | None) -> str:
        known = await self.store.groups()
        if group not in known and group not in HEADLINES:
            raise _invalid("group", group, ", ".join(sorted(known.keys() | HEADLINES.keys())))
        if metric is None:
            return _headline(group, known.get(group, ()))
        fields = set(known.get(group, ()))
        if group.startswith(ADDON):
            fields.update(fields_of.ADDON_FIELDS)
        if metric not in fields:
            allowed = ", ".join(sorted(fields)[:NAMED]) or "none yet: no sample was taken"
            if len(fields) > NAMED:
                allowed += f", and {len(fields) - NAMED} more (`leasehold history --list`)"
            raise _invalid("metric", metric, allowed)
        return metric

    async def streaks(self, *, range_ms: int) -> list[Streak]:
        """Ended streaks of the range and the open one, oldest first."""
        since_ms = self._clock.wall_ms() - range_ms
        stored = await self.store.streaks(since_ms=since_ms, limit=STREAKS_MAX)
        recent = [each for each in [*self._ended, self._open] if each is not None and each.end_ms > since_ms]
        return [*stored, *recent]


def _headline(group: str, fields: Sequence[str]) -> str:
    """What a group shows when no figure of it is named."""
    return ADDON_HEADLINE if group.startswith(ADDON) else HEADLINES.get(group) or fields[0]


def _step(range_ms: int, step_ms: int | None, finest_ms: int) -> int:
    """The step asked for, or one of about `SHOWN` points: a whole number of the finest that is kept."""
    if step_ms is None:
        return suited_ms(range_ms, finest_ms)
    rolled = finest_ms >= MINUTE_MS  # else any step will do: each sample is looked at
    least_ms = max(finest_ms, -(-range_ms // POINTS_MAX))
    least_ms = -(-least_ms // finest_ms) * finest_ms if rolled else least_ms
    if not least_ms <= step_ms <= range_ms or (rolled and step_ms % finest_ms):
        whole = f", in multiples of {finest_ms // 1000}s" if rolled else ""
        allowed = f"{-(-least_ms // 1000)}s to {range_ms // 1000}s{whole}"
        raise _invalid("step", f"{step_ms // 1000}s", allowed)
    return step_ms


def suited_ms(range_ms: int, finest_ms: int) -> int:
    """The finest step that keeps to about `SHOWN` points: a whole part of a day, or whole days."""
    least_ms = max(finest_ms, -(-range_ms // SHOWN))
    if least_ms <= MINUTE_MS - finest_ms:
        return -(-least_ms // finest_ms) * finest_ms
    for step_s in STEPS_S:
        if 1000 * step_s >= least_ms:
            return 1000 * step_s
    return -(-least_ms // DAY_MS) * DAY_MS


STEPS_S = (60, 120, 180, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400)
"""Steps of a minute and more that divide a day."""


def exact(value: float) -> float:
    """A figure with the seven digits that a stored one has; a whole one as it is."""
    return value if value == int(value) else float(f"{value:.7g}")


def _invalid(field: str, given: str, expected: str) -> Invalid:
    return Invalid(f"{field}: {given[:64]!r} is not one of: {expected}", field=field, expected=expected)
