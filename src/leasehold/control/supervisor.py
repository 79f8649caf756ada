"""Starts the services in order, keeps their loops, and stops them in reverse (OPS-28)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any

import structlog

from leasehold.control.alerts.pulse import Pulse
from leasehold.control.alerts.service import AlertService
from leasehold.control.audit import AuditService
from leasehold.control.estimates.service import SAMPLE_MS
from leasehold.control.guard import GuardService
from leasehold.control.job import JobService
from leasehold.control.ladder import LadderService
from leasehold.control.learning import Learning
from leasehold.control.lease import LeaseService
from leasehold.control.notifications.outbox import Outbox
from leasehold.control.owner import OwnerService
from leasehold.control.runner import RunnerService
from leasehold.control.schedule import ScheduleService
from leasehold.control.token import TokenService
from leasehold.core import storage
from leasehold.core.brake import ran_ms
from leasehold.core.order import below, forgettable
from leasehold.core.state import FLOWS, Change, Outcome, Stamp, State
from leasehold.model.errors import LeaseholdError
from leasehold.model.event import Event
from leasehold.model.node import NodeView

log = structlog.get_logger(__name__)

TICK_MS = 500
"""The longest time between two looks at what is due; an unconfirmed offer ends at its time, not later."""

FLUSH_MS = 5_000
"""How often folded counters and what was learned are written (LEASE-16)."""

CARE_MS = 60_000
"""How often what is idle or old is tidied: flows, calls, empty places."""

FORGET_MS = 60_000
"""How often the archive is rid of what is past its time."""

ENDS = frozenset({"LeaseReleased", "LeaseExpired", "LeaseRevoked"})

EVENTS_BYTES_MAX = 2 << 30
EVENTS_KEPT_MS = 90 * 86_400_000
KEPT_APART_MS = {"/jobs/": 30 * 86_400_000}
"""Finished jobs, with payload and result (QUEUE-14)."""

SLICES_MAX, SLICE_PAUSE_MS = 3_000, 10
"""Slices of 500 rows in one round, and the time between two that belongs to commits."""


class Supervisor:
    """One per server. `start` returns when commands are accepted; `stop` leaves running work running."""

    def __init__(
        self,
        leases: LeaseService,
        zone: str = "UTC",
        tokens: TokenService | None = None,
        *,
        ladder: LadderService | None = None,
        guards: GuardService | None = None,
        audit: AuditService | None = None,
        jobs: JobService | None = None,
        schedules: ScheduleService | None = None,
        runner: RunnerService | None = None,
        outbox: Outbox | None = None,
    ) -> None:
        """Without a `ladder` nothing is held by force here: holders are told by their heartbeats."""
        self.leases = leases
        self.tokens = tokens
        self.ladder = ladder or LadderService(leases)
        self.guards = guards
        self.audit = audit
        self.learning = Learning()
        self.jobs = jobs
        if jobs is not None:
            jobs.results.on_observed = self.learning.observe
        self.schedules = schedules
        self.runner = runner
        self.alerts: AlertService | None = None
        self.pulse: Pulse | None = None
        self.outbox = outbox
        self.owner = OwnerService(leases.ledger, zone, self._changed)
        self._ledger = leases.ledger
        self._clock = leases.ledger.clock
        self._loops: list[asyncio.Task[None]] = []
        self._ledger.on_stall = leases.stalled
        self._ledger.on_due = leases.timers.set
        self._ledger.on_reload = self._reloaded
        self._ledger.on_committed = self._committed
        self.counts: dict[str, int] = {}
        self.on_change: Callable[[Sequence[Event], bool], None] = lambda events, measured: None
        """Called with what was committed, or with nothing and True after a measurement."""

    @property
    def ready(self) -> tuple[bool, str]:
        """Whether commands are accepted, else why not (`/ready`)."""
        ledger = self._ledger
        if ledger.lost:
            return False, ledger.lost
        if not ledger.ready:
            return False, "recovery is not done"
        if ledger.state.broken:
            return False, f"an invariant was broken, nothing is granted: {ledger.state.broken}"
        if ledger.read_only:
            return False, f"read-only: {ledger.read_only}"
        return True, "ready"

    async def start(self) -> None:
        await self._ledger.start()
        if any(run.fresh for run in self._ledger.state.storage_runs.values()):
            await self._ledger.execute(storage.taken_up)
        if self.guards is not None:
            self.guards.start()
        if self.jobs is not None:
            self.jobs.changes.pause_lease, self.jobs.changes.resume_lease = (
                self.ladder.pause,
                self.ladder.resume,
            )
            await self.jobs.recovered()
        if self.runner is not None:
            await self.runner.attach()
        self._loops.append(asyncio.create_task(self._ticks(), name="ticks"))
        for every_ms, work in self._rounds():
            self._loops.append(asyncio.create_task(self._every(every_ms, work), name=f"every-{every_ms}-ms"))
        if self.alerts is not None:
            await self.alerts.start()

    def _rounds(self) -> Iterator[tuple[int, Callable[[], Coroutine[Any, Any, None]]]]:
        """What is done again and again, and how often."""
        yield FLUSH_MS, self._flush
        yield CARE_MS, self._care
        yield FORGET_MS, self._forget
        if self.jobs is not None:
            yield SAMPLE_MS, self.jobs.estimates.sample

    async def stop(self, close_readers: Callable[[], Awaitable[None]] | None = None) -> None:
        """Answer held calls, write what is folded, commit the open batch, give up leadership.

        `close_readers` is awaited before the store is closed: who still reads keeps its files from tidying.
        """
        self.leases.line.refuse_all("the server is stopping; ask again with the same ticket")
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._loops.clear()
        if self.alerts is not None:
            await self.alerts.stop()
        await self.ladder.stop()
        if self.guards is not None:
            await self.guards.stop()
        if self.outbox is not None:
            await self.outbox.stop()
        try:
            await self._flush()
            if self.tokens is not None:
                await self.tokens.write_used(all_of_them=True)
        except (LeaseholdError, OSError) as error:
            log.warning("last_flush", why=str(error))
        self.leases.bindings.close()
        await self._ledger.finish()
        if close_readers is not None:
            await close_readers()
        await self._ledger.stop()

    def observed(self, view: NodeView) -> None:
        """A new measurement of the machine: it may have become quieter, so the line is looked at."""
        self._ledger.alive()
        self.owner.observed(view)
        self.ladder.verify()
        self._changed()

    def _changed(self) -> None:
        """The node may be in another state: who is to give way does so, and only then others may start."""
        self.ladder.look()
        self.leases.line.dispatch()
        if self.jobs is not None:
            self.jobs.claims.more_may_start()
        self.on_change((), True)

    def _reloaded(self, state: State) -> None:
        """What the owner said holds before anything is granted."""
        self.leases.reloaded(state)
        self.ladder.reloaded(state)
        if self.schedules is not None:
            self.schedules.reloaded()
        if self.outbox is not None:
            self.outbox.reloaded()
        self.owner.refresh()

    async def _every(self, every_ms: int, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            await self._clock.sleep(every_ms)
            try:
                await work()
            except LeaseholdError as error:
                log.info("put_off", every_ms=every_ms, why=str(error))
            except Exception:  # A loop outlives what it does; the next round tries again.
                log.exception("loop", every_ms=every_ms)

    async def _ticks(self) -> None:
        while True:
            next_ms = self.leases.timers.next_ms() if self._ledger.ready else None
            left_ms = TICK_MS if next_ms is None else min(TICK_MS, next_ms - self._clock.now_ms())
            await self._clock.sleep(max(1, left_ms))
            try:
                self._tick()
            except Exception:  # The next tick tries again: what is due must not wait for ever.
                log.exception("tick")

    def _tick(self) -> None:
        self._ledger.alive()
        if self._ledger.ready:
            now_ms = self._clock.now_ms()
            for key in self.leases.timers.pop_due(now_ms):
                self.leases.due(key, now_ms)
            self.owner.refresh()
            if self.tokens is not None:
                self.tokens.tick()
            self.ladder.look()
            if self.jobs is not None:
                self.jobs.tick()
            if self.schedules is not None:
                self.schedules.tick()
            if self.runner is not None:
                self.runner.tick()
            if self.outbox is not None:
                self.outbox.tick()
            self.leases.line.dispatch()  # Time alone brings room too: a cool-down ends, a bound is passed.

    async def _flush(self) -> None:
        if self.audit is not None:
            await self.audit.flush()
        folds = self.leases.counters.take()
        if folds:
            await self.leases.archive.fold(folds)
        if self.learning.has_news and not self._ledger.read_only and self._ledger.ready:
            await self._ledger.execute(self.learning.learn)
        if self.jobs is not None:
            await self.jobs.estimates.flush()

    async def _care(self) -> None:
        if not self._ledger.ready or self._ledger.read_only:
            return
        await self._ledger.execute(partial(self.leases.calls.stale))
        await self._ledger.execute(forget_flows)
        if self.tokens is not None:
            await self.tokens.care()
        if self.jobs is not None:
            await self.jobs.tidy()
        await self.leases.hold_limits()
        await self.leases.bindings.sweep(lambda lease_id: lease_id in self._ledger.state.leases)

    async def _forget(self) -> None:
        """Drop what is past its time, slice by slice: as much in a minute as a busy server ends."""
        for _ in range(SLICES_MAX):
            if not self._ledger.ready or self._ledger.read_only:
                return
            wall_ms = self._clock.wall_ms()
            went = await self.leases.archive.prune(
                before_wall_ms=wall_ms - EVENTS_KEPT_MS,
                bytes_max=EVENTS_BYTES_MAX,
                apart={noun: wall_ms - kept_ms for noun, kept_ms in KEPT_APART_MS.items()},
            )
            if not went:
                return
            await self._clock.sleep(SLICE_PAUSE_MS)

    def _committed(self, events: Sequence[Event]) -> None:
        """What follows a commit: counts for `/metrics`, and what ended leases teach."""
        self.ladder.committed(events)
        if self.guards is not None:
            self.guards.committed(events)
        if self.runner is not None:
            self.runner.committed(events)
        if self.outbox is not None:
            self.outbox.committed(events)
        if self.jobs is not None:
            self.jobs.counts.committed(events)
            self.jobs.estimates.committed(events)
            self.jobs.claims.committed(events)
            self.jobs.dependencies.committed(events)
        if self.pulse is not None:
            self.pulse.committed(events, self._clock.now_ms())
        for event in events:
            self.counts[event.kind] = self.counts.get(event.kind, 0) + 1
            lease = self._ledger.state.ended.get(event.subject) if event.kind in ENDS else None
            if lease is not None:
                self.leases.ended(lease)
            if event.kind == "LeaseReleased" and lease is not None and lease.ask.charge.is_work:
                ran = ran_ms(lease, lease.ended_ms)
                self.learning.observe(lease.ask, lease.usage, ran)
        if not events:
            self.leases.line.dispatch()  # The store takes writes again.
            if self.jobs is not None:
                self.jobs.store_is_back()
        self.on_change(events, False)


def forget_flows(state: State, stamp: Stamp) -> Outcome:
    """Drop the flows that neither wait nor run and would start at V anyway: at most 500 a round."""
    outcome = Outcome()
    busy = {lease.ask.holder for lease in state.leases.values()}
    gone: set[str] = set()
    for key in sorted(state.flows):
        tenant, _, rest = key.partition("/")
        if not rest or "/" in rest or rest in busy or rest.replace("%2F", "/").replace("%25", "%") in busy:
            continue
        if state.line.waits_for(tenant, key):
            continue
        if forgettable(state.flows[key], state.flows.get(tenant)):
            gone.update((key, *below(state.flows, key)))
        if len(gone) >= 500:
            break
    outcome.changes.extend(Change(FLOWS, key, None) for key in sorted(gone))
    return outcome
