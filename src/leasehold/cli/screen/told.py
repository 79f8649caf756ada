"""Events in words, each with a sign that says of what kind it is without colour. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from leasehold.cli.amounts import spell

if TYPE_CHECKING:
    from leasehold.wire.dashboard import DecisionRow


class Told(NamedTuple):
    """A sign, its colour, what happened, and what else is to be said of it."""

    sign: str
    color: str
    sentence: str
    detail: str


SIGNS = {
    "start": ("▶", "green"),
    "end": ("■", ""),
    "lost": ("✗", "red"),
    "held": ("‖", "yellow"),
    "word": ("»", "cyan"),
    "other": ("·", ""),
}

SENTENCES: Mapping[str, tuple[str, str]] = {
    "LeaseGranted": ("start", "{who} was granted {units}"),
    "LeaseReleased": ("end", "{who} ended{ran}"),
    "LeaseExpired": ("lost", "{who} was lost{ran}"),
    "LeaseRevoking": ("lost", "{who} is being stopped"),
    "LeaseRevoked": ("lost", "{who} was stopped{ran}"),
    "LeaseSilent": ("lost", "{who} is silent; its processes still run"),
    "LeaseUnattended": ("lost", "{who} is unattended; its work goes on"),
    "LeaseFrozen": ("held", "{who} gives way: it stands still"),
    "LeaseThrottled": ("held", "{who} gives way: it is slowed down"),
    "LeaseThawed": ("start", "{who} goes on"),
    "LeaseUnthrottled": ("start", "{who} goes on at full speed"),
    "LeaseGaveBack": ("held", "{who} stands still and gave back {units}"),
    "GuardedStopped": ("end", "{who} has stopped"),
    "GuardedStarted": ("start", "{who} has started, and is guarded"),
    "GuardChanged": ("word", "{by} changed how {who} gives way"),
    "NodeBlocked": ("word", "{by} blocked new work"),
    "NodeAllowed": ("word", "{by} allowed new work"),
    "BlockEnded": ("word", "the block has ended"),
    "AllowEnded": ("word", "the allowance has ended"),
    "PretendsBusy": ("word", "{by} says: take it for busy"),
    "PretendsQuiet": ("word", "{by} says: take it for quiet"),
    "PretendEnded": ("word", "what is measured counts again"),
    "JobFailed": ("lost", "{who} failed"),
    "JobExpired": ("lost", "{who} was not done in time"),
    "JobCanceled": ("end", "{who} was cancelled"),
    "JobCancelRequested": ("held", "{by} cancels {who}"),
    "JobRequeued": ("held", "{who} is back in the line"),
    "JobHeld": ("held", "{by} holds {who}"),
    "JobResumed": ("start", "{by} resumed {who}"),
    "JobRetried": ("start", "{by} queued {who} again"),
    "JobPrioritised": ("word", "{by} changed the priority of {who}"),
    "ScheduleRan": ("start", "the schedule {who} submitted a job"),
    "ScheduleSkipped": ("held", "a run of the schedule {who} was left out"),
    "ScheduleMissed": ("held", "runs of the schedule {who} were missed"),
    "ScheduleCreated": ("word", "{by} set the schedule {who}"),
    "ScheduleChanged": ("word", "{by} set the schedule {who}"),
    "SchedulePaused": ("held", "the schedule {who} is paused"),
    "ScheduleResumed": ("start", "the schedule {who} goes on"),
}

UNTOLD = frozenset({"LeaseActivated", "LeaseHeardAgain"})
"""What only follows another event."""


def told(event: DecisionRow) -> Told | None:
    """What an event means to a person; None for what only follows another."""
    if event.kind in UNTOLD:
        return None
    tone, template = SENTENCES.get(event.kind, ("other", f"{_spaced(event.kind)}: {{subject}}"))
    sentence = template.format(
        who=event.label or event.job_type or event.subject,
        by=event.by or "its time",
        units=f"{event.units} units" if event.units else "what it asked for",
        ran="" if event.ran_ms is None else f" after {spell(event.ran_ms / 1000)}",
        subject=event.subject,
    )
    return Told(*SIGNS[tone], sentence, event.reason)


def _spaced(kind: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9 ]", "", kind)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain).capitalize()
