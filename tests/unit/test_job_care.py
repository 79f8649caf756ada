"""What time does to very many jobs at once, and what is kept for jobs that are gone (QUEUE-6, 8)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from leasehold.model.ids import to_number
from leasehold.testing.manual_clock import settled
from leasehold.wire.job import Cancel, JobIn, NewPriority, Submit
from tests.unit.test_schedule_queue import ANN, Server, server

HOUR_MS = 3_600_000


def later(here: Server, span_ms: int) -> str:
    return datetime.fromtimestamp((here.clock.wall_ms() + span_ms) / 1000, UTC).isoformat()


@pytest.mark.requirement("QUEUE-8")
async def test_thousands_that_are_due_at_one_time_stand_in_line_at_once() -> None:
    """Whatever starts at ten stands in line at ten, not some hundred of it each second."""
    async with server() as here:
        at = later(here, HOUR_MS)
        for _ in range(6):
            await here.jobs.submit(ANN, Submit(jobs=[JobIn(earliest_start_at=at) for _ in range(1_000)]))
        assert not len(here.ledger.state.line)
        here.clock.set_wall(here.clock.wall_ms() + HOUR_MS + 2_000)
        here.jobs.tick()
        assert len(here.ledger.state.line) == 6_000


@pytest.mark.requirement("QUEUE-8")
async def test_terms_that_nobody_has_go_as_fast_as_they_come() -> None:
    """Jobs with a label of their own each leave nothing behind a minute after they have gone."""
    async with server() as here:
        for at in (0, 1_000):
            jobs = [JobIn(labels={"build": str(at + each)}, group="g") for each in range(1_000)]
            for one in (await here.jobs.submit(ANN, Submit(jobs=jobs))).jobs:
                await here.jobs.changes.cancel(ANN, one.job_id, Cancel())
        await settled()
        assert len(here.ledger.state.terms) == 2_000
        await here.jobs.tidy()
        assert not here.ledger.state.terms


@pytest.mark.requirement("QUEUE-6", "QUEUE-19")
async def test_another_lane_keeps_what_orders_a_job_there() -> None:
    """A time-sensitive job goes by its start_anyway_by in every lane; no clock makes it younger."""
    async with server() as here:
        by = later(here, 60_000)
        answer = await here.jobs.submit(ANN, Submit(time_sensitive=True, start_anyway_by=by))
        number = to_number("job", answer.jobs[0].job_id)
        assert number is not None
        before_ms = here.ledger.state.jobs[number].due_ms
        await here.jobs.prioritise(ANN, answer.jobs[0].job_id, NewPriority(priority="LOW"))
        assert here.ledger.state.jobs[number].due_ms == before_ms
        plain = await here.jobs.submit(ANN, Submit())
        number = to_number("job", plain.jobs[0].job_id)
        assert number is not None
        await here.jobs.prioritise(ANN, plain.jobs[0].job_id, NewPriority(priority="LOW"))
        low_ms = here.ledger.state.jobs[number].due_ms
        here.clock.set_wall(here.clock.wall_ms() - 20 * 24 * HOUR_MS)
        await here.jobs.prioritise(ANN, plain.jobs[0].job_id, NewPriority(priority="LOW"))
        assert here.ledger.state.jobs[number].due_ms <= low_ms + 5_000
