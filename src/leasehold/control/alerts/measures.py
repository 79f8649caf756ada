"""What each built-in rule looks at: one function a rule, from figures that really exist (OPS-26)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import structlog

from leasehold.control.alerts.pulse import DAY_MS, Pulse
from leasehold.control.ledger import Ledger
from leasehold.control.sense import SenseService
from leasehold.model.alert import UNKNOWN, Reading
from leasehold.model.storage import Sizes
from leasehold.ports.storage import Storage
from leasehold.ports.store import StoreError

log = structlog.get_logger(__name__)

Measure = Callable[[], Reading]

ENDED_MIN = 5
"""With fewer ends in an hour no share of them means anything."""

DEPTH_MIN = 10
"""A queue with fewer in line may grow as it likes."""

STORE_HANGS_MS = 10_000

MOUNT_BYTES_MIN = 1 << 30
EMPTY_BYTES_MIN = 16 << 20

STORAGE_MS = 60_000
"""How often the store is asked about its files."""

GIB = 1 << 30


class Measures:
    """Everything that is looked at. `certificates` are begin and end (wall ms) of those that are served.

    `damage` says what was found wrong with the store's file at the start, "" for nothing; `store_waits_ms`
    how long a commit has been under way.
    """

    def __init__(
        self,
        ledger: Ledger,
        pulse: Pulse,
        sense: SenseService,
        storage: Storage,
        *,
        loop_lag_s: Callable[[], float],
        certificates: Callable[[], Sequence[tuple[int, int]]],
        damage: Callable[[], str] = str,
        store_waits_ms: Callable[[], int] = int,
    ) -> None:
        self._ledger = ledger
        self._clock = ledger.clock
        self._pulse = pulse
        self._sense = sense
        self._storage = storage
        self._loop_lag_s = loop_lag_s
        self._certificates = certificates
        self._damage = damage
        self._store_waits_ms = store_waits_ms
        self.sizes: Sizes | None = None
        self._asked_ms: int | None = None

    @property
    def by_rule(self) -> Mapping[str, Measure]:
        """The measure of each rule whose part exists."""
        return {
            "store_trouble": self.store_trouble,
            "broken_invariant": self.broken_invariant,
            "disk": self.disk,
            "stale_stats": self.stale_stats,
            "loop_lag": self.loop_lag,
            "stuck_jobs": self.stuck_jobs,
            "no_workers": self.no_workers,
            "queue_growing": self.queue_growing,
            "failure_rate": self.failure_rate,
            "errors": self.errors,
            "validation_failures": self.validation_failures,
            "fragmentation": self.fragmentation,
            "certificate": self.certificate,
            "records": self.records,
        }

    async def look(self) -> None:
        """Look at what takes longer, before the measures are asked. Raises nothing."""
        now_ms = self._clock.now_ms()
        self._pulse.look(self._ledger.state, now_ms, self._sense.measured_wall_ms)
        if self._asked_ms is not None and now_ms - self._asked_ms < STORAGE_MS:
            return
        self._asked_ms = now_ms
        try:
            self.sizes = await self._storage.sizes()
        except StoreError as error:
            self.sizes = None
            log.info("storage_unknown", why=str(error))

    # -- the store

    def store_trouble(self) -> Reading:
        ledger = self._ledger
        why = ledger.lost or (f"nothing can be written: {ledger.read_only}" if ledger.read_only else "")
        why = why or ("" if ledger.ready else "what the store has is not known; it is read again")
        waits_ms = self._store_waits_ms()
        if waits_ms >= STORE_HANGS_MS:
            why = why or f"the store has not answered a commit for {waits_ms // 1000} s"
        damage = self._damage()
        why = why or (f"damage was found at the start: {damage}" if damage else "")
        return Reading(float(bool(why)), why or "the store takes writes")

    def broken_invariant(self) -> Reading:
        broken = self._ledger.state.broken
        return Reading(float(bool(broken)), broken or "no invariant was broken")

    def records(self) -> Reading:
        found = self._ledger.state.quarantined
        first = next(iter(found), "")
        names = f": {first}{' and others' if len(found) > 1 else ''}" if found else ""
        return Reading(float(len(found)), f"{len(found)} record(s) can't be read{names}")

    def fragmentation(self) -> Reading:
        found = self.sizes
        if found is None:
            return UNKNOWN
        free_pct = round(100 * found.fragmentation, 1)
        empty, size = found.free_bytes >> 20, found.file_bytes >> 20
        sentence = f"{free_pct:g} % of the store's file is empty: {empty:,} of {size:,} MiB"
        return Reading(free_pct if found.free_bytes >= EMPTY_BYTES_MIN else 0.0, sentence)

    # -- the machine

    def disk(self) -> Reading:
        around = self._sense.around
        mounts = [
            one for one in around.mounts if one.total_bytes >= MOUNT_BYTES_MIN or one.path == around.data_path
        ]
        if not mounts:
            return UNKNOWN
        worst = min(mounts, key=lambda one: (one.free_pct, one.path))
        sentence = f"{worst.path} has {worst.free_pct:g} % free ({worst.free_bytes / GIB:,.1f} GiB)"
        return Reading(worst.free_pct, sentence)

    def stale_stats(self) -> Reading:
        silent_s = self._pulse.unmeasured_ms(self._clock.now_ms()) / 1000
        errors = self._sense.own_errors()
        why = f": {next(iter(errors.values()))}" if errors else ""
        return Reading(silent_s, f"the machine was measured {silent_s:.0f} s ago{why}")

    def loop_lag(self) -> Reading:
        late_s = round(self._loop_lag_s(), 3)
        return Reading(late_s, f"the server answered up to {late_s:g} s late within the last minute")

    def certificate_end_s(self) -> float | None:
        """When the first of the served certificates ends, in Unix time; None without any."""
        ends = [until_ms for _, until_ms in self._certificates()]
        return min(ends) / 1000 if ends else None

    def certificate(self) -> Reading:
        wall_ms = self._clock.wall_ms()
        left = [
            (100 * (until_ms - wall_ms) / max(1, until_ms - from_ms), until_ms - wall_ms)
            for from_ms, until_ms in self._certificates()
        ]
        if not left:
            return Reading(None, "no certificate is served", applies=False)
        pct, left_ms = min(left)
        sentence = f"the certificate ends in {left_ms / DAY_MS:.1f} days" if left_ms > 0 else "it has ended"
        return Reading(round(max(0.0, pct), 1), sentence)

    # -- the work

    def stuck_jobs(self) -> Reading:
        stuck = self._pulse.stuck
        if stuck is None:
            return Reading(0.0, "no job is under way")
        silent_s = stuck.silent_ms // 1000
        sentence = f"{stuck.job_id} ({stuck.job_type}) has shown no sign of life for {silent_s} s"
        return Reading(float(silent_s), sentence)

    def no_workers(self) -> Reading:
        found = self._pulse.workers(self._clock.now_ms())
        if not found.known:
            return Reading(None, "no worker is known", applies=found.looked_ms < DAY_MS)
        sentence = f"{found.online} of {found.known} known worker(s) are online"
        if found.online:
            return Reading(float(found.online), sentence)
        sentence += (
            f", {found.last} was the last one; {'jobs wait' if found.awaited else 'no job waits'} for one"
        )
        return Reading(0.0, sentence, applies=found.awaited)

    def queue_growing(self) -> Reading:
        pulse = self._pulse
        depth = pulse.depth
        sentence = f"{depth:,} jobs stand in line"
        if pulse.rises:
            sentence += f", more in each of the last {pulse.rises} minute(s)"
        return Reading(float(pulse.rises if depth >= DEPTH_MIN else 0), sentence)

    @property
    def _is_partial(self) -> bool:
        return not self._pulse.has_seen_an_hour(self._clock.now_ms())

    def failure_rate(self) -> Reading:
        ended = self._pulse.ended(self._clock.now_ms())
        bad = ended["FAILED"] + ended["EXPIRED"]
        total = bad + ended["DONE"]
        sentence = f"{bad} of {total} jobs that ended within an hour failed or expired"
        if not total:
            sentence = "no job ended within an hour"
        share = round(100 * bad / total, 1) if total >= ENDED_MIN else 0.0
        return Reading(share, sentence, partial=self._is_partial)

    def errors(self) -> Reading:
        count = self._pulse.errors.within(self._clock.now_ms())
        return Reading(float(count), f"{count} errors were logged within an hour", partial=self._is_partial)

    def validation_failures(self) -> Reading:
        count = self._pulse.invalid.within(self._clock.now_ms())
        sentence = f"{count} calls within an hour made no sense (400 or 422)"
        return Reading(float(count), sentence, partial=self._is_partial)
