"""How long after its start the server answers: from spawn to the first 200 of `/health`, ten times.

Method: `leasehold up --foreground` with default settings is spawned and asked every 2 ms; it is ended by
SIGTERM before the next start. Once on an empty data folder (with migrations and the admin token), then nine
times on the folder that it left. The figure is the median of all ten; the file cache is warm.
"""

from __future__ import annotations

import time

from bench import product
from bench.report import Figure, Report
from bench.setup import Setup
from bench.summary import median

REQUIREMENT = "PROVE-15"
FIRST_ANSWER_S_MAX = 1.5
STARTS = 10


def run(setup: Setup) -> Report:
    """Start ten times; each start must answer, or the benchmark ends with its log."""
    data = setup.folder("data")
    starts_s = []
    for _ in range(STARTS):
        began_at = time.perf_counter()
        with product.running(setup, preset=None, data=data, until="/health"):
            starts_s.append(time.perf_counter() - began_at)
    figures = (
        Figure(
            name="first_answer_median",
            value=median(starts_s),
            unit="s",
            at_most=FIRST_ANSWER_S_MAX,
            note=f"slowest {max(starts_s):.2f} s; the first, on an empty folder, {starts_s[0]:.2f} s",
        ),
    )
    return Report(name="first_answer", requirement=REQUIREMENT, figures=figures)
