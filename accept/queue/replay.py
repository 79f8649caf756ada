"""The iPSC trace through the installed program, beside a reference that shares nothing with it (QUEUE-18)."""

from __future__ import annotations

import os
import tempfile

from accept.harness import Skipped, check, expect
from accept.product import Product
from tests import replay_against_reference as both

LOADS = (1.0, 0.8, 0.5, 0.3)
"""Times between arrivals, of the logged ones. At 1 six jobs wait; at 0.3 half as much again comes as fits."""


@check(
    "replay.ipsc",
    "On the iPSC trace waiting time and bounded slowdown beside first come, first served, and EASY backfill: "
    "as one holder's jobs within 2 % of EASY; fair among its 69 users under default settings slowdown within 2 %, "
    "and mean waiting within 2 % or a second; with 2 and 3.3 times as much at once better than EASY",
    command="leasehold replay NASA-iPSC-1993-3.1-cln.swf.gz --estimates exact",
    budget_s=600,
)
def ipsc(product: Product) -> str:
    """Mean waiting and mean bounded slowdown at each load: in order, EASY, ours fair and as one holder's."""
    trace = both.trace()
    if trace is None:
        raise Skipped(f"{both.NAME} is not here; LEASEHOLD_TRACES names the folder that holds it")
    logged = both.jobs_of(trace)
    told = []
    with tempfile.TemporaryDirectory(prefix="leasehold-accept-") as home:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("LEASEHOLD", "XDG"))}
        env = {**clean, "HOME": home}
        for load in LOADS:
            jobs = both.spaced(logged, load)
            in_order, easy = both.easy(jobs, backfill=False), both.easy(jobs)
            words = ["--estimates", "exact", "--spacing", str(load)]
            fair = both.ours([product.leasehold], trace, *words, env=env)
            told.append(
                f"arrivals × {load:g}: in order {in_order}, EASY {easy}, ours {fair} ({_percent(fair, easy)})"
            )
            if load == 1.0:
                alone = both.ours([product.leasehold], trace, *words, "--as-one", env=env)
                told[-1] += f", as one holder's {alone} ({_percent(alone, easy)})"
                expect(max(alone.above(easy)) <= 2, f"one holder waits longer than with EASY: {told[-1]}")
                worse = (
                    fair.wait > max(1.02 * easy.wait, easy.wait + 1) or fair.slowdown > 1.02 * easy.slowdown
                )
                expect(not worse, f"worse than EASY: {told[-1]}")
            if load <= 0.5:
                expect(max(fair.above(easy)) <= 0, f"worse than EASY under load: {told[-1]}")
    return "; ".join(told)


def _percent(ours: both.Means, easy: both.Means) -> str:
    wait, slowdown = ours.above(easy)
    return f"{wait:+.1f} % / {slowdown:+.1f} %"
