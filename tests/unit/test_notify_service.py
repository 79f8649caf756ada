"""Targets of notifications: made, tried, changed, removed, and never given away (OPS-14, OPS-8)."""

from __future__ import annotations

import asyncio

import pytest

from leasehold.adapters.stores.memory import Disk
from leasehold.core.notification import GROUP_MS
from leasehold.model.errors import Invalid, NotFound, NotPermitted, Unavailable
from leasehold.ports.notifier import NotifyFailed
from leasehold.wire.notification import PushKeys, QuietHours, SubscriptionIn, TargetChange, TargetIn
from tests.unit.outbox_server import ADMIN, ANN, WallClock, server

HOUR_MS = 3_600_000


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
