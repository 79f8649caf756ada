"""How much slower everything is because others use the machine: for tests that promise a duration.

The promise is about a machine that has the cores for it; `make accept` and `make bench` hold to the letter.
"""

from __future__ import annotations

import time

SPUN_S = 0.05


def slowdown() -> float:
    """Elapsed over CPU time of a short spin: 1 on an idle machine, 3 where two others want each core."""
    began_s, used_s = time.perf_counter(), time.thread_time()
    while time.thread_time() - used_s < SPUN_S:
        pass
    return max(1.0, (time.perf_counter() - began_s) / SPUN_S)
