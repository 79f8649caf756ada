"""A history changed before its replay: other estimates, more at once, nobody told apart (QUEUE-18)."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import msgspec

from leasehold.model.lease import Ask
from leasehold.model.priority import Priority
from leasehold.model.replay import History, Past

replace = msgspec.structs.replace
EVERYBODY = "everybody"


def exact(history: History) -> History:
    """Everybody knows how long it takes: what runs is the bound. The usual assumption for traces that have no
    requested times.
    """
    return _each(history, lambda job: _bounded(job, job.runs_ms), "estimates: exact")


def overestimated(history: History, factor: float, seed: int) -> History:
    """Bounds that are 1 to `factor` times what runs, evenly drawn for each job by the seed and its number.

    Source: the f-model of Feitelson and Weil, *Utilization and Predictability in Scheduling the IBM SP2 with
    Backfilling*, IPPS 1998.
    """

    def bound(job: Past) -> Past:
        drawn = int.from_bytes(sha256(f"{seed}/{job.number}".encode()).digest()[:6]) / (1 << 48)
        return _bounded(job, round(job.runs_ms * (1 + (factor - 1) * drawn)))

    return _each(history, bound, f"estimates: 1 to {factor:g} times too long, seed {seed}")


def spaced(history: History, factor: float) -> History:
    """The times between arrivals multiplied: below 1 more comes at once. What was measured no longer applies,
    nor when jobs really started.
    """

    def moved(job: Past) -> Past:
        at_ms = round(job.at_ms * factor)
        deadline_ms = job.deadline_ms and at_ms + job.deadline_ms - job.at_ms
        anyway_ms = job.anyway_ms and at_ms + job.anyway_ms - job.at_ms
        return replace(job, at_ms=at_ms, deadline_ms=deadline_ms, started_ms=None, anyway_ms=anyway_ms)

    return replace(_each(history, moved, f"times between arrivals × {factor:g}"), weather=())


def as_one(history: History) -> History:
    """All jobs as one holder's of one priority: first come, first served, with backfill."""

    def one(job: Past) -> Past:
        ask: Ask = replace(job.ask, holder=EVERYBODY, tenant="default", priority=Priority.NORMAL)
        return replace(job, ask=ask)

    return _each(history, one, "all jobs as one holder's")


def first(history: History, count: int) -> History:
    """The first so many jobs by arrival."""
    jobs = sorted(history.jobs, key=lambda job: (job.at_ms, job.number))[:count]
    return replace(history, jobs=tuple(jobs), notes=(*history.notes, f"the first {len(jobs)} jobs"))


def _each(history: History, change: Callable[[Past], Past], note: str) -> History:
    jobs = tuple(change(job) for job in history.jobs)
    return replace(history, jobs=jobs, notes=(*history.notes, note))


def _bounded(job: Past, bound_ms: int) -> Past:
    bound_ms = max(1, bound_ms)
    return replace(job, ask=replace(job.ask, bound_ms=bound_ms, expected_ms=bound_ms))
