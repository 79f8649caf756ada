"""The calls of the kernel that Python's library lacks."""

from __future__ import annotations

import ctypes
import os

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282}
IOPRIO_WHO_PROCESS = 1
IOPRIO_IDLE = 3 << 13

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process. Raises OSError."""
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def idle_io() -> bool:
    """This thread in the idle io class, and so what it forks. False where the kernel has no such thing."""
    number = IOPRIO_SET.get(os.uname().machine)
    return number is not None and _libc.syscall(number, IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE) == 0
