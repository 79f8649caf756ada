"""The real clock behind `ports.clock.Clock`."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime

NAP_MS_MAX = 1_000
"""The event loop's timers stand still while the machine is suspended, this clock does not: a longer sleep
is cut into naps, so that nothing due during a suspend is later than this after it."""

NS_PER_MS = 1_000_000


class RealClock:
    """Boot time anchored to wall time at start: it counts suspended time and never jumps (INV-7)."""

    def __init__(self) -> None:
        self._anchor_ns = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def now_ms(self) -> int:
        """Wall time as it stood at start, advancing with CLOCK_BOOTTIME ever since, in ms."""
        return (time.clock_gettime_ns(time.CLOCK_BOOTTIME) + self._anchor_ns) // NS_PER_MS

    def wall_ms(self) -> int:
        """Unix time in ms; it may jump."""
        return time.time_ns() // NS_PER_MS

    async def sleep(self, delay_ms: int) -> None:
        """Return after `delay_ms` of `now_ms`; after a suspend at most `NAP_MS_MAX` late."""
        end_ms = self.now_ms() + delay_ms
        await asyncio.sleep(min(max(delay_ms, 0), NAP_MS_MAX) / 1_000)
        while (left_ms := end_ms - self.now_ms()) > 0:  # noqa: ASYNC110 - it is time that is waited for
            await asyncio.sleep(min(left_ms, NAP_MS_MAX) / 1_000)


def elapsed_ns() -> int:
    """A counter for measuring how long a call took, in ns. Its zero means nothing."""
    return time.perf_counter_ns()


def local_now() -> datetime:
    """What the clock on the wall shows whoever sits here, with its zone."""
    return datetime.now().astimezone()
