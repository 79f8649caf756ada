"""The port of history: samples, what is made of them, quiet streaks, and forecasts (SENSE-14…19).

Volatile by definition: the last seconds may be lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

from leasehold.core.rollup import Figures
from leasehold.core.streaks import Streak
from leasehold.model.forecast import DayForecast


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One row: the numeric fields of one metric group at one instant of wall time."""

    wall_ms: int
    group: str
    fields: dict[str, float]


class Point(msgspec.Struct, frozen=True, gc=False):
    """What a metric came to over one step; `start_ms` is a multiple of the step."""

    start_ms: int
    figures: Figures


class Samples(Protocol):
    """Samples as they were taken, and rolled up to minutes and hours, each kept its time.

    What is past it is pruned a slice per write, and what is not rolled up yet is, a slice per write. Off the
    event loop by itself.
    """

    async def open(self) -> Streak | None:
        """Open or make the store. The streak that was open when the process before ended, if one was."""
        ...

    async def write(
        self, samples: Sequence[Sample], ended: Sequence[Streak], open_streak: Streak | None, now_wall_ms: int
    ) -> None:
        """One batch in one transaction, with the streaks that ended and the one that is open."""
        ...

    async def points(
        self, group: str, metric: str, *, start_ms: int, end_ms: int, step_ms: int
    ) -> Sequence[Point]:
        """One metric by steps, in order; steps without a sample are left out.

        Read from hours or minutes where the step is made of whole ones, from samples where it is not and for
        what is not rolled up yet. At most `POINTS_MAX` are told.
        """
        ...

    async def groups(self) -> dict[str, list[str]]:
        """The metric groups of which anything is kept, each with its fields, sorted."""
        ...

    async def streaks(self, *, since_ms: int, limit: int) -> Sequence[Streak]:
        """Ended streaks that reach past `since_ms`, oldest first, at most `limit` of the newest."""
        ...

    async def keep_forecasts(self, days: Sequence[DayForecast]) -> None:
        """Forecasts of days, each in the place of one of the same day."""
        ...

    async def forecasts(self, *, since_ms: int, limit: int) -> Sequence[DayForecast]:
        """Those of days that begin at `since_ms` or later, oldest first, at most `limit` of the newest."""
        ...

    async def close(self) -> None:
        """Finish what was asked. Idempotent."""
        ...


POINTS_MAX = 10_000
"""SENSE-15: more nobody can look at."""
