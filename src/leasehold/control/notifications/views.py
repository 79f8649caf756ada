"""Notifications and their targets, as the API shows them: nothing here gives an address away (OPS-8)."""

from __future__ import annotations

from leasehold.control.notifications import addresses
from leasehold.control.views import rfc3339
from leasehold.core import calendar
from leasehold.core import notification as decisions
from leasehold.core.state import State
from leasehold.model.notification import Delivery, DeliveryState, Message, Target
from leasehold.wire import notification as wire


def target(state: State, one: Target, wall_ms: int) -> wire.TargetOut:
    """A target, with what waits for it and what failed."""
    own = [each for each in state.notify_deliveries.values() if each.target_id == one.target_id]
    tried = [each for each in own if each.started_wall_ms]
    last = max(tried, key=lambda each: (each.started_wall_ms, each.number), default=None)
    sent_ms = max((each.ended_wall_ms for each in own if each.state is DeliveryState.SENT), default=None)
    quiet_ms = decisions.quiet_until(one, wall_ms)
    return wire.TargetOut(
        target_id=one.target_id,
        kind=str(one.kind),
        name=one.name,
        address=addresses.shown(one),
        severity=str(one.severity),
        enabled=one.enabled,
        created_at=rfc3339(one.created_wall_ms),
        created_by=one.by,
        zone=one.zone,
        kinds=list(one.kinds),
        quiet_hours=[
            wire.QuietHoursOut(
                calendar.clock_shown(rule.start_min),
                calendar.clock_shown(rule.end_min),
                [calendar.DAYS[day] for day in rule.days],
            )
            for rule in one.quiet
        ],
        pending=sum(each.state is DeliveryState.PENDING for each in own),
        dead=sum(each.state is DeliveryState.DEAD for each in own),
        last_sent_at=rfc3339(sent_ms) if sent_ms is not None else None,
        quiet_until=rfc3339(quiet_ms) if quiet_ms is not None else None,
        problem=last.error if last is not None else "",
    )


def notifications(state: State, limit: int, wanted: str | None) -> wire.Notifications:
    """The newest messages first, each with its deliveries."""
    of: dict[str, list[Delivery]] = {}
    pending = dead = 0
    for one in state.notify_deliveries.values():
        pending += one.state is DeliveryState.PENDING
        dead += one.state is DeliveryState.DEAD
        for message_id in one.messages:
            of.setdefault(message_id, []).append(one)
    newest = sorted(state.notify_messages.values(), key=lambda each: -each.number)
    shown = [
        one
        for one in newest
        if wanted is None or any(each.state == wanted for each in of.get(one.message_id, ()))
    ]
    rows = [_message(state, one, of.get(one.message_id, [])) for one in shown[:limit]]
    return wire.Notifications(rows, pending, dead)


def _message(state: State, one: Message, deliveries: list[Delivery]) -> wire.NotificationOut:
    return wire.NotificationOut(
        notification_id=one.message_id,
        kind=one.kind,
        severity=str(one.severity),
        title=one.title,
        text=one.text,
        link=one.link,
        created_at=rfc3339(one.created_wall_ms),
        last_at=rfc3339(one.last_wall_ms),
        deliveries=[delivery(state, each) for each in sorted(deliveries, key=lambda each: each.number)],
        repeats=one.repeats,
    )


def delivery(state: State, one: Delivery) -> wire.DeliveryOut:
    """What came of telling one target."""
    is_pending = one.state is DeliveryState.PENDING
    found = state.notify_targets.get(one.target_id)
    return wire.DeliveryOut(
        delivery_id=one.delivery_id,
        target_id=one.target_id,
        target=found.name if found is not None else one.target_id,
        state=str(one.state),
        attempts=one.attempts,
        next_at=rfc3339(one.due_wall_ms) if is_pending else None,
        ended_at=rfc3339(one.ended_wall_ms) if one.ended_wall_ms else None,
        held=one.held,
        code=one.code,
        error=one.error,
    )
