"""What the ledger knows of a node when it decides:

totals, quietness, pressure. Volatile, replaced as a whole.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from leasehold.model.charge import Totals

State = Literal["QUIET", "NORMAL", "BUSY", "PANIC", "UNKNOWN"]


class NodeView(msgspec.Struct, frozen=True, gc=False):
    """One node as last measured. Times are on the ledger's clock.

    `score` is 0–100, None when UNKNOWN. `always` is the preset of that name: the quiet gate and the curve are
    off. `foreign_memory_bytes` is memory that others use; `excess_memory_bytes` is by how much bound work
    uses more than its charge (now or in the last 10 minutes), summed. `pressed` maps what a constraint may
    name (`cpu`, `disk`, `disk:<id>`, `network`, `gpu:0`) to a sentence with the figures, only while it is
    pressed (LEASE-25). `short_of_memory_or_disk`, `short_of_memory`: the pressure of these alone makes it
    PANIC. `guarded` tells, by lease, how many millicores guarded software used over the last half minute: it
    counts as used, for nothing is charged for it (LEASE-26).
    """

    node_id: str
    measured_ms: int
    state: State
    score: int | None
    since_ms: int
    totals: Totals
    cooldown_until_ms: int = 0
    always: bool = False
    reasons: tuple[str, ...] = ()
    foreign_memory_bytes: int = 0
    excess_memory_bytes: int = 0
    pressed: dict[str, str] = {}
    short_of_memory_or_disk: bool = False
    short_of_memory: bool = False
    guarded: dict[str, int] = {}


STALE_AFTER_MS = 30_000
"""An assessment older than this reads as UNKNOWN (SENSE-11)."""
