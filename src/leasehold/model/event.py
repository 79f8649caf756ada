"""Immutable records of transitions, in one ordered stream."""

from __future__ import annotations

from typing import Any

import msgspec


class Event(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One transition. `seq` grows by one per event; it is 0 until the ledger has numbered it.

    `kind` is like `LeaseGranted`; `subject` is the id of what changed; `actor` is who caused it.
    """

    kind: str
    subject: str
    at_ms: int
    actor: str = ""
    code: str = ""
    details: dict[str, Any] = {}
    seq: int = 0
