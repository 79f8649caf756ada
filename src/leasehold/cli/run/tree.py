"""Ending, stopping and continuing work that runs in its caller's process group: all of it, and nothing else.

Found are the child, what descends from it, and what was started by it and then detached: such a process
still carries the lease's id in its environment. Signalled through pidfds, so that a reused pid is never hit.
"""

from __future__ import annotations

import os
import signal

from leasehold.runtime.lean import pause

NOBODY = -1
"""In place of a root that has been reaped: its pid may be somebody else's by now."""
LOOKS_MAX = 100
AGAIN_S = 0.005
"""A tree that forks while it is being stopped is looked at again this soon, and this often."""
DEPTH_MAX = 4096
"""Ancestors looked at: a tree changing under our eyes may not trap us."""


def members(root: int, lease_id: str) -> set[int]:
    """Pids of the work, without this process. Those of other users can't be seen and are left out."""
    parents: dict[int, int] = {}
    marked: set[int] = set()
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        pid = int(name)
        parents[pid] = _parent(pid)
        if _carries(pid, lease_id):
            marked.add(pid)
    found = {root} | marked
    while True:
        below = {pid for pid, parent in parents.items() if parent in found} - found
        if not below:
            break
        found |= below
    me = os.getpid()
    return {pid for pid in found if pid in parents and pid != me}


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return 0


def _carries(pid: int, lease_id: str) -> bool:
    """Whether a process was started with this lease in its environment (see `client.nested`)."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            environ = file.read()
    except OSError:
        return False
    named = (entry for entry in environ.split(b"\0") if entry.startswith(b"LEASEHOLD_LEASE="))
    return any(f"{lease_id}:".encode() in entry for entry in named)


def send(root: int, lease_id: str, number: signal.Signals) -> int:
    """Signal all of the work, and wake what is stopped so that it can act on it.

    Returns how many processes were signalled.
    """
    found = sorted(members(root, lease_id))
    return sum(_signal(pid, root, lease_id, number, signal.SIGCONT) for pid in found)


def hold(root: int, lease_id: str) -> bool:
    """Stop all of the work, again and again while it forks. False where something of it still runs."""
    for _ in range(LOOKS_MAX):
        running = [pid for pid in sorted(members(root, lease_id)) if _runs(pid)]
        if not running:
            return True
        for pid in running:
            _signal(pid, root, lease_id, signal.SIGSTOP)
        pause(AGAIN_S)
    return False


def go_on(root: int, lease_id: str) -> None:
    """Let all of the work go on, what was started last first."""
    for pid in sorted(members(root, lease_id), reverse=True):
        _signal(pid, root, lease_id, signal.SIGCONT)


def _runs(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] not in (b"T", b"t", b"Z", b"X")
    except (OSError, IndexError):
        return False


def _signal(pid: int, root: int, lease_id: str, *numbers: signal.Signals) -> bool:
    """Signal one process, if it still belongs to the work."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if not _belongs(pid, root, lease_id):
            return False
        for number in numbers:
            signal.pidfd_send_signal(handle, number)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _belongs(pid: int, root: int, lease_id: str) -> bool:
    """Asked again with a pidfd on it open: the pid may have been reused between the listing and that."""
    ancestor = pid
    for _ in range(DEPTH_MAX):
        if ancestor == root or _carries(ancestor, lease_id):
            return True
        ancestor = _parent(ancestor)
        if ancestor <= 1:
            return False
    return False
