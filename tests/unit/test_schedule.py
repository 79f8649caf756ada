"""The service of schedules: one job a run, whatever time, people, the queue and the disk do."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.adapters.stores.memory import Disk
from leasehold.core import token as tokens
from leasehold.model.errors import Conflict, Invalid, NotFound, NotPermitted, Overloaded
from leasehold.model.principal import Principal
from leasehold.model.token import Token
from leasehold.wire.job import ExecIn, JobIn
from leasehold.wire.schedule import NightlyIn
from tests.unit.schedule_server import (
    ADMIN,
    ANN,
    BOB,
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    NOON_MS,
    FakeQueue,
    WallClock,
    server,
    wanted,
)


@pytest.mark.requirement("QUEUE-17")
async def test_each_night_has_its_job() -> None:
    """Three nights, three jobs, in the name of who made it; what is to come is told."""
    async with server() as here:
        made = await here.service.create(ANN, wanted(job=JobIn(title="all of it")))
        assert made.explained == "At 02:30 every day"
        assert made.next_runs[:2] == ["2026-06-02T00:30:00.000Z", "2026-06-03T00:30:00.000Z"]
        for _ in range(3):
            await here.pass_by(DAY_MS)
            for number in list(here.ledger.state.jobs):
                here.end(number)
        assert len(here.queue.bodies) == 3
        first = min(here.queue.bodies)
        assert here.queue.bodies[first].title == "all of it"
        assert here.queue.bodies[first].labels == {"schedule": "backup"}
        assert here.queue.principals[first].name == "user:1000"
        assert here.queue.principals[first].uid == 1000
        shown = await here.service.get(ANN, made.schedule_id)
        assert [run.nominal_at[:16] for run in shown.last_runs] == [
            "2026-06-04T00:30",
            "2026-06-03T00:30",
            "2026-06-02T00:30",
        ]
        assert {run.outcome for run in shown.last_runs} == {"submitted"}
        assert (await here.events()).count("ScheduleRan") == 3


@pytest.mark.requirement("QUEUE-17")
async def test_a_crash_neither_loses_a_run_nor_doubles_it() -> None:
    """A server that dies before the commit has run nothing; after it the run is remembered with its job."""
    clock = WallClock(NOON_MS)
    disk, queue = Disk(clock.wall_ms), FakeQueue()
    async with server(disk, clock, queue) as here:
        await here.service.create(ANN, wanted())
    await clock.advance(15 * HOUR_MS)
    async with server(disk, clock, queue) as here:
        assert len(queue.bodies) == 1
        await here.tick()
    async with server(disk, clock, queue) as here:
        await here.pass_by(HOUR_MS)
        assert len(queue.bodies) == 1
        assert (await here.service.schedules(ANN)).schedules[0].submitted == 1


@pytest.mark.requirement("QUEUE-17")
async def test_a_store_that_is_full_delays_a_run_and_loses_none() -> None:
    """What could not be committed is taken back, and done when it can be: once."""
    async with server() as here:
        made = await here.service.create(ANN, wanted())
        await here.clock.advance(14 * HOUR_MS)
        here.faults.full = True
        await here.clock.advance(HOUR_MS)
        await here.tick()
        assert here.ledger.read_only
        assert here.ledger.state.schedule_runs[made.schedule_id].submitted == 0
        here.ledger.state.jobs.clear()
        here.faults.full = False
        await here.pass_by(MINUTE_MS, every_ms=1_000)
        assert here.ledger.state.schedule_runs[made.schedule_id].submitted == 1
        await here.pass_by(HOUR_MS)
        assert here.ledger.state.schedule_runs[made.schedule_id].submitted == 1


@pytest.mark.requirement("QUEUE-17")
@pytest.mark.parametrize(("missed", "ran"), [("skip", 0), ("last", 1), ("all", 3)])
async def test_a_server_that_was_off_for_three_days(missed: str, ran: int) -> None:
    """Each policy makes up for as many runs as it says, and the next night is as always."""
    clock = WallClock(NOON_MS)
    disk, queue = Disk(clock.wall_ms), FakeQueue()
    async with server(disk, clock, queue) as here:
        await here.service.create(ANN, wanted(missed=missed, overlap="allow"))
    await clock.advance(3 * DAY_MS)
    async with server(disk, clock, queue) as here:
        assert len(queue.bodies) == ran
        await here.pass_by(DAY_MS)
        assert len(queue.bodies) == ran + 1
        assert ("ScheduleMissed" in await here.events()) is (missed != "all")


@pytest.mark.requirement("QUEUE-17")
async def test_a_wall_clock_that_is_set_repeats_and_loses_nothing() -> None:
    """Back over a run, also while the server is off; and forward for a while by mistake."""
    clock = WallClock(NOON_MS)
    disk, queue = Disk(clock.wall_ms), FakeQueue()
    async with server(disk, clock, queue) as here:
        await here.service.create(ANN, wanted(overlap="allow"))
        await here.pass_by(15 * HOUR_MS)
        assert len(queue.bodies) == 1
        clock.set_wall(NOON_MS)
        await here.pass_by(15 * HOUR_MS)
        assert len(queue.bodies) == 1
        clock.set_wall(NOON_MS + 400 * DAY_MS)
        await here.tick()
        assert len(queue.bodies) == 2
    clock.set_wall(NOON_MS + DAY_MS)
    async with server(disk, clock, queue) as here:
        await here.pass_by(DAY_MS)
        assert len(queue.bodies) == 3


@pytest.mark.requirement("QUEUE-17")
async def test_overlap_policies() -> None:
    """Left out, one behind the other, in its place, or both at once."""
    for overlap, jobs, after, cancelled in (
        ("skip", 1, False, 0),
        ("queue", 2, True, 0),
        ("replace", 2, True, 1),
        ("allow", 2, False, 0),
    ):
        async with server() as here:
            made = await here.service.create(ANN, wanted(overlap=overlap))
            await here.pass_by(2 * DAY_MS)
            assert len(here.queue.bodies) == jobs, overlap
            first, last = min(here.queue.bodies), max(here.queue.bodies)
            assert here.queue.after[last] == ((first,) if after else ()), overlap
            assert len(here.queue.cancelled) == cancelled, overlap
            shown = await here.service.get(ANN, made.schedule_id)
            if overlap == "skip":
                assert shown.last_runs[0].outcome == "overlap"
                assert "has not ended" in shown.last_runs[0].why


@pytest.mark.requirement("QUEUE-17")
async def test_what_the_queue_refuses() -> None:
    """For good: it is told, and the next run is tried. For now: it is tried again until it works."""
    async with server() as here:
        made = await here.service.create(ANN, wanted())
        here.queue.refuses = NotPermitted("not any more")
        await here.pass_by(DAY_MS)
        shown = await here.service.get(ANN, made.schedule_id)
        assert (shown.last_runs[0].outcome, shown.last_runs[0].why) == ("refused", "not any more")
        here.queue.refuses = Overloaded("full")
        await here.pass_by(DAY_MS)
        assert len((await here.service.get(ANN, made.schedule_id)).last_runs) == 1
        here.queue.refuses = None
        await here.pass_by(MINUTE_MS, every_ms=1_000)
        assert (await here.service.get(ANN, made.schedule_id)).last_runs[0].outcome == "submitted"
        assert here.queue.decisions > 0


@pytest.mark.requirement("QUEUE-17")
async def test_a_night() -> None:
    """Submitted in the evening, to be done in the morning; made up for without a time that has passed."""
    clock = WallClock(NOON_MS)
    disk, queue = Disk(clock.wall_ms), FakeQueue()
    async with server(disk, clock, queue) as here:
        made = await here.service.create(ANN, wanted(nightly=NightlyIn(by="06:00"), overlap="allow"))
        assert made.explained == "Once between 22:00 and 06:00, when it is quiet"
        await here.pass_by(DAY_MS)
    body = queue.bodies[min(queue.bodies)]
    assert body.deadline_at == "2026-06-02T04:00:00.000Z"
    assert body.earliest_start_at is None
    await clock.advance(DAY_MS)
    async with server(disk, clock, queue):
        assert len(queue.bodies) == 2
        assert queue.bodies[max(queue.bodies)].deadline_at is None


@pytest.mark.requirement("QUEUE-17")
async def test_pause_resume_run_and_remove() -> None:
    """Paused it has no next run, and makes up for nothing; by hand it runs at once, out of turn."""
    async with server() as here:
        made = await here.service.create(ANN, wanted(missed="all"))
        paused = await here.service.pause(ANN, made.schedule_id)
        assert not paused.enabled
        assert not paused.next_runs
        await here.pass_by(2 * DAY_MS)
        resumed = await here.service.resume(ANN, made.schedule_id)
        assert resumed.next_runs[0] == "2026-06-04T00:30:00.000Z"
        await here.tick()
        assert not here.queue.bodies
        shown = await here.service.run(ANN, made.schedule_id)
        assert shown.last_runs[0].by_hand
        with pytest.raises(Conflict, match="has not ended"):
            await here.service.run(ANN, made.schedule_id)
        here.end(max(here.queue.bodies))
        await here.pass_by(DAY_MS)
        assert len(here.queue.bodies) == 2
        await here.service.remove(ANN, made.schedule_id)
        await here.pass_by(2 * DAY_MS)
        assert len(here.queue.bodies) == 2
        assert not here.ledger.state.schedule_runs
        with pytest.raises(NotFound):
            await here.service.get(ANN, made.schedule_id)


@pytest.mark.requirement("QUEUE-17", "OPS-6")
async def test_whose_it_is() -> None:
    """Others may look; only its maker, and who may manage all, changes it. Names are one's own."""
    async with server() as here:
        made = await here.service.create(ANN, wanted())
        with pytest.raises(NotPermitted, match="user:1000"):
            await here.service.pause(BOB, made.schedule_id)
        with pytest.raises(NotPermitted):
            await here.service.replace(BOB, made.schedule_id, wanted())
        await here.service.create(BOB, wanted())
        with pytest.raises(Conflict, match="already"):
            await here.service.create(ANN, wanted())
        await here.service.pause(ADMIN, made.schedule_id)
        assert len((await here.service.schedules(ANN)).schedules) == 2


