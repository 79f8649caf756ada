"""The port of history: samples, and quiet streaks (SENSE-14…16).

Volatile by definition: the last seconds may be lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from leasehold.core.streaks import Streak


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One row: the numeric fields of one metric group at one instant of wall time."""

    wall_ms: int
    group: str
    fields: dict[str, float]


class Bucket(msgspec.Struct, frozen=True, gc=False):
    """One aggregated point; `start_ms` is a multiple of the step."""

    start_ms: int
    value: float


class Samples(Protocol):
    """Raw samples, kept `raw_days`, older ones pruned a slice per write. Off the event loop by itself."""

    async def open(self) -> Streak | None:
        """Open or make the store. The streak that was open when the process before ended, if one was."""
        ...

    async def write(
        self, samples: Sequence[Sample], ended: Sequence[Streak], open_streak: Streak | None, now_wall_ms: int
    ) -> None:
        """One batch in one transaction, with the streaks that ended and the one that is open."""
        ...

    async def buckets(
        self, group: str, metric: str, *, start_ms: int, end_ms: int, step_ms: int, how: str
    ) -> Sequence[Bucket]:
        """One metric by steps, in order; steps without a sample are left out.

        `how`: mean, min, max, last or count.
        """
        ...

    async def groups(self) -> dict[str, list[str]]:
        """The metric groups that have samples, each with the fields of its newest one, sorted."""
        ...

    async def streaks(self, *, since_ms: int, limit: int) -> Sequence[Streak]:
        """Ended streaks that reach past `since_ms`, oldest first, at most `limit` of the newest."""
        ...

    async def close(self) -> None:
        """Finish what was asked. Idempotent."""
        ...
