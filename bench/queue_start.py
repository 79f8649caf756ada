"""From the submit of one job to its start on an idle queue, and single submits per second, beside the peers.

Method: one job every 23 to 47 ms, each after the last has ended; time from just before its submit until its
worker has it. Ours over HTTP on loopback with a worker's claim held open (`wait_sec`), preset `always`, once
with a session's lease and once with a lease for each job. Peers as in queue_cycles: their worker waits in the
way that is its own (a notification, a blocking read, a poll). Beside it, for the peers, how many jobs one
caller and 16 submit one by one, and how many flushes one such submit costs, counted by strace: below one, the
peer would promise less than we do, and is not compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from bench import product
from bench.control import flushes_of
from bench.etcd_leases import control_figure
from bench.peers import flush_count
from bench.peers.environment import PeerUnavailable
from bench.peers.queue_programs import Driver, NotDurable, Peer
from bench.queue_cycles import Rounds, started_peers
from bench.queue_http import QueueDriver
from bench.report import Figure, Report
from bench.setup import Setup
from bench.summary import percentile

REQUIREMENT = "PROVE-11"
P50_MS_MAX = 10.0
P99_MS_MAX = 30.0
CLIENTS = (1, 16)
BLOCKS = 4
SINGLES = 2_000
FLUSHED = 50
FLUSHES_MIN = 2.0
JUDGED = "http_session"
OURS = {JUDGED: ("--batch", "1"), "http_own_leases": ("--batch", "1", "--own-leases")}


def run(setup: Setup) -> Report:
    """Sides in turn, in blocks, so that no hour of the disk falls on one of them alone."""
    blocks, jobs = (1, 40) if setup.is_quick else (setup.round_count or BLOCKS, 100)
    rounds = Rounds()
    starts: dict[str, list[float]] = {}
    figures: list[Figure] = []
    with ExitStack() as stack:
        peers = started_peers(setup, stack, rounds)
        ours = QueueDriver(stack.enter_context(product.running(setup, preset="always")), setup)
        for _ in range(blocks):
            rounds.controls.append(flushes_of(setup))
            block(ours, peers, jobs, starts)
        for peer in peers:
            singles = SINGLES // (10 if setup.is_quick else 1)
            figures += [
                Figure(name=f"{peer.peer.name}_submits_{n}", value=peer.singly(singles, n), unit="jobs/s")
                for n in CLIENTS
            ]
        figures += _own_flushes(setup, ours, rounds)
    figures = [figure for side in starts for figure in figures_of(side, starts[side])] + figures
    figures += _flushes(setup, [peer.peer for peer in peers], rounds)
    figures.append(control_figure(rounds.controls))
    return Report(
        name="queue_start",
        requirement=REQUIREMENT,
        figures=tuple(figures),
        not_measured=tuple(rounds.not_measured),
    )


def block(ours: QueueDriver, peers: Sequence[Driver], jobs: int, starts_ms: dict[str, list[float]]) -> None:
    """So many idle starts of every side in turn, added to `starts_ms`."""
    for side, options in OURS.items():
        result = ours.play("idle", jobs, "--claims", "1", *options)
        starts_ms.setdefault(side, []).extend(result.starts_ms)
    for peer in peers:
        starts_ms.setdefault(peer.peer.name, []).extend(peer.idle_starts_ms(jobs))


def figures_of(side: str, starts_ms: list[float]) -> list[Figure]:
    """Median and 99th percentile; ours under a session has targets."""
    is_judged = side == JUDGED
    note = f"{len(starts_ms)} jobs, the slowest {max(starts_ms):.1f} ms"
    p50, p99 = percentile(starts_ms, 0.5), percentile(starts_ms, 0.99)
    return [
        Figure(name=f"{side}_start_p50", value=p50, unit="ms", at_most=P50_MS_MAX if is_judged else None),
        Figure(
            name=f"{side}_start_p99",
            value=p99,
            unit="ms",
            note=note,
            at_most=P99_MS_MAX if is_judged else None,
        ),
    ]


def _own_flushes(setup: Setup, ours: QueueDriver, rounds: Rounds) -> list[Figure]:
    """Of one job alone: a flush before its submit and the claim held for it are answered, one for its end."""
    try:
        with flush_count.counted(ours.ours.program.pid, setup) as count:
            ours.play("idle", FLUSHED, "--claims", "1", *OURS[JUDGED])
    except PeerUnavailable as error:
        rounds.not_measured.append(str(error))
        return []
    each = count() / FLUSHED
    return [Figure(name=f"{JUDGED}_flushes_a_cycle", value=each, unit="flushes", at_least=FLUSHES_MIN)]


def _flushes(setup: Setup, peers: list[Peer], rounds: Rounds) -> list[Figure]:
    figures = []
    for peer in peers:
        try:
            count = flush_count.per_submit(peer, setup)
        except (PeerUnavailable, NotDurable) as error:
            rounds.not_measured.append(str(error))
            continue
        figures.append(Figure(name=f"{peer.name}_flushes_a_submit", value=count, unit="flushes"))
    return figures
