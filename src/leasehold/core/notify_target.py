"""Where notifications go: decisions on targets (OPS-14)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from leasehold.core.notification import make_message, make_room, next_number, put
from leasehold.core.state import NOTIFY_DELIVERIES, NOTIFY_MESSAGES, NOTIFY_TARGETS, Outcome, Stamp, State
from leasehold.model.errors import Conflict, NotFound, Overloaded
from leasehold.model.event import Event
from leasehold.model.ids import from_number
from leasehold.model.notification import (
    Delivery,
    DeliveryState,
    Draft,
    Severity,
    Target,
    TargetKind,
)

WITH_SECRETS_MAX = 16
"""Webhooks and chats: every log line and body is searched for their secrets."""

PUSH_MAX = 64
PUSH_PER_PERSON_MAX = 8


def add(state: State, target: Target, stamp: Stamp) -> Outcome:
    """A new target. Answer: its record. Raises Conflict for an address that is there, Overloaded."""
    outcome = Outcome(target)
    same = next((one for one in state.notify_targets.values() if one.url == target.url), None)
    if same is not None and (same.kind, same.by) == (TargetKind.PUSH, target.by):
        target = msgspec.structs.replace(same, p256dh=target.p256dh, auth=target.auth, name=target.name)
        outcome.answer = target
        if target != same:
            put(outcome, NOTIFY_TARGETS, target.target_id, target)
        return outcome
    if same is not None:
        raise Conflict(f"{same.name} ({same.target_id}) has this address already", target_id=same.target_id)
    _check_room(state, target)
    put(outcome, NOTIFY_TARGETS, target.target_id, target)
    outcome.events.append(_event("NotificationTargetAdded", target, stamp, target.by))
    return outcome


def _check_room(state: State, target: Target) -> None:
    pushes = [one for one in state.notify_targets.values() if one.kind is TargetKind.PUSH]
    if target.kind is not TargetKind.PUSH:
        if len(state.notify_targets) - len(pushes) >= WITH_SECRETS_MAX:
            raise Overloaded(f"there are {WITH_SECRETS_MAX} webhooks and chats; remove one first")
        return
    if len(pushes) >= PUSH_MAX:
        raise Overloaded(f"{PUSH_MAX} browsers are told already; remove one first")
    if sum(one.by == target.by for one in pushes) >= PUSH_PER_PERSON_MAX:
        raise Overloaded(f"{PUSH_PER_PERSON_MAX} browsers of {target.by} are told already; remove one first")


def change(state: State, target_id: str, said: Mapping[str, object], stamp: Stamp, by: str) -> Outcome:
    """Change what is said of a target. What was held for its quiet hours is looked at anew. Answer: it.

    Raises NotFound.
    """
    known = find(state, target_id)
    target = msgspec.structs.replace(known, **said)
    outcome = Outcome(target)
    if target == known:
        return outcome
    put(outcome, NOTIFY_TARGETS, target_id, target)
    for one in _pending(state, target_id):
        if one.held:
            looked_at = msgspec.structs.replace(one, due_wall_ms=stamp.wall_ms)
            put(outcome, NOTIFY_DELIVERIES, one.delivery_id, looked_at)
    outcome.events.append(_event("NotificationTargetChanged", target, stamp, by))
    return outcome


def remove(state: State, target_id: str, stamp: Stamp, by: str, *, gone: bool = False) -> Outcome:
    """Forget a target with all its deliveries; `gone`: its receiver has said that it is no more.

    Raises NotFound.
    """
    target = find(state, target_id)
    outcome = Outcome()
    put(outcome, NOTIFY_TARGETS, target_id, None)
    for one in state.notify_deliveries.values():
        if one.target_id == target_id:
            put(outcome, NOTIFY_DELIVERIES, one.delivery_id, None)
    kind = "NotificationTargetGone" if gone else "NotificationTargetRemoved"
    outcome.events.append(_event(kind, target, stamp, by))
    return outcome


def test(state: State, target_id: str, draft: Draft, stamp: Stamp) -> Outcome:
    """A message for this target alone, at once, tried a single time. Answer: the delivery's id.

    Raises NotFound, and Conflict where the target is off.
    """
    target = find(state, target_id)
    if not target.enabled:
        raise Conflict(f"{target.name} is switched off; switch it on first", target_id=target_id)
    outcome = Outcome()
    message = make_message(draft, stamp, outcome)
    number = next_number(stamp, outcome)
    delivery = Delivery(
        delivery_id=from_number("send", number),
        number=number,
        target_id=target_id,
        messages=(message.message_id,),
        severity=Severity.INFO,
        created_wall_ms=stamp.wall_ms,
        due_wall_ms=stamp.wall_ms,
        once=True,
    )
    put(outcome, NOTIFY_MESSAGES, message.message_id, message)
    put(outcome, NOTIFY_DELIVERIES, delivery.delivery_id, delivery)
    details = {"kind": "test", "severity": "info"}
    outcome.events.append(Event("NotificationMade", message.message_id, stamp.wall_ms, details=details))
    make_room(state, 1, stamp, outcome)
    outcome.answer = delivery.delivery_id
    return outcome


def find(state: State, target_id: str) -> Target:
    """The record. Raises NotFound."""
    target = state.notify_targets.get(target_id)
    if target is None:
        raise NotFound(f"there is no target {target_id}; see `leasehold notify list`", target_id=target_id)
    return target


def _pending(state: State, target_id: str) -> list[Delivery]:
    return [
        one
        for one in state.notify_deliveries.values()
        if one.target_id == target_id and one.state is DeliveryState.PENDING
    ]


def _event(kind: str, target: Target, stamp: Stamp, by: str) -> Event:
    details = {"kind": str(target.kind), "name": target.name}
    return Event(kind, target.target_id, stamp.wall_ms, by, details=details)
