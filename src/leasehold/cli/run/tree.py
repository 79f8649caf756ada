"""Ending work that runs in its caller's process group: all of it, and nothing else.

Found are the child, what descends from it, and what was started by it and then detached: such a process
still carries the lease's id in its environment. Signalled through pidfds, so that a reused pid is never hit.
"""

from __future__ import annotations

import os
import signal

NOBODY = -1
"""In place of a root that has been reaped: its pid may be somebody else's by now."""
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
    """Whether a process was started with this lease in its environment (see `nested`)."""
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
    count = 0
    for pid in sorted(members(root, lease_id)):
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            continue
        try:
            if _belongs(pid, root, lease_id):
                signal.pidfd_send_signal(handle, number)
                signal.pidfd_send_signal(handle, signal.SIGCONT)
                count += 1
        except OSError:
            continue
        finally:
            os.close(handle)
    return count


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
