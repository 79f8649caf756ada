"""Refusals are values: a stable code, a sentence with its figures, the cure, and when (INV-6)."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Code(StrEnum):
    """Why a request was not granted (LEASE-5). The order is the rank in which they decide (LEASE-4)."""

    RATE_LIMITED = "RATE_LIMITED"
    ADDON_DISABLED = "ADDON_DISABLED"
    BLOCKED = "BLOCKED"
    MAINTENANCE = "MAINTENANCE"
    HELD = "HELD"
    """Jobs only, as the three that follow: a person keeps it back."""
    AFTER = "AFTER"
    """It comes after jobs that have not ended."""
    NOT_YET = "NOT_YET"
    """Its time has not come: a start in the future, a back-off."""
    NO_WORKER = "NO_WORKER"
    """Nobody who could do it is there, or was within the last minute."""
    PROBATION = "PROBATION"
    """A worker that let its offers lapse."""
    NEVER_FITS = "NEVER_FITS"
    STATS_UNKNOWN = "STATS_UNKNOWN"
    PANIC = "PANIC"
    COOLING_DOWN = "COOLING_DOWN"
    NOT_QUIET = "NOT_QUIET"
    NO_WINDOW = "NO_WINDOW"
    """Only of jobs that wait for a window (QUEUE-19)."""
    CONSTRAINT = "CONSTRAINT"
    CAPACITY = "CAPACITY"
    MAX_PER_NODE = "MAX_PER_NODE"
    MAX_PER_HOLDER = "MAX_PER_HOLDER"
    QUOTA = "QUOTA"
    IN_LINE = "IN_LINE"


RANK: dict[Code, int] = {code: position for position, code in enumerate(Code)}


class Reason(msgspec.Struct, frozen=True, gc=False):
    """One reason. `cure` says what would change the answer; `retry_after_s` is None where that is unknown."""

    code: Code
    sentence: str
    cure: str = ""
    figures: dict[str, int | float | str] = {}
    retry_after_s: int | None = None
