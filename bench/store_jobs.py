"""Whole cycles of jobs at the embedded store alone: submitted, claimed, completed in batches of 1,000.

Method: the real SQLite store on an event loop, one batch after the other. A job is a hot record of 90 bytes
and a cold one of 1 KiB, a changed hot record, a finished one of 200 bytes, and three events of 100 bytes,
which stand in the record of their batch. Jobs are taken in the order in which they came, with none waiting
and with a million, in rounds, between two runs of the control (append 4 KiB and flush); payloads are read
1,000 at a time while nothing else happens. Then a process of its own opens what is left and goes through all
live records, as a start of the server does. Making the records is not counted.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from bench.control import flushes_per_s
from bench.machine import Meter, disturbance
from bench.report import Figure, Report
from bench.setup import Setup
from bench.store import CONTROL_S, writer_cpu_s
from bench.summary import median, percentile
from leasehold.adapters.stores.sqlite import SqliteStore
from leasehold.model.ids import sortable
from leasehold.ports.store import Batch, cold_key

REQUIREMENT = "PROVE-11"
CYCLES_PER_S_MIN = 25_000
PAUSE_MS_MAX = 50.0
LOAD_S_MAX = 5.0
BATCH = 1_000
WAITING, WAITING_QUICK = 1_000_000, 20_000
HOT_BYTES, COLD_BYTES, CLAIMED_BYTES, END_BYTES, EVENT_BYTES = 90, 1_024, 110, 200, 100
READS = 50


class Jobs:
    """Batches of a queue's life. Values are pieces of one random text, so that making them costs little."""

    def __init__(self) -> None:
        self._chance = random.Random(11)
        self._pool = self._chance.randbytes(1 << 20)
        self._number = 5 << 33
        self._event = 0
        self.seq = 0
        self.waiting: deque[str] = deque()
        self._claimed: list[str] = []

    def submit(self) -> Batch:
        keys = [f"/jobs/{sortable(number)}" for number in range(self._number, self._number + BATCH)]
        self._number += BATCH
        self.waiting.extend(keys)
        puts = [(key, self._value(HOT_BYTES)) for key in keys]
        return self._batch(puts=puts + [(cold_key(key), self._value(COLD_BYTES)) for key in keys])

    def claim(self) -> Batch:
        self._claimed = [self.waiting.popleft() for _ in range(BATCH)]
        return self._batch(puts=[(key, self._value(CLAIMED_BYTES)) for key in self._claimed])

    def complete(self) -> Batch:
        return self._batch(finishes=[(key, self._value(END_BYTES)) for key in self._claimed])

    def cold(self) -> list[str]:
        """Keys of the payloads of waiting jobs, at random, as many as one read may have."""
        return [cold_key(key) for key in self._chance.sample(self.waiting, min(BATCH, len(self.waiting)))]

    def _value(self, size: int) -> bytes:
        start = self._chance.randrange(len(self._pool) - size)
        return self._pool[start : start + size]

    def _batch(
        self, *, puts: list[tuple[str, bytes]] | None = None, finishes: list[tuple[str, bytes]] | None = None
    ) -> Batch:
        self.seq += 1
        first, self._event = self._event + 1, self._event + BATCH
        events = self._value(BATCH * EVENT_BYTES)
        return Batch(self.seq, puts or (), finishes or (), (), events, first, self._event)


@dataclass
class Round:
    """One measured stretch; times of commits in ms, CPU in s."""

    wall_ms: list[float] = field(default_factory=list)
    writer_s: float = 0.0
    loop_s: float = 0.0
    cycles: int = 0
    others_share: float = 0.0

    @property
    def per_s(self) -> float:
        return self.cycles * 1000 / sum(self.wall_ms)


@dataclass
class Load:
    """What a start costs: times in s, and the most memory in use (MiB), of which `idle_mib` before it."""

    open_s: float
    load_s: float
    rows: int
    idle_mib: float
    peak_mib: float


def run(setup: Setup) -> Report:
    folder = setup.folder("store-jobs")
    waiting = WAITING_QUICK if setup.is_quick else WAITING
    empty, full, reads_ms, control = asyncio.run(_measure(setup, folder, waiting))
    load = _loaded(folder / "data")
    figures = (
        *_round_figures("store_jobs", empty, "no job waits"),
        *_round_figures("store_jobs_waiting", full, f"{waiting:,} jobs wait"),
        Figure(
            name="store_jobs_read_p50",
            value=median(reads_ms),
            unit="ms",
            note=f"{BATCH:,} payloads at random; slowest {max(reads_ms):.1f} ms",
        ),
        Figure(
            name="store_jobs_load",
            value=load.open_s + load.load_s,
            unit="s",
            at_most=LOAD_S_MAX,
            note=f"{load.rows:,} live records, opening and going through them included",
        ),
        Figure(
            name="store_jobs_load_memory",
            value=load.peak_mib - load.idle_mib,
            unit="MiB",
            note="at most, above the process before the load",
        ),
        Figure(name="store_jobs_control", value=control, unit="flushes/s", note="append 4 KiB and flush"),
    )
    notes = disturbance([one.others_share for one in (*empty, *full)])
    return Report(name="store_jobs", requirement=REQUIREMENT, figures=figures, notes=notes)


