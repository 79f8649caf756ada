"""Alerts in words: the rows of their tables, and one of them with all there is to say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from leasehold.cli.amounts import spell
from leasehold.cli.job_words import local
from leasehold.cli.render import Out

if TYPE_CHECKING:
    from leasehold.wire.alert import AlertOut, Alerts, ThresholdOut

HEAD = ("RULE", "STATE", "SINCE", "NOW")
THRESHOLD_HEAD = ("RULE", "WARNING", "CRITICAL", "FOR", "COOLDOWN", "CHANGED", "LOOKS AT")

SIGNS = {"above": ">", "from": "≥", "below": "<"}


def state(one: AlertOut) -> str:
    """`critical`, `warning, acknowledged`, `off`, `fine`: one word more where there is more to it."""
    if not one.enabled:
        return "off"
    word = "fine"
    if one.state == "active":
        word = str(one.severity)
    elif one.state == "acknowledged":
        word = f"{one.severity}, acknowledged"
    return f"{word}, muted" if one.muted_until else word


def row(one: AlertOut) -> tuple[object, ...]:
    """One rule in a table."""
    stands = one.state in ("active", "acknowledged")
    now = (one.sentence if stands else one.now) or one.now
    return one.rule, state(one), local(one.since) if stands else "", now


def show(out: Out, one: AlertOut) -> None:
    """Everything about one rule."""
    stands = one.state in ("active", "acknowledged")
    out.text(f"{one.title if stands else one.rule}: {state(one)}")
    seen = f"{local(one.acknowledged_at)} by {one.acknowledged_by}" if one.acknowledged_at else ""
    rows: list[tuple[str, object]] = [
        ("rule", one.rule),
        ("since", local(one.since) if stands else ""),
        ("was", one.sentence if one.sentence != one.now else ""),
        ("now", one.now),
        ("fires", _levels(one.way, one.warning, one.critical, one.unit)),
        ("waits", one.waits),
        ("acknowledged", seen if stands else ""),
        ("note", one.note if stands else ""),
        ("muted until", local(one.muted_until)),
        ("cleared", local(one.cleared_at) if not stands else ""),
        ("fired", f"{one.fired} time(s)" if one.fired else ""),
        ("cure", one.cure if stands else ""),
    ]
    out.pairs(rows)


def _levels(way: str, warning: float | None, critical: float | None, unit: str) -> str:
    if not unit:
        return "when it is so"
    told = [
        f"{word} {SIGNS[way]} {value:g} {unit}"
        for word, value in (("warning", warning), ("critical", critical))
        if value is not None
    ]
    return ", ".join(told)


def threshold_row(name: str, one: ThresholdOut) -> tuple[object, ...]:
    """What one rule fires at."""
    changed = f"{local(one.changed_at)} by {one.changed_by}" if one.changed_at else ""
    return (
        name,
        _amount(one.warning, one),
        _amount(one.critical, one),
        spell(one.for_sec) if one.for_sec else "",
        spell(one.cooldown_sec) if one.cooldown_sec else "",
        changed,
        one.measured,
    )


def _amount(value: float | None, one: ThresholdOut) -> str:
    if value is None:
        return ""
    return f"{SIGNS[one.way]} {value:g} {one.unit}" if one.unit else "when so"


def line(found: Alerts) -> str:
    """All that stands in one line; "" where nothing does."""
    stand = [one for one in found.alerts if one.state in ("active", "acknowledged")]
    if not stand:
        return ""
    names = ", ".join(f"{one.rule} ({state(one)})" for one in stand[:5])
    more = f" and {len(stand) - 5} more" if len(stand) > 5 else ""
    return f"alerts: {names}{more} (`leasehold alert list`)"
