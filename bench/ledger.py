"""Grants per second in one process: 64 callers, each lease released, with their events, on SQLite.

Method: the product's own lease service, ledger, supervisor and SQLite store (WAL, synchronous=FULL) on uvloop
in this process, without HTTP. 64 callers each repeat: request 1 unit (`start=now`, preset `always`, a local
user's credential), await the durable answer, release it, await that too. Both are committed with their events
before they are answered. The second figure is of the ledger and the pure decisions alone. Rounds alternate
between the two, each after a control of the disk; figures are medians. At the end no lease may be live, and
each grant and each release must have left its event.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import uvloop

from bench import sampled
from bench.control import flushes_per_s
from bench.cycles import Cycles
from bench.etcd_leases import CONTROL_S, control_figure
from bench.machine import Meter, disturbance
from bench.report import Figure, Report
from bench.setup import Setup
from bench.summary import median, spread
from leasehold.adapters.hosts.processes import LinuxProcesses
from leasehold.adapters.hosts.work import LinuxWork
from leasehold.adapters.stores.sqlite import SqliteStore
from leasehold.adapters.stores.sqlite_archive import SqliteArchive
from leasehold.control.bindings import Bindings
from leasehold.control.counters import Counters
from leasehold.control.drafts import Users
from leasehold.control.job import JobService
from leasehold.control.lease import LeaseService
from leasehold.control.ledger import Ledger
from leasehold.control.supervisor import Supervisor
from leasehold.core import admission
from leasehold.core import lease as life
from leasehold.core.state import Outcome, Stamp, State
from leasehold.model.charge import Charge, Totals
from leasehold.model.lease import Ask, Lease, Usage
from leasehold.model.node import NodeView
from leasehold.model.principal import Principal
from leasehold.model.settings import PolicySettings
from leasehold.runtime.clock import RealClock
from leasehold.runtime.ids import RandomIds
from leasehold.runtime.lanes import ThreadLane
from leasehold.wire.lease import HeavyLeaseRequest, Release

REQUIREMENT = "PROVE-12"
GRANTS_PER_S_MIN = 8_000.0
CALLERS = 64
NODE = "bench"
TOTALS = Totals(cpu_millicores=2_000, memory_bytes=8 << 30, disk_bytes=64 << 30)
LOCAL_USER = Principal(
    "user:1000", "submitter", frozenset({"lease:request", "lease:now", "lease:costless"}), local=True
)
REQUEST = HeavyLeaseRequest(job_type="bench", cost_units=1, start="now")
ASK = Ask(
    holder=LOCAL_USER.name,
    job_type="bench",
    charge=Charge(units=1),
    node=NODE,
    principal=LOCAL_USER.name,
    quiet_gate=False,
)

Cycle = Callable[[], Awaitable[None]]


class Assembly:
    """Service, ledger and store as the server puts them together, on the `always` preset."""

    def __init__(self, folder: Path) -> None:
        self.clock = RealClock()
        self.settings = PolicySettings()
        self.store = SqliteStore(folder, wall_ms=self.clock.wall_ms)
        self.archive = SqliteArchive(self.store)
        self.ledger = Ledger(self.store, self.clock, RandomIds(), lambda: State(NODE))
        bindings = Bindings(LinuxProcesses(), LinuxWork(), ThreadLane("bind").run, lambda lease_id: None)
        self.leases = LeaseService(
            self.ledger,
            lambda: self.settings,
            bindings,
            self.archive,
            Counters(),
            totals=TOTALS,
            disk_of=lambda path: "",
        )
        users = Users(os.getuid(), lambda name: None)
        self.jobs = JobService(self.leases, self.leases.calls, lambda path: "", users)
        self.supervisor = Supervisor(self.leases, jobs=self.jobs)

    def observe(self) -> None:
        """A fresh measurement, so that no round runs into stale ones."""
        now_ms = self.clock.now_ms()
        self.supervisor.observed(NodeView(NODE, now_ms, "QUIET", 100, now_ms, TOTALS, always=True))

    async def service_cycle(self) -> None:
        """Request and release, as an edge calls them."""
        answer = await self.leases.request(LOCAL_USER, REQUEST)
        assert answer.approved, answer.reason
        assert answer.lease_id is not None
        assert answer.fencing_token is not None
        await self.leases.release(LOCAL_USER, answer.lease_id, Release(fencing_token=answer.fencing_token))

    async def ledger_cycle(self) -> None:
        """Grant and release by the pure decisions alone."""
        lease: Lease = await self.ledger.execute(self._grant)
        await self.ledger.execute(partial(self._release, lease))

    def _grant(self, state: State, stamp: Stamp) -> Outcome:
        assert admission.admissible(state, ASK, stamp.now_ms, self.settings)
        outcome = Outcome()
        outcome.answer = life.grant(state, ASK, stamp, self.settings, outcome)
        return outcome

    def _release(self, lease: Lease, state: State, stamp: Stamp) -> Outcome:
        held = life.own(state, lease.lease_id, LOCAL_USER.name, token=lease.token)
        return life.release(state, held, stamp, self.settings, Usage(), "")


@asynccontextmanager
async def assembled(folder: Path) -> AsyncIterator[Assembly]:
    """Start it, and stop it in the server's order."""
    assembly = Assembly(folder)
    await assembly.supervisor.start()
    gc.collect()
    gc.freeze()
    try:
        yield assembly
    finally:
        await assembly.supervisor.stop()
        await assembly.archive.close()


