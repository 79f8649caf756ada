"""The decisions about alerts: what becomes of one, who is told, and what people may change (OPS-13)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from leasehold.core.state import ALERT_RULES, ALERTS, Change, Outcome, Stamp, State
from leasehold.model.alert import STANDING, TRANSITIONS, Alert, AlertState, Rule, Said, Severity
from leasehold.model.errors import Conflict, Invalid
from leasehold.model.event import Event

SENTENCE_MAX = 300

ENGINE = "alerts"
"""Who causes what nobody has asked for."""


class Limits(msgspec.Struct, frozen=True):
    """The thresholds in force: those of the rule, with what people have said over them."""

    warning: float | None
    critical: float | None
    for_ms: int
    cooldown_ms: int


class Push(msgspec.Struct, frozen=True):
    """What is told to whoever is notified: an alert that fires or worsens (OPS-14)."""

    rule: str
    severity: Severity
    sentence: str
    since_wall_ms: int
    seq: int = 0
    worsened: bool = False


def limits_of(rule: Rule, said: Said | None) -> Limits:
    """The thresholds in force."""
    if said is None:
        return Limits(rule.warning, rule.critical, rule.for_ms, rule.cooldown_ms)
    return Limits(
        rule.warning if said.warning is None else said.warning,
        rule.critical if said.critical is None else said.critical,
        rule.for_ms if said.for_ms is None else said.for_ms,
        rule.cooldown_ms if said.cooldown_ms is None else said.cooldown_ms,
    )


def moved(old: Alert, new: Alert) -> Alert:
    """The new record, where the table of transitions has the way to it."""
    assert new.state in TRANSITIONS[old.state], f"no alert goes from {old.state} to {new.state}"
    return new


def event(
    kind: str, alert: Alert, wall_ms: int, by: str = ENGINE, *, muted: bool = False, note: str = ""
) -> Event:
    """What has become of an alert. `reason` is its sentence, or the note of whoever has seen it."""
    details: dict[str, Any] = {"severity": str(alert.severity or ""), "reason": note or alert.sentence}
    details["since_ms"] = alert.since_wall_ms
    if alert.value is not None:
        details["value"] = alert.value
    if muted:
        details["muted"] = True
    return Event(kind, alert.rule, wall_ms, by, details=details)


PUSHED = frozenset({"AlertFired", "AlertWorsened", "AlertUnmuted"})
"""What is pushed; that an alert eased, cleared or was seen is shown, never pushed (OPS-14)."""


def push_of(told: Event) -> Push | None:
    """What an event has whoever is notified hear; None where that is nothing.

    Of one that was told already, while no store took it, that is nothing.
    """
    details = told.details
    if told.kind not in PUSHED or details.get("muted") or details.get("late"):
        return None
    return Push(
        told.subject,
        Severity(details["severity"]),
        str(details["reason"]),
        int(details["since_ms"]),
        told.seq,
        told.kind == "AlertWorsened",
    )


# -- what people say


def acknowledge(alert: Alert, stamp: Stamp, by: str, note: str) -> Outcome:
    """Somebody has seen it. Answer: the record. Again changes nothing. Raises Conflict where none stands."""
    if alert.state is AlertState.ACKNOWLEDGED:
        return Outcome(alert)
    if alert.state is not AlertState.ACTIVE:
        raise Conflict(
            f"{alert.rule} is {alert.state}: there is nothing to acknowledge; `leasehold alert list` shows "
            "what stands",
            rule=alert.rule,
        )
    seen = replace(
        alert,
        state=AlertState.ACKNOWLEDGED,
        acknowledged_wall_ms=stamp.wall_ms,
        acknowledged_by=by,
        note=note,
        told=True,
    )
    outcome = Outcome(moved(alert, seen))
    outcome.changes.append(Change(ALERTS, alert.rule, seen))
    outcome.events.append(event("AlertAcknowledged", seen, stamp.wall_ms, by, note=note))
    return outcome


def set_rule(
    state: State,
    name: str,
    stamp: Stamp,
    by: str,
    *,
    enabled: bool | None = None,
    mute_until_wall_ms: int | None = None,
) -> Outcome:
    """Switch a rule on or off, mute it. Switched off, what stands of it is gone at once."""
    before = state.alert_rules.get(name) or Said(name)
    said = before
    if enabled is not None:
        said = replace(said, enabled=enabled)
    if mute_until_wall_ms is not None:
        said = replace(said, mute_until_wall_ms=mute_until_wall_ms)
    if said == before:
        return Outcome()
    outcome = _said(said, stamp, by)
    alert = state.alerts.get(name)
    if not said.enabled and alert is not None and alert.state is not AlertState.INACTIVE:
        gone = replace(Alert(name), fired=alert.fired)
        outcome.changes.append(Change(ALERTS, name, moved(alert, gone)))
        if alert.state in STANDING:
            outcome.events.append(
                event("AlertDropped", replace(gone, severity=alert.severity), stamp.wall_ms, by)
            )
    return outcome


FIELDS = ("warning", "critical", "for_ms", "cooldown_ms")


def set_thresholds(
    state: State,
    rules: Mapping[str, Rule],
    wanted: Mapping[str, Mapping[str, float | int | None]],
    stamp: Stamp,
    by: str,
) -> Outcome:
    """Change what is named, and nothing else; None puts a field back to what is built in.

    All of it or nothing. Raises Invalid, which names what is allowed.
    """
    outcome = Outcome()
    for name, fields in wanted.items():
        before = state.alert_rules.get(name) or Said(name)
        said = replace(before, **fields)
        _check(rules[name], said)
        if said != before:
            made = _said(said, stamp, by)
            outcome.changes.extend(made.changes)
            outcome.events.extend(made.events)
    return outcome


def _check(rule: Rule, said: Said) -> None:
    limits = limits_of(rule, said)
    for field in ("warning", "critical"):
        value = getattr(said, field)
        if value is None:
            continue
        if not rule.has_thresholds:
            raise Invalid(
                f"{rule.name} has no threshold: it fires where {rule.measured}; for_sec, cooldown_sec and "
                "enabled can be set",
                field=f"$.{rule.name}.{field}",
                expected="nothing",
            )
        if not rule.least <= value <= rule.most:
            allowed = f"{rule.least:g} to {rule.most:g}{f' {rule.unit}' if rule.unit else ''}"
            raise Invalid(
                f"{rule.name}.{field}: expected {allowed}, got {value:g}",
                field=f"$.{rule.name}.{field}",
                expected=allowed,
            )
    if limits.warning is None or limits.critical is None:
        return
    is_worse = limits.critical < limits.warning if rule.way == "below" else limits.critical > limits.warning
    if not is_worse:
        side = "below" if rule.way == "below" else "above"
        raise Invalid(
            f"{rule.name}: critical ({limits.critical:g}) has to be {side} warning ({limits.warning:g})",
            field=f"$.{rule.name}.critical",
            expected=f"a value {side} that of warning",
        )


def _said(said: Said, stamp: Stamp, by: str) -> Outcome:
    outcome = Outcome(said)
    known = replace(said, changed_wall_ms=stamp.wall_ms, changed_by=by)
    outcome.changes.append(Change(ALERT_RULES, said.rule, known))
    details: dict[str, Any] = {"enabled": said.enabled}
    if said.mute_until_wall_ms:
        details["until_ms"] = said.mute_until_wall_ms
    details |= {field: value for field in FIELDS if (value := getattr(said, field)) is not None}
    outcome.events.append(Event("AlertRuleChanged", said.rule, stamp.wall_ms, by, details=details))
    return outcome
