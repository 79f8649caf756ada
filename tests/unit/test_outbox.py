"""The outbox at work: from an event to a call, over failures, restarts, full disks (OPS-14, CLUSTER-27)."""

from __future__ import annotations

import asyncio

import pytest

from leasehold.adapters.stores.memory import Disk
from leasehold.core.notification import GROUP_MS
from leasehold.model.errors import (
    Conflict,
    NotFound,
    StoreUnavailable,
)
from leasehold.model.event import Event
from leasehold.model.notification import DeliveryState
from leasehold.ports.notifier import NotifyFailed
from leasehold.wire.notification import PushKeys, QuietHours, SubscriptionIn
from tests.unit.outbox_server import ADMIN, ANN, FakeNotifier, Server, WallClock, server

HOUR_MS = 3_600_000
ALERT = {"severity": "warning", "reason": "the disk is full", "since_ms": 1}


@pytest.mark.requirement("OPS-14", "CLUSTER-27")
async def test_an_event_is_told_once_it_is_committed() -> None:
    """The message stands in the commit of its event; the call goes out after that, and its end is kept."""
    async with server() as here:
        await here.add("ops")
        await here.happens("AlertFired", "disk_space", **ALERT)
        assert here.notifier.sent == []
        await here.pass_by(GROUP_MS)
        (parcel,) = here.notifier.sent
        assert (parcel.messages[0].title, parcel.messages[0].text) == ("Alert disk_space", "the disk is full")
        assert here.deliveries[0].state is DeliveryState.SENT
        shown = await here.service.notifications(limit=10)
        assert [(one.title, one.deliveries[0].state) for one in shown.notifications] == [
            ("Alert disk_space", "sent")
        ]


@pytest.mark.requirement("OPS-14")
async def test_success_clearing_and_acknowledgement_are_told_to_nobody() -> None:
    """Nor is anything else that is shown only; a muted alert neither."""
    async with server() as here:
        await here.add("ops", severity="info")
        for kind in (
            "AlertCleared",
            "AlertAcknowledged",
            "AlertEased",
            "BackupDone",
            "JobDone",
            "LeaseGranted",
        ):
            await here.happens(kind, "x", severity="critical", reason="r", since_ms=1)
        await here.happens("AlertFired", "x", severity="critical", reason="r", since_ms=1, muted=True)
        await here.pass_by(GROUP_MS * 2)
        assert (here.notifier.sent, here.deliveries) == ([], [])


@pytest.mark.requirement("OPS-14")
async def test_each_tenth_violation_of_one_principal_is_told() -> None:
    """Not the nine before it."""
    async with server() as here:
        await here.add("ops")
        for count in range(1, 21):
            await here.happens("RateViolation", "token:ci", count=count)
        await here.pass_by(GROUP_MS)
        assert here.notifier.titles == [
            ["token:ci has broken the rules 10 times", "token:ci has broken the rules 20 times"]
        ]


@pytest.mark.requirement("CLUSTER-27", "INV-4")
async def test_a_crash_at_any_point_loses_nothing() -> None:
    """Between commit and call; in the middle of a call; after it: it is sent (again), under the same id."""
    disk, clock, notifier = Disk(lambda: 0), WallClock(), FakeNotifier()
    disk = Disk(clock.wall_ms)
    async with server(disk, clock, notifier) as here:
        await here.add("ops")
        await here.happens("BackupFailed", "backup-1", reason="no room")
    assert notifier.sent == []
    notifier.hold["ops"] = asyncio.Event()
    async with server(disk, clock, notifier) as here:
        await here.pass_by(GROUP_MS)
        assert len(notifier.sent) == 1  # It has gone out, and nobody knows whether it has arrived.
    async with server(disk, clock, notifier) as here:
        notifier.hold.clear()
        await here.pass_by(10_000)
        assert len(notifier.sent) == 2
        assert len({one.delivery.delivery_id for one in notifier.sent}) == 1
        assert notifier.titles == [["A backup failed"]] * 2
        assert here.deliveries[0].state is DeliveryState.SENT
    async with server(disk, clock, notifier) as here:
        await here.pass_by(HOUR_MS, 60_000)
        assert len(notifier.sent) == 2


