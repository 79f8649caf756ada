"""Writes docs/reference/policy.md: every default that a decision reads, taken from the records themselves.

python tools/policy_page.py write | check
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from leasehold.model.quiet import INPUTS, PRESETS, QuietSettings
from leasehold.model.refusal import Code
from leasehold.model.settings import PolicySettings

SHOWN = {name: PRESETS[name] for name in ("server", "desktop")}

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "policy.md"

MEANING = {
    Code.RATE_LIMITED: "this holder asks too often; people on the machine itself are exempt",
    Code.ADDON_DISABLED: "this holder was switched off",
    Code.BLOCKED: "the owner said no, until a time",
    Code.MAINTENANCE: "the node is being looked after, or has records that can't be read",
    Code.NEVER_FITS: "the node could not hold it even when empty; there is no time to come back",
    Code.STATS_UNKNOWN: "nothing recent is known of the machine, which never reads as quiet",
    Code.PANIC: "the machine is in need; nothing starts, whatever its priority",
    Code.COOLING_DOWN: "there was a PANIC of over 15 s a moment ago",
    Code.NOT_QUIET: "others use the machine, and the request asked to wait for quiet",
    Code.CONSTRAINT: "the resource that the work presses is pressed, or enough such work runs",
    Code.CAPACITY: "there is no room in some dimension now",
    Code.MAX_PER_NODE: "the node holds as many leases as it may",
    Code.MAX_PER_HOLDER: "the holder has as many leases on the node as it may",
    Code.QUOTA: "the tenant has used its share",
    Code.IN_LINE: "there is room, but others are before it",
}
UNITS = {"_ms": "ms", "_pct": "%", "_bytes": "bytes", "_units": "units", "_bp": "basis points"}


def page() -> str:
    """The whole page."""
    return "\n".join(
        [
            "# Policy: codes, inputs, limits",
            "",
            "Written by `make reference` from the program's own records;",
            "[how it decides](../how-it-decides.md) explains them.",
            "Preset `always` is `server` without the quiet gate and without the curve.",
            "",
            "## Why a request waits",
            "All reasons that apply are told; the one that stands highest here decides, and comes first.",
            "",
            "| rank | code | means |",
            "|---|---|---|",
            *(f"| {rank} | `{code}` | {MEANING[code]} |" for rank, code in enumerate(Code, 1)),
            "",
            "## What makes a machine busy",
            "An input presses nothing at the first figure and fully at the second.",
            "Of each group the greatest counts.",
            "",
            "| input | what | group (weight) | " + " | ".join(map(preset_head, SHOWN)) + " |",
            "|---|---|---|" + "---|" * len(SHOWN),
            *inputs(),
            "",
            "| setting | " + " | ".join(map(preset_head, SHOWN)) + " |",
            "|---|" + "---|" * len(SHOWN),
            *quiet_settings(),
            "",
            "## Limits and times",
            "| setting | default |",
            "|---|---|",
            *(f"| `{name}` | {value} |" for name, value in flat(PolicySettings())),
            "",
        ]
    )


def preset_head(name: str) -> str:
    """A preset's name as the head of a column."""
    return f"preset `{name}`"


def inputs() -> Iterator[str]:
    """One row per input, with its endpoints in each preset."""
    for name, default in INPUTS.items():
        weight = QuietSettings().weights_pct[default.group]
        ends = []
        for preset in SHOWN.values():
            each = preset.inputs[name]
            ends.append(f"{each.zero:g} → {each.one:g}{each.unit}" if each.enabled else "off")
        yield f"| `{name}` | {default.label} | {default.group} ({weight} %) | {' | '.join(ends)} |"


def quiet_settings() -> Iterator[str]:
    """One row per plain figure of the assessment."""
    for field in msgspec.structs.fields(QuietSettings):
        values = [getattr(preset, field.name) for preset in SHOWN.values()]
        if all(isinstance(value, int) for value in values):
            yield f"| `{field.name}` | {' | '.join(shown(field.name, value) for value in values)} |"


def flat(settings: msgspec.Struct, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every setting by its dotted name, with its default."""
    for field in msgspec.structs.fields(settings):
        value = getattr(settings, field.name)
        if isinstance(value, msgspec.Struct):
            yield from flat(value, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", shown(field.name, value)


def shown(name: str, value: object) -> str:
    """A default for people: with its unit, and long lists in one line."""
    unit = next((unit for suffix, unit in UNITS.items() if name.endswith(suffix)), "")
    if isinstance(value, dict):
        return ", ".join(f"{key} {each}" for key, each in value.items()) or "none"
    if isinstance(value, tuple):
        pairs = (" → ".join(map(str, each)) if isinstance(each, tuple) else f"{each:,}" for each in value)
        return "; ".join(pairs) or "none"
    if isinstance(value, int):
        return f"{value:,} {unit}".strip()
    return str(value)


def main(arguments: list[str]) -> int:
    """Write the page, or say whether it would change."""
    if arguments == ["write"]:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if arguments == ["check"]:
        return int(PAGE.read_text(encoding="utf-8") != page())
    print(__doc__, file=sys.stderr)
    return 64


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
