"""Low weight for the work where the server could not give it any (SENSE-6): nice and ionice."""

from __future__ import annotations

import os

NICE = 10
IDLE_CLASS = 3 << 13
"""ioprio: class idle, in the upper three bits."""
WHO_PROCESS = 1
IOPRIO_SET = {"x86_64": 251, "aarch64": 30}


def lower(pid: int) -> None:
    """Lower the weight of a process, so that its owner's programs go first. What the machine refuses is left.

    Nice counts only among the processes of one session. Between sessions the autogroup's does, but a
    session is shared with the terminal that the command was typed in, and that one is to stay as quick as
    it was.
    """
    try:
        if os.getpriority(os.PRIO_PROCESS, pid) < NICE:
            os.setpriority(os.PRIO_PROCESS, pid, NICE)
    except OSError:
        pass
    _idle_io(pid)


def _idle_io(pid: int) -> None:
    number = IOPRIO_SET.get(os.uname().machine)
    if number is None:
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).syscall(number, WHO_PROCESS, pid, IDLE_CLASS)