@pytest.mark.requirement("CLUSTER-27")
async def test_a_receiver_that_fails_is_asked_again_until_it_takes_it() -> None:
    """With growing pauses; its error is kept meanwhile and forgotten then."""
    async with server() as here:
        await here.add("ops")
        here.notifier.failure = NotifyFailed("HTTP_500", "ops.example answered 500")
        await here.happens("BackupFailed", "backup-1", reason="no room")
        await here.pass_by(60_000)
        attempts = len(here.notifier.sent)
        assert 4 <= attempts <= 6
        (waiting,) = here.deliveries
        assert (waiting.state, waiting.attempts, waiting.error) == (
            DeliveryState.PENDING,
            attempts,
            "ops.example answered 500",
        )
        assert "answered 500" in (await here.service.targets()).targets[0].problem
        here.notifier.failure = None
        await here.pass_by(120_000)
        assert here.deliveries[0].state is DeliveryState.SENT
        assert here.deliveries[0].error == ""


@pytest.mark.requirement("CLUSTER-27")
async def test_one_that_hangs_delays_nobody_else() -> None:
    """Each target has one call at a time; the others go on."""
    async with server() as here:
        here.notifier.hold["slow"] = asyncio.Event()
        for name in ("slow", "ops", "lab"):
            await here.add(name)
        await here.happens("RestoreFailed", "restore-1", reason="damaged")
        await here.pass_by(1_000)
        assert sorted(one.target.name for one in here.notifier.sent) == ["lab", "ops", "slow"]
        await here.happens("StoreRestored", "store", reason="by itself")
        await here.pass_by(GROUP_MS * 2)
        assert sorted(one.target.name for one in here.notifier.sent) == ["lab", "lab", "ops", "ops", "slow"]
        here.notifier.hold["slow"].set()
        await here.pass_by(GROUP_MS * 2)
        assert [one.state for one in here.deliveries] == [DeliveryState.SENT] * 6


@pytest.mark.requirement("CLUSTER-27")
async def test_a_full_disk_neither_loses_nor_repeats_what_was_taken() -> None:
    """What came of a call is kept until the store takes it; nothing is begun while it takes nothing."""
    async with server() as here:
        here.notifier.hold["ops"] = asyncio.Event()
        await here.add("ops")
        await here.happens("BackupFailed", "backup-1", reason="no room")
        await here.pass_by(GROUP_MS)
        assert len(here.notifier.sent) == 1
        here.faults.full = True
        here.notifier.hold["ops"].set()
        await here.pass_by(30_000)
        assert here.deliveries[0].state is DeliveryState.PENDING
        here.faults.full = False
        await here.pass_by(5_000)
        assert (here.deliveries[0].state, len(here.notifier.sent)) == (DeliveryState.SENT, 1)


def alert(rule: str, severity: str = "critical") -> Event:
    return Event("AlertFired", rule, 0, details={"severity": severity, "reason": "no room", "since_ms": 1})


async def fill(here: Server) -> None:
    """The disk is full, and the ledger knows it."""
    here.faults.full = True
    with pytest.raises(StoreUnavailable):
        await here.happens("JobDone", "job-1")


@pytest.mark.requirement("OPS-14", "OPS-17")
async def test_a_full_disk_is_told_of_while_it_is_full() -> None:
    """From memory, at once; when there is room again it is written down, and told no second time."""
    async with server() as here:
        await here.add("ops")
        await fill(here)
        here.outbox.untold([alert("store_read_only"), Event("AlertCleared", "x", 0)])
        await here.pass_by(1_000)
        assert here.notifier.titles == [["Alert store_read_only"]]
        assert here.ledger.state.notify_messages == {}
        here.faults.full = False
        await here.pass_by(5_000)
        (told,) = (await here.service.notifications(limit=10)).notifications
        assert (told.title, [one.state for one in told.deliveries]) == ("Alert store_read_only", ["sent"])
        late = {"severity": "critical", "reason": "no room", "since_ms": 1, "late": True}
        await here.happens("AlertFired", "store_read_only", **late)
        await here.pass_by(GROUP_MS * 2)
        assert len(here.notifier.sent) == 1


