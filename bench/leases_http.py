"""Lease cycles over HTTP against etcd's own: request + heartbeat + release, at 1 and 64 clients.

Method: `leasehold up` (preset `always`, everything else default, SQLite with synchronous=FULL) and one etcd
stand side by side on loopback; while one is driven the other idles. Each is driven by a client process of its
own: ours by keep-alive connections with requests made beforehand, once over TCP with the admin token and once
over the Unix socket as the owner; etcd's by grpcio. 1 unit a lease, `start=now`. Rounds go etcd, TCP, socket,
etcd, TCP, socket …, each with a control of the disk before it; figures are medians, and the ratio is the
median of the rounds' own ratios. All three calls of either cycle are flushed to disk before they are
answered: ours because the first heartbeat makes an offer ACTIVE. Later heartbeats, which no cycle here has,
are volatile by design: a recovery gives every holder one full TTL. The last line repeats 64 clients over TCP
with the preset `server` and the client itself under `leasehold run`.
"""

from __future__ import annotations

from bench import product, profile
from bench.control import flushes_per_s
from bench.cycles import Cycles
from bench.etcd_leases import CLIENTS, CONTROL_S, control_figure, side_figures
from bench.machine import disturbance
from bench.peers import etcd
from bench.peers.environment import PeerUnavailable
from bench.product import LEASEHOLD, NothingGranted, Product
from bench.report import Figure, Report
from bench.setup import Setup
from bench.summary import paired_ratio

REQUIREMENT = "PROVE-12"
RATIO_MIN = 1.1
P99_MS_MAX = 60.0
WAIT_S = 20
NOTES = (
    "1 unit each, start=now, preset always; over TCP with the admin token, over the Unix socket as the owner",
    "all three calls of a cycle are flushed on both sides; our later renewals would be volatile",
)

Rounds = dict[tuple[str, int], list[Cycles]]


def run(setup: Setup) -> Report:
    """Measure both sides in one run; where etcd can't be had, ours alone, and say so."""
    rounds: Rounds = {}
    controls: list[float] = []
    not_measured: list[str] = []
    with product.running(setup, preset="always") as ours:
        try:
            with etcd.running(setup) as peer:
                _alternate(setup, ours, peer, rounds, controls)
        except PeerUnavailable as error:
            not_measured.append(f"etcd: {error}")
            _alternate(setup, ours, None, rounds, controls)
    figures = [f for (side, clients), cycles in rounds.items() for f in _judged(side, clients, cycles)]
    figures += _ratios(rounds)
    figures.append(control_figure(controls))
    try:
        figures += side_figures("tcp_preset_server_under_run", 64, _under_run(setup))
    except NothingGranted as error:
        not_measured.append(f"preset server, under leasehold run: {error}")
    if setup.is_profiled:
        profile.server(setup)
    return Report(
        name="leases_http",
        requirement=REQUIREMENT,
        figures=tuple(figures),
        notes=(*NOTES, *disturbance([cycles.others_share for side in rounds.values() for cycles in side])),
        not_measured=tuple(not_measured),
    )


def _alternate(
    setup: Setup, ours: Product, peer: etcd.Etcd | None, rounds: Rounds, controls: list[float]
) -> None:
    for _ in range(setup.rounds):
        for clients in CLIENTS:
            controls.append(flushes_per_s(setup.scratch, CONTROL_S))
            if peer is not None:
                rounds.setdefault(("etcd", clients), []).append(peer.drive(clients))
            rounds.setdefault(("tcp", clients), []).append(ours.drive(clients))
            rounds.setdefault(("socket", clients), []).append(ours.drive(clients, by_socket=True))


def _judged(side: str, clients: int, cycles: list[Cycles]) -> list[Figure]:
    rate, p50, p99 = side_figures(side, clients, cycles)
    if side == "tcp" and clients == 64:
        p99 = Figure(name=p99.name, value=p99.value, unit=p99.unit, at_most=P99_MS_MAX)
    return [rate, p50, p99]


def _ratios(rounds: Rounds) -> list[Figure]:
    """Ours over etcd's; the one over TCP at 64 clients is the one that must hold."""
    figures = []
    for side, clients in (key for key in rounds if key[0] != "etcd"):
        theirs = rounds.get(("etcd", clients))
        if theirs is None:
            continue
        ratio = paired_ratio([c.per_s for c in rounds[side, clients]], [c.per_s for c in theirs])
        target = RATIO_MIN if (side, clients) == ("tcp", 64) else None
        name = f"{side}_{clients}_over_etcd"
        figures.append(Figure(name=name, value=ratio, unit="ratio", at_least=target))
    return figures


def _under_run(setup: Setup) -> list[Cycles]:
    """64 clients over TCP, preset `server`, the client a leased command of 10 units itself.

    On this preset the machine's load counts, so that requests may have to stand in line for a while.
    """
    wrapper = (str(LEASEHOLD), "run", "--cost", "10", "--start", "now", "--")
    with product.running(setup, preset="server") as ours:
        return [ours.drive(64, wait_s=WAIT_S, wrapper=wrapper) for _ in range(setup.rounds)]
