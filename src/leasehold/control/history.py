"""Samples and quiet streaks.

Written each ten seconds, asked by group, metric, range and step (SENSE-14…16).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec
import structlog

from leasehold.control.collectors import Collector
from leasehold.core import samples as fields_of
from leasehold.core import streaks
from leasehold.core.streaks import Streak
from leasehold.model.errors import Invalid, LeaseholdError
from leasehold.model.quiet import QuietAssessment
from leasehold.model.snapshot import ApiStats, HostStats, ProcessStats
from leasehold.ports.clock import Clock
from leasehold.ports.samples import Bucket, Sample, Samples

log = structlog.get_logger(__name__)

SAMPLE_MS = 10_000
WRITE_TIMEOUT_MS = 20_000
POINTS_MAX = 10_000
RANGE_MS_MAX = 7 * 86_400_000  # how long raw samples are kept
STREAKS_MAX = 1_000
UNWRITTEN_MAX = 720  # rows kept for a store that refuses: a quarter of an hour of eight groups
AGGREGATES = ("mean", "min", "max", "last", "count")
ADDON = "addon:"
"""Before an add-on's id in the name of its metric group."""

HEADLINES = {"host": "cpu_pct", "process": "rss_bytes", "api": "requests_per_sec", "quiet": "quiet_score"}
"""What a group shows when no metric is asked for."""

ADDON_HEADLINE = "up"

Newest = tuple[HostStats | None, ProcessStats | None, ApiStats | None, QuietAssessment | None]
Groups = dict[str, dict[str, float]]
"""Fields by metric group."""


class Series(msgspec.Struct, frozen=True):
    """An answered question. Steps without a sample are absent from `buckets`."""

    group: str
    metric: str
    aggregate: str
    start_ms: int
    end_ms: int
    step_ms: int
    buckets: Sequence[Bucket]


class History:
    """Takes samples from the newest measurements, and answers questions about them."""

    def __init__(self, store: Samples, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._open: Streak | None = None
        self._ended: list[Streak] = []
        self._unwritten: list[Sample] = []
        self._writing: asyncio.Task[None] | None = None
        self._is_open = False

    async def open(self) -> None:
        """Open the store, or try again with each write: no history is no reason not to start."""
        try:
            left_open = await self._store.open()
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
        await self._store.close()

    def collector(self, newest: Callable[[], Newest], addons: Callable[[], Groups] = dict) -> Collector:
        """The collector that takes a sample each ten seconds; the store writes on a thread of its own.

        `addons` gives the fields of each add-on.
        """
        return Collector(
            name="history",
            interval_ms=SAMPLE_MS,
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
            await self._store.write(rows, ended, self._open, self._clock.wall_ms())
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
        if not SAMPLE_MS <= range_ms <= RANGE_MS_MAX:
            raise _invalid("range", f"{range_ms // 1000}s", "10s to 7d")
        step_ms = _step(range_ms, step_ms)
        metric = await self._metric(group, metric)
        end_ms = self._clock.wall_ms() // step_ms * step_ms + step_ms
        start_ms = end_ms - -(-range_ms // step_ms) * step_ms
        buckets = await self._store.buckets(
            group, metric, start_ms=start_ms, end_ms=end_ms, step_ms=step_ms, how=aggregate
        )
        return Series(group, metric, aggregate, start_ms, end_ms, step_ms, buckets)

    async def _metric(self, group: str, metric: str | None) -> str:
        known = await self._store.groups()
        if group not in known and group not in HEADLINES:
            raise _invalid("group", group, ", ".join(sorted(known.keys() | HEADLINES.keys())))
        if metric is None:
            return ADDON_HEADLINE if group.startswith(ADDON) else HEADLINES.get(group) or known[group][0]
        fields = set(known.get(group, ()))
        if group.startswith(ADDON):
            fields.update(fields_of.ADDON_FIELDS)
        if metric not in fields:
            allowed = ", ".join(sorted(fields)) or "none yet: no sample was taken"
            raise _invalid("metric", metric, allowed)
        return metric

    async def streaks(self, *, range_ms: int) -> list[Streak]:
        """Ended streaks of the range and the open one, oldest first."""
        since_ms = self._clock.wall_ms() - range_ms
        stored = await self._store.streaks(since_ms=since_ms, limit=STREAKS_MAX)
        recent = [each for each in [*self._ended, self._open] if each is not None and each.end_ms > since_ms]
        return [*stored, *recent]


def _step(range_ms: int, step_ms: int | None) -> int:
    """The step asked for, or the finest whole number of samples that keeps to about 600 points."""
    if step_ms is None:
        return max(SAMPLE_MS, -(-range_ms // (600 * SAMPLE_MS)) * SAMPLE_MS)
    least_ms = max(SAMPLE_MS, -(-range_ms // POINTS_MAX))
    if not least_ms <= step_ms <= range_ms:
        raise _invalid("step", f"{step_ms // 1000}s", f"{-(-least_ms // 1000)}s to {range_ms // 1000}s")
    return step_ms


def _invalid(field: str, given: str, expected: str) -> Invalid:
    return Invalid(f"{field}: {given[:64]!r} is not one of: {expected}", field=field, expected=expected)
