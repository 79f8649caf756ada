"""Alerts: rules as data, what people have said of them, and where each stands (OPS-13, OPS-26; INV-5)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

import msgspec


class Severity(StrEnum):
    """How bad it is. `rank` orders them."""

    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        return 1 if self is Severity.WARNING else 2


class AlertState(StrEnum):
    INACTIVE = "inactive"
    ACTIVE = "active"
    ACKNOWLEDGED = "acknowledged"
    """Somebody has seen it; it stands, and tells no more unless it worsens."""
    CLEARED = "cleared"
    """It was, and is over."""


_S = AlertState

TRANSITIONS: Mapping[AlertState, frozenset[AlertState]] = {
    _S.INACTIVE: frozenset({_S.ACTIVE}),
    _S.ACTIVE: frozenset({_S.ACTIVE, _S.ACKNOWLEDGED, _S.CLEARED, _S.INACTIVE}),
    _S.ACKNOWLEDGED: frozenset({_S.ACKNOWLEDGED, _S.ACTIVE, _S.CLEARED, _S.INACTIVE}),
    _S.CLEARED: frozenset({_S.ACTIVE, _S.INACTIVE}),
}
"""The one table of transitions. An alert that stands may change its severity; one that has worsened is active
again; a rule that is switched off is inactive.
"""

STANDING = frozenset({_S.ACTIVE, _S.ACKNOWLEDGED})


class Alert(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Where a rule stands: one durable record a rule, written at each transition. Wall times; 0: never.

    `severity`, `value` and `sentence` are those of its firing or worsening, `since_wall_ms` when it fired,
    `fired` how often that was. `told`: it was told to whoever is notified, or needs no telling any more.
    """

    rule: str
    state: AlertState = AlertState.INACTIVE
    severity: Severity | None = None
    sentence: str = ""
    value: float | None = None
    since_wall_ms: int = 0
    cleared_wall_ms: int = 0
    acknowledged_wall_ms: int = 0
    acknowledged_by: str = ""
    note: str = ""
    fired: int = 0
    told: bool = True

    @property
    def stands(self) -> bool:
        return self.state in STANDING


class Said(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What people have said of a rule; None: as it is built in. It overrides, and is kept (OPS-13)."""

    rule: str
    enabled: bool = True
    mute_until_wall_ms: int = 0
    warning: float | None = None
    critical: float | None = None
    for_ms: int | None = None
    cooldown_ms: int | None = None
    changed_wall_ms: int = 0
    changed_by: str = ""

    def is_muted(self, wall_ms: int) -> bool:
        return wall_ms < self.mute_until_wall_ms


class Rule(msgspec.Struct, frozen=True):
    """One built-in rule. `way` says on which side of a threshold it fires: above it, from it on, below it.

    `warning` and `critical` are the thresholds; None: no such level. `for_ms` is how long it has to be so
    before it fires, `cooldown_ms` how long a warning stays quiet after it has cleared. Thresholds can be set
    from `least` to `most`; where these are the same the rule has none that could be set. `measured` and
    `cure` are sentences for people.
    """

    name: str
    title: str
    unit: str
    way: Literal["above", "from", "below"]
    warning: float | None = None
    critical: float | None = None
    for_ms: int = 0
    cooldown_ms: int = 300_000
    least: float = 0.0
    most: float = 0.0
    measured: str = ""
    cure: str = ""

    @property
    def has_thresholds(self) -> bool:
        return self.least < self.most


class Reading(msgspec.Struct, frozen=True, gc=False):
    """What one look has found. `value` None: it could not be told. `applies` False: there is no such thing
    here, which is as good as well. `partial`: not all of the time that counts has been seen, since a start;
    what fires by it fires, what does not is no proof that all is well.
    """

    value: float | None
    sentence: str = ""
    applies: bool = True
    partial: bool = False


UNKNOWN = Reading(None)
NOTHING_THERE = Reading(None, applies=False)

FOR_MS_MAX = 86_400_000
COOLDOWN_MS_MAX = 7 * 86_400_000
