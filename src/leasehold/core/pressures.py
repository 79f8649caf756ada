"""Inputs become pressures, pressures a score; and what presses is said in words (SENSE-9, 12; LEASE-25)."""

from __future__ import annotations

from leasehold.core.means import MILLI
from leasehold.model.quiet import Endpoints, Group, QuietAssessment, QuietSettings, Reading

FULL_BP = 10_000


def pressure_bp(ends: Endpoints, value_milli: int) -> int:
    """0 at `zero` (and before it), 10,000 at `one` (and past it), linear between.

    A disabled input presses nothing.
    """
    if not ends.enabled:
        return 0
    zero, one = round(ends.zero * MILLI), round(ends.one * MILLI)
    way, length = (value_milli - zero, one - zero) if one > zero else (zero - value_milli, zero - one)
    return min(FULL_BP, max(0, way * FULL_BP // length))


def group_pressures(settings: QuietSettings, pressures: dict[str, int]) -> dict[Group, int]:
    """Each group's greatest input."""
    groups = dict.fromkeys(Group, 0)
    for name, pressure in pressures.items():
        group = settings.inputs[name].group
        groups[group] = max(groups[group], pressure)
    return groups


def score(settings: QuietSettings, pressures: dict[str, int], only: tuple[Group, ...] = tuple(Group)) -> int:
    """round(100 · Π(1 − w·x)) over the groups `only`: 100 with no pressure.

    One saturated resource is enough to lower it.
    """
    left = FULL_BP * FULL_BP
    for group, pressure in group_pressures(settings, pressures).items():
        if group in only:
            weight = settings.weights_pct.get(group, 0) * 100
            left = left * (FULL_BP * FULL_BP - weight * pressure) // (FULL_BP * FULL_BP)
    return (left + FULL_BP * FULL_BP // 200) // (FULL_BP * FULL_BP // 100)


def sentence(settings: QuietSettings, name: str, value_milli: int, last: Reading) -> str:
    """One input in words: `CPU used by others over 10 s is 71 % (counts from 10 %, fully at 90 %)`."""
    ends = settings.inputs[name]
    note = {
        "mem_pct": last.memory_note,
        "mem_left_mb": last.memory_note,
        "psi_memory": last.memory_note,
        "disk_free_pct": last.disk_note,
        **last.application_notes,
    }.get(name, "")
    unit = f" {ends.unit}" if ends.unit == "%" else ends.unit
    figure = _figure(value_milli)
    where = f" ({note})" if note else ""
    counts = f"it counts from {ends.zero:g}{unit} and fully at {ends.one:g}{unit}"
    return f"{ends.label or name} is {figure}{unit}{where}; {counts}"


def _figure(value_milli: int) -> str:
    """Two digits that matter: 0.85, 7.1, 71."""
    value = value_milli / MILLI
    return f"{value:.0f}" if abs(value) >= 10 else f"{value:.1f}" if abs(value) >= 1 else f"{value:.2f}"


MIDDLE_BP = FULL_BP // 2
"""LEASE-25: past the middle of its endpoints a resource counts as pressed."""


def pressed(settings: QuietSettings, assessment: QuietAssessment, last: Reading | None) -> dict[str, str]:
    """The resources that are pressed by others, with the sentence: `cpu` and `disk` (LEASE-25)."""
    if last is None:
        return {}
    found: dict[str, str] = {}
    for key, group in (("cpu", Group.CPU), ("disk", Group.IO)):
        names = [name for name in assessment.pressures if settings.inputs[name].group is group]
        worst = max(names, key=lambda name: (assessment.pressures[name], name), default=None)
        if worst is not None and assessment.pressures[worst] > MIDDLE_BP:
            found[key] = sentence(settings, worst, round((assessment.inputs[worst] or 0.0) * MILLI), last)
    return found
