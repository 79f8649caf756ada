"""Where our server's time goes under load; a look, not a figure (`--profile`)."""

from __future__ import annotations

import os
import signal
import sys

from bench import product
from bench.setup import Setup

MODULE = "leasehold"


def server(setup: Setup) -> None:
    """Drive 64 clients against a server that samples itself, into `<reports>/profile-http.txt`."""
    output = (setup.reports / "profile-http.txt").resolve()
    launcher = (sys.executable, "-m", "bench.sampled", str(output), MODULE)
    with product.running(setup, preset="always", launcher=launcher) as ours:
        os.kill(ours.program.pid, signal.SIGUSR2)
        cycles = ours.drive(64)
    setup.say(f"sampled at {cycles.per_s:,.0f} cycles/s, {cycles.denials} denials; see {output}")
