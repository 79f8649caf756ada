"""One check of a rule: when it fires, worsens, eases and clears (OPS-13).

What was read, and what is remembered of the checks before, give the next record and its events. Durations are
judged on the ledger's clock, moments of people on the wall's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from leasehold.core.alert import SENTENCE_MAX, Limits, event, limits_of, moved
from leasehold.model.alert import Alert, AlertState, Reading, Rule, Said, Severity
from leasehold.model.event import Event

STABLE_CHECKS = 3
"""So many checks in a row have to be better before anything eases or clears."""


class Memory(msgspec.Struct, frozen=True):
    """What is remembered from check to check; lost with the process.

    Since when the thresholds are passed, how many checks in a row were better and how bad the worst of these
    was, and from when a warning keeps quiet.
    """

    warning_since_ms: int | None = None
    critical_since_ms: int | None = None
    better: int = 0
    better_at_worst: Severity | None = None
    quiet_from_ms: int | None = None


class Step(msgspec.Struct, frozen=True):
    """What one check comes to. `alert` is the record before where nothing has changed."""

    alert: Alert
    memory: Memory
    events: tuple[Event, ...] = ()


def level(rule: Rule, limits: Limits, value: float) -> Severity | None:
    """How bad a value is."""
    if limits.critical is not None and _passes(rule, value, limits.critical):
        return Severity.CRITICAL
    if limits.warning is not None and _passes(rule, value, limits.warning):
        return Severity.WARNING
    return None


def _passes(rule: Rule, value: float, threshold: float) -> bool:
    if rule.way == "below":
        return value < threshold
    return value >= threshold if rule.way == "from" else value > threshold


def remembered(alert: Alert, now_ms: int, wall_ms: int) -> Memory:
    """What a server that has just started knows: for how long a cleared alert has been quiet already."""
    if not alert.cleared_wall_ms:
        return Memory()
    return Memory(quiet_from_ms=now_ms - max(0, wall_ms - alert.cleared_wall_ms))


def check(
    rule: Rule,
    said: Said | None,
    alert: Alert,
    memory: Memory,
    reading: Reading,
    now_ms: int,
    wall_ms: int,
) -> Step:
    """One check of one rule that is enabled."""
    if reading.applies and reading.value is None:  # What is not known neither fires nor clears.
        return _tell(said, alert, replace(memory, **_FRESH), wall_ms)
    limits = limits_of(rule, said)
    found = level(rule, limits, reading.value) if reading.applies and reading.value is not None else None
    memory = _since(memory, found, now_ms)
    held = _held(limits, memory, now_ms)
    if not alert.stands:
        return _maybe_fire(said, alert, memory, limits, held, reading, now_ms, wall_ms)
    assert alert.severity is not None
    if held is not None and held.rank > alert.severity.rank:
        return _worsened(said, alert, memory, held, reading, wall_ms)
    if found is not None and found.rank >= alert.severity.rank:
        return _tell(said, alert, replace(memory, better=0, better_at_worst=None), wall_ms)
    if reading.partial:
        return _tell(said, alert, replace(memory, better=0, better_at_worst=None), wall_ms)
    return _better(said, alert, memory, found, reading, now_ms, wall_ms)


_FRESH: Mapping[str, Any] = {
    "warning_since_ms": None,
    "critical_since_ms": None,
    "better": 0,
    "better_at_worst": None,
}


def _since(memory: Memory, found: Severity | None, now_ms: int) -> Memory:
    warning = critical = None
    if found is not None:
        warning = now_ms if memory.warning_since_ms is None else memory.warning_since_ms
    if found is Severity.CRITICAL:
        critical = now_ms if memory.critical_since_ms is None else memory.critical_since_ms
    return replace(memory, warning_since_ms=warning, critical_since_ms=critical)


def _held(limits: Limits, memory: Memory, now_ms: int) -> Severity | None:
    """How bad it has been for long enough."""
    for severity, since_ms, threshold in (
        (Severity.CRITICAL, memory.critical_since_ms, limits.critical),
        (Severity.WARNING, memory.warning_since_ms, limits.warning),
    ):
        if threshold is not None and since_ms is not None and now_ms - since_ms >= limits.for_ms:
            return severity
    return None


def _maybe_fire(
    said: Said | None,
    alert: Alert,
    memory: Memory,
    limits: Limits,
    held: Severity | None,
    reading: Reading,
    now_ms: int,
    wall_ms: int,
) -> Step:
    if held is None or (held is Severity.WARNING and quiet_left_ms(memory, limits, now_ms)):
        return Step(alert, memory)
    fired = Alert(
        alert.rule,
        AlertState.ACTIVE,
        held,
        reading.sentence[:SENTENCE_MAX],
        reading.value,
        wall_ms,
        fired=alert.fired + 1,
    )
    return _shown(said, alert, fired, replace(memory, better=0, better_at_worst=None), "AlertFired", wall_ms)


def quiet_left_ms(memory: Memory, limits: Limits, now_ms: int) -> int:
    """How long a warning stays quiet yet, because the last one is over only just."""
    if memory.quiet_from_ms is None:
        return 0
    return max(0, memory.quiet_from_ms + limits.cooldown_ms - now_ms)


def _worsened(
    said: Said | None, alert: Alert, memory: Memory, held: Severity, reading: Reading, wall_ms: int
) -> Step:
    worse = replace(
        alert,
        state=AlertState.ACTIVE,
        severity=held,
        sentence=reading.sentence[:SENTENCE_MAX],
        value=reading.value,
        acknowledged_wall_ms=0,
        acknowledged_by="",
        note="",
    )
    memory = replace(memory, better=0, better_at_worst=None)
    return _shown(said, alert, worse, memory, "AlertWorsened", wall_ms)


def _better(
    said: Said | None,
    alert: Alert,
    memory: Memory,
    found: Severity | None,
    reading: Reading,
    now_ms: int,
    wall_ms: int,
) -> Step:
    worst = found or memory.better_at_worst
    memory = replace(memory, better=memory.better + 1, better_at_worst=worst)
    if memory.better < STABLE_CHECKS:
        return _tell(said, alert, memory, wall_ms)
    memory = replace(memory, better=0, better_at_worst=None)
    if worst is not None:
        eased = replace(alert, severity=worst, sentence=reading.sentence[:SENTENCE_MAX], value=reading.value)
        return Step(moved(alert, eased), memory, (event("AlertEased", eased, wall_ms),))
    cleared = replace(alert, state=AlertState.CLEARED, cleared_wall_ms=wall_ms, told=True)
    told = event("AlertCleared", cleared, wall_ms)
    return Step(moved(alert, cleared), replace(memory, quiet_from_ms=now_ms), (told,))


def _shown(said: Said | None, old: Alert, new: Alert, memory: Memory, kind: str, wall_ms: int) -> Step:
    """It fires or worsens: told to whoever is notified, unless it is muted."""
    muted = said is not None and said.is_muted(wall_ms)
    new = replace(new, told=not muted)
    return Step(moved(old, new), memory, (event(kind, new, wall_ms, muted=muted),))


def _tell(said: Said | None, alert: Alert, memory: Memory, wall_ms: int) -> Step:
    """Nothing has changed; where it was muted, is not any more, and nobody has seen it, it is told now."""
    muted = said is not None and said.is_muted(wall_ms)
    if alert.told or muted or alert.state is not AlertState.ACTIVE:
        return Step(alert, memory)
    told = replace(alert, told=True)
    return Step(moved(alert, told), memory, (event("AlertUnmuted", told, wall_ms),))
