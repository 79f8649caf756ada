"""What ended work teaches (LEASE-15): gathered as it ends, written now and then."""

from __future__ import annotations

from leasehold.core import learn
from leasehold.core.state import LEARNED, Change, Outcome, Stamp, State
from leasehold.model.learned import Learned
from leasehold.model.lease import Ask, Usage

LEARNED_MAX = 10_000

OBSERVED_MAX = 16
"""Ends of one holder's job type that are learned from in one flush:

thousands a second teach no more than these.
"""

AT_ONCE = 500


class Learning:
    """Ends that are not learned from yet."""

    def __init__(self) -> None:
        self._ends: dict[tuple[str, str], list[tuple[Ask, Usage, int]]] = {}

    @property
    def has_news(self) -> bool:
        """Whether there is anything to learn."""
        return bool(self._ends)

    def observe(self, ask: Ask, usage: Usage, ran_ms: int) -> None:
        """Work that asked so has ended after so long, having used so much."""
        holder, job_type = ask.holder, ask.job_type
        if len(self._ends) < LEARNED_MAX or (holder, job_type) in self._ends:
            ends = self._ends.setdefault((holder, job_type), [])
            if len(ends) < OBSERVED_MAX:
                ends.append((ask, usage, ran_ms))

    def learn(self, state: State, stamp: Stamp) -> Outcome:
        """A decision of the ledger: add what was gathered to what is known."""
        outcome = Outcome()
        for holder, job_type in list(self._ends)[:AT_ONCE]:
            ends = self._ends.pop((holder, job_type))
            key = f"{holder}/{job_type}"
            known = state.learned.get(key)
            if known is None:
                if len(state.learned) >= LEARNED_MAX:
                    continue
                known = Learned(holder, job_type)
            for ask, usage, ran_ms in ends:
                known = learn.observe(known, usage, ran_ms, ask)
            outcome.changes.append(Change(LEARNED, key, known))
        return outcome
