"""How targets and notifications are shown, and how quiet hours are typed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from leasehold.cli import exits
from leasehold.cli.owner import days_of, days_text, local
from leasehold.cli.session import Failed

if TYPE_CHECKING:
    from leasehold.wire.notification import DeliveryOut, Notifications, QuietHours, TargetOut

TARGETS_HEAD = ("TARGET", "NAME", "ADDRESS", "TOLD", "QUIET HOURS", "WAITING", "DEAD", "LAST SENT", "NOTES")
MESSAGES_HEAD = ("WHEN", "SEVERITY", "WHAT", "TARGET", "STATE", "DELIVERY", "NOTES")

_SPAN = re.compile(
    r"(?:(?P<days>[a-z,-]+)@)?(?P<start>\d{1,2}:\d\d)-(?P<end>\d{1,2}:\d\d)", re.ASCII | re.IGNORECASE
)


def quiet_span(text: str) -> QuietHours:
    """`22:00-07:00`, `mon-fri@22:00-07:00`. Raises Failed."""
    from leasehold.wire.notification import QuietHours

    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise Failed(exits.USAGE, "--quiet-hours: expected 22:00-07:00, or mon-fri@22:00-07:00")
    given: dict[str, Any] = {"start": f"{found['start']:0>5}", "end": f"{found['end']:0>5}"}
    if found["days"]:
        given["days"] = days_of(found["days"])
    return QuietHours(**given)


def target_row(one: TargetOut) -> tuple[object, ...]:
    """A line of the list of targets."""
    told = f"{one.severity}+" if not one.kinds else f"{one.severity}+ of {', '.join(one.kinds)}"
    spans = [
        f"{'' if len(span.days) == 7 else f'{days_text(span.days)} '}{span.start}-{span.end}"
        for span in one.quiet_hours
    ]
    off = "" if one.enabled else "off"
    quiet = f"quiet until {local(one.quiet_until)}" if one.quiet_until else ""
    return (
        one.target_id,
        one.name,
        one.address,
        told,
        ", ".join(spans) or "-",
        one.pending,
        one.dead,
        local(one.last_sent_at) if one.last_sent_at else "-",
        "; ".join(text for text in (off, quiet, one.problem) if text),
    )


def message_rows(told: Notifications) -> list[tuple[object, ...]]:
    """A line for each delivery of each message; one for a message that nobody was told of."""
    rows: list[tuple[object, ...]] = []
    for one in told.notifications:
        again = f" (x{one.repeats + 1})" if one.repeats else ""
        head = (local(one.created_at), one.severity, f"{one.title}{again}")
        if not one.deliveries:
            rows.append((*head, "nobody", "-", "-", ""))
        rows += [(*head, each.target, each.state, each.delivery_id, _note(each)) for each in one.deliveries]
    return rows


def _note(one: DeliveryOut) -> str:
    when = f"{'held for quiet hours, ' if one.held else ''}next {local(one.next_at)}" if one.next_at else ""
    tried = f"{one.attempts} attempts" if one.attempts > 1 else ""
    return "; ".join(text for text in (tried, one.error, when) if text)
