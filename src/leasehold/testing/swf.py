"""Made-up workloads in the Standard Workload Format: the shape of real ones, from a seed.

Widths are powers of two, run times log-uniform, arrivals come in bursts, most of few users: what makes
backfill and fairness matter.
"""

from __future__ import annotations

import random

HEAD = """; Version: 2.2
; Computer: made up, seed {seed}
; MaxProcs: {processors}
;
"""


def made_up(seed: int, jobs: int, *, processors: int = 128, load: float = 0.9, users: int = 12) -> str:
    """A trace as text. `load` is the work that comes, of what the machine could do in that time."""
    rng = random.Random(seed)
    rows = []
    work = 0
    for number in range(1, jobs + 1):
        width = 1 << rng.randrange(processors.bit_length())
        runs = int(10 ** rng.uniform(0, 4))
        work += width * runs
        user = min(int(rng.expovariate(0.5)), users - 1)
        rows.append((number, rng.random() < 0.6, runs, width, user))
    gap = work / (processors * load) / jobs
    at = 0.0
    lines = [HEAD.format(seed=seed, processors=processors)]
    for number, in_burst, runs, width, user in rows:
        at += rng.expovariate(1 / gap) * (0.1 if in_burst else 2.35)
        lines.append(f"{number} {int(at)} -1 {runs} {width} -1 -1 -1 -1 -1 1 {user} 1 {user} -1 -1 -1 -1\n")
    return "".join(lines)
