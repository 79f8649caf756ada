"""Where the screen's figures come from, and where its acts go: one server, wherever it is by now."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Protocol

import msgspec

from leasehold.cli.screen.sight import JOBS_SHOWN
from leasehold.client import calls
from leasehold.client.aio import AsyncClient
from leasehold.client.calls import A, B, Call, Values
from leasehold.client.dashboard import Lost, first_that_answers, watch
from leasehold.client.endpoint import Endpoint
from leasehold.client.sync import NONE
from leasehold.wire.dashboard import DashboardState
from leasehold.wire.job import JobOut

SCORE_RANGE, SCORE_STEP = "30m", "1m"
WAITING = "QUEUED,HELD"

Pairs = list[tuple[str, object]]


class Feed(Protocol):
    """What the screen asks for. Every call raises the errors of `model.errors`, and Unreachable."""

    def states(self) -> AsyncIterator[DashboardState | Lost]:
        """Each state as it comes, and each loss of the connection; for ever."""
        ...

    async def jobs(self) -> list[JobOut]:
        """Jobs that wait or are held, a group as one row."""
        ...

    async def scores(self) -> list[float | None]:
        """The quiet score of the last half hour, minute by minute."""
        ...

    async def details(self, subject: str) -> Pairs:
        """All about a job, a lease or a ticket."""
        ...

    async def cancel(self, subject: str) -> str:
        """Cancel a job, revoke a lease, or give up a place in line. Says what came of it."""
        ...

    async def pause(self, subject: str) -> str:
        """Pause or hold what runs or waits; let go on what is paused or held. Says what came of it."""
        ...


class ServerFeed:
    """The feed of a real server; `places` says where it may be."""

    def __init__(self, places: Callable[[], Iterable[Endpoint]]) -> None:
        self._places = places

    def states(self) -> AsyncIterator[DashboardState | Lost]:
        return watch(self._places)

    async def state(self) -> DashboardState:
        """The state as it is now."""
        return await self._send(calls.DASHBOARD)

    async def jobs(self) -> list[JobOut]:
        page = await self._send(calls.JOBS, query={"state": WAITING, "limit": JOBS_SHOWN, "fold": "true"})
        return page.jobs

    async def scores(self) -> list[float | None]:
        query = {"group": "quiet", "metric": None, "range": SCORE_RANGE, "step": SCORE_STEP}
        return (await self._send(calls.HISTORY, query=query)).values

    async def details(self, subject: str) -> Pairs:
        if subject.startswith("job-"):
            from leasehold.cli.describe_job import pairs as of_job

            job = await self._send(calls.JOB_EXPLAIN, path={"job_id": subject})
            return [*of_job(job), *[("it would take", reason.cure) for reason in job.reasons if reason.cure]]
        if subject.startswith("tkt-"):
            status = await self._send(calls.STATUS)
            found = [waiter for waiter in status.waiting if waiter.ticket == subject]
            return list(msgspec.to_builtins(found[0]).items()) if found else [(subject, "waits no more")]
        from leasehold.cli.get import pairs as of_lease

        return of_lease(await self._send(calls.LEASE, path={"lease_id": subject}))

    async def cancel(self, subject: str) -> str:
        if subject.startswith("job-"):
            from leasehold.wire.job import Cancel

            job = await self._send(calls.CANCEL_JOB, Cancel(), path={"job_id": subject})
            return f"{subject} is {job.state}" + (", and is told to stop" if job.cancel_requested else "")
        if subject.startswith("tkt-"):
            await self._send(calls.LEAVE_LINE, path={"ticket": subject})
            return f"{subject} has left the line"
        from leasehold.wire.lease import Revoke

        lease = await self._send(calls.REVOKE, Revoke(), path={"lease_id": subject})
        return f"{subject} is {lease.state}"

    async def pause(self, subject: str) -> str:
        if subject.startswith("job-"):
            from leasehold.wire.job import Note

            path = {"job_id": subject}
            job = await self._send(calls.JOB, path=path)
            call = calls.RESUME_JOB if job.state in ("HELD", "PAUSED") else calls.PAUSE_JOB
            return f"{subject} is {(await self._send(call, Note(), path=path)).state}"
        return await self._pause_lease(subject)

    async def _pause_lease(self, lease_id: str) -> str:
        from leasehold.wire.lease import Pause, Resume

        path = {"lease_id": lease_id}
        lease = await self._send(calls.LEASE, path=path)
        if "paused" in lease.flags:
            await self._send(calls.RESUME, Resume(), path=path)
            return f"{lease_id} goes on"
        await self._send(calls.PAUSE, Pause(), path=path)
        return f"{lease_id} stands still until `p` lets it go on"

    async def _send(
        self, call: Call[B, A], body: B | None = None, *, path: Values = NONE, query: Values = NONE
    ) -> A:
        async with AsyncClient(await first_that_answers(self._places)) as client:
            return await client.send(call, body, path=path, query=query)
