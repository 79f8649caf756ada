"""What measuring this machine costs: `python -m bench.sampling [SECONDS]`.

The parts (CPU time of one call, best of five rounds), and the whole service with its event loop, threads,
timers and history as the server runs it, as a share of one core.
"""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise

import uvloop

from leasehold.adapters.hosts.linux import LinuxHost
from leasehold.adapters.hosts.work import LinuxWork
from leasehold.adapters.stores.samples import SqliteSamples
from leasehold.control.history import History
from leasehold.control.sense import SenseService
from leasehold.core import foreign, quiet
from leasehold.model.node import NodeView
from leasehold.model.quiet import PRESETS
from leasehold.runtime.clock import RealClock
from leasehold.runtime.lanes import ThreadLane
from leasehold.testing.hosts import FakeMachine

HOME = "leasehold-bench-sampling"
ROUNDS = 5
CALLS = 200


def cost_us(call: Callable[[], object]) -> float:
    """CPU time of one call in microseconds."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time_ns()
        for _ in range(CALLS):
            call()
        best = min(best, (time.process_time_ns() - started) / CALLS / 1000)
    return best


def parts(folder: str, work: LinuxWork) -> dict[str, float]:
    """Microseconds per call of what a tick consists of."""
    host, settings, machine = LinuxHost(folder), PRESETS["server"], FakeMachine()
    machine.others_pct = 30.0
    samples = [
        (machine.host.counters(at), machine.work.measure([], at, io=False)) for at in range(0, 124_000, 2_000)
    ]
    around = machine.host.surroundings()
    memory = quiet.Memory()
    for one, two in pairwise(samples):
        tick = foreign.reading(one[0], two[0], one[1], two[1], around)
        memory, _ = quiet.fold(settings, memory, tick, tick.at_ms)
    return {
        "host counters": cost_us(lambda: host.counters(0)),
        "ours, no leases": cost_us(lambda: work.measure([], 0, io=False)),
        "ours with every process's bytes": cost_us(lambda: work.measure([], 0, io=True)),
        "own process": cost_us(host.process),
        "surroundings (each 30 s)": cost_us(host.surroundings),
        "reading": cost_us(lambda: foreign.reading(one[0], two[0], one[1], two[1], around)),
        "fold over two minutes": cost_us(lambda: quiet.fold(settings, memory, tick, tick.at_ms)),
    }


async def service(folder: str, work: LinuxWork, seconds: float) -> tuple[float, int]:
    """(share of one core in percent, views published) of the whole service at rest."""
    views: list[NodeView] = []
    clock = RealClock()
    sense = SenseService(
        "node",
        LinuxHost(folder),
        work,
        clock,
        PRESETS["server"],
        leases=list,
        publish=views.append,
        jitter=random.random,
        lane=ThreadLane,
        history=History(SqliteSamples(folder), clock),
    )
    await sense.start()
    await asyncio.sleep(3)
    before, started, seen = time.process_time(), time.perf_counter(), len(views)
    await asyncio.sleep(seconds)
    share = 100 * (time.process_time() - before) / (time.perf_counter() - started)
    await sense.stop()
    return share, len(views) - seen


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    with tempfile.TemporaryDirectory() as folder:
        work = LinuxWork(HOME)
        for name, microseconds in parts(folder, work).items():
            print(f"{name:34} {microseconds:8.1f} µs")
        share, ticks = uvloop.run(service(folder, work, seconds))
        print(f"{'whole service at rest':34} {share:8.3f} % of one core over {seconds:.0f} s")
        print(f"{'per tick':34} {share * seconds * 10 / max(1, ticks):8.3f} ms of CPU, {ticks} ticks")


if __name__ == "__main__":
    main()
