"""What `leasehold run` adds to a command: 500 × `leasehold run -- true`, each beside a bare `true`.

Method: a server with default settings is up; the two commands alternate, one at a time, each timed from its
spawn to its end by the same parent. The figure is the difference of the medians; the 90th percentile
of the wrapped ones is beside it.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Sequence

from bench import product
from bench.product import LEASEHOLD
from bench.report import Figure, Report
from bench.setup import Setup
from bench.summary import median, percentile

REQUIREMENT = "LEASE-18"
ADDED_MS_MAX = 150.0
COMMAND_TIMEOUT_S = 60.0


def run(setup: Setup) -> Report:
    """Alternate the wrapped and the bare command; any exit code but 0 ends the benchmark.

    On a machine that others keep busy `run` waits, as it should; then there is no overhead to measure.
    """
    count = 20 if setup.is_quick else 500
    true = shutil.which("true") or "/bin/true"
    wrapped_ms, bare_ms = [], []
    with product.running(setup, preset=None) as ours:
        try:
            for _ in range(count):
                wrapped_ms.append(timed_ms([str(LEASEHOLD), "run", "--", true], ours.env))
                bare_ms.append(timed_ms([true], ours.env))
        except subprocess.TimeoutExpired as error:
            said = (error.stderr or b"").decode(errors="replace").strip() or "nothing"
            why = f"run -- true did not end within {COMMAND_TIMEOUT_S:.0f} s; it said: {said}"
            return Report(name="run_overhead", requirement=REQUIREMENT, not_measured=(why,))
    figures = (
        Figure(
            name="run_added_median",
            value=median(wrapped_ms) - median(bare_ms),
            unit="ms",
            note=f"{count} times, alternating",
            at_most=ADDED_MS_MAX,
        ),
        Figure(name="run_p90", value=percentile(wrapped_ms, 0.9), unit="ms"),
        Figure(name="bare_median", value=median(bare_ms), unit="ms"),
    )
    return Report(name="run_overhead", requirement=REQUIREMENT, figures=figures)


def timed_ms(argv: Sequence[str], env: dict[str, str]) -> float:
    """From spawn to end, in milliseconds; CalledProcessError unless the command ends with 0."""
    began_at = time.perf_counter()
    subprocess.run(
        argv, check=True, env=env, timeout=COMMAND_TIMEOUT_S, stdin=subprocess.DEVNULL, capture_output=True
    )
    return (time.perf_counter() - began_at) * 1e3
