"""What handlers ask of the services that watch over the server and tell of it."""

from __future__ import annotations

from typing import Literal, Protocol

from leasehold.model.audit import Outcome
from leasehold.model.principal import Principal
from leasehold.wire import alert as alert_wire
from leasehold.wire import audit as audit_wire
from leasehold.wire import notification as notification_wire
from leasehold.wire import storage as storage_wire

Lane = Literal["reserved", "normal"]


class Alerts(Protocol):
    """The service of alerts."""

    async def alerts(self) -> alert_wire.Alerts: ...

    async def acknowledge(
        self, principal: Principal, name: str, body: alert_wire.Acknowledge
    ) -> alert_wire.AlertOut: ...

    async def set_rule(
        self, principal: Principal, name: str, body: alert_wire.AlertIn
    ) -> alert_wire.AlertOut: ...

    async def thresholds(self) -> alert_wire.Thresholds: ...

    async def set_thresholds(
        self, principal: Principal, body: alert_wire.ThresholdsIn
    ) -> alert_wire.Thresholds: ...


class Audit(Protocol):
    """The service of the audit: records of changing and denied calls."""

    async def page(
        self,
        *,
        after: int | None = None,
        before: int | None = None,
        limit: int = 100,
        who: str | None = None,
        outcome: Outcome | None = None,
        range_sec: int | None = None,
    ) -> audit_wire.AuditPage: ...


class Notifications(Protocol):
    """The service of notifications: targets, what was told, and trying again."""

    async def notifications(
        self, *, limit: int, state: str | None = None
    ) -> notification_wire.Notifications: ...

    async def retry(self, principal: Principal, delivery_id: str) -> notification_wire.DeliveryOut: ...

    async def retry_all(self, principal: Principal) -> notification_wire.Retried: ...

    async def targets(self) -> notification_wire.Targets: ...

    async def target(self, target_id: str) -> notification_wire.TargetOut: ...

    async def add(
        self, principal: Principal, body: notification_wire.TargetIn
    ) -> notification_wire.TargetMade: ...

    async def change(
        self, principal: Principal, target_id: str, body: notification_wire.TargetChange
    ) -> notification_wire.TargetOut: ...

    async def remove(self, principal: Principal, target_id: str) -> None: ...

    async def test(self, principal: Principal, target_id: str) -> notification_wire.DeliveryOut: ...

    async def subscribe(
        self, principal: Principal, body: notification_wire.SubscriptionIn
    ) -> notification_wire.TargetOut: ...

    async def push_key(self) -> notification_wire.PushKey: ...


class Storage(Protocol):
    """The service of care for what is stored."""

    async def backups(self) -> storage_wire.Backups: ...

    async def backup(self, principal: Principal) -> storage_wire.BackupOut: ...

    async def check(self, principal: Principal, backup_id: str) -> storage_wire.BackupOut: ...

    async def compact(self, principal: Principal) -> storage_wire.CareOut: ...

    async def restore(
        self, principal: Principal, body: storage_wire.RestoreIn
    ) -> storage_wire.RestoreOut: ...

    async def report(self) -> storage_wire.StorageOut: ...
