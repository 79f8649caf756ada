"""The same on a slow disk: every flush of every program waits 3.3 ms more (some 300 a second).

Method: whole cycles as in queue_cycles, idle starts as in queue_start, and a million jobs that wait as in
queue_waiting over HTTP; what is decided in process does not know the disk. The flushes of ours and of the
peers' servers and programs are slowed by the same preloaded library, as is the control.
"""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack

import msgspec

from bench import product, queue_start, queue_waiting, slow_disk
from bench.control import flushes_of
from bench.etcd_leases import control_figure
from bench.machine import disturbance
from bench.queue_cycles import Rounds, our_round, peer_round, ratios, service_round, started_peers
from bench.queue_http import QueueDriver
from bench.report import Figure, Report
from bench.setup import Setup
from bench.summary import median, spread

REQUIREMENT = "PROVE-11"
ROUNDS = 2
STARTS, STARTS_QUICK = 60, 20
OURS = ("http_1000", "http_100")


def run(setup: Setup) -> Report:
    """Nothing is judged here but that everything ends; the figures are for comparison."""
    try:
        slow = dataclasses.replace(setup, preload=slow_disk.environment(setup.cache))
    except RuntimeError as error:
        return Report(name="queue_slow", requirement=REQUIREMENT, not_measured=(str(error),))
    rounds = Rounds()
    with ExitStack() as stack:
        peers = started_peers(slow, stack, rounds)
        ours = QueueDriver(stack.enter_context(product.running(slow, preset="always")), slow)
        for _ in range(slow.round_count or (1 if setup.is_quick else ROUNDS)):
            rounds.controls.append(flushes_of(slow))
            for driver in peers:
                peer_round(driver, slow, rounds)
            for side in OURS:
                our_round(ours, side, slow, rounds)
            service_round(slow, rounds)
        starts: dict[str, list[float]] = {}
        queue_start.block(ours, peers, STARTS_QUICK if setup.is_quick else STARTS, starts)
    figures = [
        Figure(
            name=f"slow_{side}_cycles",
            value=median(rounds.rates(side)),
            unit="jobs/s",
            note=f"rounds {spread(rounds.rates(side))}",
        )
        for side in rounds.cycles
    ]
    others = ratios(rounds)
    others += [figure for side in starts for figure in queue_start.figures_of(side, starts[side])]
    others += queue_waiting.server(slow)
    figures += [
        msgspec.structs.replace(one, name=f"slow_{one.name}", at_least=None, at_most=None) for one in others
    ]
    figures.append(control_figure(rounds.controls))
    return Report(
        name="queue_slow",
        requirement=REQUIREMENT,
        figures=tuple(figures),
        notes=disturbance(rounds.others),
        not_measured=tuple(rounds.not_measured),
    )
