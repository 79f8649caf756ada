"""Whole cycles of durable jobs, submit → dispatch → complete, against other durable queues in one run.

Method: a no-op job with 1 KiB of payload; jobs per second from the first submit to the last end that is
durable. Each round takes every side in turn, each beside a control of the disk (append 4 KiB + fdatasync);
figures are medians, ratios the medians of the rounds' own ratios. Ours: `leasehold up`, preset `always`,
SQLite with synchronous=FULL; a client in another process over HTTP on loopback, jobs of 1 unit,
`start=now`, submitted and claimed 1,000 (and 100) at a time on a few connections, under a session's lease
of a worker's token, each job fenced by its own generation; an answer 429 is obeyed, and none may come;
smaller batches take several tokens, since one alone may not call so often (LEASE-27); afterwards each job
must have left one event for each of submitted, started, done. The service layer alone does the same in one
process (bench.queue_service). Peers: a client and one worker process, each at its best setting (see
bench/peers/queues), their settings of durability read back, and each job's run counted in the worker. huey
takes a job out of the queue before it runs, and so may lose it; all others must hear that it has ended.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import msgspec

from bench import product, profile, queue_service
from bench.control import flushes_of
from bench.etcd_leases import control_figure
from bench.machine import disturbance
from bench.peers import queue_programs
from bench.peers.environment import PeerUnavailable
from bench.peers.queue_programs import PEERS, Cycle, Driver, NotDurable
from bench.product import LEASEHOLD, PROJECT
from bench.queue_client import Result
from bench.queue_http import QueueDriver
from bench.report import Figure, Report
from bench.setup import Setup
from bench.summary import median, paired_ratio, spread

REQUIREMENT = "PROVE-11"
HTTP_PER_S_MIN = 7_000.0
SERVICE_PER_S_MIN = 10_000.0
JOBS = 30_000
JOBS_QUICK = 6_000
PILOT = 40
PEER_S = 3.0
"""About how long one peer's cycle takes in a round."""
SERVICE_TIMEOUT_S = 600.0


class Side(NamedTuple):
    """A way to drive ours. More than one token each, where one alone may not call often enough (LEASE-27)."""

    options: tuple[str, ...]
    submitters: int = 1
    workers: int = 1


OURS = {
    "http_1000": Side(()),
    "http_1000_after": Side(("--after",)),
    "http_100": Side(("--batch", "100", "--submits", "1"), submitters=6, workers=6),
    "http_own_leases": Side(("--batch", "20", "--own-leases", "--submits", "1"), submitters=8, workers=8),
}
"""Beside the first: claimed only when all is submitted; smaller batches; a lease and a token for each job."""
JUDGED = "http_1000"
SERVICE = "service_1000"


@dataclass
class Rounds:
    """What was measured so far, by side."""

    cycles: dict[str, list[Cycle]] = field(default_factory=dict)
    controls: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)
    held_off: Counter[str] = field(default_factory=Counter)
    """Answers 429, each of which was obeyed."""
    not_measured: list[str] = field(default_factory=list)

    def add(self, side: str, cycle: Cycle) -> None:
        self.cycles.setdefault(side, []).append(cycle)

    def rates(self, side: str) -> list[float]:
        return [cycle.per_s for cycle in self.cycles[side]]


def run(setup: Setup) -> Report:
    """All sides in turn; then the preset `server` with the client under `leasehold run`."""
    rounds = Rounds()
    with ExitStack() as stack:
        peers = started_peers(setup, stack, rounds)
        ours = QueueDriver(stack.enter_context(product.running(setup, preset="always")), setup)
        for _ in range(setup.rounds):
            rounds.controls.append(flushes_of(setup))
            for peer in peers:
                peer_round(peer, setup, rounds)
            for side in OURS:
                our_round(ours, side, setup, rounds)
            service_round(setup, rounds)
            setup.say(
                "; ".join(f"{side} {cycles[-1].per_s:,.0f}/s" for side, cycles in rounds.cycles.items())
            )
    for side in OURS if setup.is_profiled else ():
        profile.queue(setup, side, partial(_played, setup, side))
    figures = [figure for side in rounds.cycles for figure in _figures(side, rounds)]
    figures += ratios(rounds)
    figures.append(control_figure(rounds.controls))
    try:
        figures.append(_preset_server(setup))
    except RuntimeError as error:
        rounds.not_measured.append(f"preset server, under leasehold run: {error}")
    return Report(
        name="queue_cycles",
        requirement=REQUIREMENT,
        figures=tuple(figures),
        notes=disturbance(rounds.others),
        not_measured=tuple(rounds.not_measured),
    )


def started_peers(setup: Setup, stack: ExitStack, rounds: Rounds) -> list[Driver]:
    """All peers that can be had here, with their servers running; the others are named as not measured."""
    drivers = []
    for peer in PEERS:
        try:
            drivers.append(stack.enter_context(queue_programs.running(peer, setup)))
        except (PeerUnavailable, NotDurable) as error:
            rounds.not_measured.append(f"{peer.name}: {error}")
    return drivers


