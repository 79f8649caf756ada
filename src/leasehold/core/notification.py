"""The outbox: what is told to whom and when, tried again, and given up (OPS-14, CLUSTER-27). Pure decisions.

Messages and their deliveries are made in the commit of the event that they tell of, so that neither comes
without the other. A delivery is begun by a commit of its own, which counts the attempt and sets when it is
due again: a crash in the middle of a call costs one attempt and loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from leasehold.core import calendar
from leasehold.core.state import NOTIFY_DELIVERIES, NOTIFY_MESSAGES, Change, Outcome, Stamp, State
from leasehold.model.errors import Conflict, NotFound
from leasehold.model.event import Event
from leasehold.model.ids import from_number
from leasehold.model.notification import (
    Delivery,
    DeliveryState,
    Draft,
    Message,
    Parcel,
    Severity,
    Target,
)

MESSAGES_MAX = 1_000
"""Kept and shown; the oldest go first, those that were told to everybody before those that were not."""

DELIVERIES_MAX = 4_000

GROUP_MAX = 20
"""Messages of one call: a chat message, or a push of 4 KiB, holds no more."""

TITLE_MAX, TEXT_MAX, LINK_MAX, KEY_MAX, ERROR_MAX = 200, 2_000, 300, 200, 500

GROUP_MS = 3_000
"""How long what is not critical waits for company, and how far calls to one target are apart."""

DEDUPE_MS = 600_000
"""The same news within this time is counted, not told again."""

FIRST_MS, CAP_MS = 2_000, 7_200_000
"""The pause after a first failure; each one is twice that before, up to the cap."""

ATTEMPTS_MAX = 20
"""2 s, 4 s, ... 2 h: a receiver may be away for half a day (16 h); then the delivery is dead."""

QUIET_STEPS_MAX = 16


# -- taking messages


def post(state: State, drafts: Iterable[Draft], stamp: Stamp, outcome: Outcome) -> None:
    """Take drafts into a decision's outcome: their messages, and what is to be sent to whom.

    News that was told within `DEDUPE_MS` is counted; worse than it was then, it is news.
    """
    if outcome.bytes >= 0:
        outcome.bytes = -1  # It was estimated without these.
    known = {one.key: one for one in state.notify_messages.values() if one.key}
    fresh: dict[str, Message] = {}
    open_calls = _open_calls(state)
    last_ms = _last_calls(state)
    for draft in drafts:
        before = known.get(draft.key[:KEY_MAX]) if draft.key else None
        if before is not None and _is_same_news(before, draft, stamp.wall_ms):
            again = msgspec.structs.replace(before, repeats=before.repeats + 1, last_wall_ms=stamp.wall_ms)
            known[again.key] = again
            put(outcome, NOTIFY_MESSAGES, again.message_id, again)
            continue
        message = make_message(draft, stamp, outcome)
        if message.key:
            known[message.key] = message
        fresh[message.message_id] = message
        put(outcome, NOTIFY_MESSAGES, message.message_id, message)
        outcome.events.append(
            Event(
                "NotificationMade",
                message.message_id,
                stamp.wall_ms,
                details={"kind": message.kind, "severity": str(message.severity)},
            )
        )
        for target in state.notify_targets.values():
            if wants(target, message):
                _enclose(target, message, open_calls, last_ms, stamp, outcome)
    make_room(state, len(fresh), stamp, outcome)


def wants(target: Target, message: Message) -> bool:
    """Whether a target is told of this."""
    return (
        target.enabled
        and message.severity.rank >= target.severity.rank
        and (not target.kinds or message.kind in target.kinds)
    )


def _is_same_news(before: Message, draft: Draft, wall_ms: int) -> bool:
    age_ms = wall_ms - before.created_wall_ms
    return 0 <= age_ms < DEDUPE_MS and draft.severity.rank <= before.severity.rank


def next_number(stamp: Stamp, outcome: Outcome) -> int:
    outcome.numbers += 1
    return stamp.number + outcome.numbers - 1


def make_message(draft: Draft, stamp: Stamp, outcome: Outcome) -> Message:
    number = next_number(stamp, outcome)
    return Message(
        message_id=from_number("note", number),
        number=number,
        kind=draft.kind[:KEY_MAX],
        severity=draft.severity,
        title=clipped(draft.title, TITLE_MAX),
        text=clipped(draft.text, TEXT_MAX),
        link=draft.link[:LINK_MAX],
        key=draft.key[:KEY_MAX],
        created_wall_ms=stamp.wall_ms,
        last_wall_ms=stamp.wall_ms,
    )


def clipped(text: str, letters_max: int) -> str:
    """A text of at most so many letters; where some are missing it says so."""
    return text if len(text) <= letters_max else f"{text[: letters_max - 1]}…"


def _open_calls(state: State) -> dict[tuple[str, bool], Delivery]:
    """What still takes company, by target and whether it is urgent."""
    return {
        (one.target_id, one.is_urgent): one
        for one in state.notify_deliveries.values()
        if one.state is DeliveryState.PENDING and not one.started_wall_ms and not one.once
    }


def _last_calls(state: State) -> dict[str, int]:
    last: dict[str, int] = {}
    for one in state.notify_deliveries.values():
        last[one.target_id] = max(last.get(one.target_id, 0), one.started_wall_ms)
    return last


def _enclose(
    target: Target,
    message: Message,
    open_calls: dict[tuple[str, bool], Delivery],
    last_ms: dict[str, int],
    stamp: Stamp,
    outcome: Outcome,
) -> None:
    """Put a message into a call that is still open, or into a new one."""
    place = target.target_id, message.severity is Severity.CRITICAL
    found = open_calls.get(place)
    if found is not None and len(found.messages) < GROUP_MAX:
        worst = max(found.severity, message.severity, key=lambda one: one.rank)
        found = msgspec.structs.replace(found, messages=(*found.messages, message.message_id), severity=worst)
    else:
        found = _delivery(target, message, last_ms.get(target.target_id, 0), stamp, outcome)
    open_calls[place] = found
    put(outcome, NOTIFY_DELIVERIES, found.delivery_id, found)


def _delivery(target: Target, message: Message, last_ms: int, stamp: Stamp, outcome: Outcome) -> Delivery:
    number, wall_ms = next_number(stamp, outcome), stamp.wall_ms
    urgent = message.severity is Severity.CRITICAL
    due_ms = wall_ms if urgent else wall_ms + GROUP_MS
    if 0 <= wall_ms - last_ms < GROUP_MS:
        due_ms = max(due_ms, last_ms + GROUP_MS)
    quiet_ms = None if urgent else quiet_until(target, wall_ms)
    return Delivery(
        delivery_id=from_number("send", number),
        number=number,
        target_id=target.target_id,
        messages=(message.message_id,),
        severity=message.severity,
        created_wall_ms=wall_ms,
        due_wall_ms=due_ms if quiet_ms is None else max(due_ms, quiet_ms),
        held=quiet_ms is not None,
    )


def quiet_until(target: Target, wall_ms: int) -> int | None:
    """Until when this target is not to be disturbed; None where it may be now. Spans that touch are one."""
    until_ms: int | None = None
    for _ in range(QUIET_STEPS_MAX):
        at_ms = wall_ms if until_ms is None else until_ms
        ends = [calendar.open_until(rule, target.zone, at_ms) for rule in target.quiet]
        found = max((end for end in ends if end is not None), default=None)
        if found is None or found <= at_ms:
            break
        until_ms = found
    return until_ms


def make_room(state: State, more: int, stamp: Stamp, outcome: Outcome) -> None:
    """Make room: the oldest messages go, and with them what told of them alone."""
    excess = len(state.notify_messages) + more - MESSAGES_MAX
    crowd = len(state.notify_deliveries) - DELIVERIES_MAX
    if excess <= 0 and crowd <= 0:
        return
    waiting = {
        message_id
        for one in state.notify_deliveries.values()
        if one.state is DeliveryState.PENDING
        for message_id in one.messages
    }
    oldest = sorted(state.notify_messages.values(), key=lambda one: (one.message_id in waiting, one.number))
    gone = {one.message_id for one in oldest[: max(excess, 1 + crowd // 4)]}
    for message_id in sorted(gone):
        put(outcome, NOTIFY_MESSAGES, message_id, None)
    touched = {change.key for change in outcome.changes if change.table == NOTIFY_DELIVERIES}
    for one in state.notify_deliveries.values():
        if one.delivery_id in touched or gone.isdisjoint(one.messages):
            continue
        left = tuple(each for each in one.messages if each not in gone)
        record = msgspec.structs.replace(one, messages=left) if left else None
        put(outcome, NOTIFY_DELIVERIES, one.delivery_id, record)
    if dropped := len(gone & waiting):
        outcome.events.append(
            Event("NotificationsDropped", "notifications", stamp.wall_ms, details={"count": dropped})
        )


def put(outcome: Outcome, table: str, key: str, record: object) -> None:
    outcome.changes.append(Change(table, key, record))


# -- sending


def begin(state: State, delivery_id: str, stamp: Stamp) -> Outcome:
    """Count an attempt, before it is made. Answer: the Parcel, or None where nothing is to be sent now."""
    found = state.notify_deliveries.get(delivery_id)
    target = state.notify_targets.get(found.target_id) if found is not None else None
    outcome = Outcome()
    if found is None or target is None or found.state is not DeliveryState.PENDING or not target.enabled:
        return outcome
    wall_ms = stamp.wall_ms
    quiet_ms = None if found.is_urgent else quiet_until(target, wall_ms)
    if quiet_ms is not None:
        held = msgspec.structs.replace(found, due_wall_ms=quiet_ms, held=True)
        put(outcome, NOTIFY_DELIVERIES, delivery_id, held)
        return outcome
    attempts = found.attempts + 1
    begun = msgspec.structs.replace(
        found,
        attempts=attempts,
        started_wall_ms=wall_ms,
        due_wall_ms=wall_ms + backoff_ms(attempts, stamp.seed),
        held=False,
    )
    put(outcome, NOTIFY_DELIVERIES, delivery_id, begun)
    messages = [state.notify_messages.get(one) for one in begun.messages]
    outcome.answer = Parcel(target, begun, tuple(one for one in messages if one is not None))
    return outcome


def backoff_ms(attempts: int, seed: int) -> int:
    """The pause after so many failed attempts: doubling, capped, and a quarter longer or shorter by chance,
    so that receivers that come back are not asked by all at once.
    """
    pause_ms = min(CAP_MS, FIRST_MS << min(attempts - 1, 20))
    return pause_ms - pause_ms // 4 + seed % (pause_ms // 2 + 1)


def sent(state: State, begun: Delivery, stamp: Stamp) -> Outcome:
    """It was taken. Changes nothing where another attempt has been begun meanwhile."""
    outcome = Outcome()
    if not _is_current(state, begun):
        return outcome
    done = msgspec.structs.replace(
        begun, state=DeliveryState.SENT, ended_wall_ms=stamp.wall_ms, code="", error=""
    )
    put(outcome, NOTIFY_DELIVERIES, begun.delivery_id, done)
    outcome.events.append(_event("NotificationSent", done, stamp))
    return outcome


def failed(
    state: State,
    begun: Delivery,
    code: str,
    error: str,
    stamp: Stamp,
    *,
    permanent: bool = False,
    retry_after_ms: int = 0,
) -> Outcome:
    """It was not taken: again later, by the pause or by what the receiver said; or dead."""
    outcome = Outcome()
    if not _is_current(state, begun):
        return outcome
    is_over = permanent or begun.once or begun.attempts >= ATTEMPTS_MAX
    asked_ms = stamp.wall_ms + min(retry_after_ms, CAP_MS)
    record = msgspec.structs.replace(
        begun,
        state=DeliveryState.DEAD if is_over else DeliveryState.PENDING,
        due_wall_ms=max(begun.due_wall_ms, asked_ms),
        ended_wall_ms=stamp.wall_ms if is_over else 0,
        code=code,
        error=clipped(error, ERROR_MAX),
    )
    put(outcome, NOTIFY_DELIVERIES, begun.delivery_id, record)
    if is_over:
        outcome.events.append(_event("NotificationDead", record, stamp))
    return outcome


def _is_current(state: State, begun: Delivery) -> bool:
    found = state.notify_deliveries.get(begun.delivery_id)
    return (
        found is not None
        and found.state is DeliveryState.PENDING
        and (found.attempts, found.started_wall_ms) == (begun.attempts, begun.started_wall_ms)
    )


def _event(kind: str, delivery: Delivery, stamp: Stamp, by: str = "") -> Event:
    details = {"target_id": delivery.target_id, "attempts": delivery.attempts}
    return Event(kind, delivery.delivery_id, stamp.wall_ms, by, delivery.code, details)


def again(state: State, delivery_id: str, stamp: Stamp, by: str) -> Outcome:
    """Send a dead delivery again, or one that waits at once. Its id stays, so a receiver knows it.

    Raises NotFound, and Conflict for one that was taken or whose target is off.
    """
    found = state.notify_deliveries.get(delivery_id)
    if found is None:
        raise NotFound(f"there is no delivery {delivery_id}; see `leasehold notify list --messages`")
    target = state.notify_targets.get(found.target_id)
    if found.state is DeliveryState.SENT:
        raise Conflict(f"{delivery_id} was taken by its receiver; there is nothing to send again")
    if target is None or not target.enabled:
        raise Conflict(f"the target of {delivery_id} is switched off; switch it on first")
    outcome = Outcome()
    fresh = found.state is DeliveryState.DEAD
    record = msgspec.structs.replace(
        found,
        state=DeliveryState.PENDING,
        attempts=0 if fresh else found.attempts,
        due_wall_ms=stamp.wall_ms,
        ended_wall_ms=0,
    )
    put(outcome, NOTIFY_DELIVERIES, delivery_id, record)
    outcome.events.append(_event("NotificationRetried", record, stamp, by))
    return outcome


def due_ms(delivery: Delivery, wall_ms: int) -> int:
    """When to look at it: never later than the longest pause from now, whatever was done to the clock."""
    longest_ms = CAP_MS + CAP_MS // 4 if not delivery.held else 8 * 86_400_000
    return min(delivery.due_wall_ms, wall_ms + longest_ms)
