"""Messages of `/api/notifications`: what was told, to whom, and where to tell it (OPS-14, CLUSTER-27)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from leasehold.wire.lease import Input
from leasehold.wire.owner import ClockTime, Days, Zone

TargetId = Annotated[str, Meta(min_length=1, max_length=64)]
DeliveryId = Annotated[str, Meta(min_length=1, max_length=64)]
Url = Annotated[str, Meta(min_length=1, max_length=2_048, pattern=r"^[^\x00-\x20\x7f]+$")]
Secret = Annotated[str, Meta(min_length=24, max_length=128, pattern=r"^[\x21-\x7e]+$")]
Label = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$")]
Key = Annotated[str, Meta(min_length=8, max_length=256, pattern=r"^[A-Za-z0-9_-]+=*$")]
Level = Literal["info", "warning", "critical"]
Theme = Literal["alert", "storage", "worker", "violation"]
Themes = Annotated[list[Theme], Meta(max_length=16)]


class QuietHours(Input, frozen=True):
    """A span of clock time on some days of the week; an end not after its start is on the next day."""

    start: ClockTime = msgspec.field(name="from")
    end: ClockTime = msgspec.field(name="to")
    days: Days = msgspec.field(default_factory=lambda: ["mon", "tue", "wed", "thu", "fri", "sat", "sun"])


Quiet = Annotated[list[QuietHours], Meta(max_length=8)]


class TargetIn(Input, frozen=True):
    """`POST /api/notifications/targets`: a webhook, or e-mail and chats by an address that apprise knows.

    `severity` is the least that it is told, `kinds` the themes (left out: all). In `quiet_hours` (in `zone`,
    by default the server's own) only what is critical is sent. `secret` is what a webhook is signed with, by
    Standard Webhooks; one is made where it is left out.
    """

    kind: Literal["webhook", "chat"]
    url: Url
    name: Label | None = None
    severity: Level = "warning"
    kinds: Themes = msgspec.field(default_factory=list)
    quiet_hours: Quiet = msgspec.field(default_factory=list)
    zone: Zone | None = None
    secret: Secret | None = None
    enabled: bool = True


class TargetChange(Input, frozen=True):
    """`PUT /api/notifications/targets/{id}`: change what is named; what is left out stays as it is."""

    name: Label | UnsetType = UNSET
    severity: Level | UnsetType = UNSET
    kinds: Themes | UnsetType = UNSET
    quiet_hours: Quiet | UnsetType = UNSET
    zone: Zone | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET


class PushKeys(Input, frozen=True):
    """The keys of a browser's subscription, base64url."""

    p256dh: Key
    auth: Key


class SubscriptionIn(Input, frozen=True):
    """`POST /api/notifications/push/subscriptions`: what `pushManager.subscribe` gave, with a name for it.

    The same endpoint again renews its keys.
    """

    endpoint: Url
    keys: PushKeys
    name: Label = "a browser"
    severity: Level = "warning"


class QuietHoursOut(msgspec.Struct):
    """One span of quiet hours."""

    start: str = msgspec.field(name="from")
    end: str = msgspec.field(name="to")
    days: list[str]


class TargetOut(msgspec.Struct, omit_defaults=True):
    """A target. `address` is enough to tell it from others, and never the whole: that is a secret.

    `pending` and `dead` are its deliveries that wait, and that were given up; `problem` is why the last
    attempt of one of them failed. `quiet_until`: it is not disturbed now.
    """

    target_id: str
    kind: str
    name: str
    address: str
    severity: str
    enabled: bool
    created_at: str
    created_by: str
    zone: str
    kinds: list[str] = []
    quiet_hours: list[QuietHoursOut] = []
    pending: int = 0
    dead: int = 0
    last_sent_at: str | None = None
    quiet_until: str | None = None
    problem: str = ""


class TargetMade(msgspec.Struct, omit_defaults=True):
    """A new target. `secret` is what its calls are signed with: it is in this answer and nowhere else."""

    target: TargetOut
    secret: str = ""


class Targets(msgspec.Struct):
    """All targets, the oldest first."""

    targets: list[TargetOut]


class DeliveryOut(msgspec.Struct, omit_defaults=True):
    """What came of telling one target. `next_at`: when a pending one is tried (again).

    `held`: it waits for the end of quiet hours. `code` and `error`: why the last attempt failed.
    """

    delivery_id: str
    target_id: str
    target: str
    state: str
    attempts: int
    next_at: str | None = None
    ended_at: str | None = None
    held: bool = False
    code: str = ""
    error: str = ""


class NotificationOut(msgspec.Struct, omit_defaults=True):
    """One message. `repeats`: how often the same news came again within ten minutes, last at `last_at`."""

    notification_id: str
    kind: str
    severity: str
    title: str
    text: str
    link: str
    created_at: str
    last_at: str
    deliveries: list[DeliveryOut]
    repeats: int = 0


class Notifications(msgspec.Struct):
    """The newest messages first. `pending` and `dead` count deliveries, over all messages."""

    notifications: list[NotificationOut]
    pending: int
    dead: int


class Retried(msgspec.Struct):
    """The deliveries that are sent again."""

    delivery_ids: list[str]


class PushKey(msgspec.Struct):
    """The `applicationServerKey` for `pushManager.subscribe`, base64url."""

    key: str
