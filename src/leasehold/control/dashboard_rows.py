"""From records to the rows of the page. No decisions here."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import cast

from leasehold.control.sense import SenseService
from leasehold.control.stats import rollup
from leasehold.core.state import State
from leasehold.model.alert import Alert
from leasehold.model.alert_rules import BY_NAME
from leasehold.model.charge import DEVICE, LOCK
from leasehold.model.event import Event
from leasehold.model.ids import from_number, to_number
from leasehold.model.lease import Lease
from leasehold.model.line import Waiter
from leasehold.model.quiet import QuietAssessment, QuietSettings
from leasehold.model.refusal import Reason
from leasehold.wire import dashboard as wire

LEASES_SHOWN = 50
WAITERS_SHOWN = 20
TEXT_MAX = 200
REASONS = ("reason", "note", "charged", "error", "why")
"""What an event's details may say in words, the first one counts."""
BY_THOUSANDS = frozenset({"JobSubmitted", "JobOffered", "JobStarted", "JobDone"})
"""Events that a busy queue makes by the thousand: the page counts them, and does not tell each."""

VERDICTS: Mapping[str, wire.Verdict] = {"Yes": "yes", "Only urgent work": "urgent"}


def short(text: str) -> str:
    """A text that a frame has room for."""
    return text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 1] + "…"


def verdict(headline: str) -> tuple[wire.Verdict, str]:
    """The answer before the colon of a headline, and the whole of it."""
    return VERDICTS.get(headline.partition(":")[0], "no"), headline


def shown_leases(state: State) -> list[Lease]:
    """The oldest of those that are held."""
    return heapq.nsmallest(LEASES_SHOWN, state.leases.values(), key=lambda lease: lease.token)


def lease(record: Lease, title: str = "") -> wire.LeaseRow:
    """One lease; `title` is what its job is called."""
    ask = record.ask
    named = [name for name, _ in ask.charge.named]
    return wire.LeaseRow(
        id=record.lease_id,
        holder=short(ask.holder),
        job_type=short(ask.job_type),
        state=str(record.state),
        units=ask.charge.units,
        granted_ms=record.granted_wall_ms,
        priority=ask.priority.name,
        label=short(ask.label or title),
        job=from_number("job", record.job) if record.job else "",
        cpu_millicores=ask.charge.cpu_millicores,
        memory_bytes=ask.charge.memory_bytes,
        devices=[name.removeprefix(DEVICE) for name in named if name.startswith(DEVICE)][:8],
        locks=[name.removeprefix(LOCK) for name in named if name.startswith(LOCK)][:8],
        flags=[str(flag) for flag in record.flags],
        expected_ms=ask.bound_ms,
    )


def usage(state: State, leases: Iterable[Lease]) -> dict[str, wire.Usage]:
    """What the work of each has used; only where something is known."""
    found = {}
    for record in leases:
        live = state.liveness.get(record.lease_id)
        if live is not None and (live.cpu_ms or live.memory_bytes or live.progress is not None):
            found[record.lease_id] = wire.Usage(live.cpu_ms, live.memory_bytes, live.progress)
    return found


def waiting(line: Iterable[tuple[Waiter, Reason | None]], total: int, offset_ms: int) -> wire.Waiting:
    """Those who wait, with each sentence once. `offset_ms` is the wall clock less the ledger's."""
    whys: dict[str, int] = {}
    found = []
    for waiter, stands in line:
        sentence = short(stands.sentence) if stands is not None else "next in line"
        found.append(
            wire.WaiterRow(
                ticket=waiter.ticket,
                holder=short(waiter.ask.holder),
                job_type=short(waiter.ask.job_type),
                units=waiter.ask.charge.units,
                since_ms=waiter.since_ms + offset_ms,
                priority=waiter.ask.priority.name,
                why=whys.setdefault(sentence, len(whys)),
                label=short(waiter.ask.label),
            )
        )
    return wire.Waiting(total, found, list(whys))


def decision(event: Event, state: State) -> wire.DecisionRow:
    """One event, with what the lease that it is about was for, as far as that is remembered."""
    details = event.details
    label = label_of(event.subject, state)
    return wire.DecisionRow(
        seq=event.seq,
        kind=event.kind,
        at_ms=event.at_ms,
        subject=event.subject,
        holder=short(str(details.get("holder", ""))),
        job_type=short(str(details.get("job_type", ""))),
        units=cast(int, details.get("units", 0)),
        ran_ms=details.get("ran_ms"),
        reason=short(str(next((details[name] for name in REASONS if details.get(name)), ""))),
        by=short(event.actor),
        until_ms=cast(int, details.get("until_ms", 0)),
        label=short(label),
    )


def job_of(subject: str, state: State) -> int:
    """The number of the job that an event is about, itself or by its lease; 0 for none."""
    of = state.leases.get(subject) or state.ended.get(subject)
    return of.job if of is not None else to_number("job", subject) or 0


def label_of(subject: str, state: State) -> str:
    """What an event is about: what its lease was for, the type of its job, the name of its schedule."""
    of = state.leases.get(subject) or state.ended.get(subject)
    if of is not None:
        return of.ask.label or of.ask.job_type
    job = state.jobs.get(to_number("job", subject) or 0)
    if job is not None:
        return job.terms.ask.job_type
    schedule = state.schedules.get(subject)
    return schedule.name if schedule is not None else ""


def alerts(state: State, late: Mapping[str, Alert], wall_ms: int) -> list[wire.AlertRow]:
    """The alerts that stand, the worst and then the oldest first. `late`: those that no store has taken."""
    stand = [one for one in {**state.alerts, **late}.values() if one.stands and one.rule in BY_NAME]
    stand.sort(key=lambda one: (-(one.severity.rank if one.severity else 0), one.since_wall_ms, one.rule))
    return [_alert(one, state, wall_ms) for one in stand]


def _alert(one: Alert, state: State, wall_ms: int) -> wire.AlertRow:
    said = state.alert_rules.get(one.rule)
    return wire.AlertRow(
        rule=one.rule,
        title=BY_NAME[one.rule].title,
        severity=str(one.severity or ""),
        state=str(one.state),
        sentence=short(one.sentence),
        since_ms=one.since_wall_ms,
        acknowledged_by=one.acknowledged_by,
        muted=said is not None and said.is_muted(wall_ms),
    )


def scales(settings: QuietSettings) -> dict[str, wire.InputScale]:
    """The inputs that count, as they are configured."""
    return {
        name: wire.InputScale(ends.label or name, str(ends.group), ends.unit, ends.zero, ends.one)
        for name, ends in settings.inputs.items()
        if ends.enabled
    }


def inputs(assessment: QuietAssessment | None) -> dict[str, tuple[float, int]]:
    """Value and pressure of each input that is known, the pressures as percentages."""
    if assessment is None:
        return {}
    return {
        name: (round(value, 1), assessment.pressures.get(name, 0) // 100)
        for name, value in assessment.inputs.items()
        if value is not None
    }


def health(sense: SenseService, now_wall_ms: int) -> wire.HealthNow:
    """Whether the figures can be trusted, and the machine does not suffer."""
    at_ms = sense.measured_wall_ms
    age_ms = None if at_ms is None else now_wall_ms - at_ms
    status, reasons = rollup(age_ms, sense.assessment, sense.own_errors())
    return wire.HealthNow(status, [short(reason) for reason in reasons[:8]])
