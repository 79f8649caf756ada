"""Time for what must start within a few milliseconds (`leasehold run`): nothing here imports asyncio."""

from __future__ import annotations

import resource
import time


def elapsed_s() -> float:
    """Seconds on a clock that counts suspended time and never jumps. Its zero means nothing."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def pause(delay_s: float) -> None:
    """Return after `delay_s`. An exception raised by a signal handler cuts it short."""
    time.sleep(delay_s)


def used() -> tuple[float, int]:
    """CPU seconds of this process and of what it has waited for, and its greatest memory so far, in bytes."""
    own, below = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = own.ru_utime + own.ru_stime + below.ru_utime + below.ru_stime
    return cpu_s, max(own.ru_maxrss, below.ru_maxrss) * 1024
