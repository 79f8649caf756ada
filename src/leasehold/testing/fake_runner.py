"""A runner for simulations: commands that are said in words, on any event loop, real or virtual.

`argv` is `simulated` and what it does: `exit=3`, `after_ms=250`, `out=…`, `err=…` (in hex), `waits`,
`deaf`. Anything else is a program that does not exist.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec

from leasehold.adapters.hosts import run_order
from leasehold.model.lease import Process
from leasehold.model.run import (
    Command,
    Ended,
    Fault,
    LogChunk,
    LogPart,
    RunKey,
    RunnerCapabilities,
    Started,
    Stream,
)
from leasehold.ports.runner import OnEnded, RunFailed, Runner
from leasehold.testing.runner_contract import Deed

BOOT = "boot-{}"
HEADER = 16
WALL_MS = 1_900_000_000_000


class Run:
    """One run on the machine."""

    def __init__(self, command: Command, process: Process, shim: Process, wall_ms: int) -> None:
        self.command = command
        self.started = Started(command.key, shim, process, wall_ms)
        self.chunks: list[LogChunk] = []
        self.end = 0
        self.kept = False
        self.timer: asyncio.TimerHandle | None = None
        self.is_asked = False

    def print(self, stream: Stream, data: bytes, wall_ms: int) -> None:
        if data:
            self.chunks.append(LogChunk(self.end, wall_ms, stream, data))
            self.end += HEADER + len(data)


class FakeMachine:
    """What outlives the servers on it: its runs, and their ends. `wall_ms` is its clock."""

    cwd = b"/"

    def __init__(self, wall_ms: Callable[[], int] | None = None) -> None:
        self._context = contextvars.copy_context()
        self.runs: dict[RunKey, Run] = {}
        self.listeners: list[OnEnded] = []
        self.changed = asyncio.Event()
        self.wall_ms = wall_ms or (lambda: WALL_MS)
        self._pid = 1_000
        self._boots = 1

    @asynccontextmanager
    async def runner(self) -> AsyncIterator[Runner]:
        """A runner as of a server that was just started."""
        runner = FakeRunner(self)
        try:
            yield runner
        finally:
            runner.close()

    def argv(self, deed: Deed) -> tuple[bytes, ...]:
        """A command that does this."""
        if deed.missing:
            return (b"missing",)
        flags = [name for name in ("waits", "deaf") if getattr(deed, name)]
        return (
            b"simulated",
            f"exit={deed.code}".encode(),
            b"out=" + deed.out.hex().encode(),
            b"err=" + deed.err.hex().encode(),
            *(each.encode() for each in flags),
        )

    async def lose_shim(self, runner: Runner, key: RunKey) -> None:
        """Somebody kills the shim of a run."""
        self.over(self.runs[key], None, "", Fault.SHIM_LOST, "its shim was killed")

    def reboot(self) -> None:
        """The machine goes down under all that runs."""
        self._boots += 1
        for run in self.runs.values():
            if run.started.ended is None:
                self.over(run, None, "", Fault.MACHINE_LOST, "the machine went down while it ran")

    def begin(self, command: Command) -> Run:
        """Start a command."""
        shim, process = self.processes(command)
        run = self.runs[command.key] = Run(command, process, shim, self.wall_ms())
        if command.argv[0] != b"simulated":
            sentence = f"{command.argv[0].decode()}: there is no such program"
            self.over(run, 127, "", Fault.NOT_FOUND, sentence)
            return run
        does = dict(each.partition(b"=")[::2] for each in command.argv[1:])
        run.print(Stream.OUT, bytes.fromhex(does.get(b"out", b"").decode()), self.wall_ms())
        run.print(Stream.ERR, bytes.fromhex(does.get(b"err", b"").decode()), self.wall_ms())
        if b"waits" in does:
            run.print(Stream.OUT, b"ready\n", self.wall_ms())
        else:
            delay_s = int(does.get(b"after_ms", b"0")) / 1_000
            code = int(does.get(b"exit", b"0"))
            loop = asyncio.get_running_loop()
            run.timer = loop.call_later(delay_s, self.over, run, code, "", None, "", context=self._context)
        return run

    def processes(self, command: Command) -> tuple[Process, Process]:
        """Its shim and its own first process."""
        self._pid += 2
        shim, process = (Process(self._pid + each, self._pid, BOOT.format(self._boots)) for each in (0, 1))
        return shim, process

    def ask(self, run: Run, grace_ms: int) -> None:
        """SIGTERM, and later SIGKILL."""
        run.is_asked = True
        if b"deaf" not in run.command.argv:
            self.over(run, None, "SIGTERM", Fault.STOPPED, "it was asked to stop")
            return
        loop = asyncio.get_running_loop()
        sentence = "it was asked to stop"
        killed = (run, None, "SIGKILL", Fault.STOPPED, sentence)
        loop.call_later(grace_ms / 1_000, self.over, *killed, context=self._context)

    def over(self, run: Run, code: int | None, signal: str, fault: Fault | None, error: str) -> None:
        """A run ends, unless it has."""
        if run.started.ended is not None:
            return
        if run.timer is not None:
            run.timer.cancel()
        ended = Ended(
            code,
            signal,
            started_wall_ms=run.started.started_wall_ms,
            ended_wall_ms=self.wall_ms(),
            log_bytes=sum(len(each.data) for each in run.chunks),
            fault=fault,
            error=error,
        )
        run.started = msgspec.structs.replace(run.started, ended=ended)
        self.changed.set()
        self.changed = asyncio.Event()
        for told in list(self.listeners):
            told(run.command.key, ended)


class FakeRunner:
    """The port `Runner` over a `FakeMachine`."""

    def __init__(self, machine: FakeMachine) -> None:
        self._machine = machine
        self._on_ended: OnEnded | None = None
        self._known: set[RunKey] = set()

    def close(self) -> None:
        """The server is gone."""
        if self._tell in self._machine.listeners:
            self._machine.listeners.remove(self._tell)

    def _tell(self, key: RunKey, ended: Ended) -> None:
        if self._on_ended is not None and key in self._known:
            self._on_ended(key, ended)

    async def attach(self, on_ended: OnEnded) -> Sequence[Started]:
        self._on_ended = on_ended
        self._machine.listeners.append(self._tell)
        found = [run for _, run in sorted(self._machine.runs.items()) if not run.kept]
        self._known.update(run.command.key for run in found)
        return [run.started for run in found]

    async def start(self, command: Command) -> Started:
        run_order.check(command)
        run = self._machine.runs.get(command.key) or self._machine.begin(command)
        if run.started.ended is None:
            self._known.add(command.key)
        return run.started

    async def stop(self, key: RunKey, grace_ms: int | None = None) -> None:
        run = self._run(key)
        if run.started.ended is None:
            self._machine.ask(run, run.command.grace_ms if grace_ms is None else grace_ms)

    async def result(self, key: RunKey) -> Ended | None:
        return self._run(key).started.ended

    async def log(self, key: RunKey, offset: int = 0, limit: int = 65_536) -> LogPart:
        run = self._run(key)
        wanted = max(0, run.end + offset) if offset < 0 else min(offset, run.end)
        chunks: list[LogChunk] = []
        size = 0
        for chunk in run.chunks:
            size += HEADER + len(chunk.data) if chunk.offset >= wanted else 0
            if chunk.offset >= wanted and (not chunks or size <= limit):
                chunks.append(chunk)
        if chunks:
            return LogPart(tuple(chunks), chunks[-1].offset + HEADER + len(chunks[-1].data))
        return LogPart((), run.end, 0, run.started.ended is not None)

    async def more(self, key: RunKey, offset: int, timeout_s: float) -> bool:
        loop = asyncio.get_running_loop()
        end_s = loop.time() + timeout_s
        while (run := self._run(key)).end <= offset and run.started.ended is None:
            try:
                await asyncio.wait_for(self._machine.changed.wait(), end_s - loop.time())
            except TimeoutError:
                return False
        return True

    async def forget(self, key: RunKey, *, keep_log: bool) -> bool:
        run = self._machine.runs.get(key)
        if run is None:
            return True
        if run.started.ended is None:
            return False
        run.kept = True
        if not keep_log:
            del self._machine.runs[key]
        return True

    async def capabilities(self) -> RunnerCapabilities:
        return RunnerCapabilities("tree", False, False, False, False, False, ("this is a simulation",))

    def _run(self, key: RunKey) -> Run:
        run = self._machine.runs.get(key)
        if run is None:
            raise RunFailed("NO_SUCH_RUN", f"no run {key.name} is filed here")
        return run
