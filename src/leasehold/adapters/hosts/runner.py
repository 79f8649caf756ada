"""The port `Runner` on Linux: a shim for each run, found again by its folder and its identity (QUEUE-15, 21).

Whoever kills a shim kills its command: the kernel ends the command itself (its parent-death signal), and the
server what else there is of it, at once or when it is back. Nobody could tell how such a command ended, and
what it prints goes nowhere, so it is not left to run on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import structlog

from leasehold.adapters.hosts import limits, run_folder, run_log, run_order
from leasehold.adapters.hosts.cgroups import PROBE, Groups
from leasehold.adapters.hosts.processes import LinuxProcesses
from leasehold.adapters.hosts.run_changes import Changes
from leasehold.adapters.hosts.run_kept import BYTES_MAX, Kept
from leasehold.adapters.hosts.signals import send
from leasehold.model.lease import Process
from leasehold.model.run import Command, Ended, Fault, LogPart, RunKey, RunnerCapabilities, Started
from leasehold.ports.clock import Clock
from leasehold.ports.runner import OnEnded, RunFailed
from leasehold.runtime.lean import elapsed_s
from leasehold.shim import layout

log = structlog.get_logger(__name__)

THREADS = 4
SHIM = Path(layout.__file__).with_name("__main__.py")
LOOK_S = 0.01
"""Between two looks at a run that another server's start is just taking up."""
TOLD_MAX = 4_096
NICE_NOTE = (
    "no cgroup can be made here: commands run at nice 10 and idle io, their memory is limited each process "
    "by itself, and cores and processes are not; run as root, or below a systemd user session that delegates "
    "cgroups"
)
USER_NOTE = (
    "commands of other users are refused; start the server as root to run them as whoever submits them"
)

ArgumentsT = ParamSpec("ArgumentsT")
ResultT = TypeVar("ResultT")


