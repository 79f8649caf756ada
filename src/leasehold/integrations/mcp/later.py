"""The tools of the queue, as a model reads them: commands for later."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from mcp.server.mcpserver import Context
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import Field

from leasehold.integrations.mcp import jobs, say
from leasehold.integrations.mcp.answers import JobAnswer
from leasehold.integrations.mcp.arguments import (
    WAIT_S,
    Ask,
    Cost,
    Cpu,
    Expected,
    Gpus,
    JobType,
    Label,
    Memory,
    Start,
    Wait,
)
from leasehold.integrations.mcp.link import plainly
from leasehold.integrations.mcp.runs import folder_of
from leasehold.integrations.mcp.session import Session

READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
CHANGES = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)
RUNS = ToolAnnotations(read_only_hint=False, destructive_hint=True, open_world_hint=True)

Tail = Annotated[
    int, Field(ge=0, le=100_000, description="How much of the end of the output to answer with, in bytes")
]
TAIL_BYTES = 8_000
JobIdArg = Annotated[str, Field(min_length=1, max_length=64, description="The job_id that submit gave")]

SessionOf = Callable[[Any], Awaitable[Session]]
"""The session of a tool call, from its `Context`."""


def register(tool: Callable[[ToolAnnotations], Callable[[Any], Any]], session_of: SessionOf) -> None:
    """Add them to a server."""

    @tool(RUNS)
    async def submit(
        ctx: Context,
        command: Annotated[
            str, Field(min_length=1, max_length=65_536, description="The command line, as for a shell")
        ],
        cwd: Annotated[
            str, Field(max_length=4096, description="Folder to run it in; the server's own by default")
        ] = "",
        within_sec: Annotated[
            int | None,
            Field(ge=60, le=31_536_000, description="To be finished within so many seconds; 24 h by default"),
        ] = None,
        attempts: Annotated[int, Field(ge=1, le=20, description="How often to try it at most")] = 1,
        cost: Cost = None,
        cpu: Cpu = None,
        memory_mib: Memory = None,
        gpus: Gpus = None,
        label: Label = "",
        job_type: JobType = "",
        expected_sec: Expected = None,
        start: Start = "quiet",
    ) -> Annotated[CallToolResult, JobAnswer]:
        """Leave a heavy command to the queue: it runs later, when nobody is disturbed, and goes on after your
        session and a restart. Answers at once. For what nobody waits for; where you need the result now, use
        run.
        """
        ask = Ask(cost, cpu, memory_mib, gpus, label, job_type, expected_sec, start)
        task = jobs.Task(command, folder_of(cwd), within_sec, attempts)
        with plainly():
            session = await session_of(ctx)
            link = await session.submitter()
            return _told(session, await jobs.submit(link, task, ask, session.link.env))

    @tool(READS)
    async def job_status(
        ctx: Context, job_id: JobIdArg, wait_sec: Wait = WAIT_S, tail_bytes: Tail = TAIL_BYTES
    ) -> Annotated[CallToolResult, JobAnswer]:
        """How a submitted job stands, and the end of its output: answers when it has ended, or after
        wait_sec.
        """
        with plainly():
            session = await session_of(ctx)
            link = await session.submitter()
            return _told(session, await jobs.status(link, jobs.checked(job_id), wait_sec, tail_bytes))

    @tool(RUNS)
    async def job_cancel(ctx: Context, job_id: JobIdArg) -> Annotated[CallToolResult, JobAnswer]:
        """Take a submitted job out of the queue, or end it: SIGTERM, and SIGKILL after 10 s."""
        with plainly():
            session = await session_of(ctx)
            link = await session.submitter()
            return _told(session, await jobs.cancel(link, jobs.checked(job_id)))


def _told(session: Session, answer: JobAnswer) -> CallToolResult:
    answer.news = session.news()
    return answer.told(say.job(answer))
