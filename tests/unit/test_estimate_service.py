"""Estimates beside the real queue, on a clock that moves when told: told, kept, scored, or not known."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
import pytest

from leasehold.adapters.stores.memory import Disk
from leasehold.control.estimates import scenes
from leasehold.control.estimates import service as estimates
from leasehold.control.estimates.told import Told
from leasehold.control.scheduler import SchedulerService
from leasehold.core.learn import observe
from leasehold.core.state import LEARNED, Change
from leasehold.model.ids import to_number
from leasehold.model.learned import Learned
from leasehold.model.lease import Usage
from leasehold.testing.manual_clock import settled
from leasehold.wire.claim import Claim, SessionIn
from leasehold.wire.job import JobIn, Note, Submit
from leasehold.wire.lease import Explanation, HeavyLeaseRequest
from tests.unit.schedule_server import NOON_MS, WallClock
from tests.unit.test_schedule_queue import ANN, WORKER, Server, server

pytestmark = pytest.mark.requirement("QUEUE-12")

T = TypeVar("T")


async def soon(here: Server, work: Coroutine[Any, Any, T]) -> T:
    """Let it have the little pauses that it takes."""
    task = asyncio.ensure_future(work)
    for _ in range(2_000):
        await settled()
        if task.done():
            return task.result()
        await here.clock.advance(2)
    raise AssertionError("it did not end")


async def told(here: Server, job_id: str) -> Told:
    number = to_number("job", job_id)
    assert number is not None
    return await soon(here, here.jobs.estimates.of(here.ledger.state.jobs[number]))


async def submit(here: Server, count: int = 1, **more: Any) -> list[str]:
    jobs = [JobIn(**{"job_type": "test", "cost_units": 60, "start": "now", **more}) for _ in range(count)]
    answer = await here.jobs.submit(ANN, Submit(jobs=jobs))
    assert answer.refused == 0, answer
    return [one.job_id for one in answer.jobs]


def know(here: Server, *seconds: int) -> None:
    """Work of this kind took so long before."""
    learned = Learned("user:ann", "test")
    for each in seconds:
        learned = observe(learned, Usage(), each * 1_000)
    here.ledger.state.apply(Change(LEARNED, "user:ann/test", learned))


async def poll(here: Server) -> None:
    """The worker asks, and gets nothing more."""
    assert not (await here.jobs.claim(WORKER, Claim(known=None))).jobs


async def test_what_is_told_is_kept_and_scored_over_a_restart() -> None:
    """One runs for some 100 s; the next is told so by the sampling; another server sees it start in time."""
    clock = WallClock(NOON_MS)
    disk = Disk(clock.wall_ms)
    async with server(disk, clock) as here:
        know(here, *[100] * 20)
        (first,) = await submit(here)
        running = await here.claim()
        assert running.job_id == first
        await submit(here)
        await poll(here)
        await soon(here, here.jobs.estimates.sample())
        assert here.jobs.estimates.book.open(here.ledger.state) == 1
    async with server(disk, clock) as here:
        (given,) = here.ledger.state.estimates.values()
        assert 50_000 < given.wait50_ms < given.wait90_ms < 200_000
        await here.done(running)
        await here.claim()
        assert (here.jobs.estimates.book.scored, here.jobs.estimates.book.kept) == (1, [1, 1])
        shown = (await here.jobs.stats()).estimates
        assert shown is not None
        assert [one.scored for one in shown.ranges] == [1, 1, 1]


async def test_who_waits_for_quiet_is_told_from_then_on() -> None:
    """On a busy machine there are no times, but how long it takes once it is quiet; and nothing is scored."""
    async with server() as here:
        know(here, *[100] * 20)
        view = here.ledger.state.view
        assert view is not None
        here.supervisor.observed(msgspec.structs.replace(view, state="BUSY", score=40))
        ids = await submit(here, 2, start="quiet")
        await poll(here)
        waits = [await told(here, each) for each in ids]
        assert [each.after_quiet for each in waits] == [True, True]
        assert waits[0].wait90_ms is not None
        assert waits[1].wait50_ms is not None
        assert waits[0].wait90_ms < 1_000
        assert waits[1].wait50_ms > 60_000
        assert "waiting for QUIET; when that ends can't be foreseen" in waits[0].note
        assert here.jobs.estimates.book.open(here.ledger.state) == 0


async def test_what_can_not_be_foreseen_is_said() -> None:
    """Nothing learned; nobody there; held; after another: a note each, and no time."""
    async with server() as here:
        (first,) = await submit(here)
        assert (await told(here, first)).note == "no worker is there that does it"
        await here.claim()
        held, after = await submit(here, hold=True), await submit(here, after=[first])
        (waits,) = await submit(here)
        await poll(here)
        assert "somebody resumes it" in (await told(here, held[0])).note
        assert (await told(here, after[0])).note == f"it comes after {first}"
        unknown = await told(here, waits)
        assert unknown.wait50_ms is None
        assert unknown.note.startswith("nobody knows how long test of user:ann takes")
        await here.jobs.hold(ANN, waits, Note())
        assert "somebody resumes it" in (await told(here, waits)).note


async def test_a_start_to_come_and_a_number_of_hands_are_reckoned_with() -> None:
    """One worker takes one at a time: the third of three small jobs waits for two; one for tomorrow a day."""
    async with server() as here:
        know(here, *[100] * 20)
        at = datetime.fromtimestamp(here.clock.wall_ms() / 1000 + 3_600, UTC).isoformat()
        jobs = [JobIn(job_type="test", cost_units=1, start="now") for _ in range(3)]
        jobs.append(JobIn(job_type="test", cost_units=1, start="now", earliest_start_at=at))
        ids = [one.job_id for one in (await here.jobs.submit(ANN, Submit(jobs=jobs))).jobs]
        await here.claim()
        waits = [await told(here, each) for each in ids[1:]]
        second, third, later = (each.wait50_ms for each in waits)
        assert second is not None
        assert third is not None
        assert later is not None
        assert 60_000 < second < 150_000 < third < 300_000
        assert 3_500_000 < later < 4_000_000


async def test_workers_with_a_lease_of_their_own_are_not_guessed_at() -> None:
    """What they take waits for them, not for room: that is said."""
    async with server() as here:
        know(here, *[100] * 20)
        lease = await here.leases.request(WORKER, HeavyLeaseRequest(cost_units=10, start="now"))
        assert lease.lease_id is not None
        assert lease.fencing_token is not None
        ids = await submit(here, 2, cost_units=1)
        session = SessionIn(lease_id=lease.lease_id, fencing_token=lease.fencing_token)
        here.observe()
        assert len((await here.jobs.claim(WORKER, Claim(session=session, max=1))).jobs) == 1
        assert (
            await told(here, ids[1])
        ).note == "workers take it under a lease of their own, as fast as they can"


async def test_a_run_serves_everybody_for_a_while() -> None:
    """Fifty ask at once: one run forward; after five seconds there is another one."""
    async with server() as here:
        know(here, *[100] * 20)
        ids = await submit(here, 51)
        await here.claim()
        await poll(here)
        runs = here.jobs.estimates._runs
        found = [await told(here, each) for each in ids[1:]]
        first = runs[False]
        assert all(each.wait50_ms is not None for each in found)
        rising = [each.wait50_ms for each in found]
        assert rising[0] is not None
        assert rising[-1] is not None
        assert rising[-1] > 20 * rising[0]
        assert here.jobs.estimates._runs[False] is first
        await here.clock.advance(estimates.FRESH_MS + 1_000)
        await told(here, ids[-1])
        assert here.jobs.estimates._runs[False] is not first


async def test_a_request_is_told_when_it_would_start() -> None:
    """A full machine: who asks what it would get learns when, too; who fits, or never will, does not."""
    async with server() as here:
        know(here, *[100] * 20)
        scheduler = SchedulerService(here.leases, lambda: "desktop")
        scheduler.estimates = here.jobs.estimates
        await submit(here)
        await here.claim()

        async def explained(units: int) -> Explanation:
            asked = HeavyLeaseRequest(job_type="test", cost_units=units, start="now")
            return await soon(here, scheduler.explain(ANN, asked))

        assert (await explained(10)).estimate is None
        told = await explained(60)
        assert not told.approved
        assert told.estimate is not None
        assert told.estimate.p50_sec is not None
        assert told.estimate.p90_sec is not None
        assert 60 < told.estimate.p50_sec < told.estimate.p90_sec < 200
        assert not here.jobs.estimates._runs, "nobody else is told from a run with somebody who has not asked"
        assert here.ledger.state.line.entries.get(scenes.NOBODY) is None
        never = await explained(100)
        assert (never.reasons[0].code, never.estimate) == ("NEVER_FITS", None)
