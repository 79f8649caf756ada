"""The waiting line with a thousand and with a million jobs in it: decisions, claims, memory, pauses.

Method: the pure core in this process, without store or HTTP. Two lines, of 1,000 and of 1,000,000 queued jobs
from 50 holders in 2 job types (100 for the smaller in a quick run, and 100,000), stand side by side, and are
measured in turns. A *decision* is one wake on a full node on which a lease has just ended: plan, grant the
next, look at who is after it and promise it a time, take the granted one out of the line, charge its flows. A
*claim* takes 1,000 jobs at once under a session, from 50 flows and from one. A *pause* is the longest single
addition or removal while the line is filled and emptied, with the collector of garbage off. Times are this
thread's CPU time: nothing here waits for anything. Memory is what the process grew by, jobs included.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from pathlib import Path

from bench.report import Figure, Report
from bench.setup import Setup
from bench.summary import median, paired_ratio, percentile, spread
from leasehold.core import capacity, claim, dispatch, order, reservation
from leasehold.core.book import Book
from leasehold.core.line import Line
from leasehold.model.charge import Charge, Totals
from leasehold.model.job import Job, JobState, Terms
from leasehold.model.lease import Ask, Lease, LeaseState
from leasehold.model.line import Flow, Here
from leasehold.model.node import NodeView
from leasehold.model.settings import PolicySettings

REQUIREMENT = "PROVE-11"
HOLDERS = 50
TYPES = ("encode", "index")
CLAIMED = 1_000
DECISIONS = 200
"""In one turn; then the other line has its turn."""

NODE = "bench"
TOTALS = Totals(cpu_millicores=8_000, memory_bytes=32 << 30, disk_bytes=256 << 30)
VIEW = NodeView(NODE, 0, "QUIET", 100, 0, TOTALS, always=True)
SETTINGS = PolicySettings()
UNITS = 10
PAGE_BYTES = 4096


class Waiting:
    """A line of so many jobs, and a node that is full of others."""

    def __init__(self, jobs: int, holders: int = HOLDERS) -> None:
        self.line: Line[Job] = Line()
        self.flows: dict[str, Flow] = {}
        self.number = 0
        self.book = Book()
        self.leases: list[Lease] = []
        self.terms = [
            Terms(
                f"{at} {kind}",
                Ask(f"holder-{at}", kind, Charge(UNITS), NODE, expected_ms=30_000, bound_ms=60_000),
            )
            for at in range(holders)
            for kind in TYPES
        ]
        self.made = [self.job() for _ in range(jobs)]

    def job(self) -> Job:
        """The next job to come, of the next holder and type."""
        self.number += 1
        since_ms = self.number // 10
        return Job(
            self.number, self.terms[self.number % len(self.terms)], JobState.QUEUED, since_ms, since_ms
        )

    def fill(self) -> tuple[float, float]:
        """File all; the time for each and the longest, in microseconds."""
        return _each(self.line.add, self.made)

    def start(self, entry: Job) -> None:
        """What a dispatch does to the line, the flows and the book."""
        self.line.remove(entry.number)
        for flow in order.charged(self.flows, entry.ask, cost(entry.ask.charge), SETTINGS.line):
            self.flows[flow.key] = flow
        lease = Lease(f"lease-{entry.number}", entry.number, entry.ask, LeaseState.ACTIVE, 0, 0)
        self.book.add(lease)
        self.leases.append(lease)

    def plan(self) -> dispatch.Plan[Job]:
        return dispatch.plan(
            self.line,
            self.flows,
            lambda entry: Here.READY,
            self.book,
            VIEW,
            {},
            lambda: [reservation.running(lease, 0) for lease in self.leases],
            SETTINGS,
            0,
            lambda entry: None,
        )

    def decide_us(self) -> list[float]:
        """One turn of decisions, each after a lease has ended and another job has come."""
        found = []
        for _ in range(DECISIONS):
            self.book.remove(self.leases.pop(0))
            self.line.add(self.job())
            began = time.thread_time()
            made = self.plan()
            for entry in made.grants:
                self.start(entry)
            found.append((time.thread_time() - began) * 1e6)
            assert len(made.grants) == 1, "the node has room for one"
            assert made.reserved is not None, "whoever is next is promised a time"
        return found

    def claim_us(self) -> float:
        """What one job of a claim costs."""
        began = time.thread_time()
        taken, _ = claim.under_session(
            self.line, self.flows, SETTINGS.line, 0, cost, lambda entry: True, lambda entry: None, CLAIMED
        )
        return (time.thread_time() - began) * 1e6 / len(taken)


def run(setup: Setup) -> Report:
    """Fill both, take turns, empty the large one."""
    small, large = (100, 100_000) if setup.is_quick else (1_000, 1_000_000)
    resident = _resident_bytes()
    many = Waiting(large)
    records = _resident_bytes() - resident
    gc.collect()
    gc.disable()
    try:
        add_us, add_pause_us = many.fill()
        grown = _resident_bytes() - resident
        few, one = Waiting(small), Waiting(CLAIMED, holders=1)
        few.fill()
        one.fill()
        turns = _turns(few, many, setup.rounds)
        claims = [[each.claim_us() for _ in range(setup.rounds)] for each in (many, one)]
        remove_us, remove_pause_us = _each(many.line.remove, [entry.number for entry in many.made])
    finally:
        gc.enable()
    pauses_ms = max(add_pause_us, remove_pause_us) / 1000
    in_line = (grown - records) / large
    return Report(
        name="line",
        requirement=REQUIREMENT,
        figures=(
            *_decisions(turns),
            Figure(name="line_claim_50_flows", value=median(claims[0]), unit="us a job", at_most=8),
            Figure(name="line_claim_1_flow", value=median(claims[1]), unit="us a job", at_most=4),
            Figure(name="line_add", value=add_us, unit="us", at_most=2),
            Figure(name="line_remove", value=remove_us, unit="us", at_most=2),
            Figure(name="line_pause", value=pauses_ms, unit="ms", at_most=50),
            Figure(name="line_bytes", value=in_line, unit="bytes an entry", at_most=150),
            Figure(name="line_memory", value=grown / 2**20, unit="MiB, jobs included", at_most=450),
        ),
        notes=(f"{large:,} jobs waiting against {small:,}",),
    )


def _turns(few: Waiting, many: Waiting, rounds: int) -> list[tuple[list[float], list[float]]]:
    for each in (few, many):
        for entry in each.plan().grants:  # Until the node is full.
            each.start(entry)
    return [(few.decide_us(), many.decide_us()) for _ in range(rounds + 1)][1:]


def _decisions(turns: list[tuple[list[float], list[float]]]) -> list[Figure]:
    middles = [(median(few), median(many)) for few, many in turns]
    all_of_few = [each for few, _ in turns for each in few]
    all_of_many = [each for _, many in turns for each in many]
    return [
        Figure(
            name="line_decision_ratio",
            value=paired_ratio([many for _, many in middles], [few for few, _ in middles]),
            unit="x of the small line",
            at_most=2,
            note=f"medians {spread([many for _, many in middles])} us",
        ),
        Figure(
            name="line_decision_p99",
            value=percentile(all_of_many, 0.99),
            unit="us",
            at_most=200,
            note=f"slowest {max(all_of_many):.0f}; of the small line {percentile(all_of_few, 0.99):.0f}",
        ),
    ]


def _each(change: Callable[..., object], arguments: list[Job] | list[int]) -> tuple[float, float]:
    """The CPU time of one call and of the longest, in microseconds."""
    clock, slowest, began_all = time.thread_time, 0.0, time.thread_time()
    before = began_all
    for argument in arguments:
        change(argument)
        now = clock()
        slowest = max(slowest, now - before)
        before = now
    return (before - began_all) * 1e6 / len(arguments), slowest * 1e6


def cost(charge: Charge) -> int:
    """What the order counts a charge for on this node."""
    return capacity.dominant_share_cost(charge, TOTALS)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
