"""The service that measures this node, judges how quiet it is, and tells the ledger (SENSE-1…13)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

import msgspec
import structlog

from leasehold.control.addon_watch import AddonWatch
from leasehold.control.collectors import Collector, Collectors, CollectorState, Lane
from leasehold.control.history import History, Newest
from leasehold.core import foreign, measured, quiet, stats
from leasehold.model.node import NodeView
from leasehold.model.quiet import QuietAssessment, QuietSettings, QuietState
from leasehold.model.snapshot import ApiStats, HostCounters, HostStats, ProcessStats, Surroundings
from leasehold.model.work import OursCounters, WorkQuery, WorkUse
from leasehold.ports.clock import Clock
from leasehold.ports.host import Host, Work

log = structlog.get_logger(__name__)

HOST_MS = 2_000
HOST_TIMEOUT_MS = 5_000
BASELINE_MS = 400  # the second sample follows the first this soon, so that a state is known within a second
AROUND_MS = 30_000
AROUND_TIMEOUT_MS = 10_000
AROUND_FIRST_S = 0.3  # how long the start waits for file systems and devices before it judges without them
IO_WATCH_BP = 500  # from this io stall on, the storage bytes of every process are read while leases have work
IO_WATCH_MS = 15_000  # and for so long after: the means reach back ten seconds


class Tick(msgspec.Struct, frozen=True):
    """What one run of the host collector brought."""

    host: HostCounters
    ours: OursCounters
    process: ProcessStats
    queries: tuple[WorkQuery, ...]


class SenseService:
    """Samples this node and publishes what it finds.

    `leases` gives the live leases to measure; `publish` takes each new view, `publish_use` what each
    lease's work used. Both are called on the event loop. `api` gives the figures of the server's own
    requests, where they are counted. History is kept, and add-ons are watched, where one is given.
    """

    def __init__(
        self,
        node_id: str,
        host: Host,
        work: Work,
        clock: Clock,
        settings: QuietSettings,
        *,
        leases: Callable[[], Sequence[WorkQuery]],
        publish: Callable[[NodeView], None],
        jitter: Callable[[], float],
        lane: Callable[[str], Lane],
        publish_use: Callable[[Mapping[str, WorkUse]], None] = lambda uses: None,
        api: Callable[[], ApiStats | None] = lambda: None,
        history: History | None = None,
        addons: AddonWatch | None = None,
    ) -> None:
        self.node_id = node_id
        self.settings = settings
        self.history = history
        self.addons = addons
        self.around = Surroundings()
        self.host: HostStats | None = None
        self.process: ProcessStats | None = None
        self.assessment: QuietAssessment | None = None
        self.measured_wall_ms: int | None = None
        self.api = api
        self._host = host
        self._work = work
        self._clock = clock
        self._leases = leases
        self._publish = publish
        self._publish_use = publish_use
        self._memory = quiet.Memory()
        self._before: Tick | None = None
        self._peaks: dict[str, measured.Peak] = {}
        self._rates: dict[str, measured.Rate] = {}
        self._io_until_ms = 0
        self._view: NodeView | None = None
        self._look_ms = HOST_MS
        self._collectors = Collectors(clock, jitter, lane)
        self._collectors.add(self._host_collector())
        self._collectors.add(
            Collector("surroundings", AROUND_MS, AROUND_TIMEOUT_MS, self._take_around, host.surroundings)
        )
        if history is not None:
            samples = addons.samples if addons is not None else dict
            self._collectors.add(history.collector(self.sampled, samples))

    def _host_collector(self) -> Collector:
        return Collector(
            name="host",
            interval_ms=HOST_MS,
            timeout_ms=HOST_TIMEOUT_MS,
            prepare=self._prepare,
            collect=self._measure,
            take=self._take,
            failed=self._nothing_measured,
            warm_up_ms=(BASELINE_MS,),
            sooner=lambda usual_ms: usual_ms if self._look_ms >= HOST_MS else self._look_ms,
        )

    async def start(self) -> None:
        """Begin to measure; the first view is published in under a second."""
        if self.history is not None:
            await self.history.open()
        first = asyncio.ensure_future(self._collectors.once("surroundings"))
        await asyncio.wait((first,), timeout=AROUND_FIRST_S)
        self._collectors.start()
        if self.addons is not None:
            self.addons.start()

    async def stop(self) -> None:
        """Within two seconds, also when a collector hangs."""
        watch = self.addons.stop() if self.addons is not None else asyncio.sleep(0)
        await asyncio.gather(self._collectors.stop(), watch)
        self._work.close()
        if self.history is not None:
            await self.history.close()

    def collectors(self) -> list[CollectorState]:
        """SENSE-8: those of the machine, then those of add-ons."""
        return [*self._collectors.states(), *(self.addons.states() if self.addons is not None else ())]

    def errors(self) -> dict[str, str]:
        """By collector, until it succeeds again."""
        return {**self.own_errors(), **(self.addons.errors() if self.addons is not None else {})}

    def own_errors(self) -> dict[str, str]:
        """Those about this machine: what is wrong with an add-on says nothing against its figures."""
        return self._collectors.errors()

    # -- one tick ---------------------------------------------------------------------

    def _prepare(self) -> tuple[tuple[WorkQuery, ...], bool]:
        return tuple(self._leases()), self._clock.now_ms() < self._io_until_ms

    def _measure(self, queries: tuple[WorkQuery, ...], io: bool) -> Tick:
        """Host and ours back to back, so that the one can be taken from the other. Runs off the loop."""
        now_ms = self._clock.now_ms()
        host = self._host.counters(now_ms)
        ours = self._work.measure(queries, now_ms, io=io)
        return Tick(host, ours, self._host.process(), queries)

    def _take(self, tick: Tick) -> None:
        before, self._before = self._before, tick
        self._look_ms = measured.look_ms(before.host if before else None, tick.host, HOST_MS)
        self.measured_wall_ms = self._clock.wall_ms()
        self.host = stats.derive(before.host if before else None, tick.host, self.around)
        self.process = _with_share(before, tick)
        self._note_peaks(tick)
        self._note_rates(tick)
        if before is None or tick.host.at_ms <= before.host.at_ms:
            return
        reading = foreign.reading(before.host, tick.host, before.ours, tick.ours, self.around)
        if self.addons is not None:
            reading = foreign.with_applications(reading, self.addons.worst())
        if tick.queries and (reading.psi_io_bp or 0) >= IO_WATCH_BP:
            self._io_until_ms = tick.host.at_ms + IO_WATCH_MS
        self._memory, assessment = quiet.fold(self.settings, self._memory, reading, tick.host.at_ms)
        self._publish_use({use.lease_id: use for use in tick.ours.uses})
        self._judged(assessment, tick)  # After their use: who has least to lose is asked right then.

    def _nothing_measured(self) -> None:
        """The host collector failed: in time that makes the state UNKNOWN."""
        self._look_ms = HOST_MS
        if self._before is None or self.host is None:
            return
        self._memory, assessment = quiet.fold(self.settings, self._memory, None, self._clock.now_ms())
        if assessment.state is QuietState.UNKNOWN:
            self._judged(assessment, self._before)

    def _judged(self, assessment: QuietAssessment, tick: Tick) -> None:
        assert self.host is not None
        was, self.assessment = self.assessment, assessment
        if was is None or was.state is not assessment.state:
            log.info(
                "quiet_state",
                state=assessment.state,
                score=assessment.quiet_score,
                reason=assessment.reasons[0],
            )
        excess = measured.excess_memory_bytes(tick.queries, self._peaks)
        self._view = measured.view(
            self.node_id,
            self.settings,
            assessment,
            self.host,
            self.around,
            tick.ours,
            excess,
            self._memory.last,
            {lease_id: rate.millicores for lease_id, rate in self._rates.items()},
        )
        if self.history is not None:
            self.history.saw(assessment)
        self._publish(self._view)

    def _note_peaks(self, tick: Tick) -> None:
        empty = measured.Peak()
        self._peaks = {
            use.lease_id: measured.seen(
                self._peaks.get(use.lease_id, empty), use.memory_bytes, tick.host.at_ms
            )
            for use in tick.ours.uses
        }

    def _note_rates(self, tick: Tick) -> None:
        guarded = {query.lease_id for query in tick.queries if query.is_guarded}
        self._rates = {
            use.lease_id: measured.rated(self._rates.get(use.lease_id), use.cpu_ms, tick.host.at_ms)
            for use in (tick.ours.uses if guarded else ())
            if use.lease_id in guarded
        }

    def _take_around(self, around: Surroundings) -> None:
        self.around = around

    def sampled(
        self,
    ) -> Newest:
        """What history stores: the newest of everything."""
        return self.host, self.process, self.api(), self.assessment


def _with_share(before: Tick | None, tick: Tick) -> ProcessStats:
    """The process with its share of one core since the tick before."""
    span_ms = tick.host.at_ms - before.host.at_ms if before else 0
    if before is None or span_ms <= 0:
        return tick.process
    share = round(100 * (tick.process.cpu_ms - before.process.cpu_ms) / span_ms, 2)
    return msgspec.structs.replace(tick.process, cpu_pct=share)
