"""Who used the cores while a round ran: the server, its client, and everybody else.

A round on a machine that others load too is not comparable to one that had it alone, so each says how
much of the cores went to programs other than the two that it measures, or was taken by the hypervisor.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.process import TICKS_PER_S, Program

OTHERS_SHARE_MAX = 0.1
"""Above it a round says more about the neighbours than about what it measures."""


class Meter:
    """Around one round: CPU seconds of the server, of the client (a child that ends inside), of others.

    `server` is a program, or None where this process is what is measured.
    """

    def __init__(self, server: Program | None) -> None:
        self._server = server
        self.server_s = self.client_s = self.others_s = self.others_share = 0.0

    def __enter__(self) -> Self:
        self._before = self._reading()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            return
        grown = [now - then for now, then in zip(self._reading(), self._before, strict=True)]
        self.server_s, self.client_s, all_s, wall_s = grown
        self.others_s = max(0.0, all_s - self.server_s - self.client_s)
        self.others_share = self.others_s / (wall_s * (os.cpu_count() or 1))

    def _reading(self) -> tuple[float, float, float, float]:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        server_s = time.process_time() if self._server is None else self._server.usage().cpu_s
        return server_s, children.ru_utime + children.ru_stime, busy_s(), time.monotonic()


def disturbance(shares: Sequence[float]) -> tuple[str, ...]:
    """A note where others took more than OTHERS_SHARE_MAX of the cores in some round; else nothing."""
    worst = max(shares, default=0.0)
    if worst <= OTHERS_SHARE_MAX:
        return ()
    return (f"DISTURBED: other programs took up to {worst:.0%} of the cores; compare only with a quiet run",)


def busy_s() -> float:
    """CPU seconds of all cores that were used or stolen since boot: proc(5), the first line of /proc/stat."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen = fields
    return (user + nice + system + interrupts + soft_interrupts + stolen) / TICKS_PER_S
