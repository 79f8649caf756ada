"""Messages of `/api/alerts` and `/api/config/alert-thresholds` (OPS-13)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from leasehold.wire.lease import Input
from leasehold.wire.owner import Instant, Note, Seconds

RuleName = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[a-z][a-z_]*$")]
Value = Annotated[float, Meta(ge=0, le=1e12)]
ForSec = Annotated[float, Meta(ge=0, le=86_400)]
CooldownSec = Annotated[float, Meta(ge=0, le=7 * 86_400)]


class Acknowledge(Input, frozen=True):
    """`POST /api/alerts/{rule}/acknowledge`: somebody has seen it; `note` says what becomes of it."""

    note: Note = ""


class AlertIn(Input, frozen=True):
    """`PUT /api/alerts/{rule}`: switch a rule on or off, mute it; what is left out stays as it is.

    `mute_until` or `mute_for_sec`: it is shown and nobody is notified until then; null ends a mute. One that
    still stands then, and that nobody has acknowledged, is told then.
    """

    enabled: bool | UnsetType = UNSET
    mute_until: Instant | UnsetType | None = UNSET
    mute_for_sec: Seconds | None = None


class AlertOut(msgspec.Struct, omit_defaults=True):
    """One rule and where it stands.

    `state` is inactive, active, acknowledged or cleared; `severity` warning or critical, null where it never
    fired. `sentence` is what was so when it fired or worsened, `now` what is so now, `value` in `unit` (null:
    it can't be told, or there is no such thing here). It fires above a threshold, from it on, or below it
    (`way`). `waits` says why nothing fires yet, or clears. `fired` counts how often it did.
    """

    rule: str
    title: str
    state: str
    severity: str | None
    sentence: str
    now: str
    value: float | None
    unit: str
    way: str
    warning: float | None
    critical: float | None
    enabled: bool
    muted_until: str | None = None
    since: str | None = None
    cleared_at: str | None = None
    acknowledged_at: str | None = None
    acknowledged_by: str = ""
    note: str = ""
    fired: int = 0
    waits: str = ""
    cure: str = ""


class Alerts(msgspec.Struct):
    """`GET /api/alerts`: all rules; what stands comes first, active before acknowledged, critical first.

    `worst` is the worst severity of what stands, null where nothing does. They are looked at every
    `check_sec`.
    """

    alerts: list[AlertOut]
    active: int
    acknowledged: int
    worst: str | None
    checked_at: str | None
    check_sec: float


class ThresholdIn(Input, frozen=True):
    """What is to be changed of one rule; null puts it back to what is built in."""

    warning: Value | UnsetType | None = UNSET
    critical: Value | UnsetType | None = UNSET
    for_sec: ForSec | UnsetType | None = UNSET
    cooldown_sec: CooldownSec | UnsetType | None = UNSET


class ThresholdsIn(Input, frozen=True):
    """`PUT /api/config/alert-thresholds`: a partial change, by rule. All of it is taken, or nothing."""

    thresholds: Annotated[dict[str, ThresholdIn], Meta(max_length=64)]


class BuiltIn(msgspec.Struct):
    """What a rule has where nobody has said anything."""

    warning: float | None
    critical: float | None
    for_sec: float
    cooldown_sec: float


class ThresholdOut(msgspec.Struct, omit_defaults=True):
    """What a rule fires at. `for_sec`: how long it has to be so; `cooldown_sec`: how long a warning keeps
    quiet after it has cleared. Thresholds may be set from `least` to `most`, both null where a rule has none.
    """

    warning: float | None
    critical: float | None
    for_sec: float
    cooldown_sec: float
    unit: str
    way: str
    measured: str
    built_in: BuiltIn
    least: float | None = None
    most: float | None = None
    changed_at: str | None = None
    changed_by: str = ""


class Thresholds(msgspec.Struct):
    """`GET /api/config/alert-thresholds`: what holds now, by rule."""

    thresholds: dict[str, ThresholdOut]