@pytest.mark.requirement("OPS-14", "OPS-17")
async def test_what_could_not_be_told_without_a_store_is_told_once_there_is_one() -> None:
    """Whom it did not reach gets it under the same id; whose hours are quiet in the morning."""
    async with server() as here:
        here.clock.set_wall(1_780_012_800_000)  # 2026-05-29 00:00 UTC
        await here.add("ops")
        await here.add("sleeper", quiet_hours=[QuietHours(start="22:00", end="01:00")])
        await fill(here)
        here.notifier.failure = NotifyFailed("UNREACHABLE", "nobody answers")
        here.outbox.untold([alert("disk_space", "warning")])
        await here.pass_by(1_000)
        assert [one.target.name for one in here.notifier.sent] == ["ops"]
        here.notifier.failure = None
        here.faults.full = False
        await here.pass_by(10_000)
        assert [one.target.name for one in here.notifier.sent] == ["ops", "ops"]
        assert len({one.delivery.delivery_id for one in here.notifier.sent}) == 1
        await here.pass_by(HOUR_MS, 30_000)
        assert [one.target.name for one in here.notifier.sent] == ["ops", "ops", "sleeper"]
        assert {one.state for one in here.deliveries} == {DeliveryState.SENT}


@pytest.mark.requirement("CLUSTER-27", "INV-7")
async def test_a_clock_that_is_set_back_does_not_stop_retries() -> None:
    """A year back: what was due in a minute is due within the longest pause all the same."""
    async with server() as here:
        await here.add("ops")
        here.notifier.failure = NotifyFailed("HTTP_500", "no")
        await here.happens("BackupFailed", "backup-1", reason="no room")
        await here.pass_by(20_000)
        here.notifier.failure = None
        before = len(here.notifier.sent)
        here.clock.set_wall(here.clock.wall_ms() - 365 * 24 * HOUR_MS)
        await here.pass_by(3 * HOUR_MS, 60_000)
        assert len(here.notifier.sent) == before + 1
        assert here.deliveries[0].state is DeliveryState.SENT


@pytest.mark.requirement("OPS-14")
async def test_a_browser_that_has_unsubscribed_is_forgotten() -> None:
    """With all that waits for it, and for good."""
    async with server() as here:
        keys = PushKeys(p256dh="p" * 87, auth="a" * 22)
        body = SubscriptionIn(endpoint="https://push.example/1", keys=keys, name="phone")
        await here.service.subscribe(ANN, body)
        here.notifier.failure = NotifyFailed("HTTP_410", "unsubscribed", permanent=True, gone=True)
        await here.happens("BackupFailed", "backup-1", reason="no room")
        await here.pass_by(GROUP_MS)
        assert (await here.service.targets()).targets == []
        assert here.deliveries == []


@pytest.mark.requirement("CLUSTER-27")
async def test_dead_letters_are_sent_again_all_at_once_or_one_by_one() -> None:
    """By people, once they have mended the receiver."""
    async with server() as here:
        await here.add("ops")
        here.notifier.failure = NotifyFailed("HTTP_410", "gone", permanent=True)
        await here.happens("BackupFailed", "backup-1", reason="no room")
        await here.happens("RestoreFailed", "restore-1", reason="damaged")
        await here.pass_by(GROUP_MS * 2)
        dead = [one.delivery_id for one in here.deliveries]
        assert [one.state for one in here.deliveries] == [DeliveryState.DEAD] * 2
        shown = await here.service.notifications(limit=10, state="dead")
        assert (len(shown.notifications), shown.dead) == (2, 2)
        here.notifier.failure = None
        await here.service.retry(ADMIN, dead[0])
        await here.pass_by(1_000)
        assert [one.state for one in here.deliveries] == [DeliveryState.SENT, DeliveryState.DEAD]
        assert (await here.service.retry_all(ADMIN)).delivery_ids == [dead[1]]
        await here.pass_by(GROUP_MS)
        assert [one.state for one in here.deliveries] == [DeliveryState.SENT] * 2
        with pytest.raises(Conflict):
            await here.service.retry(ADMIN, dead[0])
        with pytest.raises(NotFound):
            await here.service.retry(ADMIN, "send-0")
