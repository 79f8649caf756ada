"""etcd's own lease cycle alone: grant + put + revoke at 1 and 64 clients, from another process.

Method: one etcd (Debian's package, default settings, one member, its own data folder, loopback); a Python
client through grpcio's asyncio interface on one channel, which more channels did not make faster. A cycle
grants a lease, puts one key under it, and revokes the lease; each of the three is one flushed entry of
etcd's log. Rounds at 1 and 64 clients alternate, each after a control of the disk; medians are reported.
"""

from __future__ import annotations

from bench.control import flushes_per_s
from bench.cycles import Cycles
from bench.machine import disturbance
from bench.peers import etcd
from bench.peers.environment import PeerUnavailable
from bench.report import Figure, Report
from bench.setup import Setup
from bench.summary import median, spread

REQUIREMENT = "PROVE-12"
CLIENTS = (1, 64)
CONTROL_S = 1.0


def run(setup: Setup) -> Report:
    """Measure etcd alone, for a look at the peer; `leases_http` measures it again beside ours."""
    rounds: dict[int, list[Cycles]] = {clients: [] for clients in CLIENTS}
    controls: list[float] = []
    try:
        with etcd.running(setup) as peer:
            for _ in range(setup.rounds):
                for clients in CLIENTS:
                    controls.append(flushes_per_s(setup.scratch, CONTROL_S))
                    rounds[clients].append(peer.drive(clients))
    except PeerUnavailable as error:
        return Report(name="etcd_leases", requirement=REQUIREMENT, not_measured=(str(error),))
    figures = [figure for clients in CLIENTS for figure in side_figures("etcd", clients, rounds[clients])]
    figures.append(control_figure(controls))
    notes = disturbance([cycles.others_share for side in rounds.values() for cycles in side])
    return Report(name="etcd_leases", requirement=REQUIREMENT, figures=tuple(figures), notes=notes)


def side_figures(side: str, clients: int, rounds: list[Cycles]) -> list[Figure]:
    """Rate, p50 and p99 of one side at one number of clients: medians over its rounds."""
    rates = [cycles.per_s for cycles in rounds]
    server = median([cycles.server_cpu_s for cycles in rounds])
    client = median([cycles.client_cpu_s for cycles in rounds])
    denied = sum(cycles.denials for cycles in rounds)
    note = f"rounds {spread(rates)}; CPU server {server:.1f} s, client {client:.1f} s"
    note += f"; {denied} denials" if denied else ""
    prefix = f"{side}_{clients}"
    return [
        Figure(name=f"{prefix}_cycles", value=median(rates), unit="cycles/s", note=note),
        Figure(name=f"{prefix}_p50", value=median([cycles.p50_ms for cycles in rounds]), unit="ms"),
        Figure(name=f"{prefix}_p99", value=median([cycles.p99_ms for cycles in rounds]), unit="ms"),
    ]


def control_figure(controls: list[float]) -> Figure:
    """The disk's own speed, beside every durable figure."""
    note = f"append 4 KiB + fdatasync, {spread(controls)}"
    return Figure(name="control_flushes", value=median(controls), unit="flushes/s", note=note)
