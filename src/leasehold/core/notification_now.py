"""Telling while no store takes anything: from memory, at once, and written down afterwards (OPS-14, OPS-17).

That a disk is full is the news which must not wait for room on it. Nothing of this survives a crash.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from leasehold.core import notification as outbox
from leasehold.core.state import NOTIFY_DELIVERIES, NOTIFY_MESSAGES, Outcome, Stamp, State
from leasehold.model.event import Event
from leasehold.model.notification import Delivery, DeliveryState, Draft, Message, Parcel, Severity

DRAFTS_MAX = 100
"""Taken at once; of more the first are told."""


def parcels(
    state: State, drafts: Sequence[Draft], wall_ms: int, new_id: Callable[[str], str]
) -> tuple[tuple[Message, ...], list[Parcel]]:
    """The messages, and a call to each target that is told of some of them; whom it disturbs has `held`.

    `new_id` draws an id of a noun: there is no ledger to number anything.
    """
    messages = tuple(_message(draft, wall_ms, new_id) for draft in drafts[:DRAFTS_MAX])
    found = []
    for target in state.notify_targets.values():
        wanted = [one for one in messages if outbox.wants(target, one)]
        for group in _grouped(wanted):
            severity = max((one.severity for one in group), key=lambda one: one.rank)
            quiet_ms = None if severity is Severity.CRITICAL else outbox.quiet_until(target, wall_ms)
            delivery = Delivery(
                delivery_id=new_id("send"),
                number=0,
                target_id=target.target_id,
                messages=tuple(one.message_id for one in group),
                severity=severity,
                created_wall_ms=wall_ms,
                due_wall_ms=wall_ms if quiet_ms is None else quiet_ms,
                held=quiet_ms is not None,
                attempts=0 if quiet_ms is not None else 1,
                started_wall_ms=0 if quiet_ms is not None else wall_ms,
            )
            found.append(Parcel(target, delivery, tuple(group)))
    return messages, found


def _message(draft: Draft, wall_ms: int, new_id: Callable[[str], str]) -> Message:
    outcome, stamp = Outcome(), Stamp(0, wall_ms, 0, 0)
    made = outbox.make_message(draft, stamp, outcome)
    return msgspec.structs.replace(made, message_id=new_id("note"))


def _grouped(messages: Sequence[Message]) -> list[list[Message]]:
    """As many in a call as it holds; what is critical is not held back with what is not."""
    found = []
    for is_critical in (True, False):
        alike = [one for one in messages if (one.severity is Severity.CRITICAL) == is_critical]
        found += [list(alike[at : at + outbox.GROUP_MAX]) for at in range(0, len(alike), outbox.GROUP_MAX)]
    return found


def written(
    state: State, messages: Sequence[Message], deliveries: Sequence[Delivery], stamp: Stamp
) -> Outcome:
    """Take down what was told meanwhile, with what came of it; what is pending goes on from here."""
    outcome = Outcome()
    for message in messages:
        number = outbox.next_number(stamp, outcome)
        record = msgspec.structs.replace(message, number=number)
        outbox.put(outcome, NOTIFY_MESSAGES, message.message_id, record)
        details = {"kind": message.kind, "severity": str(message.severity)}
        outcome.events.append(Event("NotificationMade", message.message_id, stamp.wall_ms, details=details))
    for delivery in deliveries:
        if delivery.target_id not in state.notify_targets:
            continue
        number = outbox.next_number(stamp, outcome)
        outbox.put(
            outcome, NOTIFY_DELIVERIES, delivery.delivery_id, msgspec.structs.replace(delivery, number=number)
        )
    outbox.make_room(state, len(messages), stamp, outcome)
    return outcome


def after(delivery: Delivery, wall_ms: int, code: str, error: str, *, permanent: bool) -> Delivery:
    """A delivery after its one call from memory: taken (no code), to be tried again, or dead."""
    if not code:
        return msgspec.structs.replace(delivery, state=DeliveryState.SENT, ended_wall_ms=wall_ms)
    state = DeliveryState.DEAD if permanent else DeliveryState.PENDING
    return msgspec.structs.replace(
        delivery,
        state=state,
        due_wall_ms=wall_ms,
        ended_wall_ms=wall_ms if permanent else 0,
        code=code,
        error=outbox.clipped(error, outbox.ERROR_MAX),
    )
