"""Time and chance, handed in (INV-7)."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """The only source of time. Implementations: `runtime.clock` (real) and `testing.virtual` (simulated)."""

    def now_ms(self) -> int:
        """The ledger's clock: wall time as it stood at start, advancing with CLOCK_BOOTTIME ever since.

        It counts suspended time and never jumps, so durations are judged on it. Across restarts it follows
        the wall clock.
        """
        ...

    def wall_ms(self) -> int:
        """Unix time in ms. Only for records and calendars."""
        ...

    async def sleep(self, delay_ms: int) -> None:
        """Return after `delay_ms` of this clock, late by what a busy machine makes it."""
        ...


class Ids(Protocol):
    """The only source of chance outside of seeded policy."""

    def new(self, noun: str) -> str:
        """A fresh typed id, see `model.ids`."""
        ...

    def seed(self) -> int:
        """63 random bits, for jitter and ties inside a decision."""
        ...
