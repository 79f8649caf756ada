"""The installed program's replay beside the independent reference, on one trace: figures for both.

Used by the tests and by the acceptance check. The trace has no requested times, so everybody is told how long
jobs really run, as the literature does with such logs.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests import backfill_reference as reference

NAME = "NASA-iPSC-1993-3.1-cln.swf.gz"
PROCESSORS = 128


def trace() -> Path | None:
    """The NASA iPSC/860 log of the Parallel Workloads Archive; None where this machine does not have it."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "traces"
    path = Path(os.environ.get("LEASEHOLD_TRACES") or beside) / NAME
    return path if path.is_file() else None


@dataclass(frozen=True)
class Means:
    """Mean waiting time in seconds, and mean bounded slowdown."""

    wait: float
    slowdown: float

    def above(self, other: Means) -> tuple[float, float]:
        """By how many percent this one is worse."""
        return 100 * (self.wait / other.wait - 1), 100 * (self.slowdown / other.slowdown - 1)

    def __str__(self) -> str:
        return f"{self.wait:,.1f} s / {self.slowdown:,.3f}"


def jobs_of(path: Path) -> list[reference.Job]:
    """The trace by an own, plain reading of its columns."""
    with gzip.open(path, "rt") as lines:
        rows = [line.split() for line in lines if line.strip() and not line.startswith(";")]
    return [
        reference.Job(int(row[0]), int(row[1]), max(0, int(row[3])), int(row[4]), max(0, int(row[3])))
        for row in rows
    ]


def spaced(jobs: Sequence[reference.Job], factor: float) -> list[reference.Job]:
    """The same jobs with the times between arrivals multiplied, to the millisecond."""
    return [
        reference.Job(
            job.number, round(job.submitted * 1000 * factor) / 1000, job.runs, job.processors, job.estimate
        )
        for job in jobs
    ]


def shaken(path: Path, to: Path, seed: int, most_s: int) -> None:
    """The trace with each arrival put off by up to `most_s`, evenly drawn.

    One log is one sample: what a single job's luck decides goes away in the mean over such copies. Source:
    Tsafrir and Feitelson, *Instability in Parallel Job Scheduling Simulation: The Role of Workload Flurries*,
    IPDPS 2006 (input shaking).
    """
    rng = random.Random(seed)
    with gzip.open(path, "rt") as source, gzip.open(to, "wt", compresslevel=1) as target:
        for line in source:
            row = line.split()
            if row and not line.startswith(";"):
                row[1] = str(int(row[1]) + rng.randrange(most_s))
                line = " ".join(row) + "\n"
            target.write(line)


def easy(jobs: Sequence[reference.Job], *, backfill: bool = True) -> Means:
    """By the reference."""
    started = reference.starts(jobs, PROCESSORS, backfill=backfill)
    return Means(reference.mean_wait(jobs, started), reference.mean_slowdown(jobs, started))


def ours(leasehold: Sequence[str], path: Path, *words: str, env: dict[str, str] | None = None) -> Means:
    """By `leasehold replay`, with default settings."""
    command = [*leasehold, "replay", str(path), "--json", *words]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=900)
    figures: dict[str, Any] = json.loads(done.stdout)["variants"][0]["figures"]
    assert figures["started"] == figures["jobs"], "a job was lost"
    return Means(figures["waiting_sec"]["mean"], figures["slowdown"]["mean"])
