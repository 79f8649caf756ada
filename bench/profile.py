"""Where our server's time goes under load; a look, not a figure (`--profile`)."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from bench import product
from bench.setup import Setup

MODULE = "leasehold"


def server(setup: Setup) -> None:
    """Drive 64 clients against a server that samples itself, into `<reports>/profile-http.txt`."""
    output, launcher = _sampled(setup, "http")
    with product.running(setup, preset="always", launcher=launcher) as ours:
        os.kill(ours.program.pid, signal.SIGUSR2)
        cycles = ours.drive(64)
    setup.say(f"sampled at {cycles.per_s:,.0f} cycles/s, {cycles.denials} denials; see {output}")


def queue(setup: Setup, name: str, play: Callable[[product.Product], float]) -> None:
    """The same while `play` drives jobs, and tells jobs per second; into `<reports>/profile-<name>.txt`."""
    output, launcher = _sampled(setup, name)
    with product.running(setup, preset="always", launcher=launcher) as ours:
        os.kill(ours.program.pid, signal.SIGUSR2)
        per_s = play(ours)
    setup.say(f"sampled at {per_s:,.0f} jobs/s; see {output}")


def _sampled(setup: Setup, name: str) -> tuple[Path, tuple[str, ...]]:
    output = (setup.reports / f"profile-{name}.txt").resolve()
    return output, (sys.executable, "-m", "bench.sampled", str(output), MODULE)
