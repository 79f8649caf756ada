"""The figures (PROVE-12, PROVE-15), by the benchmarks of `make bench` on the installed wheel."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from accept.harness import Broken, check, expect
from accept.product import ROOT, Product


def measured(
    product: Product, name: str, *options: str, timeout_s: float
) -> tuple[dict[str, dict[str, Any]], str]:
    """Run one benchmark: its figures by name, and the machine's controls as a sentence."""
    command = [product.python, "-m", "bench", name, "--json", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)
    try:
        reports = json.loads(done.stdout)["reports"]
    except (json.JSONDecodeError, KeyError):
        raise Broken(f"the benchmark printed no figures: {done.stderr[-400:]}") from None
    missing = [reason for report in reports for reason in report.get("not_measured", ())]
    expect(not missing, f"not measured: {'; '.join(missing)}")
    figures = {figure["name"]: figure for report in reports for figure in report["figures"]}
    shown = ", ".join(f"{one['name']} {one['value']:g} {one['unit']}" for one in figures.values())
    expect(done.returncode == 0, f"a target is not met: {shown}")
    return figures, shown


@check(
    "figure.leases_http",
    "request + heartbeat + release at 64 clients at least 1.1 × etcd's grant + put + revoke in the same run, p99 under 60 ms "
    "(renewals are volatile by design, etcd's put is not)",
    command="make bench ARGS=leases_http",
    budget_s=420,
)
def leases_http(product: Product) -> str:
    """Ours and etcd's in turn, each driven by a process of its own."""
    return measured(product, "leases_http", timeout_s=600)[1]


@check(
    "figure.ledger",
    "In process at least 8,000 grants/s at 64 callers, each released, with their events",
    command="make bench ARGS=ledger",
    budget_s=120,
)
def ledger(product: Product) -> str:
    """The service, the ledger and SQLite with synchronous=FULL, without HTTP."""
    return measured(product, "ledger", timeout_s=300)[1]


@check(
    "figure.at_rest",
    "At rest for ten minutes with default sampling under 1 % of one core and under 90 MB RSS, Netdata beside it",
    command="make bench ARGS=at_rest",
    kind="quiet",
    budget_s=720,
)
def at_rest(product: Product) -> str:
    """Both at the same time, over the same ten minutes."""
    return measured(product, "at_rest", timeout_s=900)[1]


@check(
    "figure.first_answer",
    "First answer under 1.5 s after start",
    command="make bench ARGS=first_answer",
    budget_s=60,
)
def first_answer(product: Product) -> str:
    """From spawn to the first 200 of /health, ten starts."""
    return measured(product, "first_answer", timeout_s=120)[1]


@check(
    "figure.run_overhead",
    "500 × `run -- true` add at most 150 ms (median) each",
    command="make bench ARGS=run_overhead",
    budget_s=150,
)
def run_overhead(product: Product) -> str:
    """Interleaved with a bare `true`."""
    return measured(product, "run_overhead", timeout_s=300)[1]
