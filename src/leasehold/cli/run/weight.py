"""Low weight for the work where the server could not give it any (SENSE-6): nice, autogroup nice, ionice."""

from __future__ import annotations

import os

NICE = 10
IDLE_CLASS = 3 << 13
"""ioprio: class idle, in the upper three bits."""
WHO_PROCESS = 1
IOPRIO_SET = {"x86_64": 251, "aarch64": 30}


def lower(pid: int) -> None:
    """Lower the weight of a process, so that its owner's programs go first.

    What the machine refuses is left as it is. Nice counts only among the processes of one session; between
    sessions that of the autogroup does.
    """
    try:
        if os.getpriority(os.PRIO_PROCESS, pid) < NICE:
            os.setpriority(os.PRIO_PROCESS, pid, NICE)
    except OSError:
        pass
    _idle_io(pid)


def autogroup(pid: int) -> int | None:
    """The nice value of a process's autogroup, None where there are none."""
    try:
        with open(f"/proc/{pid}/autogroup", encoding="ascii") as file:
            return int(file.read().rpartition(" ")[2])
    except (OSError, ValueError):
        return None


def set_autogroup(pid: int, nice: int) -> bool:
    """Set the nice value of a process's autogroup. False where that is refused."""
    try:
        with open(f"/proc/{pid}/autogroup", "w", encoding="ascii") as file:
            file.write(str(nice))
    except OSError:
        return False
    return True


def _idle_io(pid: int) -> None:
    number = IOPRIO_SET.get(os.uname().machine)
    if number is None:
        return
    import ctypes

    ctypes.CDLL(None, use_errno=True).syscall(number, WHO_PROCESS, pid, IDLE_CLASS)
