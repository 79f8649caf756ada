"""Who will do jobs in a way forward: the workers of now, with what they have in hand."""

from __future__ import annotations

from collections.abc import Callable

from leasehold.control.demand import Demand
from leasehold.core.state import State
from leasehold.model.job import AT_WORK
from leasehold.model.lease import Ask
from leasehold.model.line import Here

HANDS_MAX = 1_000
"""Workers that are told apart; of more the others are left out."""

Kind = tuple[str, tuple[str, ...]]


class Crew:
    """The workers as they stand, copied at once: each may take what suits it, as much as it has room for.

    One that is not there now, but has a job, will do the next one like it. A poller has room for one more.
    """

    def __init__(self, demand: Demand, state: State) -> None:
        self.suits: list[Callable[[Ask], bool]] = []
        self.free: list[int] = []
        self.hand_of: dict[int, int] = {}
        by_name: dict[str, int] = {}
        for taker in demand.takers.values():
            self._hire(by_name, taker.worker, taker.wants.suits, taker.room)
        for name, poller in demand.pollers.items():
            if name not in by_name:
                self._hire(by_name, name, poller.wants.suits, 1)
        for under in state.queue.by_lease.values():
            for number in under:
                job = state.jobs.get(number)
                if job is not None and job.state in AT_WORK:
                    if job.worker not in by_name:
                        self._hire(by_name, job.worker, _alike(job.terms.ask), 0)
                    if job.worker in by_name:
                        self.hand_of[number] = by_name[job.worker]

    def _hire(self, by_name: dict[str, int], name: str, suits: Callable[[Ask], bool], free: int) -> None:
        if name in by_name:
            self.free[by_name[name]] += free
        elif len(self.free) < HANDS_MAX:
            by_name[name] = len(self.free)
            self.suits.append(suits)
            self.free.append(free)

    def hands(self) -> Hands:
        """For one way forward."""
        return Hands(self)


def _alike(mine: Ask) -> Callable[[Ask], bool]:
    kind = (mine.job_type, mine.needs)
    return lambda ask: (ask.job_type, ask.needs) == kind


class Hands:
    """`core.forward.Takers`: a start takes a hand, an end gives it back."""

    def __init__(self, crew: Crew) -> None:
        self._suits = crew.suits
        self._free = list(crew.free)
        self._hand_of = dict(crew.hand_of)
        self._who: dict[Kind, list[int]] = {}

    def here(self, ask: Ask) -> Here:
        return Here.READY if self._hand(ask) is not None else Here.AWAY

    def started(self, number: int, ask: Ask) -> None:
        hand = self._hand(ask)
        if hand is not None:
            self._free[hand] -= 1
            self._hand_of[number] = hand

    def ended(self, number: int) -> None:
        hand = self._hand_of.pop(number, None)
        if hand is not None:
            self._free[hand] += 1

    def _hand(self, ask: Ask) -> int | None:
        kind = (ask.job_type, ask.needs)
        who = self._who.get(kind)
        if who is None:
            who = self._who[kind] = [at for at, suits in enumerate(self._suits) if suits(ask)]
        return next((at for at in who if self._free[at] > 0), None)
