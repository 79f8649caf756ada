"""Messages of `/api/guards`: software that runs by itself and gives way (LEASE-26)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from leasehold.wire.lease import Input, Text

TARGETS = "docker:NAME, unit:NAME, cgroup:/PATH or pid:N"
Target = Annotated[
    str, Meta(min_length=3, max_length=512, pattern=r"^[a-z]+:[^\x00-\x1f\x7f]+$", description=TARGETS)
]


class GuardIn(Input, frozen=True):
    """`POST /api/guards`: guard a target, or change how it gives way.

    `cost_units`: `why` complains where its measured use is above that.
    """

    target: Target
    on_busy: Literal["keep", "throttle", "pause", "stop"] = "keep"
    cost_units: Annotated[int, Meta(ge=1, le=100)] | None = None
    note: Text = ""


class GuardOut(msgspec.Struct, omit_defaults=True):
    """One guard: what it is about, whether that runs, and what it uses (as a mean of half a minute).

    `problem`: why it can't be told whether it runs. `complaint`: it uses more than it was said to cost.
    """

    target: str
    lease_id: str
    on_busy: str
    running: bool
    guarded_at: str
    by: str
    cost_units: int | None = None
    used_units: int = 0
    used_millicores: int = 0
    memory_bytes: int = 0
    pids: list[int] = []
    cgroup: str = ""
    held_back: str = ""
    note: str = ""
    problem: str = ""
    complaint: str = ""


class Guards(msgspec.Struct):
    guards: list[GuardOut]
