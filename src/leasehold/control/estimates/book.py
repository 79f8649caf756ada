"""Estimates that were given and are not settled yet, and how past ones did: kept in the ledger (QUEUE-12).

What is new is written now and then; a crash loses the last half minute of it, and nobody was promised that.
"""

from __future__ import annotations

from collections.abc import Sequence

from leasehold.core import estimate
from leasehold.core.estimate import Guess
from leasehold.core.state import ESTIMATES, HITS, Change, Outcome, Stamp, State
from leasehold.model.estimate import Given, Hits
from leasehold.model.job import Job, JobState

OPEN_MAX = 512
"""Estimates that are open at a time: more jobs than that are a sample."""

ALL = "all"


class EstimateBook:
    """What was given, on top of what the state has. `scored` and `kept` count since the start."""

    def __init__(self) -> None:
        self._given: dict[int, Given] = {}
        self._settled: set[int] = set()
        self._hits: Hits | None = None
        self.scored = 0
        self.kept = [0, 0]
        """By their P50, by their P90."""

    def has_news(self, state: State) -> bool:
        """Whether there is anything to write, or so many are open that what is over has to go."""
        news = self._given or self._settled or self._hits is not None
        return bool(news) or len(state.estimates) >= OPEN_MAX

    def hits(self, state: State) -> Hits:
        """How past estimates did."""
        return self._hits or state.hits.get(ALL) or Hits()

    def open(self, state: State) -> int:
        """How many are open."""
        return len(state.estimates) + len(self._given) - len(self._settled)

    def has(self, state: State, number: int) -> bool:
        """Whether one was given of this job."""
        return number in self._given or str(number) in state.estimates

    def give(self, state: State, number: int, guess: Guess, wall_ms: int) -> None:
        """This was told of a job, for the first time."""
        if not self.has(state, number) and self.open(state) < OPEN_MAX:
            self._given[number] = Given(number, wall_ms, guess.wait50_ms, guess.wait90_ms)

    def started(self, state: State, jobs: Sequence[Job]) -> None:
        """These have started: what was told of them is scored."""
        if not self._given and not state.estimates:
            return
        for job in jobs:
            number = job.number
            given = self._given.pop(number, None)
            if given is None and number not in self._settled:
                given = state.estimates.get(str(number))
                if given is not None:
                    self._settled.add(number)
            if given is not None:
                self._score(state, given, job.started_wall_ms)

    def _score(self, state: State, given: Given, started_wall_ms: int) -> None:
        waited_ms = started_wall_ms - given.at_wall_ms
        kept50, kept90 = waited_ms <= given.wait50_ms, waited_ms <= given.wait90_ms
        self._hits = estimate.scored(self.hits(state), kept50, kept90, started_wall_ms)
        self.scored += 1
        self.kept[0] += kept50
        self.kept[1] += kept90

    def write(self, state: State, stamp: Stamp) -> Outcome:
        """A decision of the ledger: keep what is new, drop what will never be scored."""
        outcome = Outcome()
        for key, given in state.estimates.items():
            job = state.jobs.get(given.number)
            if given.number in self._settled or job is None or job.state is not JobState.QUEUED:
                outcome.changes.append(Change(ESTIMATES, key, None))
        for number, given in self._given.items():
            job = state.jobs.get(number)
            if job is not None and job.state is JobState.QUEUED:
                outcome.changes.append(Change(ESTIMATES, str(number), given))
        if self._hits is not None:
            outcome.changes.append(Change(HITS, ALL, self._hits))
        self._given.clear()
        self._settled.clear()
        self._hits = None
        return outcome