class LinuxRunner:
    """Runs are filed below `root`, which nobody else can read. `groups` as the leases of this server have."""

    def __init__(
        self, root: Path, groups: Groups | None, clock: Clock, *, kept_bytes_max: int = BYTES_MAX
    ) -> None:
        self._root = root
        self._groups = groups
        self._clock = clock
        self._kept = Kept(root, kept_bytes_max)
        self._processes = LinuxProcesses()
        self._changes = Changes()
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="leasehold-runner")
        self._on_ended: OnEnded | None = None
        self._watched: dict[RunKey, Callable[[], None]] = {}
        self._starting: dict[RunKey, asyncio.Task[Started]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def _off(
        self, function: Callable[ArgumentsT, ResultT], *args: ArgumentsT.args, **kwargs: ArgumentsT.kwargs
    ) -> ResultT:
        """On a thread: whatever touches the disk or `/proc`."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, lambda: function(*args, **kwargs))

    async def close(self) -> None:
        """Let go of all runs. They go on."""
        for stop in self._watched.values():
            stop()
        self._watched.clear()
        for task in (*self._starting.values(), *self._ending):
            task.cancel()
        self._changes.close()
        self._pool.shutdown(wait=False)

    # -- finding and starting ------------------------------------------------------------------------------

    async def attach(self, on_ended: OnEnded) -> Sequence[Started]:
        self._on_ended = on_ended
        os.makedirs(self._root, mode=0o700, exist_ok=True)
        keys = await self._off(run_order.filed, self._root)
        return [await self._standing(key) for key in keys]

    async def start(self, command: Command) -> Started:
        run_order.check(command)
        task = self._starting.get(command.key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._start(command))
            self._starting[command.key] = task
            task.add_done_callback(lambda _: self._starting.pop(command.key, None))
        return await asyncio.shield(task)

    async def _start(self, command: Command) -> Started:
        if not await self._off(run_order.file, self._root, command, self._groups):
            return await self._standing(command.key)
        folder = self._root / command.key.name
        try:
            launched, told_by = await self._off(_launched, folder)
        except OSError as error:
            await self._off(self._kept.drop, folder)
            raise run_order.not_started(error) from error
        told = await _told(told_by)
        await self._off(launched.wait)
        if told not in (b"ok", b""):
            await self._off(self._kept.drop, folder)
            why = told.decode(errors="replace")
            raise RunFailed("NOT_STARTED", f"the command could not be started: {why}; try again")
        return await self._standing(command.key)

    async def _standing(self, key: RunKey) -> Started:
        """How a filed run stands, once that can be said; from now on its end is told."""
        while True:
            found, is_led = await self._off(self._look, key)
            if found.ended is not None:
                return found
            if is_led and found.shim is not None:
                self._watch(key, found.shim)
                return found
            await asyncio.sleep(LOOK_S)

    def _look(self, key: RunKey) -> tuple[Started, bool]:
        """How it stands, and whether its command runs under a shim that lives."""
        folder = self._folder(key)
        run = run_folder.started_of(key, folder)
        is_led = run.process is not None and run.shim is not None and self._processes.alive(run.shim)
        if run.ended is None and not is_led:
            run_folder.settle(key, folder, self._groups, self._clock.wall_ms())
            run = run_folder.started_of(key, folder)
        return run, is_led

    # -- ending --------------------------------------------------------------------------------------------

    def _watch(self, key: RunKey, shim: Process) -> None:
        if key not in self._watched:
            self._watched[key] = self._processes.watch(shim, lambda _: self._gone(key, shim))

    def _gone(self, key: RunKey, shim: Process) -> None:
        self._watched.pop(key, None)
        # Where this process is the first one of a container, orphans become its children.
        with contextlib.suppress(OSError):
            os.waitpid(shim.pid, os.WNOHANG)
        task = asyncio.get_running_loop().create_task(self._tell(key))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _tell(self, key: RunKey) -> None:
        try:
            ended: Ended | None = None
            while ended is None:
                ended = await self._off(self._settled, key)
                if ended is None:
                    await asyncio.sleep(LOOK_S)
            if self._on_ended is not None:
                self._on_ended(key, ended)
        except Exception:
            log.exception("run_end_not_told", run=key.name)

    def _settled(self, key: RunKey) -> Ended | None:
        folder = run_order.folder_of(self._root, key)
        if folder is None:
            error = "its folder was removed while it ran, so how it ended is not known"
            return Ended(None, ended_wall_ms=self._clock.wall_ms(), fault=Fault.SHIM_LOST, error=error)
        return run_folder.settle(key, folder, self._groups, self._clock.wall_ms())

    async def stop(self, key: RunKey, grace_ms: int | None = None) -> None:
        if key in self._starting:
            await asyncio.shield(self._starting[key])
        await self._off(self._stop, key, grace_ms)

    def _stop(self, key: RunKey, grace_ms: int | None) -> None:
        folder = self._folder(key)
        run = run_folder.started_of(key, folder)
        if run.ended is not None or run.shim is None or not self._processes.alive(run.shim):
            return
        order = layout.fields_of(layout.read(f"{folder}/{layout.ORDER}") or b"") or {}
        layout.ask_to_stop(
            str(folder), max(0, int(order.get("grace_ms", 0)) if grace_ms is None else grace_ms)
        )
        send(run.shim.pid, run.shim.start_ticks, signal.SIGTERM)

    async def result(self, key: RunKey) -> Ended | None:
        return await self._off(lambda: run_folder.ended_of(self._folder(key)))

    async def forget(self, key: RunKey, *, keep_log: bool) -> bool:
        return await self._off(self._forget, key, keep_log=keep_log)

    def _forget(self, key: RunKey, *, keep_log: bool) -> bool:
        folder = run_order.folder_of(self._root, key)
        if folder is None:
            return True
        if run_folder.ended_of(folder) is None:
            return False
        if not keep_log:
            self._kept.drop(folder)
        elif folder.parent == self._root:
            self._kept.keep(folder)
        return True

    # -- its log -------------------------------------------------------------------------------------------

    async def log(self, key: RunKey, offset: int = 0, limit: int = 65_536) -> LogPart:
        return await self._off(self._log, key, offset, limit)

    def _log(self, key: RunKey, offset: int, limit: int) -> LogPart:
        for _ in range(2):  # It may be filed away meanwhile.
            folder = self._folder(key)
            is_over = run_folder.ended_of(folder) is not None
            with contextlib.suppress(FileNotFoundError):
                return run_log.part_of_log(folder, offset, limit, is_over=is_over)
        raise RunFailed("NO_SUCH_RUN", f"the log of {key.name} was removed just now")

    async def more(self, key: RunKey, offset: int, timeout_s: float) -> bool:
        end_s = elapsed_s() + timeout_s
        changes = self._changes.watch(await self._off(self._folder, key))
        try:
            while not await self._off(self._has_more, key, offset):
                left_s = end_s - elapsed_s()
                if left_s <= 0:
                    return False
                await changes.next(left_s)
            return True
        finally:
            changes.close()

    def _has_more(self, key: RunKey, offset: int) -> bool:
        folder = self._folder(key)
        try:
            return run_log.end_of(folder) > offset or run_folder.ended_of(folder) is not None
        except FileNotFoundError:
            return True

    def _folder(self, key: RunKey) -> Path:
        folder = run_order.folder_of(self._root, key)
        if folder is None:
            raise RunFailed("NO_SUCH_RUN", f"no run {key.name} is filed here, or it is not kept any more")
        return folder

    # -- what it can -----------------------------------------------------------------------------------------

    async def capabilities(self) -> RunnerCapabilities:
        return await self._off(capabilities, self._groups)


def capabilities(groups: Groups | None) -> RunnerCapabilities:
    """What holds commands here, found by trying it on an empty place."""
    is_root = os.geteuid() == 0
    users = () if is_root else (USER_NOTE,)
    if groups is None:
        return RunnerCapabilities("tree", False, False, False, is_root, True, (NICE_NOTE, *users))
    taken = limits.tried(groups)
    pids = groups.make(PROBE) and limits.limit_pids(groups, PROBE, 16)
    groups.remove(PROBE)
    return RunnerCapabilities(
        kind=groups.kind,
        cpu_limit=bool(taken.cpu_millicores),
        memory_limit=bool(taken.memory_bytes),
        pids_limit=pids,
        run_as=is_root,
        terminal=True,
        notes=users,
    )


def _launched(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A shim for this folder, in a session of its own, and where it tells whether it has taken the run up.

    It gets nothing of this process's environment. Raises OSError.
    """
    told_by, tells = os.pipe()
    trouble = -1
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        trouble = os.open(folder / layout.TROUBLE, flags, layout.PRIVATE)
        launched = subprocess.Popen(
            [sys.executable, "-I", "-S", str(SHIM), str(folder), str(tells)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=trouble,
            env={},
            cwd="/",
            pass_fds=(tells,),
            start_new_session=True,
        )
    except OSError:
        os.close(told_by)
        raise
    finally:
        os.close(tells)
        if trouble >= 0:
            os.close(trouble)
    os.set_blocking(told_by, False)
    return launched, told_by


async def _told(told_by: int) -> bytes:
    """All that comes from the pipe until it is closed."""
    loop = asyncio.get_running_loop()
    is_closed: asyncio.Future[None] = loop.create_future()
    told = bytearray()

    def take() -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(told_by, TOLD_MAX)
            told.extend(data[: TOLD_MAX - len(told)])
            if not data and not is_closed.done():
                is_closed.set_result(None)

    loop.add_reader(told_by, take)
    try:
        await is_closed
    finally:
        loop.remove_reader(told_by)
        os.close(told_by)
    return bytes(told)
