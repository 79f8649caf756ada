"""Where histories come from: trace files by what is in them, and the data folder of a server (QUEUE-18)."""

from __future__ import annotations

import os
from pathlib import Path

from leasehold.adapters.stores.past import PastRows
from leasehold.adapters.traces import rows, swf
from leasehold.adapters.traces.lines import numbered
from leasehold.control import replay
from leasehold.core.state import JOBS, LEASES, SEMAPHORES
from leasehold.model.charge import Totals
from leasehold.model.replay import History

LOOKED_AT = 200
"""Lines of a file that are looked at to tell what it is: comments of a trace may be long."""

BEFORE_MS = 60_000
"""Samples are read from a little earlier on, so that the state at the first arrival is known."""


def trace(path: Path) -> History:
    """The history in a file. Raises BadTrace."""
    return swf.read(path) if _is_swf(path) else rows.read(path)


def _is_swf(path: Path) -> bool:
    """Whether its first line that says something is one of the Standard Workload Format."""
    for number, line in numbered(path):
        text = line.strip()
        if text.startswith(";"):
            return True
        if text or number > LOOKED_AT:
            return len(text.split()) == swf.FIELDS
    return False


def recorded(data: Path, since_wall_ms: int) -> History:
    """What a data folder remembers, on a node like this machine. Raises StoreError."""
    found = PastRows(data)
    finished = [row for noun in (LEASES, JOBS) for row in found.finished(noun, since_wall_ms)]
    return replay.history(
        str(data),
        finished,
        found.live(SEMAPHORES),
        found.samples("quiet", since_wall_ms - BEFORE_MS),
        this_machine(),
        since_wall_ms=since_wall_ms,
    )


def this_machine() -> Totals:
    """Cores and memory of this machine. A disk that was free once is not known, and no limit."""
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Totals((os.cpu_count() or 1) * 1000, memory_bytes, 1 << 52)
