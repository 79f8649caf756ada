"""Commands that an agent leaves to the queue: done when nobody is disturbed, also long after its session."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from mcp.server.mcpserver.exceptions import ToolError

from leasehold.client import calls
from leasehold.integrations.mcp.answers import JobAnswer
from leasehold.integrations.mcp.arguments import Ask, job_type_of
from leasehold.integrations.mcp.link import Link
from leasehold.model.errors import NotFound
from leasehold.runtime.clock import local_now
from leasehold.runtime.ids import new_code
from leasehold.runtime.lean import elapsed_s
from leasehold.wire.job import Cancel, ExecIn, JobOut, Submit

ENV = ("PATH", "HOME", "LANG")
"""What a command gets of this process's environment (QUEUE-21)."""

ENDED = ("DONE", "FAILED", "CANCELED", "EXPIRED")
POLL_S = 0.5
PIECE_BYTES = 256 << 10
"""More than a piece of a log has, which is answered with as a whole."""


@dataclass(frozen=True)
class Task:
    """What is to be done later: a shell line, where, in how many seconds at the latest, how often tried."""

    line: str
    cwd: str
    within_s: int | None = None
    attempts: int = 1


async def submit(link: Link, task: Task, ask: Ask, env: Mapping[str, str]) -> JobAnswer:
    """Keep a command for later. Raises as the link does."""
    wanted = ask.request()
    deadline = local_now() + timedelta(seconds=task.within_s) if task.within_s else None
    body = Submit(
        exec=ExecIn(["sh", "-c", task.line], task.cwd, {name: env[name] for name in ENV if name in env}),
        job_type=ask.job_type or job_type_of(task.line),
        title=ask.label or task.line[:256],
        cost_units=wanted.cost_units,
        cost_class=wanted.cost_class,
        resources=wanted.resources,
        expected_duration_sec=ask.expected_s,
        start=ask.start,
        deadline_at=deadline.isoformat(timespec="milliseconds") if deadline else None,
        max_attempts=task.attempts,
    )
    taken = (await link.send(calls.SUBMIT_JOBS, body, idempotency_key=new_code())).jobs[0]
    return await status(link, taken.job_id, 0, 0)


async def status(link: Link, job_id: str, wait_s: int, tail_bytes: int) -> JobAnswer:
    """How it stands, as soon as it has ended or `wait_s` is over. Raises as the link does."""
    end_s = elapsed_s() + wait_s
    while True:
        job = await link.send(calls.JOB, path={"job_id": job_id})
        if job.state in ENDED or elapsed_s() >= end_s:
            break
        await asyncio.sleep(POLL_S)
    return _answer(job, await _output(link, job, tail_bytes))


async def cancel(link: Link, job_id: str) -> JobAnswer:
    """End it, or take it out of the queue. Raises as the link does."""
    return _answer(await link.send(calls.CANCEL_JOB, Cancel(), path={"job_id": job_id}), "")


async def _output(link: Link, job: JobOut, tail_bytes: int) -> str:
    """The end of what it has printed; "" where nothing is kept."""
    if not job.command or not tail_bytes or not (job.started_at or job.history):
        return ""
    path, text, offset = {"job_id": job.job_id}, b"", -(2 * tail_bytes + PIECE_BYTES)
    try:
        while True:
            page = await link.send(calls.JOB_LOG, path=path, query={"offset": offset, "limit": 1 << 20})
            text += b"".join(chunk.data for chunk in page.chunks if chunk.stream in ("out", "err"))
            text, offset = text[-tail_bytes:], page.next
            if not page.chunks:
                return text.decode("utf-8", "replace")
    except NotFound:
        return ""


def _answer(job: JobOut, output: str) -> JobAnswer:
    return JobAnswer(
        job_id=job.job_id,
        state=job.state,
        next=_next(job),
        exit_code=job.exit_code,
        reason=job.error or job.reason or None,
        place=job.position,
        starts_by=job.start_anyway_by if job.state == "QUEUED" else None,
        done_by=job.deadline_at,
        output=output,
    )


def _next(job: JobOut) -> str:
    if job.state in ENDED:
        return "It is over."
    return f"Nothing now: it goes on by itself, also without you. job_status with {job.job_id} tells its end."


def checked(job_id: str) -> str:
    """The id of a job. Raises ToolError."""
    if not job_id.startswith("job-"):
        raise ToolError("job_id: expected the job_id that submit gave (job-…)")
    return job_id
