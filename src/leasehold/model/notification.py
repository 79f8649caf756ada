"""Notifications: what is told to people who are not looking, where to, and how far that has come (OPS-14)."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from leasehold.model.owner import Rule


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0 for the least."""
        return (Severity.INFO, Severity.WARNING, Severity.CRITICAL).index(self)


class TargetKind(StrEnum):
    """How a target is told: a signed HTTP call, a browser's push service, or e-mail and chat by URL."""

    WEBHOOK = "webhook"
    PUSH = "push"
    CHAT = "chat"


class DeliveryState(StrEnum):
    PENDING = "pending"
    SENT = "sent"
    DEAD = "dead"


class Draft(msgspec.Struct, frozen=True):
    """Something to tell. `key` is the same for what is the same news: told once within a while.

    `kind` is the theme that targets filter by (`alert`, `storage`, `worker`, `violation`); `link` a path of
    the page.
    """

    kind: str
    severity: Severity
    title: str
    text: str = ""
    link: str = ""
    key: str = ""


class Message(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """A draft that was taken. `repeats`: how often the same news has come again, last at `last_wall_ms`."""

    message_id: str
    number: int
    kind: str
    severity: Severity
    title: str
    text: str
    link: str
    key: str
    created_wall_ms: int
    last_wall_ms: int
    repeats: int = 0


class Delivery(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One call to one target, of one message or several; its id is what a receiver knows repetitions by.

    Once it was begun (`started_wall_ms`) nothing joins it any more. `attempts` are those of this run: a dead
    one that is sent again begins a new run. `due_wall_ms`: when it is tried next. `held`: for quiet hours.
    `once`: a test, which is not tried again.
    """

    delivery_id: str
    number: int
    target_id: str
    messages: tuple[str, ...]
    severity: Severity
    created_wall_ms: int
    due_wall_ms: int
    state: DeliveryState = DeliveryState.PENDING
    attempts: int = 0
    started_wall_ms: int = 0
    ended_wall_ms: int = 0
    held: bool = False
    once: bool = False
    code: str = ""
    error: str = ""

    @property
    def is_urgent(self) -> bool:
        """Whether it waits neither for company nor for the end of quiet hours."""
        return self.once or self.severity is Severity.CRITICAL


class Target(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Where notifications go. `url` is a secret, and so is `secret`, which webhooks are signed with.

    `severity` is the least that it is told, `kinds` the themes (none: all). Within `quiet` hours, in the zone
    `zone`, only what is critical is sent. `p256dh` and `auth` are the keys of a browser's subscription.
    """

    target_id: str
    kind: TargetKind
    name: str
    url: str
    created_wall_ms: int
    by: str
    secret: str = ""
    severity: Severity = Severity.WARNING
    kinds: tuple[str, ...] = ()
    quiet: tuple[Rule, ...] = ()
    zone: str = "UTC"
    enabled: bool = True
    p256dh: str = ""
    auth: str = ""


class Parcel(msgspec.Struct, frozen=True):
    """What one attempt sends."""

    target: Target
    delivery: Delivery
    messages: tuple[Message, ...]
