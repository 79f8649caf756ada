"""Estimates: how many are kept on a recorded trace, and how near they are on a running server (QUEUE-12)."""

from __future__ import annotations

import json
import subprocess
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from accept.harness import Skipped, check, expect
from accept.product import Product, Server, until
from accept.queue.client import QUEUE, submit, until_all_ended
from accept.queue.client import job as job_of
from tests import replay_against_reference as both

LOADS = (("1", "1"), ("0.8", "4"), ("0.65", "20"), ("0.5", "40"))
"""Times between arrivals of the logged ones, and every so manieth waiting job is told: some hundreds each. As
logged, nobody waits in December.
"""
KEPT_PCT = (85.0, 95.0)

SHORT_S, LONG_S = 2, 5
NEAR_S, NEAR_PCT = 3.0, 30


@check(
    "estimate.ipsc",
    "Estimates on the iPSC trace, learned on October and November, scored on December: P90 holds for 85-95 % of "
    "the jobs that wait, at 1.25, 1.5 and 2 times the logged load; with the median width",
    command="python -m leasehold.testing.estimate_trace NASA-iPSC-1993-3.1-cln.swf.gz --spacing 0.8 --every 4",
    budget_s=420,
)
def ipsc(product: Product) -> str:
    """Scored as learned by the end of November, and with factors that go on learning, as a server's do."""
    trace = both.trace()
    if trace is None:
        raise Skipped(f"{both.NAME} is not here; LEASEHOLD_TRACES names the folder that holds it")
    told, amiss = [], []
    for spacing, every in LOADS:
        found = _scored(product, trace, spacing, every)
        head = f"arrivals × {spacing}: {found['waited']:,} of {found['jobs']:,} waited"
        if not found["waited"]:
            told.append(f"{head}, nothing to estimate")
            continue
        parts = [_told(name, found[name]) for name in ("as_learned", "learning_on")]
        told.append(f"{head}, {found['as_learned']['scored']} told; {'; '.join(parts)}")
        for name in ("as_learned", "learning_on"):
            share = found[name]["p90_pct"]
            if not KEPT_PCT[0] <= share <= KEPT_PCT[1] or found["unknown"]:
                amiss.append(f"× {spacing} {name}: {share} %, {found['unknown']} unknown")
    expect(not amiss, f"{', '.join(amiss)} of {'. '.join(told)}")
    return ". ".join(told)


def _scored(product: Product, trace: Path, spacing: str, every: str) -> dict[str, Any]:
    command = [product.python, "-m", "leasehold.testing.estimate_trace", str(trace)]
    done = subprocess.run(
        [*command, "--spacing", spacing, "--every", every],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    expect(done.returncode == 0, f"× {spacing}: {done.stderr[-800:]}")
    return dict(json.loads(done.stdout))


def _told(name: str, score: dict[str, Any]) -> str:
    return (
        f"{name.replace('_', ' ')}: P90 held for {score['p90_pct']} %, P50 for {score['p50_pct']} %, median P90 "
        f"{score['median_p90_sec']:,.0f} s (width {score['median_width_sec']:,.0f} s) where the median job "
        f"waited {score['median_waited_sec']:,.0f} s"
    )


@check(
    "estimate.near",
    "On a running server nothing is invented before anything has ended; then jobs of two kinds queue up, and each "
    "starts near what was told: within 3 s and 30 %",
    budget_s=150,
)
def near(product: Product) -> str:
    """One at a time, by their cost. Told at submission, through the API; and `why` says it in a sentence."""
    with product.server(LEASEHOLD_PRESET="always") as server:
        first = submit(server, [_nap("short", SHORT_S)] * 3 + [_nap("long", LONG_S)] * 3)
        unknown = _estimate(server, first[-1])
        expect("p50_sec" not in unknown and "nobody knows" in unknown.get("note", ""), f"invented: {unknown}")
        until_all_ended(server, 120)
        known = until(lambda: _learned(server), 60, 0.2)
        expect(bool(known), "what has ended was not learned within a minute")
        kinds = [("short", SHORT_S), ("long", LONG_S)] * 3
        ids = submit(server, [_nap(*kind) for kind in kinds])
        told = {job_id: (time.time(), _estimate(server, job_id)) for job_id in ids[2:]}
        said = _why(product, server, ids[-1])
        until_all_ended(server, 120)
        return f"{_compared(server, told)}; why: {said}"


def _nap(kind: str, seconds: int) -> dict[str, Any]:
    command = {"argv": ["sleep", str(seconds)], "cwd": "/"}
    return {"job_type": kind, "exec": command, "cost_units": 60, "start": "now"}


def _estimate(server: Server, job_id: str) -> dict[str, Any]:
    status, found = server.get(f"{QUEUE}/jobs/{job_id}/explain", unix=True)
    expect(status == 200, f"explain answers {status}: {found}")
    expect("estimate" in found, f"{job_id} is {found['state']} already")
    return dict(found["estimate"])


def _learned(server: Server) -> bool:
    status, found = server.get("/api/scheduler/costs", unix=True)
    expect(status == 200, f"costs answers {status}: {found}")
    kinds = {one["job_type"]: one for one in found["costs"] if one["leases"] >= 3}
    expect(all(one["asked"]["cost_units"] == 60 for one in kinds.values()), f"asked otherwise: {kinds}")
    return {"short", "long"} <= kinds.keys()


def _why(product: Product, server: Server, job_id: str) -> str:
    done = subprocess.run(
        [product.leasehold, "why", job_id],
        env=server.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if "expected to start in" in line]
    expect(len(lines) == 1, f"`leasehold why {job_id}` says: {done.stdout}")
    return lines[0]


def _compared(server: Server, told: dict[str, tuple[float, dict[str, Any]]]) -> str:
    figures, kept = [], 0
    for job_id, (at_s, estimate) in told.items():
        waited_s = datetime.fromisoformat(job_of(server, job_id)["started_at"]).timestamp() - at_s
        p50_s, p90_s = estimate["p50_sec"], estimate["p90_sec"]
        kept += waited_s <= p90_s
        off_s = abs(waited_s - p50_s)
        expect(
            off_s <= NEAR_S + waited_s * NEAR_PCT / 100,
            f"told {p50_s} to {p90_s} s, started after {waited_s:.1f} s",
        )
        figures.append(f"{p50_s:.1f}-{p90_s:.1f} s was {waited_s:.1f} s")
    status, stats = server.get(f"{QUEUE}/stats", unix=True)
    expect(status == 200, f"stats answers {status}")
    scored = stats["estimates"]["ranges"][0]["scored"]
    expect(scored >= len(told), f"{scored} scored of {len(told)} that were told: {stats['estimates']}")
    return f"{', '.join(figures)}; {kept} of {len(told)} by their P90, {scored} scored"
