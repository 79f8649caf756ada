"""The audit keeps what counts, folds what repeats, and stays within its bounds whatever is thrown at it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from leasehold.adapters.stores.memory import Disk
from leasehold.adapters.stores.memory_archive import MemoryArchive
from leasehold.api.routes import ENDPOINTS
from leasehold.control import audit
from leasehold.control.audit import HOUR_MS, KEYS_MAX, OTHERS, OWN_ROWS_MAX, PENDING_MAX, AuditService
from leasehold.model.audit import NOBODY, Called
from leasehold.ports.store import CommitFailed
from leasehold.testing.manual_clock import ManualClock

WHAT = "PUT /api/nodes/{node_id}/admission"


class FullArchive(MemoryArchive):
    """An archive on a disk that may be full; `writes` are the sizes of what was tried."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk)
        self.full = False
        self.writes: list[int] = []

    async def record(self, calls: Sequence[Called]) -> None:
        self.writes.append(len(calls))
        if self.full:
            raise CommitFailed("the disk is full")
        await super().record(calls)


class Here:
    """The service over one disk, on a clock that moves when told."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.disk = Disk()
        self.archive = FullArchive(self.disk)
        self.audit = AuditService(self.archive, self.clock)

    def call(self, who: str = "user:ann", status: int = 200, **more: Any) -> Called:
        at = self.clock.wall_ms()
        return Called(who, more.pop("what", WHAT), status, at, at, **more)

    def deny(self, who: str = NOBODY, status: int = 401, **more: Any) -> None:
        self.audit.denied(self.call(who, status, **more))

    async def rows(self) -> list[Called]:
        await self.audit.flush()
        return list(self.disk.audit)


@pytest.mark.requirement("OPS-7")
async def test_a_change_is_durable_when_its_call_is_answered() -> None:
    """It has a row of its own before the service returns; a denied call waits for the next flush."""
    here = Here()
    await here.audit.called(here.call(ids={"node_id": "self"}, request_id="ab"))
    here.deny()
    assert [(row.who, row.ids, row.folded) for row in here.disk.audit] == [
        ("user:ann", {"node_id": "self"}, False)
    ]
    assert [row.outcome for row in await here.rows()] == ["done", "denied"]


@pytest.mark.requirement("OPS-7", "INV-8")
async def test_a_flood_of_one_kind_is_one_row_an_hour() -> None:
    """First, last, count and the last one's figures, over all flushes of the hour; the next begins anew."""
    here = Here()
    begin = here.clock.wall_ms()
    for n in range(3_000):
        here.deny(address="10.0.0.9", note="unknown", pid=n, request_id=f"{n}")
        if n % 1_000 == 0:
            await here.audit.flush()
        await here.clock.advance(1)
    (row,) = await here.rows()
    assert (row.count, row.pid, row.request_id) == (3_000, 2_999, "2999")
    assert (row.first_wall_ms, row.last_wall_ms) == (begin, begin + 2_999)
    await here.clock.advance(HOUR_MS)
    here.deny(address="10.0.0.9", note="unknown")
    assert [row.count for row in await here.rows()] == [3_000, 1]


@pytest.mark.requirement("OPS-7", "INV-8")
async def test_a_flood_from_everywhere_is_bounded_and_hides_nobody_with_a_name() -> None:
    """Strangers' kinds beyond the bound fold together, over flushes too; a known caller keeps its own row."""
    here = Here()
    for n in range(5 * KEYS_MAX):
        here.deny(address=f"10.0.{n // 256}.{n % 256}", credential_id=f"tok-{n}")
        if n % 100 == 0:
            await here.audit.flush()
    here.deny("token:ci/tok-1", 403, address="10.9.9.9", credential="token", credential_id="tok-1")
    rows = await here.rows()
    assert len(rows) == KEYS_MAX + 2
    assert sum(row.count for row in rows) == 5 * KEYS_MAX + 1
    others = [row for row in rows if row.address == OTHERS]
    assert [(row.who, row.count, row.credential_id) for row in others] == [(NOBODY, 4 * KEYS_MAX, "")]
    assert [row.address for row in rows if row.who == "token:ci/tok-1"] == ["10.9.9.9"]
    await here.clock.advance(HOUR_MS)
    here.deny(address="10.77.0.1")
    assert (await here.rows())[-1].address == "10.77.0.1", "each hour has a bound of its own"


@pytest.mark.requirement("OPS-7", "INV-8")
async def test_nobody_pushes_the_audit_out_by_calling_often() -> None:
    """Beyond its rows of an hour a caller's changes are folded and counted; another one's have their own."""
    here = Here()
    for n in range(OWN_ROWS_MAX + 300):
        await here.audit.called(here.call(ids={"node_id": f"{n}"}))
    await here.audit.called(here.call("user:bob"))
    rows = await here.rows()
    assert len(rows) == OWN_ROWS_MAX + 2
    folded = [row for row in rows if row.folded]
    assert [(row.who, row.count, row.ids) for row in folded] == [
        ("user:ann", 300, {"node_id": f"{OWN_ROWS_MAX + 299}"})
    ]
    assert [row.folded for row in rows if row.who == "user:bob"] == [False]


