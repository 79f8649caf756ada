"""Messages of `/api/nodes/{id}/admission`, `/windows` and `/pretend` (SENSE-20)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from leasehold.wire.lease import Input, Name

Instant = Annotated[datetime, Meta(tz=True, description="RFC 3339 with a zone")]
Seconds = Annotated[int, Meta(ge=1, le=366 * 86_400)]
Note = Annotated[str, Meta(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]
Zone = Annotated[str, Meta(min_length=1, max_length=64, description="IANA name, like Europe/Berlin")]
ClockTime = Annotated[
    str, Meta(pattern=r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$", description="HH:MM, 00:00 to 24:00")
]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Days = Annotated[list[Day], Meta(min_length=1, max_length=7)]
WindowId = Annotated[str, Meta(min_length=1, max_length=64)]


class AdmissionIn(Input, frozen=True):
    """`PUT /api/nodes/{id}/admission`: block or allow, the node or one device, for a while.

    A block ends by itself, after 8 h where nothing is said. An allow without an end takes a block back; with
    one it also lifts the windows that block.
    """

    effect: Literal["allow", "block"]
    device: Name | None = None
    until: Instant | None = None
    for_sec: Seconds | None = None
    note: Note = ""


class PretendIn(Input, frozen=True):
    """`PUT /api/nodes/{id}/pretend`: take the node for busy or quiet; for an hour where nothing is said."""

    state: Literal["busy", "quiet"]
    until: Instant | None = None
    for_sec: Seconds | None = None
    note: Note = ""


class WindowIn(Input, frozen=True):
    """`POST /api/nodes/{id}/windows`: a span of clock time on some days of the week.

    `to` not after `from` is on the next day; both the same is a whole day. `zone` is the server's own where
    it is left out. `only`, for `allow`: work that waits for quiet starts in such windows and nowhere else.
    """

    effect: Literal["block", "allow"]
    start: ClockTime = msgspec.field(name="from")
    end: ClockTime = msgspec.field(name="to")
    days: Days = msgspec.field(default_factory=lambda: ["mon", "tue", "wed", "thu", "fri", "sat", "sun"])
    zone: Zone | None = None
    only: bool = False
    device: Name | None = None
    until: Instant | None = None
    note: Note = ""


class WordOut(msgspec.Struct, omit_defaults=True):
    """A toggle: what was said, by whom, and when it ends."""

    effect: str
    until: str
    by: str
    since: str
    device: str = ""
    note: str = ""


class PretendOut(msgspec.Struct, omit_defaults=True):
    state: str
    until: str
    by: str
    since: str
    note: str = ""


class WindowOut(msgspec.Struct, omit_defaults=True):
    """A window, whether it is open, and when that changes next."""

    wid: str
    effect: str
    days: list[str]
    start: str = msgspec.field(name="from")
    end: str = msgspec.field(name="to")
    zone: str
    open: bool
    by: str
    changes_at: str | None = None
    only: bool = False
    device: str = ""
    until: str | None = None
    note: str = ""


class Windows(msgspec.Struct):
    windows: list[WindowOut]


class AdmissionOut(msgspec.Struct, omit_defaults=True):
    """`GET /api/nodes/{id}/admission`: whether anything new may start as far as the owner has a say in it.

    `reasons` are the sentences of what blocks; `words` the toggles in force; `changes_at` when any of it
    changes next by itself.
    """

    node_id: str
    admission: str
    reasons: list[str]
    words: list[WordOut]
    blocked_devices: list[str] = []
    pretend: PretendOut | None = None
    changes_at: str | None = None
