"""Stopping and continuing processes by signals, where no cgroup can freeze them (LEASE-14).

A tree that forks while it is being stopped is looked at again, until nothing of it runs any more. Parents are
stopped before their children, and go on after them, so that a parent that looks finds them as it left them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable

from leasehold.adapters.hosts.files import read
from leasehold.adapters.hosts.processes import stat, tree
from leasehold.model.lease import Process

STANDING = ("T", "t", "Z", "X", "x")
VARIABLE = b"LEASEHOLD_LEASE="


def members(roots: Iterable[Process], lease_id: str = "") -> list[int]:
    """The work below these processes, parents first, and what carries the lease's id in its environment.

    The latter has detached itself, so that it stands below none of them. Never this process.
    """
    found: dict[int, None] = {}
    for root in roots:
        seen = stat(root.pid)
        if seen is not None and seen.start_ticks == root.start_ticks:
            found.update(dict.fromkeys(tree(root.pid)))
    for pid in _marked(lease_id) if lease_id else ():
        if pid not in found:
            found.update(dict.fromkeys(tree(pid)))
    found.pop(os.getpid(), None)
    return list(found)


def _marked(lease_id: str) -> list[int]:
    """Processes that were started with the lease in their environment (`leasehold run` puts it there)."""
    wanted = f"{lease_id}:".encode()
    marked = []
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                entries = file.read().split(b"\0")
        except OSError:
            continue
        if any(each.startswith(VARIABLE) and wanted in each for each in entries):
            marked.append(int(name))
    return marked


class Signals:
    """Remembers whom it has stopped, so that what had been stopped by others stays so."""

    def __init__(self) -> None:
        self._stopped: dict[str, dict[int, int]] = {}

    def stop(self, lease_id: str, pids: list[int]) -> bool:
        """One pass: stop all that run. True where nothing of it ran any more."""
        mine = self._stopped.setdefault(lease_id, {})
        all_stand = True
        for pid in pids:
            seen = stat(pid)
            if seen is None or seen.state in STANDING:
                continue
            all_stand = False
            if send(pid, seen.start_ticks, signal.SIGSTOP):
                mine[pid] = seen.start_ticks
        return all_stand

    def stopped(self, lease_id: str) -> bool:
        """Whether any process of this lease was stopped by us."""
        return bool(self._stopped.get(lease_id))

    def go_on(self, lease_id: str, pids: list[int]) -> bool:
        """Continue what was stopped, children before their parents. True where nothing of it is left stopped.

        Where nothing is remembered (the server has been restarted), everything in `pids` goes on.
        """
        mine = self._stopped.pop(lease_id, None)
        if mine is None:
            mine = {pid: seen.start_ticks for pid in pids if (seen := stat(pid)) is not None}
        left: dict[int, int] = {}
        for pid, start_ticks in reversed(mine.items()):
            seen = stat(pid)
            stopped = seen is not None and seen.start_ticks == start_ticks and seen.state == "T"
            if stopped and not send(pid, start_ticks, signal.SIGCONT):
                left[pid] = start_ticks
        if left:
            self._stopped[lease_id] = left
        return not left


def send(pid: int, start_ticks: int, number: signal.Signals) -> bool:
    """Signal that very process: its pid may have been given to another since it was looked at."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except (OSError, AttributeError):
        return _kill(pid, number)
    try:
        seen = stat(pid)
        if seen is None or seen.start_ticks != start_ticks:
            return True
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _kill(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return True


def is_running(pid: int) -> bool:
    """Whether a process is there and neither stopped nor dead."""
    text = read(f"/proc/{pid}/stat")
    return bool(text) and (text or "")[(text or "").rindex(")") + 2] not in STANDING
