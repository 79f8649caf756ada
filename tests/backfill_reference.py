"""First come, first served, and EASY backfill, as their definitions say: what replays are held against.

It shares nothing with `leasehold.core`: no code, no units, no data structures. Jobs ask for whole processors
of one machine and run for as long as they run.

- First come, first served: the jobs stand in one queue, and only the first of it is ever started.
- EASY backfill: Lifka, *The ANL/IBM SP Scheduling System*, JSSPP 1995; the algorithm as Mu'alem and Feitelson
  write it down in *Utilization, Predictability, Workloads, and User Runtime Estimates in Scheduling the IBM
  SP2 with Backfilling*, IEEE TPDS 12 (6), 2001. Of those that can't start only the first has a promise: the
  shadow time, at which enough processors will be free by the estimates of what runs. Behind it a job is
  started out of turn if it fits now and either ends, by its estimate, by the shadow time, or takes only extra
  processors that the first job will leave free at that time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Job:
    """Times in seconds. `estimate` is what the scheduler is told of `runs`."""

    number: int
    submitted: float
    runs: float
    processors: int
    estimate: float


@dataclass
class Slot:
    """A running job: when it really ends, and when it should by its estimate."""

    ends: float
    should_end: float
    processors: int


def starts(jobs: Sequence[Job], processors: int, *, backfill: bool) -> dict[int, float]:
    """When each job starts, by its number."""
    coming = sorted(jobs, key=lambda job: (job.submitted, job.number))
    queue: list[Job] = []
    running: list[Slot] = []
    started: dict[int, float] = {}
    at = 0
    while at < len(coming) or running:
        now = min([slot.ends for slot in running] + [job.submitted for job in coming[at : at + 1]])
        running = [slot for slot in running if slot.ends > now]
        while at < len(coming) and coming[at].submitted <= now:
            queue.append(coming[at])
            at += 1
        free = processors - sum(slot.processors for slot in running)
        for job in chosen(queue, running, free, now, backfill=backfill):
            started[job.number] = now
            queue.remove(job)
            running.append(Slot(now + job.runs, now + job.estimate, job.processors))
    return started


def chosen(
    queue: Sequence[Job], running: Sequence[Slot], free: int, now: float, *, backfill: bool
) -> list[Job]:
    """Who starts now, in order."""
    found: list[Job] = []
    waiting = list(queue)
    slots = list(running)
    while waiting and waiting[0].processors <= free:
        job = waiting.pop(0)
        found.append(job)
        slots.append(Slot(now + job.runs, now + job.estimate, job.processors))
        free -= job.processors
    if not waiting or not backfill or not free:
        return found
    shadow, extra = promise(waiting[0], slots, free, now)
    for job in waiting[1:]:
        in_time = now + job.estimate <= shadow
        if job.processors <= free and (in_time or job.processors <= extra):
            found.append(job)
            free -= job.processors
            extra -= 0 if in_time else job.processors
    return found


def promise(first: Job, slots: Sequence[Slot], free: int, now: float) -> tuple[float, int]:
    """The shadow time of the first job, and the processors that it will leave free then.

    What runs past its estimate is taken to end now.
    """
    ends = sorted({max(now, slot.should_end) for slot in slots})
    for shadow in ends:
        then = free + sum(slot.processors for slot in slots if max(now, slot.should_end) <= shadow)
        if then >= first.processors:
            return shadow, then - first.processors
    raise ValueError(f"job {first.number} asks for more processors than there are")


def mean_wait(jobs: Sequence[Job], started: dict[int, float]) -> float:
    """Seconds from submission to start."""
    return sum(started[job.number] - job.submitted for job in jobs) / len(jobs)


def mean_slowdown(jobs: Sequence[Job], started: dict[int, float]) -> float:
    """Bounded slowdown with the usual threshold of 10 s."""
    waits = [(job, started[job.number] - job.submitted) for job in jobs]
    return sum(max(1.0, (wait + job.runs) / max(10.0, job.runs)) for job, wait in waits) / len(jobs)
