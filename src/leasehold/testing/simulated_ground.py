"""What every server of one simulated run stands on, and what it leaves behind."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from typing import Any

from leasehold.adapters.stores.memory import Disk
from leasehold.model.lease import Lease, LeaseState
from leasehold.model.settings import PolicySettings
from leasehold.ports.store import Batch
from leasehold.testing.fakes import FakeBrakes, FakeProcesses, MachineTime, PlacesOnly, SeededIds
from leasehold.testing.faults import DiskFaults, Kind
from leasehold.testing.histories import Histories
from leasehold.testing.model_of_leases import LeaseModel
from leasehold.testing.virtual_loop import VirtualLoop


class WatchedDisk(Disk):
    """Shows each batch to the model in the instant in which it is durable."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground.machine.wall_ms)
        self._ground = ground

    def apply(self, batch: Batch, *rest: Any) -> None:
        super().apply(batch, *rest)
        self._ground.committed(batch)


class Ground:
    """What outlives a server: the machine with its disk and processes, and those who watch over the run."""

    def __init__(self, loop: VirtualLoop, seed: int) -> None:
        self.loop = loop
        self.seed = seed
        self.settings = PolicySettings()
        self.machine = MachineTime(loop)
        self.met: Counter[Kind] = Counter()
        self.model = LeaseModel(self.machine.boot_ms, self.settings)
        self.histories = Histories(self.model)
        self.processes = FakeProcesses()
        self.work = PlacesOnly(self.processes)
        self.brakes = FakeBrakes()
        self.faults = DiskFaults(self.chance("disk"), self.met)
        self.disk = WatchedDisk(self)
        self.ids = SeededIds(self.chance("ids"))
        self.dies_at_grant: dict[str, asyncio.Future[Any]] = {}
        self._trace = hashlib.blake2b(digest_size=16)
        self.model.on_end.append(self._work_is_over)

    def chance(self, what: str) -> random.Random:
        """A stream of chance of its own, so that one thing more here changes nothing there."""
        return random.Random(f"{self.seed} {what}")

    def note(self, what: str) -> None:
        """One line of the trace."""
        self._trace.update(f"{self.machine.boot_ms()} {what}\n".encode())

    @property
    def trace(self) -> str:
        return self._trace.hexdigest()

    async def sleep(self, delay_ms: int) -> None:
        await asyncio.sleep(delay_ms / 1000)

    def committed(self, batch: Batch) -> None:
        self.note(f"batch {batch.seq} {batch.puts} {batch.finishes} {batch.deletes} {batch.events!r}")
        before = set(self.model.leases) if self.dies_at_grant else set()
        self.model.committed(batch)
        for lease_id in sorted(set(self.model.leases) - before) if self.dies_at_grant else ():
            principal = self.model.leases[lease_id].record.ask.principal
            asking = self.dies_at_grant.get(principal)
            if asking is not None:
                self.histories.excuse(principal)
                asking.cancel()

    def _work_is_over(self, lease: Lease, was: LeaseState) -> None:
        """What ends by itself or is taken back keeps its charge while its work lives (LEASE-13, 22)."""
        lives = any(self.processes.alive(process) for process in lease.binding.work)
        if lives and lease.state is not LeaseState.RELEASED:
            self.model.fail("LEASE-22", f"{lease.lease_id} ended as {lease.state} while its work lives")