def run(setup: Setup) -> Report:
    """Alternate both levels; check at the end that nothing is left and nothing was lost."""
    return uvloop.run(_run(setup))


async def _run(setup: Setup) -> Report:
    rounds: dict[str, list[Cycles]] = {"service": [], "ledger": []}
    controls: list[float] = []
    async with assembled(setup.folder("ledger")) as assembly:
        cycle_of = {"service": assembly.service_cycle, "ledger": assembly.ledger_cycle}
        for _ in range(setup.rounds):
            for level, cycle in cycle_of.items():
                controls.append(flushes_per_s(setup.scratch, CONTROL_S))
                assembly.observe()
                rounds[level].append(await drive(cycle, setup))
        if setup.is_profiled:
            await _profile(assembly, setup)
        events_of = assembly.supervisor.counts
        assert not assembly.ledger.state.leases, "a lease outlived its release"
        assert events_of["LeaseGranted"] == events_of["LeaseReleased"], f"events were lost: {events_of}"
    figures = [figure for level, cycles in rounds.items() for figure in _figures(level, cycles)]
    return Report(
        name="ledger",
        requirement=REQUIREMENT,
        figures=(*figures, control_figure(controls)),
        notes=disturbance([cycles.others_share for level in rounds.values() for cycles in level]),
    )


async def drive(cycle: Cycle, setup: Setup) -> Cycles:
    """CALLERS tasks repeat `cycle` until the window has closed; each finishes its last one."""
    opens_at = time.perf_counter() + setup.warm_s
    closes_at = opens_at + setup.measure_s
    latencies_us: list[int] = []

    async def caller() -> None:
        while (began_at := time.perf_counter()) < closes_at:
            await cycle()
            ended_at = time.perf_counter()
            if opens_at <= ended_at < closes_at:
                latencies_us.append(round((ended_at - began_at) * 1e6))

    with Meter(None) as meter:
        await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return Cycles.of(
        latencies_us, setup.measure_s, server_cpu_s=meter.server_s, others_share=meter.others_share
    )


async def _profile(assembly: Assembly, setup: Setup) -> None:
    output = (setup.reports / "profile-ledger.txt").resolve()
    assembly.observe()
    samples = sampled.start(output)
    await drive(assembly.service_cycle, setup)
    sampled.stop(samples, output)
    setup.say(f"see {output}")


def _figures(level: str, rounds: list[Cycles]) -> list[Figure]:
    rates = [cycles.per_s for cycles in rounds]
    own_s = median([cycles.server_cpu_s for cycles in rounds])
    return [
        Figure(
            name=f"{level}_{CALLERS}_grants",
            value=median(rates),
            unit="grants/s, each released",
            at_least=GRANTS_PER_S_MIN if level == "service" else None,
            note=f"rounds {spread(rates)}; CPU {own_s:.1f} s a round",
        ),
        Figure(name=f"{level}_{CALLERS}_p50", value=median([c.p50_ms for c in rounds]), unit="ms"),
        Figure(name=f"{level}_{CALLERS}_p99", value=median([c.p99_ms for c in rounds]), unit="ms"),
    ]
