"""Processes on Linux by an identity that outlives the reuse of a pid.

Their death is told by the kernel (pidfd).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from leasehold.adapters.hosts.files import read
from leasehold.model.lease import Process

LEVELS_MAX = 64  # a process tree deeper than this is a bomb
TREE_MAX = 4_096  # processes in one tree; the kernel's own default limit per user is of this order
POLL_S = 0.5  # without pidfd: half of the second within which a death must be noticed
ZOMBIE_STATES = ("Z", "X", "x")


class Stat:
    """The fields of `/proc/<pid>/stat` that are used here. Times are clock ticks."""

    __slots__ = ("children_ticks", "flags", "own_ticks", "ppid", "start_ticks", "state")

    def __init__(self, text: str) -> None:
        fields = text[text.rindex(")") + 2 :].split(None, 20)
        self.state = fields[0]
        self.ppid = int(fields[1])
        self.flags = int(fields[6])
        self.own_ticks = int(fields[11]) + int(fields[12])
        self.children_ticks = int(fields[13]) + int(fields[14])
        self.start_ticks = int(fields[19])


def stat(pid: int) -> Stat | None:
    """None where there is no such process."""
    text = read(f"/proc/{pid}/stat")
    try:
        return Stat(text) if text else None
    except (ValueError, IndexError):
        return None


def children(pid: int) -> list[int]:
    """The live children of all threads of `pid`."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    lists = (read(f"/proc/{pid}/task/{thread}/children") or "" for thread in threads)
    return [int(child) for text in lists for child in text.split()]


def parents() -> dict[int, list[int]]:
    """Children by parent over all processes: for kernels that don't list them per thread."""
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        seen = stat(int(name)) if name.isdigit() else None
        if seen is not None:
            found.setdefault(seen.ppid, []).append(int(name))
    return found


LISTS_CHILDREN = os.path.exists("/proc/self/task/self/children") or os.path.exists(
    f"/proc/self/task/{os.getpid()}/children"
)


def tree(pid: int) -> list[int]:
    """`pid` and all below it, at most `TREE_MAX`."""
    known = {} if LISTS_CHILDREN else parents()
    found, edge = [pid], [pid]
    while edge and len(found) < TREE_MAX:
        edge = [
            child
            for parent in edge
            for child in (children(parent) if LISTS_CHILDREN else known.get(parent, []))
        ]
        found.extend(edge)
    return found[:TREE_MAX]


class LinuxProcesses:
    """The port `Processes`."""

    def __init__(self) -> None:
        self._boot_id = (read("/proc/sys/kernel/random/boot_id") or "").strip()

    def identify(self, pid: int) -> Process | None:
        seen = stat(pid)
        if seen is None or seen.state in ZOMBIE_STATES:
            return None
        return Process(pid, seen.start_ticks, self._boot_id)

    def alive(self, process: Process) -> bool:
        return self.identify(process.pid) == process

    def owner(self, pid: int) -> int | None:
        try:
            return os.stat(f"/proc/{pid}").st_uid
        except OSError:
            return None

    def is_descendant(self, pid: int, ancestor: int) -> bool:
        for _ in range(LEVELS_MAX):
            if pid == ancestor:
                return True
            seen = stat(pid)
            if seen is None or seen.ppid == 0:
                return False
            pid = seen.ppid
        return False

    def tree(self, process: Process) -> tuple[int, ...]:
        return tuple(sorted(tree(process.pid))) if self.alive(process) else ()

    def watch(self, process: Process, gone: Callable[[Process], None]) -> Callable[[], None]:
        loop = asyncio.get_running_loop()
        try:
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return loop.call_soon(gone, process).cancel
        except (OSError, AttributeError):
            return self._polled(loop, process, gone)
        if not self.alive(process):  # the pid was somebody else's when the descriptor was opened
            os.close(descriptor)
            return loop.call_soon(gone, process).cancel
        return _watched(loop, descriptor, process, gone)

    def _polled(
        self, loop: asyncio.AbstractEventLoop, process: Process, gone: Callable[[Process], None]
    ) -> Callable[[], None]:
        handle: asyncio.Handle

        def look() -> None:
            nonlocal handle
            if self.alive(process):
                handle = loop.call_later(POLL_S, look)
            else:
                gone(process)

        handle = loop.call_soon(look)
        return lambda: handle.cancel()


def _watched(
    loop: asyncio.AbstractEventLoop, descriptor: int, process: Process, gone: Callable[[Process], None]
) -> Callable[[], None]:
    """The descriptor of a process becomes readable when it ends."""
    is_open = True

    def stop() -> None:
        nonlocal is_open
        if is_open:
            is_open = False
            loop.remove_reader(descriptor)
            os.close(descriptor)

    def ended() -> None:
        stop()
        gone(process)

    loop.add_reader(descriptor, ended)
    return stop