@pytest.mark.requirement("QUEUE-17", "OPS-5")
async def test_the_schedules_of_a_token_that_is_no_more_stop() -> None:
    """Nothing is submitted in the name of a credential that was taken away, and it says so."""
    gone = Principal("token:ci/tok-gone", "submitter", frozenset({"schedule:set"}), token_id="tok-gone")
    async with server() as here:
        made = await here.service.create(gone, wanted())
        await here.pass_by(DAY_MS)
        assert not here.queue.bodies
        shown = await here.service.get(ANN, made.schedule_id)
        assert not shown.enabled
        assert "tok-gone" in shown.stopped
        with pytest.raises(Conflict, match="tok-gone"):
            await here.service.resume(gone, made.schedule_id)
        with pytest.raises(Conflict, match="tok-gone"):
            await here.service.run(ADMIN, made.schedule_id)


@pytest.mark.requirement("QUEUE-17", "OPS-5", "OPS-6")
async def test_a_token_submits_with_what_its_role_still_allows() -> None:
    """Never with more than it was made with; and once it has expired, nothing."""
    known = Token("tok-1", "ci", b"digest", "deployer", NOON_MS, "ann", NOON_MS + 60 * HOUR_MS, "ci")
    ci = Principal(known.principal_name, "deployer", frozenset({"schedule:set", "job:submit", "lease:now"}))
    async with server() as here:
        await here.ledger.execute(lambda state, stamp: tokens.create(state, known, stamp))
        made = await here.service.create(ci, wanted(overlap="allow"))
        for verbs in ({"job:submit", "lease:now", "lease:revoke"}, {"job:submit"}):
            here.rights["deployer"] = frozenset(verbs)
            await here.pass_by(DAY_MS)
            principal = here.queue.principals[max(here.queue.principals)]
            assert principal.verbs == frozenset(verbs) & ci.verbs
        await here.pass_by(2 * DAY_MS)
        assert len(here.queue.bodies) == 2
        assert "tok-1, is no more" in (await here.service.get(ANN, made.schedule_id)).stopped


