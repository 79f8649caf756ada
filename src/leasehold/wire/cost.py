"""What work asked, what it used, and what to ask next time, as the wire shows it (LEASE-15)."""

from __future__ import annotations

import msgspec


class QuantilesOut(msgspec.Struct, frozen=True):
    """Median, 95th percentile and greatest value."""

    p50: float
    p95: float
    peak: float


class AskedOut(msgspec.Struct, omit_defaults=True):
    """What the newest one was charged, and how long it was expected to take."""

    cost_units: int = 0
    cpu_millicores: int = 0
    memory_bytes: int = 0
    expected_sec: float = 0.0


class LearnedCost(msgspec.Struct, omit_defaults=True):
    """One kind of work: a holder's job type. `leases` is how many were measured, old ones fading.

    `suggested_cost_units` covers the 95th percentile of its cores; None, and a `note`, where too few have
    ended. `asked` is None where it was not recorded.
    """

    holder: str
    job_type: str
    leases: int
    cpu_millicores: QuantilesOut
    memory_bytes: QuantilesOut
    duration_sec: QuantilesOut
    asked: AskedOut | None = None
    suggested_cost_units: int | None = None
    note: str = ""


class Costs(msgspec.Struct, omit_defaults=True):
    """`GET /api/scheduler/costs`: by holder and job type. `more`: there are others; narrow it down."""

    costs: list[LearnedCost]
    more: bool = False
