"""What each rule looks at, on real services over a virtual clock (OPS-26)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Literal, cast

import pytest

from leasehold.control.alerts.measures import Measures
from leasehold.control.alerts.pulse import DAY_MS, Pulse
from leasehold.control.alerts.service import AlertService
from leasehold.core.alert import limits_of
from leasehold.core.alert_check import level
from leasehold.model.alert import Reading
from leasehold.model.alert_rules import BY_NAME
from leasehold.model.settings import AlertSettings
from leasehold.model.snapshot import Mount, Surroundings
from leasehold.model.storage import Sizes
from leasehold.ports.store import StoreError
from leasehold.testing.manual_clock import settled
from leasehold.wire.claim import Claim, Completion
from leasehold.wire.job import JobIn, Note, Submit
from leasehold.wire.lease import Heartbeat, Report
from tests.unit.test_schedule_queue import ANN, WORKER, Server, server

pytestmark = pytest.mark.requirement("OPS-26")

MINUTE, GIB, MIB = 60_000, 1 << 30, 1 << 20


def of_size(file_mib: int, free_mib: int) -> Sizes:
    """A store whose file has so much, and so much of it free."""
    return Sizes(4096, file_mib * 256, free_mib * 256, 0, 0, 1 << 40, in_slices=True)


class Watched:
    """The services of a queue, and what alerts see of them."""

    def __init__(self, here: Server) -> None:
        self.here = here
        self.errors = self.invalid = 0
        self.lag_s = 0.0
        self.damage = ""
        self.waits_ms = 0
        self.certificates: list[tuple[int, int]] = []
        self.files: Sizes | None = of_size(64, 0)
        sense = SimpleNamespace(around=Surroundings(), measured_wall_ms=None, own_errors=dict)
        self.sense = cast(Any, sense)
        self.pulse = Pulse(here.clock.now_ms(), here.jobs.demand, lambda: self.errors, lambda: self.invalid)
        here.supervisor.pulse = self.pulse
        self.measures = Measures(
            here.ledger,
            self.pulse,
            self.sense,
            cast(Any, self),
            loop_lag_s=lambda: self.lag_s,
            certificates=lambda: self.certificates,
            damage=lambda: self.damage,
            store_waits_ms=lambda: self.waits_ms,
        )

    async def sizes(self) -> Sizes:
        """Of the port `Storage`."""
        if self.files is None:
            raise StoreError("it is not open")
        return self.files

    def jump(self, span_ms: int) -> None:
        """Time passes without a tick, as over a suspend."""
        self.here.clock._now_ms += span_ms

    async def see(self, rule: str, *, after_ms: int = 0) -> Reading:
        """What a rule reads, after some time with a look every ten seconds."""
        for _ in range(after_ms // 10_000):
            await self.here.clock.advance(10_000)
            await self.measures.look()
        await settled()
        await self.measures.look()
        return self.measures.by_rule[rule]()

    def bad(self, rule: str, reading: Reading) -> str:
        """How bad that is by the built-in thresholds; `fine`, or `unknown`."""
        if reading.value is None or not reading.applies:
            return "unknown" if reading.applies else "fine"
        known = BY_NAME[rule]
        return str(level(known, limits_of(known, None), reading.value) or "fine")

    async def verdict(self, rule: str, *, after_ms: int = 0) -> str:
        return self.bad(rule, await self.see(rule, after_ms=after_ms))


@asynccontextmanager
async def watched() -> AsyncIterator[Watched]:
    async with server() as here:
        yield Watched(here)


async def test_every_rule_has_a_measure_but_that_of_backups() -> None:
    """Backups are measured by their own part, which says so; all others are there."""
    async with watched() as seen:
        assert set(BY_NAME) - set(seen.measures.by_rule) == {"stale_backup"}
        alerts = AlertService(seen.here.ledger, AlertSettings, seen.measures.by_rule)
        assert "stale_backup" not in alerts.rules
        alerts.measure("stale_backup", lambda: Reading(49.0, "the last backup is 49 h old"))
        assert list(alerts.rules)[-1] == "stale_backup"
        with pytest.raises(KeyError):
            alerts.measure("made_up", lambda: Reading(0.0))


async def test_the_store_is_in_trouble_while_it_takes_no_writes() -> None:
    """Full, hanging, damaged: critical, with the reason; well again once it takes writes."""
    async with watched() as seen:
        assert await seen.verdict("store_trouble") == "fine"
        seen.here.faults.full = True
        with pytest.raises(Exception, match="nothing was changed"):
            await seen.here.jobs.submit(ANN, Submit())
        full = await seen.see("store_trouble")
        assert (seen.bad("store_trouble", full), "nothing can be written" in full.sentence) == (
            "critical",
            True,
        )
        seen.here.faults.full = False
        assert await seen.verdict("store_trouble", after_ms=20_000) == "fine"
        seen.waits_ms = 9_999
        assert await seen.verdict("store_trouble") == "fine"
        seen.waits_ms = 12_000
        assert "has not answered a commit for 12 s" in (await seen.see("store_trouble")).sentence
        seen.waits_ms = 0
        seen.damage = "row 7 missing from index"
        assert "row 7" in (await seen.see("store_trouble")).sentence


async def test_broken_invariants_and_records_that_cant_be_read() -> None:
    """INV-9: both are told, with what they are."""
    async with watched() as seen:
        assert await seen.verdict("broken_invariant") == "fine"
        assert await seen.verdict("records") == "fine"
        seen.here.ledger.state.broken = "INV-1: 101 of 100 units"
        seen.here.ledger.state.quarantined["tenants/lab"] = "truncated"
        assert await seen.verdict("broken_invariant") == "critical"
        assert await seen.verdict("records") == "warning"
        assert "tenants/lab" in (await seen.see("records")).sentence


async def test_the_fullest_disk_counts() -> None:
    """Tiny file systems are left out, but that of the data; before any was seen it is not known."""
    async with watched() as seen:
        assert await seen.verdict("disk") == "unknown"
        for pct, verdict in ((10.0, "fine"), (9.99, "warning"), (2.9, "critical")):
            free = round(pct * GIB)
            mounts = (
                Mount("/", "vda", 100 * GIB, 50 * GIB, 50 * GIB, 50.0),
                Mount("/srv", "vdb", 100 * GIB, 100 * GIB - free, free, pct),
                Mount("/boot/efi", "vda", GIB // 2, GIB // 2, 0, 0.0),
            )
            seen.sense.around = Surroundings(mounts=mounts)
            assert await seen.verdict("disk") == verdict
        assert "/srv has 2.9 % free" in (await seen.see("disk")).sentence
        seen.sense.around = Surroundings(mounts=mounts, data_path="/boot/efi")
        assert "/boot/efi has 0 % free" in (await seen.see("disk")).sentence


async def test_a_machine_that_is_not_measured_is_told_with_why() -> None:
    """Half a minute after the last measurement; the clock of the wall may be set as it likes."""
    async with watched() as seen:
        seen.sense.measured_wall_ms = seen.here.clock.wall_ms()
        assert await seen.verdict("stale_stats") == "fine"
        assert await seen.verdict("stale_stats", after_ms=30_000) == "fine"
        seen.here.clock.set_wall(seen.here.clock.wall_ms() - DAY_MS)
        seen.sense.own_errors = lambda: {"host": "host: /proc/stat can't be read"}
        late = await seen.see("stale_stats", after_ms=10_000)
        assert (seen.bad("stale_stats", late), "/proc/stat" in late.sentence) == ("warning", True)
        seen.sense.measured_wall_ms = seen.here.clock.wall_ms()
        assert await seen.verdict("stale_stats") == "fine"


async def test_a_job_without_a_sign_of_life_is_stuck() -> None:
    """Heartbeats, progress and use of the processor are signs; a paused job is not stuck."""
    async with watched() as seen:
        here = seen.here
        assert await seen.verdict("stuck_jobs") == "fine"
        await here.jobs.submit(ANN, Submit(cost_units=1, start="now"))
        job = await here.claim()
        state = here.ledger.state
        (lease_id,) = state.queue.by_lease
        state.liveness[lease_id].deadline_ms = 1 << 62  # Its process lives, and nobody hears of it.
        token = job.fencing_token
        await seen.see("stuck_jobs")
        assert await seen.verdict("stuck_jobs", after_ms=5 * MINUTE) == "fine"
        found = await seen.see("stuck_jobs", after_ms=10_000)
        assert (seen.bad("stuck_jobs", found), job.job_id in found.sentence) == ("critical", True)
        state.liveness[lease_id].cpu_ms += 1
        assert await seen.verdict("stuck_jobs", after_ms=10_000) == "fine"
        assert await seen.verdict("stuck_jobs", after_ms=6 * MINUTE) == "critical"
        await here.leases.report(WORKER, lease_id, Report(fencing_token=token, progress=0.5))
        assert await seen.verdict("stuck_jobs", after_ms=10_000) == "fine"
        assert await seen.verdict("stuck_jobs", after_ms=6 * MINUTE) == "critical"
        await here.leases.heartbeat(WORKER, lease_id, Heartbeat(token))
        state.liveness[lease_id].deadline_ms = 1 << 62
        assert await seen.verdict("stuck_jobs", after_ms=10_000) == "fine"
        await here.jobs.pause(ANN, job.job_id, Note())
        assert await seen.verdict("stuck_jobs", after_ms=6 * MINUTE) == "fine"
        await here.jobs.resume(ANN, job.job_id, Note())
        state.liveness[lease_id].deadline_ms = 1 << 62
        assert await seen.verdict("stuck_jobs", after_ms=4 * MINUTE) == "fine"
        assert await seen.verdict("stuck_jobs", after_ms=2 * MINUTE) == "critical"
        done = Completion(generation=job.generation, fencing_token=token)
        await here.jobs.complete(WORKER, job.job_id, done)
        assert (await seen.see("stuck_jobs")).sentence == "no job is under way"


async def test_workers_that_were_here_are_missed() -> None:
    """Whoever asks, or works, is online; a minute after the last one has gone none is, which is told once a
    job waits for one; after a day none is known any more.
    """
    async with watched() as seen:
        here = seen.here
        assert await seen.verdict("no_workers") == "unknown"
        await here.jobs.submit(ANN, Submit(cost_units=1, start="now"))
        job = await here.claim()
        assert await seen.verdict("no_workers") == "fine"
        await here.jobs.complete(
            WORKER, job.job_id, Completion(generation=job.generation, fencing_token=job.fencing_token)
        )
        assert not (await here.jobs.claim(WORKER, Claim())).jobs
        assert await seen.verdict("no_workers") == "fine"
        seen.jump(MINUTE - 1)
        here.jobs.demand.forget(here.clock.now_ms())
        assert await seen.verdict("no_workers") == "fine"
        seen.jump(1)
        idle = await seen.see("no_workers")
        assert ("no job waits" in idle.sentence, seen.bad("no_workers", idle)) == (True, "fine")
        await here.jobs.submit(ANN, Submit(cost_units=1, start="now"))
        gone = await seen.see("no_workers")
        assert seen.bad("no_workers", gone) == "critical"
        assert "0 of 1 known worker(s)" in gone.sentence
        here.observe()
        assert len((await here.jobs.claim(WORKER, Claim())).jobs) == 1
        assert await seen.verdict("no_workers") == "fine"
        seen.jump(DAY_MS + MINUTE)
        here.jobs.demand.forget(here.clock.now_ms())
        assert await seen.verdict("no_workers") == "fine"


async def test_a_queue_that_grows_minute_by_minute_is_told() -> None:
    """Three rises, from ten in line on; jobs that a time keeps back are no queue; a still minute ends it."""
    async with watched() as seen:
        here = seen.here

        async def more(count: int, **fields: Any) -> None:
            await here.jobs.submit(ANN, Submit(jobs=[JobIn(**fields) for _ in range(count)]))

        await seen.see("queue_growing", after_ms=MINUTE)
        for _ in range(4):
            await more(2)
            assert await seen.verdict("queue_growing", after_ms=MINUTE) == "fine"
        await more(5)
        assert await seen.verdict("queue_growing", after_ms=MINUTE) == "warning"
        tomorrow = datetime.fromtimestamp((here.clock.wall_ms() + DAY_MS) / 1000, UTC).isoformat()
        await more(20, earliest_start_at=tomorrow)
        assert await seen.verdict("queue_growing", after_ms=MINUTE) == "fine"
        await more(1)
        await seen.see("queue_growing", after_ms=MINUTE)
        await more(1)
        assert await seen.verdict("queue_growing", after_ms=MINUTE) == "fine"
        await more(1)
        found = await seen.see("queue_growing", after_ms=MINUTE)
        assert found.sentence == "16 jobs stand in line, more in each of the last 3 minute(s)"


async def test_failed_jobs_are_held_against_those_that_ended_lately() -> None:
    """From five ends on; more than half of them failed or expired; an hour later they count no more."""
    async with watched() as seen:
        here = seen.here

        async def end(outcome: Literal["DONE", "FAILED"]) -> None:
            await here.jobs.submit(ANN, Submit(cost_units=1, start="now"))
            job = await here.claim()
            body = Completion(generation=job.generation, fencing_token=job.fencing_token, outcome=outcome)
            await here.jobs.complete(WORKER, job.job_id, body)

        for _ in range(3):
            await end("FAILED")
        await end("DONE")
        assert await seen.verdict("failure_rate") == "fine"
        await end("DONE")
        found = await seen.see("failure_rate")
        assert seen.bad("failure_rate", found) == "warning"
        assert found.sentence == "3 of 5 jobs that ended within an hour failed or expired"
        await end("DONE")
        assert await seen.verdict("failure_rate") == "fine"
        await end("FAILED")
        assert await seen.verdict("failure_rate") == "warning"
        assert (await seen.see("failure_rate")).partial
        seen.jump(62 * MINUTE)
        assert await seen.see("failure_rate") == Reading(0.0, "no job ended within an hour")


@pytest.mark.parametrize(
    ("rule", "total", "limit"), [("errors", "errors", 10), ("validation_failures", "invalid", 50)]
)
async def test_errors_and_senseless_calls_are_counted_over_an_hour(rule: str, total: str, limit: int) -> None:
    """What there was before this server looked counts not, nor what is an hour old."""
    async with watched() as seen:
        setattr(seen, total, 1_000)
        assert await seen.verdict(rule) == "fine"
        setattr(seen, total, 1_000 + limit)
        assert await seen.verdict(rule, after_ms=10_000) == "fine"
        setattr(seen, total, 1_001 + limit)
        assert await seen.verdict(rule, after_ms=10_000) == "warning"
        seen.jump(62 * MINUTE)
        assert await seen.verdict(rule) == "fine"


async def test_empty_pages_count_where_they_are_worth_it() -> None:
    """More than half of a large file; a small one is no matter; a store that can't be asked is not known."""
    async with watched() as seen:
        assert await seen.verdict("fragmentation") == "fine"
        for files, verdict in (
            (of_size(20, 15), "fine"),
            (of_size(64, 32), "fine"),
            (of_size(64, 33), "warning"),
            (None, "unknown"),
        ):
            seen.files = files
            assert await seen.verdict("fragmentation", after_ms=MINUTE) == verdict


