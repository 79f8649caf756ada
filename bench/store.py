"""What one group commit costs the embedded store: 64 grants and 64 ends of 600 bytes, with their events.

Method: the real SQLite store on an event loop, one batch after the other for the measured time, in rounds,
each between two runs of the control (append 4 KiB and flush). CPU time is read from each thread's own clock;
what the loop spends on making the records is not counted. Then single
finished records are looked up by key, at random. Below 1 ms of the writer's CPU a batch, two cores leave room
for 8,000 leases granted and released per second.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from bench.control import flushes_per_s
from bench.report import Figure, Report
from bench.setup import Setup
from bench.summary import median, percentile
from leasehold.adapters.stores.sqlite import SqliteStore
from leasehold.adapters.stores.sqlite_archive import SqliteArchive
from leasehold.ports.store import Batch

REQUIREMENT = "PROVE-12"
WRITER_CPU_MS_MAX = 1.0
ROWS = 64
VALUE_BYTES = 600
EVENT_BYTES = 120
LOOKUPS = 300
CONTROL_S = 1.0


@dataclass
class Round:
    """One measured stretch. Times per batch in ms."""

    wall_ms: list[float] = field(default_factory=list)
    writer_cpu_ms: float = 0.0
    loop_cpu_ms: float = 0.0
    elapsed_s: float = 0.0
    control_per_s: float = 0.0

    @property
    def rows_per_s(self) -> float:
        return len(self.wall_ms) * (2 * ROWS + 1) / self.elapsed_s


class Load:
    """Batches like those of 64 busy callers: each grant's record ends in the batch after."""

    def __init__(self) -> None:
        self._chance = random.Random(7)
        self._held: list[str] = []
        self.ended: list[str] = []
        self.seq = 0

    def batch(self) -> Batch:
        self.seq += 1
        letters = "0123456789abcdefghjkmnpqrstvwxyz"
        keys = [f"/leases/lease-{''.join(self._chance.choices(letters, k=13))}" for _ in range(ROWS)]
        finishes = [(key, self._chance.randbytes(VALUE_BYTES)) for key in self._held]
        self.ended.extend(self._held)
        self._held = keys
        return Batch(
            self.seq,
            puts=[(key, self._chance.randbytes(VALUE_BYTES)) for key in keys],
            finishes=finishes,
            events=self._chance.randbytes(2 * ROWS * EVENT_BYTES),
            first_event=self.seq * 2 * ROWS,
            last_event=self.seq * 2 * ROWS + 2 * ROWS - 1,
        )


def run(setup: Setup) -> Report:
    """Rounds on one store, so that the later ones meet a larger archive."""
    rounds, lookups_ms, ended = asyncio.run(_measure(setup))
    latencies = [wall for one in rounds for wall in one.wall_ms]
    figures = (
        Figure(
            name="store_batch_writer_cpu",
            value=median([one.writer_cpu_ms for one in rounds]),
            unit="ms",
            at_most=WRITER_CPU_MS_MAX,
            note=f"{ROWS} puts, {ROWS} finishes, their events; journal moved to the file included",
        ),
        Figure(name="store_batch_loop_cpu", value=median([one.loop_cpu_ms for one in rounds]), unit="ms"),
        Figure(name="store_rows", value=median([one.rows_per_s for one in rounds]), unit="rows/s"),
        Figure(name="store_batch_p50", value=median(latencies), unit="ms"),
        Figure(
            name="store_batch_p99",
            value=percentile(latencies, 0.99),
            unit="ms",
            note=f"99.9 %: {percentile(latencies, 0.999):.1f} ms; slowest {max(latencies):.1f} ms",
        ),
        Figure(
            name="store_control",
            value=median([one.control_per_s for one in rounds]),
            unit="flushes/s",
            note="append 4 KiB and flush, around each round",
        ),
        Figure(
            name="store_find_p50",
            value=median(lookups_ms),
            unit="ms",
            note=f"of {ended:,} finished records; slowest {max(lookups_ms):.1f} ms",
        ),
    )
    return Report(name="store", requirement=REQUIREMENT, figures=figures)


async def _measure(setup: Setup) -> tuple[list[Round], list[float], int]:
    folder = setup.folder("store")
    store = SqliteStore(folder / "data", wall_ms=lambda: 0)
    await store.open()
    archive = SqliteArchive(store)
    load = Load()
    try:
        await _round(store, load, folder, setup.warm_s)
        rounds = [await _round(store, load, folder, setup.measure_s) for _ in range(setup.rounds)]
        lookups_ms = [await _lookup_ms(archive, key) for key in random.Random(3).sample(load.ended, LOOKUPS)]
    finally:
        await archive.close()
        await store.close()
    return rounds, lookups_ms, len(load.ended)


async def _round(store: SqliteStore, load: Load, folder: Path, measure_s: float) -> Round:
    before = flushes_per_s(folder, CONTROL_S)
    result = Round()
    writer_began_s = writer_cpu_s()
    while result.elapsed_s < measure_s:
        batch = load.batch()
        cpu_began_s, began_s = time.thread_time(), time.perf_counter()
        await store.commit(batch)
        elapsed_s = time.perf_counter() - began_s
        result.loop_cpu_ms += (time.thread_time() - cpu_began_s) * 1000
        result.elapsed_s += elapsed_s
        result.wall_ms.append(elapsed_s * 1000)
    result.writer_cpu_ms = (writer_cpu_s() - writer_began_s) * 1000 / len(result.wall_ms)
    result.loop_cpu_ms /= len(result.wall_ms)
    result.control_per_s = (before + flushes_per_s(folder, CONTROL_S)) / 2
    return result


def writer_cpu_s() -> float:
    """CPU time of the store's writer thread so far."""
    (writer,) = [thread for thread in threading.enumerate() if thread.name == "leasehold-store"]
    assert writer.ident is not None
    return time.clock_gettime(time.pthread_getcpuclockid(writer.ident))


async def _lookup_ms(archive: SqliteArchive, key: str) -> float:
    began_s = time.perf_counter()
    found = await archive.find(key)
    assert found is not None, f"{key} is not in the archive"
    return (time.perf_counter() - began_s) * 1000
