"""Lowering what a process may take, where no cgroup can: nice 10, autogroup nice 10, idle io (SENSE-6)."""

from __future__ import annotations

import ctypes
import os
import platform

from leasehold.adapters.hosts.cgroups import write

NICE = 10
IOPRIO_SET = {"x86_64": 251, "aarch64": 30, "riscv64": 30, "ppc64le": 273, "s390x": 282}
IOPRIO_WHO_PROCESS = 1
IOPRIO_IDLE = 3 << 13


def threads(pid: int) -> list[int]:
    """The threads of a process: nice and io priority belong to each of them."""
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def lower_cpu(pid: int) -> bool:
    """Nice 10 for every thread; the same for its autogroup where the session is its own.

    False if any refused.
    """
    found = threads(pid)
    lowered = [_nice(thread) for thread in found]
    # Between sessions only the autogroup's nice counts; a session shared with others is theirs too.
    if found and _leads_session(pid):
        write(f"/proc/{pid}/autogroup", str(NICE))
    return bool(found) and all(lowered)


def _nice(thread: int) -> bool:
    try:
        if os.getpriority(os.PRIO_PROCESS, thread) < NICE:
            os.setpriority(os.PRIO_PROCESS, thread, NICE)
    except OSError:
        return False
    return True


def _leads_session(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except OSError:
        return False


def lower_io(pid: int) -> bool:
    """The idle io class for every thread. False where the kernel refused or has no such call."""
    number = IOPRIO_SET.get(platform.machine())
    found = threads(pid)
    if number is None or not found:
        return False
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    results = [syscall(number, IOPRIO_WHO_PROCESS, thread, IOPRIO_IDLE) for thread in found]
    return all(result == 0 for result in results)
