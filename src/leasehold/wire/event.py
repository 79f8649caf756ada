"""Messages about events: what has happened, in order."""

from __future__ import annotations

from typing import Any

import msgspec


class EventOut(msgspec.Struct, omit_defaults=True):
    """One transition. `label` is what its subject is called, as far as that is remembered."""

    seq: int
    kind: str
    subject: str
    at: str
    actor: str = ""
    code: str = ""
    details: dict[str, Any] = {}
    label: str = ""


class EventPage(msgspec.Struct, omit_defaults=True):
    """`GET /api/events`, oldest first; `next` is the `after`, or the `before`, of the page that follows."""

    events: list[EventOut]
    next: str | None = None
