"""The service: from a machine to a view of it in the ledger (SENSE-1, 6, 7, 10, 11; LEASE-6, 25)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from leasehold.control.sense import SenseService
from leasehold.control.stats import StatsService
from leasehold.model.lease import Process
from leasehold.model.node import NodeView
from leasehold.model.quiet import PRESETS, QuietSettings
from leasehold.model.work import WorkQuery
from leasehold.testing.hosts import GIB, FakeMachine, InlineLane
from leasehold.testing.manual_clock import ManualClock, settled

BOUND = WorkQuery("lease-a", cpu_millicores=2_000, memory_bytes=GIB, processes=(Process(42, 1, "boot"),))


class Subject:
    """A service on a machine that does as it is told."""

    def __init__(self, settings: QuietSettings = PRESETS["server"]) -> None:
        self.clock = ManualClock()
        self.machine = FakeMachine()
        self.leases: list[WorkQuery] = []
        self.views: list[NodeView] = []
        self.sense = SenseService(
            "node-1",
            self.machine.host,
            self.machine.work,
            self.clock,
            settings,
            leases=lambda: self.leases,
            publish=self.views.append,
            jitter=lambda: 0.5,
            lane=InlineLane,
        )

    @property
    def view(self) -> NodeView:
        return self.views[-1]

    async def seconds(self, seconds: float) -> NodeView:
        await self.clock.advance(int(seconds * 1000))
        return self.view


@asynccontextmanager
async def started(settings: QuietSettings = PRESETS["server"]) -> AsyncIterator[Subject]:
    subject = Subject(settings)
    await subject.sense.start()
    await settled()
    try:
        yield subject
    finally:
        await subject.sense.stop()


@pytest.mark.requirement("SENSE-11")
async def test_a_state_is_known_within_a_second_of_the_start() -> None:
    """The second sample follows the first at once; before it nothing is claimed."""
    async with started() as subject:
        assert subject.views == []
        view = await subject.seconds(0.9)
        assert (view.state, view.score, view.node_id) == ("QUIET", 100, "node-1")
        assert view.totals.cpu_millicores == 4_000
        assert view.totals.memory_bytes == 16 * GIB
        assert view.totals.disk_bytes == 500 * GIB


@pytest.mark.requirement("SENSE-11")
async def test_a_busy_first_half_second_does_not_bind() -> None:
    """The start itself is work; when it is over the machine is quiet in seconds, without the dwell time."""
    async with started() as subject:
        subject.machine.others_pct = 100.0
        assert (await subject.seconds(0.5)).state == "BUSY"
        subject.machine.others_pct = 0.0
        assert (await subject.seconds(2)).state == "QUIET"


@pytest.mark.requirement("SENSE-6")
@pytest.mark.requirement("SENSE-10")
async def test_load_of_others_makes_busy_within_15_seconds_also_beside_leased_work() -> None:
    """Leased work that takes half the machine hides nothing."""
    async with started() as subject:
        subject.leases = [BOUND]
        subject.machine.ours_pct = 50.0
        assert (await subject.seconds(60)).state == "QUIET"
        subject.machine.ours_pct, subject.machine.others_pct = 10.0, 90.0
        assert (await subject.seconds(15)).state == "BUSY"
        assert "CPU used by others" in subject.view.reasons[0]
        assert "cpu" in subject.view.pressed
        subject.machine.others_pct = 0.0
        assert (await subject.seconds(150)).state == "QUIET"


@pytest.mark.requirement("SENSE-6")
async def test_a_lease_bound_to_nothing_accounts_for_its_declared_share_and_no_more() -> None:
    """Two declared cores of four excuse half of the load; the other half is somebody's."""
    async with started() as subject:
        subject.leases = [WorkQuery("lease-u", cpu_millicores=2_000)]
        subject.machine.others_pct = 50.0
        assert (await subject.seconds(60)).state == "QUIET"
        subject.machine.others_pct = 100.0
        view = await subject.seconds(60)
        assert view.state == "NORMAL"
        assert subject.sense.assessment is not None
        assert subject.sense.assessment.inputs["foreign_cpu_avg_10s"] == pytest.approx(50, abs=2)
        assert subject.sense.assessment.inputs["cpu_avg_10s"] == pytest.approx(100, abs=2)


