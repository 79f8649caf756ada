"""A million jobs of 1 KiB that wait: what a decision takes beside 1,000, pauses, memory, and a restart.

Method: in process (bench.queue_service), the product's services on SQLite: 8 callers each submit, claim and
complete one job at a time while 1,000, then 1,000,000 others wait; what `Ledger.submit` takes, which decides
and applies, by decision. Over HTTP: `leasehold up`, preset `always`, is filled in batches of 1,000; then
whole cycles run in batches beside what waits; memory is the server's (RSS), its longest pause is the one that
it publishes itself (the loop's lateness over the last minute); then it is stopped and started on the same
data, until /ready.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Sequence

from bench import product
from bench.control import flushes_of
from bench.etcd_leases import control_figure
from bench.queue_cycles import service
from bench.queue_http import QueueDriver
from bench.report import Figure, Report
from bench.setup import Setup
from bench.summary import percentile

REQUIREMENT = "PROVE-11"
FEW, MANY, MANY_QUICK = 1_000, 1_000_000, 20_000
SINGLES, SINGLES_QUICK = 4_000, 500
BESIDE = 20_000
RATIO_MAX = 2.0
P99_US_MAX = 200.0
PAUSE_MS_MAX = 50.0
RSS_MIB_MAX = 800.0
RESTART_S_MAX = 15.0
RESTART_TRIED_S = 120.0
"""One that takes longer than it may is told, rather than given up."""
LAG = "leasehold_loop_lag_seconds"


def run(setup: Setup) -> Report:
    """First in process, then over HTTP."""
    controls = [flushes_of(setup)]
    figures = _decisions(setup)
    controls.append(flushes_of(setup))
    figures += server(setup)
    controls.append(flushes_of(setup))
    figures.append(control_figure(controls))
    return Report(name="queue_waiting", requirement=REQUIREMENT, figures=tuple(figures))


def _decisions(setup: Setup) -> list[Figure]:
    singles = SINGLES_QUICK if setup.is_quick else SINGLES
    many = MANY_QUICK if setup.is_quick else MANY
    results = {
        depth: service(setup, "depth", "--depth", str(depth), "--jobs", str(singles)) for depth in (FEW, many)
    }
    figures: list[Figure] = []
    medians = {}
    for depth, result in results.items():
        name = "few" if depth == FEW else "many"
        decisions = [value for values in result.decide_us.values() for value in values]
        medians[name] = percentile(decisions, 0.5)
        each = "; ".join(f"{_short(kind)} {_pair(values)}" for kind, values in result.decide_us.items())
        p99 = percentile(decisions, 0.99)
        figures += [
            Figure(name=f"decide_{name}_p50", value=medians[name], unit="us", note=f"{depth:,} wait"),
            Figure(
                name=f"decide_{name}_p99",
                value=p99,
                unit="us",
                note=each,
                at_most=P99_US_MAX if name == "many" else None,
            ),
            *(
                Figure(
                    name=f"pause_{name}_{part}",
                    value=pause,
                    unit="ms",
                    note="the harness makes its jobs on the same loop" if part != "single" else "",
                    at_most=PAUSE_MS_MAX if (name, part) == ("many", "single") else None,
                )
                for part, pause in result.pause_ms.items()
            ),
        ]
    ratio = medians["many"] / medians["few"]
    return [*figures, Figure(name="decide_many_over_few", value=ratio, unit="ratio", at_most=RATIO_MAX)]


def _short(kind: str) -> str:
    return kind.replace(".<locals>", "").replace("._decide", "")


def _pair(values: Sequence[float]) -> str:
    return f"{percentile(values, 0.5):.0f}/{percentile(values, 0.99):.0f}"


def server(setup: Setup) -> list[Figure]:
    """Over HTTP: filled, worked beside what waits, stopped and started again."""
    many = MANY_QUICK if setup.is_quick else MANY
    beside = min(many // 2, BESIDE)
    data = setup.folder("data")
    with product.running(setup, preset="always", data=data) as ours:
        driver = QueueDriver(ours, setup)
        few = beside / driver.play("cycles", beside).seconds
        fill = many / driver.play("fill", many, are_alone=False).submitted_s
        fill_pause_ms = _pause_ms(ours)
        rss = ours.program.usage().rss_bytes / 2**20
        cycles = beside / driver.play("cycles", beside, are_alone=False).seconds
        pause_ms = _pause_ms(ours)
        rss_after = ours.program.usage().rss_bytes / 2**20
    began_at = time.perf_counter()
    with product.running(setup, preset="always", data=data, within_s=RESTART_TRIED_S) as ours:
        restart_s = time.perf_counter() - began_at
        rss_again = ours.program.usage().rss_bytes / 2**20
    note = f"{rss:.0f} when filled, {rss_after:.0f} after cycles, {rss_again:.0f} after the restart"
    return [
        Figure(name="waiting", value=many, unit="jobs", note=f"submitted at {fill:,.0f}/s"),
        Figure(name="cycles_beside_none", value=few, unit="jobs/s"),
        Figure(name="cycles_beside_many", value=cycles, unit="jobs/s"),
        Figure(name="pause_server_fill", value=fill_pause_ms, unit="ms", at_most=PAUSE_MS_MAX),
        Figure(name="pause_server_cycles", value=pause_ms, unit="ms", at_most=PAUSE_MS_MAX),
        Figure(name="rss", value=max(rss, rss_after, rss_again), unit="MiB", note=note, at_most=RSS_MIB_MAX),
        Figure(name="restart", value=restart_s, unit="s", at_most=RESTART_S_MAX),
    ]


def _pause_ms(ours: product.Product) -> float:
    """What the server says of itself at /metrics: the worst of the last minute."""
    connection = http.client.HTTPConnection("127.0.0.1", ours.port, timeout=30)
    try:
        token = ours.token_file.read_text().strip()
        connection.request("GET", "/metrics", headers={"Authorization": f"Bearer {token}"})
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    values = [line.split()[-1] for line in text.splitlines() if line.startswith(LAG)]
    return float(values[0]) * 1e3
