"""From records of alerts to what people see. No decisions here."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from leasehold.control.views import rfc3339
from leasehold.core.alert import limits_of
from leasehold.core.alert_check import STABLE_CHECKS, Memory, quiet_left_ms
from leasehold.model.alert import STANDING as STANDING_STATES
from leasehold.model.alert import Alert, Reading, Rule, Said, Severity
from leasehold.wire import alert as wire

STANDING = frozenset(str(state) for state in STANDING_STATES)

ORDER = {"active": 0, "acknowledged": 1}


def instant(wall_ms: int) -> str | None:
    """A moment, None where it never was."""
    return rfc3339(wall_ms) if wall_ms else None


def worst_first(one: wire.AlertOut) -> tuple[int, int]:
    """What stands before what does not, critical before warning; else the order of the rules."""
    return ORDER.get(one.state, 2), -Severity(one.severity).rank if one.severity in SEVERITIES else 0


def worst(stand: Sequence[wire.AlertOut]) -> str | None:
    """The severity of the worst of these; None where there is none."""
    found = {one.severity for one in stand}
    return next((str(one) for one in (Severity.CRITICAL, Severity.WARNING) if str(one) in found), None)


SEVERITIES = frozenset(str(severity) for severity in Severity)


def alert(
    rule: Rule, said: Said | None, record: Alert, reading: Reading, waits_for: str, wall_ms: int
) -> wire.AlertOut:
    """One rule, where it stands, and what it sees right now."""
    limits = limits_of(rule, said)
    muted = said is not None and said.is_muted(wall_ms)
    return wire.AlertOut(
        rule=rule.name,
        title=rule.title,
        state=str(record.state),
        severity=None if record.severity is None else str(record.severity),
        sentence=record.sentence if record.stands else "",
        now=reading.sentence,
        value=reading.value,
        unit=rule.unit,
        way=rule.way,
        warning=limits.warning,
        critical=limits.critical,
        enabled=said is None or said.enabled,
        muted_until=rfc3339(said.mute_until_wall_ms) if said is not None and muted else None,
        since=instant(record.since_wall_ms),
        cleared_at=instant(record.cleared_wall_ms),
        acknowledged_at=instant(record.acknowledged_wall_ms),
        acknowledged_by=record.acknowledged_by,
        note=record.note,
        fired=record.fired,
        waits=waits_for,
        cure=rule.cure,
    )


def waits(
    rule: Rule, said: Said | None, record: Alert, memory: Memory | None, now_ms: int, *, starts_in_ms: int
) -> str:
    """Why nothing fires, or clears, that looks as if it should; "" where there is nothing to say."""
    if said is not None and not said.enabled:
        return "it is switched off"
    if starts_in_ms > 0:
        return f"after a start nothing fires for {-(-starts_in_ms // 1000)} s yet"
    if memory is None:
        return ""
    if record.stands:
        left = STABLE_CHECKS - memory.better
        return f"better for {memory.better} check(s), {left} more" if memory.better else ""
    limits = limits_of(rule, said)
    since_ms = memory.critical_since_ms if memory.critical_since_ms is not None else memory.warning_since_ms
    if since_ms is None:
        return ""
    left_ms = since_ms + limits.for_ms - now_ms
    if left_ms > 0:
        return f"it fires if it stays so for {-(-left_ms // 1000)} s more"
    quiet_ms = quiet_left_ms(memory, limits, now_ms)
    return f"it keeps quiet for {-(-quiet_ms // 1000)} s more: it cleared just before" if quiet_ms else ""


def threshold(rule: Rule, said: Said | None) -> wire.ThresholdOut:
    """What a rule fires at, beside what is built in and what is allowed."""
    limits = limits_of(rule, said)
    return wire.ThresholdOut(
        warning=limits.warning,
        critical=limits.critical,
        for_sec=limits.for_ms / 1000,
        cooldown_sec=limits.cooldown_ms / 1000,
        unit=rule.unit,
        way=rule.way,
        measured=rule.measured,
        built_in=wire.BuiltIn(rule.warning, rule.critical, rule.for_ms / 1000, rule.cooldown_ms / 1000),
        least=rule.least if rule.has_thresholds else None,
        most=rule.most if rule.has_thresholds else None,
        changed_at=instant(said.changed_wall_ms) if said is not None else None,
        changed_by=said.changed_by if said is not None else "",
    )


def fields_of(said: wire.ThresholdIn) -> dict[str, float | int | None]:
    """What of a rule is to be changed, as the record has it."""
    found: dict[str, float | int | None] = {}
    for name, field, factor in (
        ("warning", "warning", 1),
        ("critical", "critical", 1),
        ("for_sec", "for_ms", 1000),
        ("cooldown_sec", "cooldown_ms", 1000),
    ):
        value = getattr(said, name)
        if value is not msgspec.UNSET:
            found[field] = (
                value if value is None else (float(value) if factor == 1 else round(value * factor))
            )
    return found
