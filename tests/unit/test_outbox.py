"""The outbox at work: from an event to a call, over failures, restarts, full disks (OPS-14, CLUSTER-27)."""

from __future__ import annotations

import asyncio

import pytest

from leasehold.adapters.stores.memory import Disk
from leasehold.core.notification import GROUP_MS
from leasehold.model.errors import Conflict, Invalid, NotFound, NotPermitted, Unavailable
from leasehold.model.notification import DeliveryState, Draft, Severity
from leasehold.ports.notifier import NotifyFailed
from leasehold.testing.manual_clock import settled
from leasehold.wire.notification import PushKeys, QuietHours, SubscriptionIn, TargetChange, TargetIn
from tests.unit.outbox_server import ADMIN, ANN, FakeNotifier, WallClock, server

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


@pytest.mark.requirement("OPS-14")
async def test_what_no_event_tells_of_waits_for_the_store() -> None:
    """A lost store can't be told of through the store: it is told once that takes writes again."""
    async with server() as here:
        await here.add("ops")
        here.faults.full = True
        here.outbox.tell(Draft("storage", Severity.CRITICAL, "The store takes no writes", key="store"))
        await here.pass_by(3_000)
        here.outbox.tell(Draft("storage", Severity.CRITICAL, "The store takes no writes", key="store"))
        await here.pass_by(3_000)
        assert here.notifier.sent == []
        here.faults.full = False
        await here.pass_by(5_000)
        assert here.notifier.titles == [["The store takes no writes"]]


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


@pytest.mark.requirement("OPS-14")
async def test_a_target_that_is_off_keeps_what_waits_until_it_is_on() -> None:
    """Nothing new is put there meanwhile."""
    async with server() as here:
        target_id = await here.add("ops")
        await here.happens("BackupFailed", "backup-1", reason="no room")
        await here.service.change(ADMIN, target_id, TargetChange(enabled=False))
        await here.happens("RestoreFailed", "restore-1", reason="damaged")
        await here.pass_by(HOUR_MS, 60_000)
        assert here.notifier.sent == []
        await here.service.change(ADMIN, target_id, TargetChange(enabled=True))
        await here.pass_by(GROUP_MS)
        assert here.notifier.titles == [["A backup failed"]]


@pytest.mark.requirement("OPS-14")
async def test_a_test_tells_at_once_what_comes_of_it() -> None:
    """Whichever it is; one that can't be made leaves nothing behind."""
    async with server() as here:
        target_id = await here.add("ops", severity="critical")

        async def tested() -> tuple[str, str]:
            task = asyncio.create_task(here.service.test(ADMIN, target_id))
            for _ in range(20):
                await here.pass_by(500)
            found = await task
            return found.state, found.error

        assert await tested() == ("sent", "")
        here.notifier.failure = NotifyFailed("UNREACHABLE", "nobody answers at ops.example")
        assert await tested() == ("dead", "nobody answers at ops.example")
        with pytest.raises(NotFound):
            await here.service.test(ADMIN, "target-0")


@pytest.mark.requirement("OPS-14", "OPS-6")
async def test_browsers_are_their_owners_and_the_rest_takes_a_right() -> None:
    """A viewer can be told in a browser, change and remove that, and touch nothing else."""
    async with server() as here:
        hook = await here.add("ops")
        keys = PushKeys(p256dh="p" * 87, auth="a" * 22)
        mine = await here.service.subscribe(ANN, SubscriptionIn(endpoint="https://push.example/1", keys=keys))
        changed = await here.service.change(ANN, mine.target_id, TargetChange(severity="critical"))
        assert changed.severity == "critical"
        for refused in (
            here.service.change(ANN, hook, TargetChange(enabled=False)),
            here.service.remove(ANN, hook),
            here.service.test(ANN, hook),
        ):
            with pytest.raises(NotPermitted, match="notification:manage"):
                await refused
        await here.service.remove(ANN, mine.target_id)
        assert [one.target_id for one in (await here.service.targets()).targets] == [hook]