@pytest.mark.requirement("SENSE-11")
@pytest.mark.requirement("SENSE-7")
async def test_a_machine_that_can_no_longer_be_read_becomes_unknown_and_says_so() -> None:
    """After 30 s without one; the error stands by its collector; a new measurement brings the state back."""
    async with started() as subject:
        await subject.seconds(10)
        subject.machine.readable = False
        assert (await subject.seconds(20)).state == "QUIET"
        view = await subject.seconds(15)
        assert (view.state, view.score) == ("UNKNOWN", None)
        assert "old" in view.reasons[0]
        assert "unreadable" in subject.sense.errors()["host"]
        subject.machine.readable = True
        await subject.seconds(5)
        assert subject.view.state == "QUIET"
        assert subject.sense.errors() == {}


@pytest.mark.requirement("SENSE-10")
async def test_full_memory_is_panic_at_once_and_names_the_lease_behind_it() -> None:
    """Memory counts in full, whoever causes it; the sentence says who."""
    async with started() as subject:
        subject.leases = [BOUND]
        await subject.seconds(30)
        subject.machine.ours_memory_bytes = int(13.9 * GIB)
        view = await subject.seconds(2.1)
        assert view.state == "PANIC"
        assert (view.short_of_memory, view.short_of_memory_or_disk) == (True, True)
        assert "lease-a holds 13.9 GiB of it" in view.reasons[0]
        await subject.seconds(20)
        subject.machine.ours_memory_bytes = 0
        view = await subject.seconds(14)
        assert view.state == "QUIET"
        assert view.cooldown_until_ms > subject.clock.now_ms()
        assert any("Cooling down" in reason for reason in view.reasons)


@pytest.mark.requirement("LEASE-6")
async def test_memory_beyond_the_charge_counts_with_its_ten_minute_peak() -> None:
    """A lease that used 3 GiB over its charge still counts so for ten minutes, then no longer."""
    async with started() as subject:
        subject.leases = [BOUND]
        subject.machine.ours_memory_bytes = 4 * GIB
        assert (await subject.seconds(10)).excess_memory_bytes == 3 * GIB
        subject.machine.ours_memory_bytes = GIB // 2
        assert (await subject.seconds(540)).excess_memory_bytes == 3 * GIB
        assert (await subject.seconds(120)).excess_memory_bytes == 0
        assert subject.view.foreign_memory_bytes == 2 * GIB


@pytest.mark.requirement("LEASE-25")
async def test_a_disk_below_its_reserve_is_pressed() -> None:
    """The constraint on that disk gets a sentence with the figures."""
    async with started() as subject:
        subject.machine.disk_free_bytes = 512 << 20
        view = await subject.seconds(35)
        assert view.pressed["disk:disk0"] == "/ has 512 MiB free (reserve 1024 MiB)"


@pytest.mark.requirement("SENSE-13")
async def test_the_preset_always_is_quiet_whatever_happens() -> None:
    """The view says that the gate and the curve are off."""
    async with started(PRESETS["always"]) as subject:
        subject.machine.others_pct = 100.0
        view = await subject.seconds(60)
        assert (view.state, view.score, view.always) == ("QUIET", 100, True)


@pytest.mark.requirement("SENSE-1")
@pytest.mark.requirement("SENSE-12")
@pytest.mark.requirement("SENSE-17")
async def test_the_snapshot_and_its_rollup_say_what_is_known() -> None:
    """Unmeasured is an error, fresh is ok, a failing collector a warning, old an error again."""
    async with started() as subject:
        stats = StatsService(subject.sense, subject.clock)
        assert (await stats.health()).status == "error"
        await subject.seconds(10)
        current, health = stats.current(), await stats.health()
        assert health.status == "ok"
        assert current.quiet is not None
        assert current.quiet.state == "QUIET"
        assert current.quiet.inputs["cpu_avg_2m"] == 0
        assert current.host is not None
        assert current.host.cores_logical == 4
        assert current.process is not None
        assert current.errors == {}
        subject.machine.readable = False
        await subject.seconds(4)
        assert (await stats.health()).status == "warn"
        assert "host" in stats.current().errors
        await subject.seconds(40)
        health = await stats.health()
        assert (health.status, health.state) == ("error", "UNKNOWN")


@pytest.mark.requirement("SENSE-8")
async def test_each_collector_is_listed_with_its_last_run() -> None:
    """Host and surroundings, with how often they ran."""
    async with started() as subject:
        await subject.seconds(10)
        found = {
            each.name: each for each in StatsService(subject.sense, subject.clock).collectors().collectors
        }
        assert found["host"].runs == 6
        assert found["host"].interval_ms == 2_000
        assert found["surroundings"].consecutive_failures == 0
        assert found["host"].last_start is not None