@pytest.mark.requirement("QUEUE-17", "INV-8")
async def test_jobs_of_one_schedule_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where runs may overlap or follow each other and none ends, they are left out at last."""
    monkeypatch.setattr("leasehold.core.schedule.LIVE_MAX", 2)
    for overlap in ("allow", "queue"):
        async with server() as here:
            made = await here.service.create(ANN, wanted(overlap=overlap))
            await here.pass_by(4 * DAY_MS)
            assert len(here.queue.bodies) == 2
            shown = await here.service.get(ANN, made.schedule_id)
            assert [run.outcome for run in shown.last_runs[:2]] == ["overlap", "overlap"]
            assert "2 jobs of earlier runs" in shown.last_runs[0].why


@pytest.mark.requirement("QUEUE-17")
async def test_a_change_keeps_the_runs_and_starts_from_now() -> None:
    """Another time of the day: its earlier ones are no concern of it."""
    async with server() as here:
        made = await here.service.create(ANN, wanted(missed="all"))
        await here.pass_by(DAY_MS)
        here.end(max(here.queue.bodies))
        changed = await here.service.replace(
            ANN, made.schedule_id, wanted(cron="0 * * * *", missed="all", name="hourly")
        )
        assert (changed.name, changed.submitted) == ("hourly", 1)
        await here.tick()
        assert len(here.queue.bodies) == 1
        await here.pass_by(HOUR_MS)
        assert len(here.queue.bodies) == 2


@pytest.mark.requirement("QUEUE-17")
async def test_a_dry_run_only_tells() -> None:
    """The next five runs, over a change of the clocks, and nothing is kept."""
    clock = WallClock(NOON_MS)
    async with server(clock=clock) as here:
        found = await here.service.create(ANN, wanted(dry_run=True, enabled=False))
        assert len(found.next_runs) == 5
        assert not found.schedule_id
        assert not here.ledger.state.schedules


@pytest.mark.requirement("QUEUE-17")
@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"cron": "0 0 31 2 *"}, "$.cron"),
        ({"cron": "every day"}, "$.cron"),
        ({"cron": None}, "$.cron"),
        ({"nightly": NightlyIn(by="06:00"), "cron": "0 0 * * *"}, "$.cron"),
        ({"zone": "Mars/Olympus"}, "$.zone"),
        ({"job": JobIn(deadline_at="2026-12-24T18:00:00Z")}, "$.job.deadline_at"),
        ({"job": JobIn(earliest_start_at="2026-12-24T18:00:00Z")}, "$.job.earliest_start_at"),
        ({"job": JobIn(start_anyway_by="2026-12-24T18:00:00Z")}, "$.job.start_anyway_by"),
        ({"job": JobIn(after=["job-00000000001"])}, "$.job.after"),
        ({"job": JobIn(key="a")}, "$.job.key"),
        ({"job": JobIn(labels={f"l{n}": "x" for n in range(16)})}, "$.job.labels"),
        ({"job": JobIn(payload=msgspec.Raw(b'"' + b"x" * 40_000 + b'"'))}, "$.job"),
        ({"job": JobIn(start="now"), "nightly": NightlyIn(by="06:00")}, "$.job.start"),
    ],
)
async def test_what_is_wrong_is_told_by_its_field(given: dict[str, object], field: str) -> None:
    """And nothing is kept."""
    async with server() as here:
        with pytest.raises(Invalid) as caught:
            await here.service.create(ANN, wanted(**given))
        assert caught.value.details["field"] == field
        assert not here.ledger.state.schedules


@pytest.mark.requirement("QUEUE-17", "INV-8")
async def test_schedules_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """By person, and in all."""
    monkeypatch.setattr("leasehold.core.schedule.PER_HOLDER_MAX", 2)
    monkeypatch.setattr("leasehold.core.schedule.SCHEDULES_MAX", 3)
    async with server() as here:
        for name in ("a", "b"):
            await here.service.create(ANN, wanted(name=name))
        with pytest.raises(Overloaded, match="user:1000 has 2"):
            await here.service.create(ANN, wanted(name="c"))
        await here.service.create(BOB, wanted(name="a"))
        with pytest.raises(Overloaded, match="there are 3"):
            await here.service.create(BOB, wanted(name="b"))


@pytest.mark.requirement("QUEUE-17", "QUEUE-21")
async def test_the_environment_of_a_command_is_never_shown() -> None:
    """It goes to the job, and to nobody who asks about the schedule."""
    command = ExecIn(argv=["restic", "backup"], cwd="/home/ann", env={"PASSWORD": "hunter2"})
    async with server() as here:
        made = await here.service.create(ANN, wanted(job=JobIn(exec=command)))
        everything = msgspec.json.encode([made, await here.service.schedules(ANN)])
        assert b"restic" in everything
        assert b"hunter2" not in everything
        await here.service.run(ANN, made.schedule_id)
        job = here.queue.bodies[max(here.queue.bodies)]
        assert job.exec is not None
        assert job.exec.env == {"PASSWORD": "hunter2"}


@pytest.mark.requirement("QUEUE-17")
async def test_a_thousand_at_one_minute_are_all_submitted() -> None:
    """In portions, so that the loop goes on."""
    async with server() as here:
        for number in range(100):
            await here.service.create(ANN, wanted(name=f"one-{number}"))
        await here.clock.advance(15 * HOUR_MS)
        await here.tick()
        assert len(here.queue.bodies) < 100
        await here.pass_by(10_000, every_ms=500)
        assert len(here.queue.bodies) == 100
