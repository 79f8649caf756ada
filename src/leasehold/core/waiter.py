"""Joining and leaving the waiting line, as pure decisions (LEASE-7)."""

from __future__ import annotations

from leasehold.core import order
from leasehold.core.state import WAITERS, Call, Change, Outcome, Stamp
from leasehold.model.ids import from_number
from leasehold.model.lease import Ask
from leasehold.model.line import Waiter
from leasehold.model.settings import PolicySettings


def join(
    ask: Ask,
    stamp: Stamp,
    settings: PolicySettings,
    outcome: Outcome,
    *,
    call: Call | None = None,
    resumes: str = "",
) -> Waiter:
    """Add a new waiter to `outcome`, at the end of its lane."""
    number = stamp.number + outcome.numbers
    outcome.numbers += 1
    waiter = Waiter(
        ticket=from_number("tkt", number),
        number=number,
        ask=ask,
        since_ms=stamp.now_ms,
        due_ms=order.static_due(ask, stamp.now_ms, settings.line),
        call_key=call.key if call is not None else "",
        call_hash=call.body_hash if call is not None else b"",
        resumes=resumes,
    )
    outcome.changes.append(Change(WAITERS, waiter.ticket, waiter))
    return waiter


def rejoin(waiter: Waiter, ask: Ask, outcome: Outcome, *, call: Call | None = None) -> Waiter:
    """Another call in a kept place: it keeps its number, so nobody gains by asking for less first."""
    key, body_hash = (call.key, call.body_hash) if call is not None else ("", b"")
    if waiter.ask == ask and waiter.call_key == key:
        return waiter
    changed = Waiter(
        waiter.ticket, waiter.number, ask, waiter.since_ms, waiter.due_ms, key, body_hash, waiter.resumes
    )
    outcome.changes.append(Change(WAITERS, waiter.ticket, changed))
    return changed


def call_of(waiter: Waiter, stamp: Stamp) -> Call | None:
    """The call that a grant of this waiter answers, where it was asked with a key."""
    if not waiter.call_key:
        return None
    return Call(waiter.call_key, waiter.ask.principal, waiter.call_hash, "", stamp.now_ms)


def leave(waiter: Waiter, outcome: Outcome) -> None:
    """Take a waiter out of the line."""
    outcome.changes.append(Change(WAITERS, waiter.ticket, None))
