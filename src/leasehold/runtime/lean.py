"""Time for what must start within a few milliseconds (`leasehold run`): nothing here imports asyncio."""

from __future__ import annotations

import time


def elapsed_s() -> float:
    """Seconds on a clock that counts suspended time and never jumps. Its zero means nothing."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def pause(delay_s: float) -> None:
    """Return after `delay_s`. An exception raised by a signal handler cuts it short."""
    time.sleep(delay_s)
