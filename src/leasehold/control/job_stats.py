"""What the queue is doing: depth, rates, waiting times, why jobs wait (QUEUE-5)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice

import msgspec

from leasehold.control.demand import Demand
from leasehold.control.estimates import views as estimate_views
from leasehold.control.estimates.service import EstimateService
from leasehold.control.ledger import Ledger
from leasehold.core import admission
from leasehold.core.state import State
from leasehold.model.event import Event
from leasehold.model.job import ENDED, Job, JobState
from leasehold.model.settings import PolicySettings
from leasehold.runtime.windows import Durations
from leasehold.wire import job as wire
from leasehold.wire.dashboard import QueueNow

SLICE_MS = 10_000
SLICES = 30
"""Rates are over five minutes, in slices of ten seconds."""

WAITS = 1_000
WAITS_OF_ONE_CALL = 32
"""Waiting times are those of the last thousand starts; of one claim a few stand for all."""

MINUTE_MS, HOUR_MS = 60_000, 3_600_000

WAIT_BOUNDS_MS = (10, 100, 1_000, 10_000, 60_000, 300_000, 1_800_000, 3_600_000, 21_600_000, 86_400_000)
"""Of the histograms of waiting and running times, which are over all since the start."""

ROWS_MAX = 500
LOOKED_AT = 10_000

GLANCE = 200
"""Shapes in line that `glance` looks at for their reasons."""

GLANCE_MS = 1_000
"""It looks no oftener, however much is committed."""

KINDS = {
    "JobSubmitted": 0,
    "JobStarted": 1,
    "JobDone": 2,
    "JobFailed": 2,
    "JobCanceled": 2,
    "JobExpired": 2,
}


class JobStats:
    """Counts what is committed, and sums up what stands."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Callable[[], PolicySettings],
        demand: Demand,
        estimates: EstimateService,
    ) -> None:
        self._ledger = ledger
        self._estimates = estimates
        self._settings = settings
        self._demand = demand
        self._slices: deque[tuple[int, list[int]]] = deque(maxlen=SLICES)
        self._waits_ms: deque[int] = deque(maxlen=WAITS)
        self.waited = Durations(HOUR_MS, MINUTE_MS, WAIT_BOUNDS_MS)
        """From submission to the start of an attempt."""
        self.ran = Durations(HOUR_MS, MINUTE_MS, WAIT_BOUNDS_MS)
        """From the start of the last attempt to the end of the job."""
        self._seen: QueueNow | None = None
        self._seen_ms = 0
        self.changes = 0
        """How many events of jobs there were: whoever has seen as many has missed none."""

    def committed(self, events: Sequence[Event]) -> None:
        """Count what has happened."""
        counts = [0, 0, 0]
        for event in events:
            kind = KINDS.get(event.kind)
            if kind is not None:
                counts[kind] += 1
            if event.kind.startswith("Job"):
                self.changes += 1
        if any(counts):
            at = self._ledger.clock.now_ms() // SLICE_MS
            if not self._slices or self._slices[-1][0] != at:
                self._slices.append((at, [0, 0, 0]))
            for kind, count in enumerate(counts):
                self._slices[-1][1][kind] += count

    def started(self, jobs: Sequence[Job]) -> None:
        """These have just started: how long they waited counts, and what was told of it."""
        now_ms = self._ledger.clock.now_ms()
        self._estimates.started(jobs)
        for at, job in enumerate(jobs):
            wait_ms = max(0, job.started_wall_ms - job.since_wall_ms)
            self.waited.add(now_ms, wait_ms)
            if at < WAITS_OF_ONE_CALL:
                self._waits_ms.append(wait_ms)

    def ended(self, jobs: Sequence[Job]) -> None:
        """These have just ended, or gone back into the line: how long those ran that are over counts."""
        now_ms = self._ledger.clock.now_ms()
        for job in jobs:
            if job.state in ENDED and job.started_wall_ms:
                self.ran.add(now_ms, max(0, job.ended_wall_ms - job.started_wall_ms))

    def stats(self, state: State) -> wire.QueueStats:
        """All of it, as it stands now."""
        depth = sorted(self._depth(state), key=lambda row: (-row.count, row.state, row.holder, row.job_type))
        states: dict[str, int] = {}
        for row in depth:
            states[row.state] = states.get(row.state, 0) + row.count
        waits = sorted(self._waits_ms)
        oldest_ms = self.oldest_ms(state)
        return wire.QueueStats(
            states=states,
            depth=depth[:ROWS_MAX],
            payload_bytes=state.queue.bytes,
            oldest_sec=max(0.0, (self._ledger.clock.wall_ms() - oldest_ms) / 1000) if oldest_ms else None,
            rates=self._rates(),
            wait_p50_sec=_at(waits, 50),
            wait_p95_sec=_at(waits, 95),
            reasons=self._reasons(state, LOOKED_AT),
            workers=len(self._demand.takers) + len(self._demand.pollers),
            unreadable=sorted(state.unreadable)[:100],
            estimates=estimate_views.hits(self._estimates.book, state, self._ledger.clock.wall_ms()),
        )

    def glance(self, state: State) -> QueueNow:
        """The figures for the page: counts that are kept anyway, and no look at every job."""
        now_ms = self._ledger.clock.now_ms()
        seen = self._seen
        if seen is not None and now_ms - self._seen_ms < GLANCE_MS:
            return msgspec.structs.replace(seen, changes=self.changes, states=_named(state))
        waits = sorted(self._waits_ms)
        self._seen_ms = now_ms
        self._seen = QueueNow(
            changes=self.changes,
            states=_named(state),
            rates=self._rates(),
            wait_p50_sec=_at(waits, 50),
            wait_p95_sec=_at(waits, 95),
            oldest_ms=self.oldest_ms(state),
            reasons=self._reasons(state, GLANCE),
            workers=len(self._demand.takers) + len(self._demand.pollers),
        )
        return self._seen

    @staticmethod
    def _depth(state: State) -> list[wire.Depth]:
        rows: dict[tuple[str, str, str, str, str], int] = {}
        for (key, job_state), count in state.queue.depth.items():
            ask = state.terms[key].ask
            row = (str(job_state), ask.tenant, ask.holder, ask.priority.name, ask.job_type)
            rows[row] = rows.get(row, 0) + count
        return [wire.Depth(row[0], count, *row[1:]) for row, count in rows.items()]

    @staticmethod
    def oldest_ms(state: State) -> int | None:
        """Since when the oldest job waits; None where none of the first ten thousand does."""
        for job in islice(state.jobs.values(), LOOKED_AT):
            if job.state is JobState.QUEUED:
                return job.since_wall_ms
        return None

    def _rates(self) -> wire.Rates:
        first = self._ledger.clock.now_ms() // SLICE_MS - SLICES
        sums = [0, 0, 0]
        for at, counts in self._slices:
            if at > first:
                sums = [one + other for one, other in zip(sums, counts, strict=True)]
        minutes = SLICES * SLICE_MS / 60_000
        return wire.Rates(*(round(count / minutes, 2) for count in sums))

    def _reasons(self, state: State, looked_at: int) -> dict[str, int]:
        """How many wait for what, by the decisive reason; of the first `looked_at` shapes of the line."""
        settings, now_ms = self._settings(), self._ledger.clock.now_ms()
        queue = state.queue
        out_of_line = {
            "HELD": queue.count(JobState.HELD),
            "AFTER": len(queue.waiting_on),
            "NOT_YET": len(queue.later),
        }
        reasons = {code: count for code, count in out_of_line.items() if count}
        for ask, count in islice(state.line.asks(), looked_at):
            if not ask.is_job:
                continue
            if not self._demand.exists(ask):
                code = "NO_WORKER"
            else:
                found = admission.reasons(state, ask, now_ms, settings)
                code = str(found[0].code) if found else "IN_LINE"
            reasons[code] = reasons.get(code, 0) + count
        return reasons


def _named(state: State) -> dict[str, int]:
    return {str(name): count for name, count in sorted(state.queue.states.items())}


def _at(rising: Sequence[int], percent: int) -> float | None:
    if not rising:
        return None
    return rising[min(len(rising) - 1, len(rising) * percent // 100)] / 1000
