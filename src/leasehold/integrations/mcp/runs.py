"""Commands run for an agent: each is a `leasehold run` of its own.

So all that `run` does holds here too: the wait in the line, low weight, bound processes, renewals from a
thread, a revocation that ends everything that was started. What is added: a bounded end of the output, and
an answer before the command has ended. `run` tells what happens on a descriptor of its own
(`--messages-fd`); the command does not get it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from mcp.server.mcpserver.exceptions import ToolError

from leasehold.client import calls
from leasehold.client.lean import Unreachable
from leasehold.integrations.mcp.answers import RunAnswer
from leasehold.integrations.mcp.arguments import Ask, job_type_of
from leasehold.integrations.mcp.link import Link
from leasehold.model.errors import LeaseholdError
from leasehold.runtime.ids import RandomIds
from leasehold.runtime.lean import elapsed_s
from leasehold.wire.lease import Revoke

LIVE_MAX = 8
"""Commands waiting or running at a time per session: more are a loop that has gone wrong."""
KEPT_MAX = 32
"""Ended commands whose output is kept."""
OUTPUT_BYTES_MAX = 256 << 10
"""The end of the output that is kept of each."""
MESSAGE_BYTES_MAX = 1 << 20
STOP_S = 10.0
"""From SIGTERM to the revocation that ends what has not heeded it, also what has left its process group."""
REVOKED_S = 7.0
"""From that to SIGKILL for `run` itself: it looks for a revocation every 5 s."""
CLOSE_S = 1.5
"""The same when the session ends: hosts kill a server that takes longer than 2 s."""
LINGER_S = 0.5
"""What a detached process still writes after the end is not waited for."""

State = Literal["waiting", "running", "ended"]


def folder_of(cwd: str) -> str:
    """The folder that an agent means, `~` and "" (this process's own) included."""
    return os.path.abspath(os.path.expanduser(cwd or "."))


@dataclass(frozen=True)
class Command:
    """What is to be run: a shell line, where, and for how long at most (seconds; None: without limit)."""

    line: str
    cwd: str
    timeout_s: int | None = None


class Run:
    """One command. What it is doing stands in its fields; `ended` is set at its end."""

    def __init__(self, run_id: str, command: Command, link: Link) -> None:
        self.run_id = run_id
        self.command = command
        self.state: State = "waiting"
        self.exit_code: int | None = None
        self.outcome: str | None = None
        self.reason: str | None = None
        self.place: int | None = None
        self.expected_s: int | None = None
        self.lease_id: str | None = None
        self.ended = asyncio.Event()
        self.heard = False
        self.written = 0
        self._output = bytearray()
        self._link = link
        self._asked_s = elapsed_s()
        self._began_s: float | None = None
        self._ended_s: float | None = None
        self._stopped_as: str | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._course: asyncio.Task[None] | None = None
        self._limit: asyncio.Task[None] | None = None

    async def start(self, ask: Ask, env: Mapping[str, str]) -> None:
        """Start the `leasehold run`, which waits for a lease first. Raises OSError."""
        messages, messages_end = os.pipe()
        output, output_end = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._words(ask, messages_end),
                cwd=self.command.cwd,
                env=dict(env),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output_end,
                stderr=output_end,
                pass_fds=(messages_end,),
                start_new_session=True,
            )
        except BaseException:
            os.close(messages)
            os.close(output)
            raise
        finally:
            os.close(messages_end)
            os.close(output_end)
        reading = {
            asyncio.create_task(self._read(messages, self._read_messages)),
            asyncio.create_task(self._read(output, self._read_output)),
        }
        self._course = asyncio.create_task(self._follow(self._process, reading))

    def _words(self, ask: Ask, write_fd: int) -> list[str]:
        # -P: the folder that the command runs in may have modules of our names.
        run = [
            sys.executable,
            "-P",
            "-m",
            "leasehold",
            "run",
            "--when-down=wait",
            f"--messages-fd={write_fd}",
        ]
        server = [f"--server={self._link.server}"] if self._link.server else []
        shell = shutil.which("bash") or "/bin/sh"
        return [*run, *server, *ask.options(), "--", shell, "-c", self.command.line]

    # -- following ----------------------------------------------------------------------------------------

    async def _follow(self, process: asyncio.subprocess.Process, reading: set[asyncio.Task[None]]) -> None:
        code = await process.wait()
        # What was started and has detached itself may hold the output open for ever.
        _, lingering = await asyncio.wait(reading, timeout=LINGER_S)
        for one in lingering:
            one.cancel()
        if self.exit_code is None:
            self.exit_code = code if code >= 0 else 128 - code
        self.outcome = self._stopped_as or self.outcome or "exited"
        self._ended_s = elapsed_s()
        self.state = "ended"
        self.ended.set()
        if self._limit is not None:
            self._limit.cancel()

    async def _read(self, fd: int, take: Callable[[asyncio.StreamReader], Awaitable[None]]) -> None:
        """Read a pipe to its end. Never raises."""
        reader = asyncio.StreamReader(limit=MESSAGE_BYTES_MAX)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(fd, "rb", buffering=0)
        )
        try:
            await take(reader)
        except OSError:
            return
        finally:
            transport.close()

    async def _read_output(self, reader: asyncio.StreamReader) -> None:
        while more := await reader.read(65_536):
            self.written += len(more)
            self._output += more
            if len(self._output) > OUTPUT_BYTES_MAX:
                del self._output[: len(self._output) - OUTPUT_BYTES_MAX]

    async def _read_messages(self, reader: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await reader.readline()
            except ValueError:
                continue  # a message longer than any of ours: what was read of it is dropped
            if not line:
                return
            with contextlib.suppress(ValueError, AttributeError):
                self._hear(json.loads(line))

    def _hear(self, message: dict[str, Any]) -> None:
        match message.get("kind"):
            case "running":
                self.state = "running"
                self.lease_id = message.get("lease_id")
                self.reason = self.place = self.expected_s = None
                self._began_s = elapsed_s()
                if self.command.timeout_s is not None:
                    self._limit = asyncio.create_task(self._stop_late(self.command.timeout_s))
            case "waiting":
                line = message.get("line") or {}
                expected = line.get("expected_start_sec")
                self.place = line.get("position")
                self.expected_s = None if expected is None else round(expected)
                self.reason = message.get("message")
            case "status":
                self.outcome = message.get("outcome")
                self.exit_code = message.get("exit_code")
            case _:
                self.reason = message.get("message")

    async def _stop_late(self, timeout_s: int) -> None:
        await asyncio.sleep(timeout_s)
        await self.stop("timeout")

    # -- telling ------------------------------------------------------------------------------------------

    def answer(self, output_bytes: int) -> RunAnswer:
        """How it stands, with the last `output_bytes` of what it has written."""
        self.heard = self.heard or (bool(output_bytes) and self.ended.is_set())
        kept = bytes(self._output[-output_bytes:]) if output_bytes else b""
        cut = self.written > len(kept)
        if cut and kept:
            kept = kept.lstrip(bytes(range(0x80, 0xC0)))  # not in the middle of a letter
        began_s, ended_s = self._began_s, self._ended_s or elapsed_s()
        return RunAnswer(
            run_id=self.run_id,
            state=self.state,
            next=self._next(),
            exit_code=self.exit_code,
            outcome=self.outcome,
            reason=self.reason,
            place=self.place,
            expected_start_sec=self.expected_s,
            lease_id=self.lease_id,
            waited_sec=round((ended_s if began_s is None else began_s) - self._asked_s, 1),
            ran_sec=None if began_s is None else round(ended_s - began_s, 1),
            output=kept.decode("utf-8", "replace"),
            output_bytes=self.written,
            output_cut=cut,
        )

    def _next(self) -> str:
        match self.state:
            case "waiting":
                return (
                    "Not started yet; it starts by itself when there is room. Call run_status with "
                    f"{self.run_id} to wait on, run_stop to give up. Do not run it any other way meanwhile."
                )
            case "running":
                return f"Still running. Call run_status with {self.run_id} to wait on, run_stop to end it."
            case _:
                return "Done."

    # -- ending -------------------------------------------------------------------------------------------

    async def wait(self, wait_s: float) -> None:
        """Return when it has ended, or after `wait_s`."""
        await self._ends_within(wait_s)

    def abandon(self) -> None:
        """End it without waiting for that: nobody will ask for it."""
        self._limit = asyncio.create_task(self.stop("cancelled"))

    async def stop(self, as_outcome: str, grace_s: float = STOP_S) -> None:
        """End the command, or its wait: SIGTERM, a revocation, SIGKILL. Returns when it has ended."""
        if self.ended.is_set() or self._process is None:
            return
        self._stopped_as = self._stopped_as or as_outcome
        self._signal(signal.SIGTERM)
        if await self._ends_within(grace_s):
            return
        if self.lease_id is not None and grace_s >= STOP_S:
            with contextlib.suppress(LeaseholdError, Unreachable):
                await self._link.send(
                    calls.REVOKE, Revoke(grace_sec=0, note=as_outcome), path={"lease_id": self.lease_id}
                )
            if await self._ends_within(REVOKED_S):
                return
        self._signal(signal.SIGKILL)
        await self._ends_within(CLOSE_S)

    def _signal(self, number: signal.Signals) -> None:
        """To `run`, which passes it on; SIGKILL to its whole group."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            if number is signal.SIGKILL:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)

    async def _ends_within(self, timeout_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), timeout_s)
        return self.ended.is_set()


class Runs:
    """All commands of one session."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._ids = RandomIds()
        self._runs: OrderedDict[str, Run] = OrderedDict()

    async def start(self, command: Command, ask: Ask) -> Run:
        """Start a command. Raises ToolError, and Unreachable where no server answers."""
        live = [one.run_id for one in self._runs.values() if not one.ended.is_set()]
        if len(live) >= LIVE_MAX:
            raise ToolError(
                f"{LIVE_MAX} commands wait or run for you already: wait for one of {', '.join(live)} with "
                "run_status, or end it with run_stop"
            )
        await self._link.send(calls.HEALTH)
        if not ask.job_type:
            ask = replace(ask, job_type=job_type_of(command.line))
        run = Run(self._ids.new("run"), command, self._link)
        try:
            await run.start(ask, self._link.env)
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            raise ToolError(
                f"cwd: {command.cwd[:200]!r} is no folder that can be entered; give an absolute path"
            ) from error
        except OSError as error:
            raise ToolError(f"the command can't be started: {error}") from error
        self._runs[run.run_id] = run
        self._forget()
        return run

    def of(self, run_id: str) -> Run:
        """The run of this id. Raises ToolError."""
        found = self._runs.get(run_id)
        if found is None:
            raise ToolError(f"no run {run_id[:64]!r} of this session; `status` lists your runs")
        return found

    def unheard(self) -> list[str]:
        """A sentence for each that has ended and whose end nobody has been told."""
        found = [one for one in self._runs.values() if one.ended.is_set() and not one.heard]
        for one in found:
            one.heard = True
        return [f"{one.run_id} has ended ({one.outcome}, exit code {one.exit_code})" for one in found]

    def answers(self) -> list[RunAnswer]:
        """All that are known, without their output."""
        return [one.answer(0) for one in self._runs.values()]

    @property
    def busy(self) -> bool:
        """Whether any waits or runs."""
        return any(not one.ended.is_set() for one in self._runs.values())

    @property
    def lease_ids(self) -> frozenset[str]:
        """The leases under which they run."""
        live = (one.lease_id for one in self._runs.values() if not one.ended.is_set())
        return frozenset(one for one in live if one is not None)

    def _forget(self) -> None:
        ended = [one.run_id for one in self._runs.values() if one.ended.is_set()]
        for run_id in ended[: max(0, len(ended) - KEPT_MAX)]:
            del self._runs[run_id]

    async def close(self) -> None:
        """End all that wait or run."""
        await asyncio.gather(
            *(one.stop("session_ended", CLOSE_S) for one in self._runs.values()), return_exceptions=True
        )
