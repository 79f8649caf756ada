"""The order of all that waits: fair, promises kept, nobody starved; and what it costs with a million waiting."""

from __future__ import annotations

import subprocess

from accept.ask_first.figures import measured
from accept.harness import check, expect
from accept.product import Product


@check(
    "queue.order",
    "Order: on 10,000 random histories, QUEUE-6's bound and QUEUE-7's promise hold, nothing eligible starves",
    command="python -m leasehold.testing.order_histories",
    budget_s=300,
)
def order(product: Product) -> str:
    """Jobs, requests, pollers, claims, gates, demand and late jobs, through the decisions that the server makes."""
    command = [product.python, "-m", "leasehold.testing.order_histories"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1_200, check=False)
    expect(done.returncode == 0, f"{done.stdout[-1500:]}{done.stderr[-500:]}")
    return done.stdout.strip()


@check(
    "queue.line",
    "With 1,000,000 jobs waiting a decision costs at most 2 × that with 1,000 and under 200 µs p99; no pause over 50 ms",
    command="make bench ARGS=line",
    kind="quiet",
    budget_s=120,
)
def line(product: Product) -> str:
    """The pure core alone; what it costs with the store and HTTP is in `queue_waiting`."""
    return measured(product, "line", timeout_s=300)[1]
