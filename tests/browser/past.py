"""A recorded past for the tests of the charts: two days of samples with a gap in them, and quiet streaks."""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path

from leasehold.adapters.stores.samples import SqliteSamples
from leasehold.core.streaks import Streak
from leasehold.ports.samples import Sample

STEP_MS = 60_000
HOURS = 48
GAP_H = (5, 7)
"""The server was off then, in hours before now."""


def recorded(data: Path) -> None:
    """Write it into the data folder of a server that has not started yet."""
    data.mkdir(parents=True, exist_ok=True)
    asyncio.run(_write(data))


async def _write(data: Path) -> None:
    store = SqliteSamples(str(data))
    await store.open()
    now_ms = time.time_ns() // 1_000_000
    samples: list[Sample] = []
    streaks: list[Streak] = []
    begun = 0
    lately = range(now_ms - 20 * 60_000, now_ms - 10_000, 10_000)
    for at_ms in (*range(now_ms - HOURS * 3_600_000, lately.start, STEP_MS), *lately):
        ago_h = (now_ms - at_ms) / 3_600_000
        busy = 50 + 45 * math.sin(ago_h * math.pi / 6)
        score = round(max(0, min(100, 130 - busy)))
        if score >= 80 and not GAP_H[0] < ago_h < GAP_H[1]:
            begun = begun or at_ms
        elif begun:
            streaks.append(Streak(begun, at_ms, 90 * 30, 81, 30))
            begun = 0
        if not GAP_H[0] < ago_h < GAP_H[1]:
            samples += _samples(at_ms, busy, score)
    await store.write(samples, streaks, None, now_ms)
    await store.close()


def _samples(at_ms: int, busy: float, score: int) -> list[Sample]:
    wave = 1 + math.sin(at_ms / 600_000)
    host = {
        "cpu_pct": round(busy, 1),
        "memory_pct": round(35 + busy / 5, 1),
        "psi_cpu_some_10s": round(busy / 4, 1),
        "psi_memory_some_10s": 0.0,
        "psi_io_some_10s": round(wave * 2, 1),
        "disk_read_bytes_per_sec": int(busy * 90_000),
        "disk_write_bytes_per_sec": int(wave * 1_500_000),
        "rx_bytes_s:eth0": int(wave * 400_000),
        "tx_bytes_s:eth0": int(wave * 90_000),
    }
    quiet = {"quiet_score": score, "score_raw": score, "state": 0, "foreign_cpu_avg_2m": round(busy * 0.6, 1)}
    return [Sample(at_ms, "host", host), Sample(at_ms, "quiet", quiet)]
