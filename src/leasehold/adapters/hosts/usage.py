"""What given processes use: CPU time, memory, storage bytes, and how many of their threads want a CPU."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from leasehold.adapters.hosts.files import read
from leasehold.adapters.hosts.processes import stat
from leasehold.model.lease import Process

TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
THREADS_LOOKED_AT = 128  # per tick, about 15 µs each; beyond, the share seen stands for the rest
PROCESSES_LOOKED_AT = 2_048  # storage bytes per tick, about 15 µs each, and only while a disk is pressed


KTHREADD = 2
PF_KTHREAD = 0x00200000  # include/linux/sched.h
KERNEL_THREADS_LOOKED_AT = 512  # about 12 µs each, and only while there is leased work


class Budget:
    """How many more threads may be looked at in this tick."""

    def __init__(self) -> None:
        self.left = THREADS_LOOKED_AT


def ticks_ms(process: Process) -> int:
    """CPU time of this very process alone, 0 once it is gone."""
    seen = stat(process.pid)
    return (
        int(seen.own_ticks * TICK_MS) if seen is not None and seen.start_ticks == process.start_ticks else 0
    )


def tree_ms(pids: Iterable[int]) -> int:
    """CPU time of these processes and of the children that they have waited for.

    Nothing is lost when a child ends.
    """
    seen = (stat(pid) for pid in pids)
    return int(sum(each.own_ticks + each.children_ticks for each in seen if each is not None) * TICK_MS)


def resident(pids: Iterable[int]) -> int:
    """Memory that the processes hold, without the files they map (`statm`: resident − shared).

    Shared memory counts nowhere.
    """
    total = 0
    for pid in pids:
        fields = (read(f"/proc/{pid}/statm") or "").split()
        total += (int(fields[1]) - int(fields[2])) * PAGE_BYTES if len(fields) > 2 else 0
    return total


def runnable(pids: Sequence[int], budget: Budget) -> int:
    """Threads in state R. Past the budget the rest is taken to be like what was seen."""
    seen = running = skipped = 0
    for pid in pids:
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        looked_at = threads[: budget.left]
        budget.left -= len(looked_at)
        skipped += len(threads) - len(looked_at)
        seen += len(looked_at)
        running += sum(_state(f"/proc/{pid}/task/{thread}/stat") == "R" for thread in looked_at)
    return running + (running * skipped // seen if seen else 0)


def kernel_runnable() -> int:
    """Kernel threads in state R. Children of thread 2 are all there are; 0 where that is something else."""
    parent = stat(KTHREADD)
    if parent is None or not parent.flags & PF_KTHREAD:
        return 0
    threads = (read(f"/proc/{KTHREADD}/task/{KTHREADD}/children") or "").split()[:KERNEL_THREADS_LOOKED_AT]
    return sum(_state(f"/proc/{thread}/stat") == "R" for thread in threads)


def _state(path: str) -> str:
    text = read(path)
    return text[text.rindex(")") + 2] if text else ""


def io_bytes(ours: frozenset[int]) -> tuple[int, int]:
    """Storage bytes (of ours, of everybody else), with those of children that were waited for.

    Both only grow in the main.

    Bytes count when they are read, or dirtied in the page cache by whoever wrote them, so both sides are in
    one currency. Processes that may not be looked at count nowhere.
    """
    mine = others = 0
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    for pid in pids[:PROCESSES_LOOKED_AT]:
        moved = _moved(read(f"/proc/{pid}/io"))
        if pid in ours:
            mine += moved
        else:
            others += moved
    return mine, others


def _moved(text: str | None) -> int:
    lines = (text or "").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("read_bytes", "write_bytes")))