@pytest.mark.requirement("OPS-7", "OPS-17")
async def test_a_full_disk_blocks_nothing_and_what_waited_is_written_later() -> None:
    """Calls go on, the page says that records wait, and with room they are all there, with their counts."""
    here = Here()
    here.deny()
    await here.audit.flush()
    here.archive.full = True
    await here.audit.called(here.call())
    here.deny()
    here.deny()
    await here.audit.flush()
    page = await here.audit.page()
    assert "2 record(s) wait for the disk: the disk is full" in page.notice
    assert [one.outcome for one in page.calls] == ["denied"]
    here.archive.full = False
    page = await here.audit.page()
    assert page.notice == ""
    assert sorted((one.outcome, one.count) for one in page.calls) == [("denied", 3), ("done", 1)]


@pytest.mark.requirement("OPS-7", "OPS-17", "INV-8")
async def test_what_no_disk_takes_and_no_memory_holds_is_counted_and_said() -> None:
    """Memory holds so many and no more; the gap becomes a record once the disk takes one."""
    here = Here()
    here.archive.full = True
    hours = PENDING_MAX // KEYS_MAX + 2
    for hour in range(hours):
        for n in range(KEYS_MAX):
            here.deny(address=f"10.{hour}.0.{n}")
        await here.audit.flush()
        await here.clock.advance(HOUR_MS)
    assert len(here.audit._folded) == PENDING_MAX
    lost = hours * KEYS_MAX - PENDING_MAX
    assert f"{lost} were lost" in (await here.audit.page()).notice
    here.archive.full = False
    rows = await here.rows()
    assert [(row.who, row.count, row.code) for row in rows if row.outcome == "lost"] == [
        ("system", lost, "AUDIT_LOST")
    ]
    assert here.audit.counts == {"denied": hours * KEYS_MAX, "lost": lost}
    assert not await here.archive.record([]), "nothing is left"
    await here.audit.flush()
    assert len(here.disk.audit) == PENDING_MAX + 1


@pytest.mark.requirement("OPS-7")
async def test_pages_go_forward_and_back() -> None:
    """Without a number the newest; `next` leads on, and the last page leads nowhere."""
    here = Here()
    for n in range(7):
        await here.audit.called(here.call(request_id=f"{n}"))
    assert [one.seq for one in (await here.audit.page(limit=3)).calls] == [5, 6, 7]
    assert [one.seq for one in (await here.audit.page(limit=3, before=5)).calls] == [2, 3, 4]
    first = await here.audit.page(after=0, limit=4)
    assert ([one.seq for one in first.calls], first.next) == ([1, 2, 3, 4], "4")
    last = await here.audit.page(after=4, limit=4)
    assert ([one.seq for one in last.calls], last.next) == ([5, 6, 7], None)
    await here.clock.advance(60_000)
    await here.audit.called(here.call(who="user:bob"))
    assert [one.who for one in (await here.audit.page(range_sec=30)).calls] == ["user:bob"]


@pytest.mark.requirement("OPS-7")
def test_every_changing_route_is_audited_or_says_why_not() -> None:
    """The hot calls of leases and jobs have events of the ledger; two more change nothing but figures."""
    silent = {endpoint.what for endpoint in ENDPOINTS if endpoint.method != "GET" and not endpoint.audited}
    lease, queue = "POST /api/scheduler/lease", "POST /api/scheduler/queue"
    assert silent == {
        f"{lease}/request",
        f"{lease}/heartbeat",
        f"{lease}/{{lease_id}}/heartbeat",
        f"{lease}/{{lease_id}}/report",
        f"{lease}/{{lease_id}}/release",
        f"{queue}/jobs/submit",
        f"{queue}/jobs/{{job_id}}/ack",
        f"{queue}/jobs/{{job_id}}/complete",
        f"{queue}/claim",
        f"{queue}/complete",
        "POST /api/scheduler/explain",
        "POST /api/addons/{addon_id}/stats",
    }
    assert not [endpoint.what for endpoint in ENDPOINTS if endpoint.audited and endpoint.hot]
    assert "PUT /api/scheduler/locks/{name}" in {endpoint.what for endpoint in ENDPOINTS}


def test_the_hour_of_the_service_is_that_of_the_archive() -> None:
    """What folds in memory folds in the same row."""
    from leasehold.adapters.stores.folding import BUCKET_MS

    assert audit.HOUR_MS == BUCKET_MS