def _round_figures(name: str, rounds: list[Round], note: str) -> tuple[Figure, ...]:
    latencies = [wall for one in rounds for wall in one.wall_ms]
    return (
        Figure(
            name=f"{name}_cycles",
            value=median([one.per_s for one in rounds]),
            unit="jobs/s",
            at_least=CYCLES_PER_S_MIN,
            note=note,
        ),
        Figure(
            name=f"{name}_writer_cpu",
            value=median([one.writer_s * 1e6 / one.cycles for one in rounds]),
            unit="us",
            note="a job",
        ),
        Figure(
            name=f"{name}_loop_cpu",
            value=median([one.loop_s * 1e6 / one.cycles for one in rounds]),
            unit="us",
            note="a job",
        ),
        Figure(name=f"{name}_commit_p50", value=median(latencies), unit="ms", note=f"{BATCH:,} jobs each"),
        Figure(
            name=f"{name}_commit_p99",
            value=percentile(latencies, 0.99),
            unit="ms",
            at_most=PAUSE_MS_MAX,
            note=f"slowest {max(latencies):.1f} ms",
        ),
    )


async def _measure(
    setup: Setup, folder: Path, waiting: int
) -> tuple[list[Round], list[Round], list[float], float]:
    before = flushes_per_s(folder, CONTROL_S)
    store = SqliteStore(folder / "data", wall_ms=lambda: 0)
    await store.open()
    jobs = Jobs()
    try:
        await _round(store, jobs, setup.warm_s)
        empty = [await _round(store, jobs, setup.measure_s) for _ in range(setup.rounds)]
        while len(jobs.waiting) < waiting:
            await store.commit(jobs.submit())
        full = [await _round(store, jobs, setup.measure_s) for _ in range(setup.rounds)]
        reads_ms = [await _read_ms(store, jobs.cold()) for _ in range(READS)]
    finally:
        await store.close()
    return empty, full, reads_ms, (before + flushes_per_s(folder, CONTROL_S)) / 2


async def _round(store: SqliteStore, jobs: Jobs, measure_s: float) -> Round:
    result = Round()
    writer_began_s = writer_cpu_s()
    with Meter(None) as meter:
        while sum(result.wall_ms) < measure_s * 1000:
            for batch in (jobs.submit, jobs.claim, jobs.complete):
                await _commit(store, batch, result)
            result.cycles += BATCH
    result.writer_s = writer_cpu_s() - writer_began_s
    result.others_share = meter.others_share
    return result


async def _commit(store: SqliteStore, make: Callable[[], Batch], result: Round) -> None:
    batch = make()
    cpu_began_s, began_s = time.thread_time(), time.perf_counter()
    await store.commit(batch)
    result.wall_ms.append((time.perf_counter() - began_s) * 1000)
    result.loop_s += time.thread_time() - cpu_began_s


async def _read_ms(store: SqliteStore, keys: list[str]) -> float:
    began_s = time.perf_counter()
    found = await store.read(keys)
    assert len(found) == len(keys), f"{len(keys) - len(found)} payloads are missing"
    return (time.perf_counter() - began_s) * 1000


def _loaded(data: Path) -> Load:
    """In a process of its own, so that what was freed here is not what is used there."""
    context = multiprocessing.get_context("spawn")
    reading, writing = context.Pipe(duplex=False)
    child = context.Process(target=_load_in_child, args=(data, writing))
    child.start()
    writing.close()
    load: Load = reading.recv()
    child.join()
    return load


def _load_in_child(data: Path, output: Connection) -> None:
    output.send(asyncio.run(_load(data)))


async def _load(data: Path) -> Load:
    idle_mib = _peak_mib()
    store = SqliteStore(data, wall_ms=lambda: 0)
    began_s = time.perf_counter()
    await store.open()
    opened_s = time.perf_counter()
    snapshot = await store.load()
    rows = sum(1 for _ in snapshot.records)
    loaded_s = time.perf_counter()
    await store.close()
    return Load(opened_s - began_s, loaded_s - opened_s, rows, idle_mib, _peak_mib())


def _peak_mib() -> float:
    """Of this program alone: what the kernel's usage counts had reached before it began is not in it."""
    (line,) = [
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    ]
    return int(line.split()[1]) / 1024
