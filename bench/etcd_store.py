"""Grants per second of the ledger on etcd, with SQLite beside it: 64 callers, each lease released.

Method: the product's own ledger and pure decisions on uvloop in this process, once on the SQLite store, once
on one etcd (Debian's, default settings), once on three members of it, all on this machine and over loopback
without TLS. 64 callers each repeat: grant one unit, await that it is durable, release it, await that too. A
follower reads every batch of etcd by its watch, as a server's archive does, and lets go what it has read.
Rounds alternate between the stores, each after a control of the disk; figures are medians. etcd's members and
the ledger share the cores, so the figure of three says what such a machine does, and not what three would do.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import uvloop

from bench.control import flushes_per_s
from bench.cycles import Cycles
from bench.etcd_leases import CONTROL_S, control_figure
from bench.ledger import ASK, CALLERS, LOCAL_USER, NODE, drive
from bench.machine import disturbance
from bench.report import Figure, Report
from bench.setup import Setup
from bench.summary import median, paired_ratio, spread
from leasehold.adapters.stores.etcd.opening import etcd_store
from leasehold.adapters.stores.etcd.settings import EtcdSettings
from leasehold.adapters.stores.etcd.store import EtcdStore
from leasehold.adapters.stores.sqlite import SqliteStore
from leasehold.control.ledger import Ledger
from leasehold.core import lease as life
from leasehold.core.state import Outcome, Stamp, State
from leasehold.model.lease import Lease, Usage
from leasehold.model.settings import PolicySettings
from leasehold.ports.store import Store
from leasehold.runtime.clock import RealClock
from leasehold.runtime.ids import RandomIds
from leasehold.testing.etcd import Cluster, missing

REQUIREMENT = "PROVE-12"
FORGOTTEN = 500
"""Batches between two deletions of what the follower has read."""

POLICY = PolicySettings()
Commits = list[float]


def run(setup: Setup) -> Report:
    """Alternate between the stores; what was granted must have been released at the end."""
    if why := missing():
        return Report(name="etcd_store", requirement=REQUIREMENT, not_measured=(why,))
    with _clusters(setup) as clusters:
        return uvloop.run(_run(setup, clusters))


@contextmanager
def _clusters(setup: Setup) -> Iterator[dict[str, Cluster]]:
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(Cluster(setup.folder(name), size))
            for name, size in (("etcd", 1), ("etcd_three", 3))
        }


async def _run(setup: Setup, clusters: dict[str, Cluster]) -> Report:
    sides: dict[str, Callable[[], Store]] = {"sqlite": partial(_sqlite, setup.folder("sqlite"))}
    sides |= {name: partial(_etcd, cluster) for name, cluster in clusters.items()}
    rounds: dict[str, list[Cycles]] = {name: [] for name in sides}
    commits: dict[str, Commits] = {name: [] for name in sides}
    controls: list[float] = []
    for _ in range(setup.rounds):
        for name, make in sides.items():
            controls.append(flushes_per_s(setup.scratch, CONTROL_S))
            async with _ledger(make()) as ledger:
                cycles = await drive(partial(_cycle, ledger), setup)
                assert not ledger.state.leases, "a lease outlived its release"
                rounds[name].append(cycles)
                commits[name].append(ledger.commits / (setup.warm_s + setup.measure_s))
    ratio = paired_ratio([c.per_s for c in rounds["etcd"]], [c.per_s for c in rounds["sqlite"]])
    figures = [figure for name in sides for figure in _figures(name, rounds[name], commits[name])]
    figures.append(Figure(name="etcd_to_sqlite", value=ratio, unit="of its grants/s"))
    return Report(
        name="etcd_store",
        requirement=REQUIREMENT,
        figures=(*figures, control_figure(controls)),
        notes=disturbance([cycles.others_share for side in rounds.values() for cycles in side]),
    )


def _sqlite(folder: Path) -> Store:
    return SqliteStore(folder, wall_ms=lambda: 0)


def _etcd(cluster: Cluster) -> Store:
    return etcd_store(EtcdSettings(cluster.endpoints, ttl_s=20), RealClock())


@asynccontextmanager
async def _ledger(store: Store) -> AsyncIterator[Ledger]:
    ledger = Ledger(store, RealClock(), RandomIds(), lambda: State(NODE))
    await ledger.start()
    follower = asyncio.create_task(_followed(store)) if isinstance(store, EtcdStore) else None
    try:
        yield ledger
    finally:
        if follower is not None:
            follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await follower
        await ledger.stop()


async def _followed(store: EtcdStore) -> None:
    async for batch in store.watch(await store.batch_seq()):
        if batch.seq % FORGOTTEN == 0:
            await store.forget(batch.seq)


async def _cycle(ledger: Ledger) -> None:
    lease: Lease = await ledger.execute(_grant)
    await ledger.execute(partial(_release, lease))


def _grant(state: State, stamp: Stamp) -> Outcome:
    outcome = Outcome()
    outcome.answer = life.grant(state, ASK, stamp, POLICY, outcome)
    return outcome


def _release(lease: Lease, state: State, stamp: Stamp) -> Outcome:
    held = life.own(state, lease.lease_id, LOCAL_USER.name, token=lease.token)
    return life.release(state, held, stamp, POLICY, Usage(), "")


def _figures(name: str, rounds: list[Cycles], commits: Commits) -> list[Figure]:
    rates = [cycles.per_s for cycles in rounds]
    own_s = median([cycles.server_cpu_s for cycles in rounds])
    return [
        Figure(
            name=f"{name}_{CALLERS}_grants",
            value=median(rates),
            unit="grants/s, each released",
            note=f"rounds {spread(rates)}; CPU of the ledger {own_s:.1f} s a round",
        ),
        Figure(name=f"{name}_{CALLERS}_commits", value=median(commits), unit="commits/s"),
        Figure(name=f"{name}_{CALLERS}_p50", value=median([c.p50_ms for c in rounds]), unit="ms"),
        Figure(name=f"{name}_{CALLERS}_p99", value=median([c.p99_ms for c in rounds]), unit="ms"),
    ]
