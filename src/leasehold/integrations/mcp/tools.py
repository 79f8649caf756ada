"""The tools, as a model reads them. Each is a few lines on top of one agent's session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import Field

import leasehold
from leasehold.integrations.mcp import later, look, say
from leasehold.integrations.mcp.answers import (
    HeartbeatAnswer,
    LeaseAnswer,
    ReleaseAnswer,
    RunAnswer,
    StatusAnswer,
    WhyAnswer,
)
from leasehold.integrations.mcp.arguments import (
    WAIT_S,
    Ask,
    Cost,
    Cpu,
    Enforce,
    Expected,
    Gpus,
    JobType,
    Label,
    Memory,
    Start,
    Ticket,
    Wait,
)
from leasehold.integrations.mcp.later import CHANGES, READS, RUNS, TAIL_BYTES, SessionOf, Tail
from leasehold.integrations.mcp.link import plainly
from leasehold.integrations.mcp.runs import Command, folder_of
from leasehold.integrations.mcp.session import Session

INSTRUCTIONS = """\
This machine is shared. Before anything heavy (a build, a whole test suite, an installation, a training run, a
video, a large download), ask here first; light commands (reading, searching, one small test) need no asking.
Best: `run` the command through this server. It waits for room, runs it at low weight and gives the room back.
What nobody waits for: `submit` it; it is done when nobody is disturbed, also after you have gone.
Where you must run it by other means: `request`, do the work once it is granted, then `release`.
A call that has to wait answers early, with a ticket or a run_id. Call again with it; never start the work
without a lease. When an answer or its news says stop, end the work at once: the owner needs the machine."""

LeaseIdArg = Annotated[str, Field(min_length=1, max_length=64, description="The lease_id that request gave")]
RunIdArg = Annotated[str, Field(min_length=1, max_length=64, description="The run_id that run gave")]
ToolT = TypeVar("ToolT", bound=Callable[..., Any])


def build(session_of: SessionOf, *, with_run: bool) -> MCPServer[Any]:
    """The server with its tools. Without `with_run` it leases and runs nothing itself."""
    server: MCPServer[Any] = MCPServer(
        "leasehold",
        title="Leasehold",
        version=leasehold.__version__,
        instructions=INSTRUCTIONS,
        log_level="WARNING",
        subscriptions=False,
    )
    _leases(server, session_of)
    _looks(server, session_of)
    if with_run:
        _runs(server, session_of)
        later.register(lambda annotations: _tool(server, annotations), session_of)
    return server


def _tool(server: MCPServer[Any], annotations: ToolAnnotations) -> Callable[[ToolT], ToolT]:
    """Register a tool whose docstring is its description, as one line."""

    def register(function: ToolT) -> ToolT:
        server.add_tool(
            function, description=" ".join((function.__doc__ or "").split()), annotations=annotations
        )
        return function

    return register


def _leases(server: MCPServer[Any], session_of: SessionOf) -> None:
    @_tool(server, CHANGES)
    async def request(
        ctx: Context,
        cost: Cost = None,
        cpu: Cpu = None,
        memory_mib: Memory = None,
        gpus: Gpus = None,
        label: Label = "",
        job_type: JobType = "",
        expected_sec: Expected = None,
        start: Start = "quiet",
        ticket: Ticket = "",
        wait_sec: Wait = WAIT_S,
    ) -> Annotated[CallToolResult, LeaseAnswer]:
        """Ask for a lease before heavy work that you start by other means than the `run` tool. Do the work
        only once granted is true; then release. If it is false, call again with the ticket alone. The lease
        is renewed for you until hold_sec is over or your session ends.
        """
        ask = Ask(cost, cpu, memory_mib, gpus, label, job_type, expected_sec, start)
        with plainly():
            session = await session_of(ctx)
            answer = await session.leases.request(ask, ticket, wait_sec)
            answer.news = session.news()
        return answer.told(say.lease(answer))

    @_tool(server, CHANGES)
    async def heartbeat(ctx: Context, lease_id: LeaseIdArg) -> Annotated[CallToolResult, HeartbeatAnswer]:
        """Keep a lease for another hold_sec, and learn whether to go on. Call it when the work takes longer
        than hold_sec, or to check on a lease. action=stop: end the work now.
        """
        with plainly():
            session = await session_of(ctx)
            answer = await session.leases.heartbeat(lease_id)
            answer.news = session.news()
        return answer.told(say.heartbeat(answer))

    @_tool(server, CHANGES)
    async def release(
        ctx: Context,
        lease_id: LeaseIdArg,
        outcome: Annotated[str, Field(max_length=500, description="How the work ended, in a few words")] = "",
    ) -> Annotated[CallToolResult, ReleaseAnswer]:
        """Give a lease back as soon as the work has ended, also when it failed. Others wait for the room."""
        with plainly():
            session = await session_of(ctx)
            answer = await session.leases.release(lease_id, outcome)
            answer.news = session.news()
        return answer.told(say.release(answer))

    @_tool(server, CHANGES)
    async def report(
        ctx: Context,
        lease_id: LeaseIdArg,
        progress: Annotated[float | None, Field(ge=0, le=1, description="How much is done, 0 to 1")] = None,
        message: Annotated[str, Field(max_length=500, description="What it is doing")] = "",
    ) -> Annotated[CallToolResult, HeartbeatAnswer]:
        """Show the owner how far long work is. Optional; it does not extend the lease."""
        with plainly():
            session = await session_of(ctx)
            answer = await session.leases.report(lease_id, progress, message)
            answer.news = session.news()
        return answer.told(say.heartbeat(answer))


def _looks(server: MCPServer[Any], session_of: SessionOf) -> None:
    @_tool(server, READS)
    async def why(
        ctx: Context,
        subject: Annotated[
            str,
            Field(max_length=64, description="A lease_id, ticket or job_id; without it: about work"),
        ] = "",
        cost: Cost = None,
        cpu: Cpu = None,
        memory_mib: Memory = None,
        gpus: Gpus = None,
        job_type: JobType = "",
        start: Start = "quiet",
    ) -> Annotated[CallToolResult, WhyAnswer]:
        """Why does it wait, why did it end, or would such work start now: the reasons, and what would change
        them. Nothing is asked for by it.
        """
        ask = Ask(cost, cpu, memory_mib, gpus, job_type=job_type, start=start)
        with plainly():
            session = await session_of(ctx)
            answer = await look.why(session, subject, ask)
            answer.news = session.news()
        return answer.told(say.why(answer))

    @_tool(server, READS)
    async def status(ctx: Context) -> Annotated[CallToolResult, StatusAnswer]:
        """May heavy work run now, who holds what, who waits, and what is yours."""
        with plainly():
            session = await session_of(ctx)
            answer = await look.status(session)
            answer.news = session.news()
        return answer.told(say.status(answer))


def _runs(server: MCPServer[Any], session_of: SessionOf) -> None:
    @_tool(server, RUNS)
    async def run(
        ctx: Context,
        command: Annotated[
            str, Field(min_length=1, max_length=65_536, description="The command line, as for a shell")
        ],
        cwd: Annotated[
            str, Field(max_length=4096, description="Folder to run it in; the server's own by default")
        ] = "",
        cost: Cost = None,
        cpu: Cpu = None,
        memory_mib: Memory = None,
        gpus: Gpus = None,
        enforce: Enforce = False,
        label: Label = "",
        job_type: JobType = "",
        expected_sec: Expected = None,
        start: Start = "quiet",
        timeout_sec: Annotated[
            int | None, Field(ge=1, le=604_800, description="Stop it after so long, counted from its start")
        ] = None,
        wait_sec: Wait = WAIT_S,
        tail_bytes: Tail = TAIL_BYTES,
    ) -> Annotated[CallToolResult, RunAnswer]:
        """Run a heavy command under a lease: a build, a test suite, an installation. Waits for room, runs it
        at low weight without standard input, answers with its exit code and the end of its output. If it
        takes longer than wait_sec the answer has state waiting or running, and a run_id: go on with
        run_status.
        """
        ask = Ask(cost, cpu, memory_mib, gpus, label, job_type, expected_sec, start, enforce)
        with plainly():
            session = await session_of(ctx)
            runs = await session.runner()
            started = await runs.start(Command(command, folder_of(cwd), timeout_sec), ask)
            try:
                await started.wait(wait_sec)
            except BaseException:
                started.abandon()  # the call was cancelled: nobody knows the run_id
                raise
        return _told(session, started.answer(tail_bytes))

    @_tool(server, READS)
    async def run_status(
        ctx: Context, run_id: RunIdArg, wait_sec: Wait = WAIT_S, tail_bytes: Tail = TAIL_BYTES
    ) -> Annotated[CallToolResult, RunAnswer]:
        """Wait on for a command that run has started: answers when it has ended, or after wait_sec."""
        with plainly():
            session = await session_of(ctx)
            found = (await session.runner()).of(run_id)
            await found.wait(wait_sec)
        return _told(session, found.answer(tail_bytes))

    @_tool(server, RUNS)
    async def run_stop(
        ctx: Context, run_id: RunIdArg, tail_bytes: Tail = TAIL_BYTES
    ) -> Annotated[CallToolResult, RunAnswer]:
        """End a command that run has started, or its wait: SIGTERM, and SIGKILL after 10 s."""
        with plainly():
            session = await session_of(ctx)
            found = (await session.runner()).of(run_id)
            await found.stop("stopped")
        return _told(session, found.answer(tail_bytes))


def _told(session: Session, answer: RunAnswer) -> CallToolResult:
    answer.news = session.news()
    return answer.told(say.run(answer))


def local_only(session: Session) -> SessionOf:
    """Every call is this process's own session."""

    async def of(_context: Any) -> Session:
        if session.link.env.get("LEASEHOLD", "").lower() in ("off", "0", "no"):
            raise ToolError("Leasehold is switched off here (LEASEHOLD=off): start the work without asking")
        return session

    return of
