"""The page of codes and inputs (docs/reference/policy.md), taken from the records that decisions read."""

from __future__ import annotations

from collections.abc import Iterator

from leasehold.model.quiet import INPUTS, PRESETS, QuietSettings
from leasehold.model.refusal import Code

SHOWN = {name: PRESETS[name] for name in ("server", "desktop")}

MEANING = {
    Code.RATE_LIMITED: "this holder asks too often; people on the machine itself are exempt",
    Code.ADDON_DISABLED: "this holder was switched off",
    Code.BLOCKED: "the owner said no, until a time",
    Code.MAINTENANCE: "the node is being looked after, or has records that can't be read",
    Code.HELD: "a job: a person keeps it back",
    Code.AFTER: "a job: it comes after others that have not ended",
    Code.NOT_YET: "a job: its time has not come (a start in the future, a back-off)",
    Code.PROBATION: "a worker that let three offers lapse is offered nothing for a while",
    Code.NO_WORKER: "a job: nobody who does its like is there, or was within the last minute",
    Code.NEVER_FITS: "the node could not hold it even when empty; there is no time to come back",
    Code.STATS_UNKNOWN: "nothing recent is known of the machine, which never reads as quiet",
    Code.PANIC: "the machine is in need; nothing starts, whatever its priority",
    Code.COOLING_DOWN: "there was a PANIC of over 15 s a moment ago",
    Code.NOT_QUIET: "others use the machine, and the request asked to wait for quiet",
    Code.NO_WINDOW: "the job waits for a window, and neither an `allow` one nor a forecast one is open",
    Code.CONSTRAINT: "the resource that the work presses is pressed, or enough such work runs",
    Code.CAPACITY: "there is no room in some dimension now",
    Code.MAX_PER_NODE: "the node holds as many leases as it may",
    Code.MAX_PER_HOLDER: "the holder has as many leases on the node as it may",
    Code.QUOTA: "the tenant has used its share",
    Code.IN_LINE: "there is room, but others are before it",
}

ANYWAY = {
    Code.NOT_QUIET: "lifted, but for work that would give way at once (`on_busy`)",
    Code.CAPACITY: "without the curve; all other room stays as it is",
    Code.BLOCKED: "stays; windows to which only quiet work keeps are lifted",
}
"""What becomes of a reason once a job's `start_anyway_by` has passed, where anything does (QUEUE-19)."""


def page() -> str:
    """The whole page."""
    return "\n".join(
        [
            "# Why work waits: codes and inputs",
            "",
            "Written by `make reference` from the program itself;",
            "[how it decides](../how-it-decides.md) explains it, and [the settings](config.md) change it.",
            "Preset `always` is `server` without the quiet gate and without the curve.",
            "",
            "## Why a request waits",
            "All reasons that apply are told; the one that stands highest here decides, and comes first.",
            "",
            "The last column says what of it stands before a job past its *anyway by* (`start_anyway_by`).",
            "",
            "| rank | code | means | past *anyway by* |",
            "|---|---|---|---|",
            *(
                f"| {rank} | `{code}` | {MEANING[code]} | {ANYWAY.get(code, 'stays')} |"
                for rank, code in enumerate(Code, 1)
            ),
            "",
            "## What makes a machine busy",
            "An input presses nothing at the first figure and fully at the second.",
            "Of each group the greatest counts.",
            "",
            "| input | what | group (weight) | " + " | ".join(map(preset_head, SHOWN)) + " |",
            "|---|---|---|" + "---|" * len(SHOWN),
            *inputs(),
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
