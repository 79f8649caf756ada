"""What the jobs are called that the page names: titles are not in memory, and are read when shown."""

from __future__ import annotations

from collections.abc import Collection

from leasehold.control import dashboard_rows as rows
from leasehold.control.cold import ColdParts
from leasehold.core.state import State
from leasehold.wire.dashboard import DecisionRow

KEPT = 1_000


class Titles:
    """Titles by the number of the job; a few, each read once."""

    def __init__(self, cold: ColdParts) -> None:
        self._cold = cold
        self._known: dict[int, str] = {}

    def of(self, number: int) -> str:
        """A title that was learnt, else ""."""
        return self._known.get(number, "")

    async def learn(self, state: State, decisions: Collection[DecisionRow]) -> None:
        """Learn those of the leases that are shown, and name the jobs of `decisions` by theirs."""
        told = [(row, rows.job_of(row.subject, state)) for row in decisions]
        numbers = {lease.job for lease in rows.shown_leases(state)} | {number for _, number in told}
        numbers.discard(0)
        new = numbers - self._known.keys()
        if new:
            self._known |= await self._cold.titles(sorted(new))
        if len(self._known) > KEPT:
            self._known = {number: self._known.get(number, "") for number in numbers}
        for row, number in told:
            row.label = rows.short(self.of(number)) or row.label
