"""Which committed events people are told of who are not looking (OPS-14): a pure function, `news_of`.

Success, clearing and acknowledgement are no news: the page shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from leasehold.core.alert import push_of
from leasehold.model.event import Event
from leasehold.model.notification import Draft, Severity

VIOLATIONS_EVERY = 10
"""Of one principal's violations each tenth is told."""


def news_of(event: Event) -> Draft | None:
    """What is to be told of an event; None of most."""
    tell = NEWS.get(event.kind)
    return tell(event) if tell is not None else None


def _text(details: Mapping[str, Any], *names: str) -> str:
    """The first of these details that says something."""
    return next((str(details[name]) for name in names if details.get(name)), "")


def _alert(event: Event) -> Draft | None:
    """An alert that fires, has become worse, or is muted no more. Each firing is news of its own."""
    push = push_of(event)
    if push is None:
        return None
    return Draft(
        kind="alert",
        severity=Severity(push.severity),
        title=f"Alert {push.rule}{' has become worse' if push.worsened else ''}",
        text=push.sentence,
        link="/alerts",
        key=f"alert/{push.rule}/{push.since_wall_ms}",
    )


def _storage(what: str, severity: Severity) -> Callable[[Event], Draft]:
    def tell(event: Event) -> Draft:
        return Draft(
            kind="storage",
            severity=severity,
            title=what,
            text=_text(event.details, "why", "error", "reason") or event.code,
            link="/settings",
            key=f"storage/{event.kind}",
        )

    return tell


def _restored(event: Event) -> Draft | None:
    """One that nobody has asked for: what people do themselves they know. Their names have a colon."""
    if ":" in event.actor:
        return None
    return _storage("The store was restored from a backup by itself", Severity.CRITICAL)(event)


def _worker(event: Event) -> Draft:
    return Draft(
        kind="worker",
        severity=Severity.WARNING,
        title=f"Worker lost: {event.subject}",
        text=f"{_text(event.details, 'reason')}; it had {event.details.get('jobs', 1)} job(s)",
        link="/queue",
        key=f"worker/{event.subject}",
    )


def _violation(event: Event) -> Draft | None:
    count = event.details.get("count")
    if not isinstance(count, int) or count <= 0 or count % VIOLATIONS_EVERY:
        return None
    return Draft(
        kind="violation",
        severity=Severity.WARNING,
        title=f"{event.subject} has broken the rules {count} times",
        text=_text(event.details, "reason", "why") or event.code,
        link="/events",
        key=f"violation/{event.subject}/{count}",
    )


NEWS: dict[str, Callable[[Event], Draft | None]] = {
    "AlertFired": _alert,
    "AlertWorsened": _alert,
    "AlertUnmuted": _alert,
    "BackupFailed": _storage("A backup failed", Severity.WARNING),
    "BackupDamaged": _storage("A backup is damaged", Severity.CRITICAL),
    "RestoreFailed": _storage("A restore failed", Severity.CRITICAL),
    "StoreRestored": _restored,
    "CompactionFailed": _storage("A compaction of the store failed", Severity.WARNING),
    "WorkerLost": _worker,
    "RateViolation": _violation,
}
"""By kind of event. Who makes a new kind that people are to be told of adds a line."""
