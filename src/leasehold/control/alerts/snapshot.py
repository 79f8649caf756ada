"""`/api/metrics`: the figures that people look at, in true windows, at most ten seconds old (OPS-12)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from leasehold.control import views
from leasehold.control.alerts.measures import ENDED_MIN, Measures
from leasehold.control.alerts.pulse import Pulse, in_line
from leasehold.control.job_stats import JobStats
from leasehold.control.lease import LeaseService
from leasehold.control.sense import SenseService
from leasehold.core.state import State
from leasehold.model.snapshot import ApiStats
from leasehold.runtime.request_stats import WINDOW_S
from leasehold.runtime.windows import Durations
from leasehold.wire import metrics as wire

CACHED_MS = 10_000


class Snapshots:
    """Makes the snapshot, and keeps it. `requests` gives count and p50, p90, p99 of requests."""

    def __init__(
        self,
        leases: LeaseService,
        jobs: JobStats,
        sense: SenseService,
        pulse: Pulse,
        measures: Measures,
        *,
        commits: Durations,
        requests: Callable[[], tuple[int, float | None, float | None, float | None]],
        loop_lag_s: Callable[[], float],
    ) -> None:
        self._leases = leases
        self._ledger = leases.ledger
        self._clock = leases.ledger.clock
        self._jobs = jobs
        self._sense = sense
        self._pulse = pulse
        self._measures = measures
        self._commits = commits
        self._requests = requests
        self._loop_lag_s = loop_lag_s
        self._made: wire.MetricsSnapshot | None = None
        self._made_ms = 0
        self._making = asyncio.Lock()

    async def snapshot(self) -> wire.MetricsSnapshot:
        """The newest one; of many that ask at once one has it made."""
        async with self._making:
            now_ms = self._clock.now_ms()
            if self._made is None or now_ms - self._made_ms >= CACHED_MS:
                await self._measures.look()
                self._made = await self._ledger.read(self._built)
                self._made_ms = now_ms
            return self._made

    def _built(self, state: State) -> wire.MetricsSnapshot:
        api = self._sense.api()
        assert api is not None, "where this is asked for, requests are counted"
        return wire.MetricsSnapshot(
            at=views.rfc3339(self._clock.wall_ms()),
            queue=self._queue(state),
            latencies=self._latencies(),
            utilisation=self._utilisation(state),
            errors=self._errors(api),
            storage=self._storage(state),
        )

    def _queue(self, state: State) -> wire.QueueMetrics:
        now_ms, pulse, depth = self._clock.now_ms(), self._pulse, in_line(state)
        change, minutes = pulse.change(depth)
        oldest_ms = self._jobs.oldest_ms(state)
        workers = pulse.workers(now_ms)
        return wire.QueueMetrics(
            states={str(name): count for name, count in sorted(state.queue.states.items())},
            in_line=depth,
            waiting=len(state.waiters),
            oldest_sec=None if oldest_ms is None else max(0.0, (self._clock.wall_ms() - oldest_ms) / 1000),
            change=change,
            over_minutes=minutes,
            trend="growing" if change > 0 else "shrinking" if change < 0 else "steady",
            rises=pulse.rises,
            workers_online=workers.online,
            workers_known=workers.known,
        )

    def _latencies(self) -> wire.Latencies:
        return wire.Latencies(
            requests=wire.Latency(WINDOW_S, *self._requests()),
            commits=self._latency(self._commits),
            job_wait=self._latency(self._jobs.waited),
            job_run=self._latency(self._jobs.ran),
        )

    def _latency(self, durations: Durations) -> wire.Latency:
        found = durations.quantiles(self._clock.now_ms())
        return wire.Latency(durations.span_ms // 1000, found.count, found.p50_ms, found.p90_ms, found.p99_ms)

    def _utilisation(self, state: State) -> wire.Utilisation:
        view, host, process = state.view, self._sense.host, self._sense.process
        return wire.Utilisation(
            capacity=views.dimensions(state, self._leases.settings()),
            cpu_pct=host.cpu_pct if host is not None else None,
            memory_pct=host.memory_pct if host is not None else None,
            quiet_state=view.state if view is not None else "UNKNOWN",
            quiet_score=view.score if view is not None else None,
            server_cpu_pct=process.cpu_pct if process is not None else None,
            server_memory_bytes=process.rss_bytes if process is not None else None,
            loop_lag_sec=round(self._loop_lag_s(), 3),
        )

    def _errors(self, api: ApiStats) -> wire.ErrorRates:
        now_ms = self._clock.now_ms()
        ended = self._pulse.ended(now_ms)
        bad = ended["FAILED"] + ended["EXPIRED"]
        total = bad + ended["DONE"]
        return wire.ErrorRates(
            server_error_pct=api.error_pct,
            client_error_pct=api.client_error_pct,
            jobs_ended=ended,
            job_failure_pct=round(100 * bad / total, 1) if total >= ENDED_MIN else None,
            invalid_calls=self._pulse.invalid.within(now_ms),
            log_errors=self._pulse.errors.within(now_ms),
        )

    def _storage(self, state: State) -> wire.StorageHealth:
        trouble, files, disk = self._measures.store_trouble(), self._measures.sizes, self._measures.disk()
        commits = self._commits.quantiles(self._clock.now_ms()).count
        return wire.StorageHealth(
            trouble=trouble.sentence if trouble.value else "",
            file_bytes=files.file_bytes if files is not None else None,
            empty_pct=round(100 * files.fragmentation, 1) if files is not None else None,
            journal_bytes=files.journal_bytes if files is not None else None,
            disk_free_pct=disk.value,
            commits_per_sec=round(commits * 1000 / self._commits.span_ms, 2),
            quarantined=len(state.quarantined),
        )