async def test_the_certificate_is_told_when_a_quarter_of_its_life_is_left() -> None:
    """None is served: nothing to tell. The one that ends first counts, also once it has ended."""
    async with watched() as seen:
        assert await seen.verdict("certificate") == "fine"
        now_ms = seen.here.clock.wall_ms()
        far = (now_ms - DAY_MS, now_ms + 89 * DAY_MS)
        for until_days, verdict in ((25, "fine"), (24.9, "warning"), (-1, "warning")):
            until_ms = round(now_ms + until_days * DAY_MS)
            seen.certificates = [far, (until_ms - 100 * DAY_MS, until_ms)]
            assert await seen.verdict("certificate") == verdict
        assert (await seen.see("certificate")).sentence == "it has ended"


async def test_a_slow_loop_is_told_by_its_lateness() -> None:
    """More than a second, as measured within the last minute."""
    async with watched() as seen:
        seen.lag_s = 1.0
        assert await seen.verdict("loop_lag") == "fine"
        seen.lag_s = 1.2
        assert await seen.verdict("loop_lag") == "warning"


async def test_a_suspend_is_no_minute_in_which_the_queue_grew() -> None:
    """Depths are a minute apart: what came during a night's sleep is one rise, not hundreds."""
    async with watched() as seen:
        here = seen.here
        await here.jobs.submit(ANN, Submit(jobs=[JobIn() for _ in range(20)]))
        await seen.see("queue_growing", after_ms=2 * MINUTE)
        await here.jobs.submit(ANN, Submit(jobs=[JobIn()]))
        seen.jump(8 * 60 * MINUTE)
        found = await seen.see("queue_growing")
        assert found.value == 1
        assert (await seen.see("queue_growing", after_ms=MINUTE)).value == 0