def peer_round(driver: Driver, setup: Setup, rounds: Rounds) -> None:
    """As many jobs as it does in some seconds, which the round before tells: disks differ by 20 times."""
    known = rounds.cycles.get(driver.peer.name)
    per_s = known[-1].per_s if known else driver.best_cycle(driver.peer.jobs // PILOT).per_s
    span_s = PEER_S / (5 if setup.is_quick else 1)
    jobs = min(driver.peer.jobs, max(driver.peer.jobs // PILOT, round(per_s * span_s)))
    rounds.add(driver.peer.name, driver.best_cycle(jobs))


def our_round(ours: QueueDriver, side: str, setup: Setup, rounds: Rounds) -> None:
    jobs = JOBS_QUICK if setup.is_quick else JOBS
    way = OURS[side]
    result = _play(ours, side, jobs)
    rounds.held_off[side] += result.held_off
    drain_s = result.seconds - (result.submitted_s if "--after" in way.options else 0.0)
    rounds.add(side, Cycle(jobs / result.seconds, jobs / result.submitted_s, jobs / drain_s))
    rounds.others.append(ours.others_share)


def _play(ours: QueueDriver, side: str, jobs: int) -> Result:
    way = OURS[side]
    return ours.play("cycles", jobs, *way.options, submitters=way.submitters, workers=way.workers)


def _played(setup: Setup, side: str, ours: product.Product) -> float:
    return JOBS / _play(QueueDriver(ours, setup), side, JOBS).seconds


def service_round(setup: Setup, rounds: Rounds) -> None:
    """The same through the Python service layer, in a process and on a store of its own."""
    jobs = JOBS_QUICK if setup.is_quick else JOBS
    result = service(setup, "cycles", "--jobs", str(jobs))
    drain_s = result.seconds  # it runs from the first submit on
    rounds.add(SERVICE, Cycle(jobs / result.seconds, jobs / result.submitted_s, jobs / drain_s))


def service(setup: Setup, *options: str) -> queue_service.Result:
    """Run bench.queue_service; RuntimeError with what it said when it fails."""
    argv = [sys.executable, "-m", "bench.queue_service", *options, "--folder", str(setup.folder("service"))]
    done = subprocess.run(
        argv, capture_output=True, text=True, cwd=PROJECT, env=setup.environment(), timeout=SERVICE_TIMEOUT_S
    )
    if done.returncode:
        raise RuntimeError(f"queue_service {options[0]}: {done.stderr[-2_000:]}")
    return msgspec.json.decode(done.stdout, type=queue_service.Result)


def ratios(rounds: Rounds) -> list[Figure]:
    """Ours over each peer, round by round; the fastest peer is the one to be beaten."""
    theirs = [peer.name for peer in PEERS if peer.name in rounds.cycles]
    if not theirs or JUDGED not in rounds.cycles:
        return []
    fastest = max(theirs, key=lambda name: median(rounds.rates(name)))
    return [
        Figure(
            name=f"{side}_over_{name}",
            value=paired_ratio(rounds.rates(side), rounds.rates(name)),
            unit="ratio",
            at_least=1.0 if (side, name) == (JUDGED, fastest) else None,
        )
        for side in (JUDGED, SERVICE)
        for name in theirs
        if side in rounds.cycles
    ]


def _figures(side: str, rounds: Rounds) -> list[Figure]:
    cycles = rounds.cycles[side]
    submits = median([cycle.submit_per_s for cycle in cycles])
    drains = median([cycle.drain_per_s for cycle in cycles])
    note = f"rounds {spread(rounds.rates(side))}; submits {submits:,.0f}/s, runs {drains:,.0f}/s"
    if held_off := rounds.held_off[side]:
        note += f"; told {held_off} times to come back later"
    figures = [
        Figure(
            name=f"{side}_cycles",
            value=median(rounds.rates(side)),
            unit="jobs/s",
            note=note,
            at_least={JUDGED: HTTP_PER_S_MIN, SERVICE: SERVICE_PER_S_MIN}.get(side),
        )
    ]
    if side == JUDGED:
        figures.append(Figure(name=f"{side}_held_off", value=held_off, unit="answers", at_most=0))
    return figures


def _preset_server(setup: Setup) -> Figure:
    """The default preset, where the machine's own load counts, with the client a leased command itself.

    As operators: there, `start=now` is theirs to say, and not a submitter's or a worker's.
    """
    jobs = JOBS_QUICK if setup.is_quick else JOBS
    wrapper = (str(LEASEHOLD), "run", "--cost", "10", "--start", "now", "--")
    with product.running(setup, preset="server") as ours:
        driver = QueueDriver(ours, setup, submits_as="operator", works_as="operator")
        result = driver.play("cycles", jobs, wrapper=wrapper)
    return Figure(name="http_1000_preset_server_under_run", value=jobs / result.seconds, unit="jobs/s")