@pytest.mark.requirement("OPS-14")
@pytest.mark.parametrize(
    "fields",
    [
        {"url": "ftp://ops.example/x"},
        {"url": "https://user:pw@ops.example/x"},
        {"url": "https:///x"},
        {"url": "https://ops.example:99999/x"},
        {"url": "https://[::1/x"},
        {"kind": "chat", "url": "nothing"},
        {"kind": "chat", "url": "ntfy://ops.example/x", "secret": "s" * 24},
        {"secret": "whsec_" + "%" * 24},
        {"zone": "Mars/Olympus"},
    ],
)
async def test_what_can_be_no_target_is_told_and_not_kept(fields: dict[str, str]) -> None:
    """Before anybody is asked on the network."""
    async with server() as here:
        with pytest.raises(Invalid, match="expected"):
            await here.service.add(
                ADMIN, TargetIn(**{"kind": "webhook", "url": "https://ops.example/x"} | fields)
            )  # type: ignore[arg-type]
        assert here.notifier.checked == []
        assert here.ledger.state.notify_targets == {}


@pytest.mark.requirement("OPS-14", "OPS-8")
async def test_a_refused_address_is_not_known_as_a_secret_any_more() -> None:
    """What its check says is told without it; what could not be checked is worth another try."""
    async with server() as here:
        secret = "hunter2-and-more-9"
        here.notifier.refusal = NotifyFailed("INVALID", f"no such service with {secret}")
        body = TargetIn(kind="chat", url=f"mailto://ann:{secret}@mail.example")
        with pytest.raises(Invalid) as refused:
            await here.service.add(ADMIN, body)
        assert secret not in refused.value.message
        assert here.redactor.text(secret) == secret
        here.notifier.refusal = NotifyFailed("TIMEOUT", "it was not done")
        with pytest.raises(Unavailable, match="try again"):
            await here.service.add(ADMIN, body)
        here.notifier.refusal = None
        await here.service.add(ADMIN, body)
        assert secret not in here.redactor.text(f"mail for ann with {secret}")
        (target,) = (await here.service.targets()).targets
        assert target.address == "mailto://mail.example…"
        await here.service.remove(ADMIN, target.target_id)
        assert here.redactor.text(secret) == secret


@pytest.mark.requirement("OPS-8")
async def test_errors_and_logs_of_a_target_do_not_give_it_away() -> None:
    """A library's words may hold the address: what is kept of them does not; after a restart neither."""
    clock = WallClock()
    disk = Disk(clock.wall_ms)
    url = "https://hooks.example/services/T0123456789ABCDEF/B99"
    async with server(disk, clock) as here:
        await here.service.add(ADMIN, TargetIn(kind="webhook", url=url))
        here.notifier.failure = NotifyFailed("UNREACHABLE", f"could not reach {url}")
        await here.happens("BackupFailed", "backup-1", reason="no room")
        await here.pass_by(GROUP_MS)
        assert here.deliveries[0].error == "could not reach [redacted]"
        assert (await here.service.targets()).targets[0].address == "https://hooks.example/…"
    async with server(disk, clock) as here:
        assert here.redactor.text(f"said {url} and T0123456789ABCDEF") == "said [redacted] and [redacted]"


@pytest.mark.requirement("OPS-14")
async def test_quiet_hours_are_kept_with_their_zone_and_shown() -> None:
    """As people have said them; the default zone is the server's."""
    async with server() as here:
        here.clock.set_wall(1_780_000_000_000)  # 2026-05-28 20:26:40 UTC
        hours = [QuietHours(start="22:00", end="07:00", days=["mon", "thu"])]
        await here.add("ops", quiet_hours=hours, zone="Europe/Berlin")
        (shown,) = (await here.service.targets()).targets
        assert [(one.start, one.end, one.days) for one in shown.quiet_hours] == [
            ("22:00", "07:00", ["mon", "thu"])
        ]
        assert (shown.zone, shown.quiet_until) == ("Europe/Berlin", "2026-05-29T05:00:00.000Z")
        await here.happens("BackupFailed", "backup-1", reason="no room")
        await here.pass_by(GROUP_MS)
        assert (here.notifier.sent, here.deliveries[0].held) == ([], True)
        await settled()
