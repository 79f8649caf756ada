"""Schedules over the real queue: a run and its job as one commit, and what becomes of earlier runs' jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from leasehold.adapters.stores.memory import Disk, MemoryStore
from leasehold.adapters.stores.memory_archive import MemoryArchive
from leasehold.control.bindings import Bindings
from leasehold.control.counters import Counters
from leasehold.control.drafts import Users
from leasehold.control.job import JobService
from leasehold.control.lease import LeaseService
from leasehold.control.ledger import Ledger
from leasehold.control.schedule import ScheduleService
from leasehold.control.schedule_queue import QueuedRuns
from leasehold.control.supervisor import Supervisor
from leasehold.core.state import State
from leasehold.model.errors import Invalid, NeverFits, NotFound, NotPermitted
from leasehold.model.job import JobState
from leasehold.model.node import NodeView
from leasehold.model.owner import Foreseen
from leasehold.model.principal import Principal
from leasehold.model.settings import PolicySettings
from leasehold.runtime.ids import RandomIds
from leasehold.testing.fakes import FakeProcesses, PlacesOnly, offload
from leasehold.testing.manual_clock import settled
from leasehold.testing.waiting import TOTALS, quiet
from leasehold.wire.claim import Claim, Claimed, Completion
from leasehold.wire.job import ExecIn, JobIn, Submit
from leasehold.wire.lease import Resources
from leasehold.wire.owner import WindowIn
from leasehold.wire.schedule import NightlyIn, ScheduleOut
from tests.unit.schedule_server import DAY_MS, HOUR_MS, MINUTE_MS, NOON_MS, FullDisk, WallClock, wanted

ANN = Principal(
    "user:ann", "submitter", frozenset({"schedule:set", "job:submit", "lease:now"}), local=True, uid=1000
)
WORKER = Principal("token:worker/tok-w", "worker", frozenset({"job:work", "job:submit"}))


class Server:
    """All services that jobs need, over one disk, on a clock that moves when told."""

    def __init__(self, disk: Disk, clock: WallClock) -> None:
        self.clock = clock
        self.faults = FullDisk()
        self.ledger = Ledger(
            MemoryStore(disk, faults=self.faults), clock, RandomIds(), lambda: State("node-1")
        )
        processes = FakeProcesses()
        self.leases = LeaseService(
            self.ledger,
            lambda: PolicySettings(),
            Bindings(processes, PlacesOnly(processes), offload, lambda lease_id: None),
            MemoryArchive(disk),
            Counters(),
            totals=TOTALS,
            disk_of=lambda path: "vda",
        )
        users = Users(1000, {"ann": 1000}.get)
        self.jobs = JobService(self.leases, self.leases.calls, lambda path: "vda", users)
        self.schedules = ScheduleService(self.ledger, QueuedRuns(self.jobs), "Europe/Berlin", dict)
        self.supervisor = Supervisor(self.leases, jobs=self.jobs, schedules=self.schedules)

    def observe(self) -> None:
        view = quiet(100)
        self.supervisor.observed(NodeView("node-1", self.clock.now_ms(), view.state, 100, 0, TOTALS))

    async def pass_by(self, span_ms: int) -> None:
        """Wall time passes, as over a suspend: two seconds of it with ticks."""
        self.clock.set_wall(self.clock.wall_ms() + span_ms)
        self.observe()
        await self.clock.advance(2_000)
        await settled()

    async def claim(self) -> Claimed:
        """Take the next job, and run it."""
        self.observe()
        found = await self.jobs.claim(WORKER, Claim())
        assert len(found.jobs) == 1
        return found.jobs[0]

    async def done(self, job: Claimed) -> None:
        body = Completion(generation=job.generation, fencing_token=job.fencing_token)
        await self.jobs.complete(WORKER, job.job_id, body)

    def states(self) -> list[JobState]:
        return [job.state for _, job in sorted(self.ledger.state.jobs.items())]

    async def only(self) -> ScheduleOut:
        """The one schedule that there is, with its runs."""
        schedule_id = next(iter(self.ledger.state.schedules))
        return await self.schedules.get(ANN, schedule_id)


@asynccontextmanager
async def server(disk: Disk | None = None, clock: WallClock | None = None) -> AsyncIterator[Server]:
    clock = clock or WallClock(NOON_MS)
    here = Server(disk or Disk(clock.wall_ms), clock)
    await here.supervisor.start()
    here.observe()
    await here.clock.advance(2_000)
    try:
        yield here
    finally:
        await here.supervisor.stop()


@pytest.mark.requirement("QUEUE-17", "QUEUE-13")
async def test_a_run_and_its_job_are_one_commit() -> None:
    """Where the disk is full neither is there; afterwards both are, once, and after a restart too."""
    clock = WallClock(NOON_MS)
    disk = Disk(clock.wall_ms)
    async with server(disk, clock) as here:
        await here.schedules.create(ANN, wanted())
        here.faults.full = True
        await here.pass_by(15 * HOUR_MS)
        assert here.ledger.read_only
        assert (here.states(), (await here.only()).submitted) == ([], 0)
        here.faults.full = False
        await here.pass_by(MINUTE_MS)
        assert (here.states(), (await here.only()).submitted) == ([JobState.QUEUED], 1)
    async with server(disk, clock) as here:
        assert here.states() == [JobState.QUEUED]
        shown = await here.only()
        assert shown.last_runs[0].state == "QUEUED"
        job = await here.jobs.get(ANN, shown.last_runs[0].job_id)
        assert job.labels == {"schedule": "backup"}
        assert job.holder == "user:ann"


@pytest.mark.requirement("QUEUE-17")
async def test_replace_cancels_what_waits_at_once_and_what_runs_first() -> None:
    """A waiting job makes room for the next one; behind a running one it waits until that has ended."""
    async with server() as here:
        await here.schedules.create(ANN, wanted(overlap="replace"))
        await here.pass_by(DAY_MS)
        await here.pass_by(DAY_MS)
        assert here.states() == [JobState.QUEUED]
        shown = await here.only()
        assert [run.state for run in shown.last_runs] == ["QUEUED", "CANCELED"]
        running = await here.claim()
        await here.schedules.run(ANN, shown.schedule_id)
        assert here.states() == [JobState.RUNNING, JobState.QUEUED]
        assert (await here.jobs.get(ANN, running.job_id)).cancel_requested
        assert not (await here.jobs.claim(WORKER, Claim())).jobs
        await here.jobs.complete(
            WORKER,
            running.job_id,
            Completion(
                generation=running.generation,
                fencing_token=running.fencing_token,
                outcome="FAILED",
                error="x",
            ),
        )
        await settled()
        assert (await here.claim()).job_id != running.job_id


@pytest.mark.requirement("QUEUE-17")
async def test_queue_lets_runs_follow_each_other() -> None:
    """Each starts when the one before has ended, whichever way."""
    async with server() as here:
        await here.schedules.create(ANN, wanted(overlap="queue", missed="all"))
        await here.pass_by(3 * DAY_MS)
        for left in (2, 1, 0):
            job = await here.claim()
            assert not (await here.jobs.claim(WORKER, Claim())).jobs
            await here.done(job)
            await settled()
            assert len(here.states()) == left


@pytest.mark.requirement("QUEUE-17", "QUEUE-19")
async def test_a_night_s_job_is_due_in_the_morning() -> None:
    """It waits for quiet until a quarter of an hour before its time is up, and then starts anyway."""
    async with server() as here:
        await here.schedules.create(ANN, wanted(nightly=NightlyIn(by="06:00")))
        await here.pass_by(10 * HOUR_MS)
        job = await here.jobs.get(ANN, (await here.only()).last_runs[0].job_id)
        assert job.deadline_at == "2026-06-02T04:00:00.000Z"
        assert job.start_anyway_by == "2026-06-02T03:45:00.000Z"
        assert job.start == "quiet"


@pytest.mark.requirement("QUEUE-17")
async def test_what_the_queue_would_refuse_is_refused_at_once() -> None:
    """A command of another user, one that never fits, a right that is lacking: not night by night."""
    command = ExecIn(argv=["true"], cwd="/", user="root")
    too_much = Resources(memory_bytes=1 << 50)
    other = Principal("token:x/tok-x", "x", frozenset({"schedule:set"}))
    async with server() as here:
        for principal, job, error in (
            (ANN, JobIn(exec=command), NotFound),
            (ANN, JobIn(resources=too_much), NeverFits),
            (ANN, JobIn(needs=["runner"]), Invalid),
            (other, JobIn(), NotPermitted),
        ):
            with pytest.raises(error):
                await here.schedules.create(principal, wanted(job=job))
        assert not here.ledger.state.schedules


@pytest.mark.requirement("QUEUE-17")
async def test_what_came_of_a_run_is_told_when_it_has_ended() -> None:
    """From the archive: its state, and that the next run is not left out."""
    async with server() as here:
        await here.schedules.create(ANN, wanted())
        await here.pass_by(DAY_MS)
        await here.done(await here.claim())
        run = (await here.only()).last_runs[0]
        assert (run.state, run.ended_at is not None) == ("DONE", True)
        await here.pass_by(DAY_MS)
        assert (await here.only()).submitted == 2
        listed = (await here.schedules.schedules(ANN)).schedules[0]
        assert listed.last_runs[0].state == "QUEUED"
        assert listed.live == [listed.last_runs[0].job_id]


@pytest.mark.requirement("QUEUE-19")
async def test_a_job_that_waits_for_a_window() -> None:
    """Outside of windows it says when the next one opens, and others start; in one it starts."""
    async with server() as here:
        filed = await here.jobs.submit(ANN, Submit(start="window"))
        assert not (await here.jobs.claim(WORKER, Claim())).jobs
        waits = await here.jobs.get(ANN, filed.jobs[0].job_id)
        assert waits.reasons[0].code == "NO_WINDOW"
        window = WindowIn(effect="allow", start="13:00", end="14:00", zone="Europe/Berlin")
        await here.supervisor.owner.add_window(ANN, "self", window)
        waits = await here.jobs.get(ANN, waits.job_id)
        assert "opens at 13:00 CEST" in waits.reason
        other = await here.jobs.submit(ANN, Submit())
        assert (await here.claim()).job_id == other.jobs[0].job_id
        assert not (await here.jobs.claim(WORKER, Claim())).jobs
        await here.pass_by(HOUR_MS)
        assert (await here.claim()).job_id == waits.job_id


@pytest.mark.requirement("QUEUE-19", "SENSE-19")
async def test_a_job_that_waits_for_a_forecast_window() -> None:
    """It is told when quiet is forecast, and starts then; a forecast that changes its mind is followed."""
    async with server() as here:
        owner, noon_ms = here.supervisor.owner, here.clock.wall_ms()
        filed = await here.jobs.submit(ANN, Submit(start="window"))
        owner.foresee(Foreseen(((noon_ms + 3 * HOUR_MS, noon_ms + 9 * HOUR_MS, 9_000),), "Europe/Berlin"))
        assert not (await here.jobs.claim(WORKER, Claim())).jobs
        waits = await here.jobs.get(ANN, filed.jobs[0].job_id)
        assert "quiet is forecast from 15:00 CEST (likely to 90 %)" in waits.reason
        owner.foresee(Foreseen(((noon_ms + HOUR_MS, noon_ms + 2 * HOUR_MS, 9_500),), "Europe/Berlin"))
        assert not (await here.jobs.claim(WORKER, Claim())).jobs
        await here.pass_by(HOUR_MS)
        assert (await here.claim()).job_id == waits.job_id


@pytest.mark.requirement("QUEUE-19", "SENSE-19")
async def test_no_forecast_makes_a_job_miss_its_deadline() -> None:
    """The next window is forecast for after it: it starts early enough all the same, as it would without."""
    async with server() as here:
        owner, noon_ms = here.supervisor.owner, here.clock.wall_ms()
        owner.foresee(Foreseen(((noon_ms + 9 * HOUR_MS, noon_ms + 12 * HOUR_MS, 9_900),), "Europe/Berlin"))
        by = Submit(start="window", deadline_at="2026-06-01T12:00:00Z")
        filed = await here.jobs.submit(ANN, by)
        assert not (await here.jobs.claim(WORKER, Claim())).jobs
        waits = await here.jobs.get(ANN, filed.jobs[0].job_id)
        assert waits.reasons[0].code == "NO_WINDOW"
        assert waits.start_anyway_by is not None
        assert waits.start_anyway_by < "2026-06-01T12:00:00"
        await here.pass_by(110 * MINUTE_MS)
        assert (await here.claim()).job_id == filed.jobs[0].job_id


@pytest.mark.requirement("QUEUE-19")
async def test_past_its_time_no_window_is_waited_for() -> None:
    """`start_anyway_by` lifts that gate too."""
    async with server() as here:
        filed = await here.jobs.submit(ANN, Submit(start="window", start_anyway_by="2026-06-01T11:00:00Z"))
        assert not (await here.jobs.claim(WORKER, Claim())).jobs
        await here.pass_by(HOUR_MS)
        assert (await here.claim()).job_id == filed.jobs[0].job_id
