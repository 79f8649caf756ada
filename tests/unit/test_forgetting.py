"""How a server rids its archive of what is past its time (LEASE-16, QUEUE-14)."""

from __future__ import annotations

from collections import Counter

import pytest

from leasehold.adapters.stores.memory import Disk, Ended
from leasehold.control import supervisor
from leasehold.model.ids import sortable
from leasehold.ports.store import cold_key
from leasehold.testing.manual_clock import ManualClock
from tests.unit.test_owner import MONDAY_NOON_MS, server

DAY_MS = 86_400_000


@pytest.mark.requirement("QUEUE-14", "LEASE-16")
async def test_jobs_go_after_thirty_days_and_leases_after_ninety() -> None:
    """Within one round, however many slices that takes, with their payloads; younger ones stay."""
    clock = ManualClock(wall_start_ms=MONDAY_NOON_MS)
    disk = Disk(clock.wall_ms)
    for number in range(3_000):
        for noun, days in (("jobs", 31), ("leases", 91), ("tickets", 31)):
            ended_ms = MONDAY_NOON_MS - (days if number < 2_400 else 29) * DAY_MS
            key = f"/{noun}/{sortable(number)}"
            disk.finished.append(Ended(len(disk.finished) + 1, ended_ms, key, b"end"))
        disk.cold[cold_key(f"/jobs/{sortable(number)}")] = b"payload"
    async with server(disk, clock) as here:
        assert len(disk.finished) == 9_000
        await here.pass_by(supervisor.FORGET_MS + 1_000)
        left = Counter(row.key.split("/")[1] for row in disk.finished)
        assert left == {"jobs": 600, "leases": 600, "tickets": 3_000}
        assert len(disk.cold) == 600
