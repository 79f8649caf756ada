"""What has happened lately: the server's own figures in true windows, for alerts and for people (OPS-12)."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import msgspec

from leasehold.control.demand import Demand
from leasehold.core import lease as life
from leasehold.core.state import State
from leasehold.model.event import Event
from leasehold.model.ids import from_number
from leasehold.model.job import JobState
from leasehold.model.lease import Lease, LeaseState
from leasehold.runtime.windows import Counts, Follower

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000

DEPTHS = 61
"""The depth of the queue at the end of each minute of an hour."""

TREND_MINUTES = 5

WORKERS_MAX = 10_000
RUNNING_LOOKED_AT = 10_000
"""Leases of running jobs, and workers, that one look goes over."""

SHAPES_LOOKED_AT = 200

ENDS = {"JobDone": 0, "JobFailed": 1, "JobExpired": 2, "JobCanceled": 3}


class Workers(msgspec.Struct, frozen=True):
    """Workers that were here within a day, how many of them are now, and since when this server looks.

    `awaited`: a job stands in line that nobody who is here does.
    """

    known: int
    online: int
    awaited: bool
    last_seen_ms: int
    last: str
    looked_ms: int


class Stuck(msgspec.Struct, frozen=True):
    """The running job that has shown no sign of life for longest."""

    job_id: str
    job_type: str
    silent_ms: int


class Pulse:
    """Looks at the server now and then, and counts what is committed. All times are the ledger's clock's."""

    def __init__(
        self, now_ms: int, demand: Demand, log_errors: Callable[[], int], invalid_calls: Callable[[], int]
    ) -> None:
        self._demand = demand
        self._log_errors = log_errors
        self._invalid_calls = invalid_calls
        self._ends = [Counts(HOUR_MS, MINUTE_MS) for _ in range(4)]
        self._depths: deque[int] = deque(maxlen=DEPTHS)
        self._depth_ms = now_ms - MINUTE_MS
        self._begun_ms = self._looked_ms = now_ms
        self._workers: OrderedDict[str, int] = OrderedDict()
        self._signs: dict[str, tuple[tuple[object, ...], int]] = {}
        self._measured: tuple[int | None, int] = (None, now_ms)
        self.errors = Follower(HOUR_MS, MINUTE_MS)
        self.invalid = Follower(HOUR_MS, MINUTE_MS)
        self._awaited = False
        self.stuck: Stuck | None = None

    def committed(self, events: Sequence[Event], now_ms: int) -> None:
        """Count how jobs end, and who has done them."""
        for event in events:
            kind = ENDS.get(event.kind)
            if kind is not None:
                self._ends[kind].add(now_ms)
            if event.kind == "JobDone" and event.actor and event.actor != life.RUNNER:
                self._saw(event.actor, now_ms)

    def look(self, state: State, now_ms: int, measured_wall_ms: int | None) -> None:
        """Look at everything that has to be looked at again and again."""
        self._looked_ms = now_ms
        self.errors.saw(now_ms, self._log_errors())
        self.invalid.saw(now_ms, self._invalid_calls())
        if measured_wall_ms != self._measured[0]:
            self._measured = (measured_wall_ms, now_ms)
        if now_ms - self._depth_ms >= MINUTE_MS:
            # Where nobody has looked for minutes (a suspend), they are no minutes.
            is_next = now_ms - self._depth_ms < 2 * MINUTE_MS
            self._depth_ms = self._depth_ms + MINUTE_MS if is_next else now_ms
            self._depths.append(in_line(state))
        self._see_workers(state, now_ms)
        self._see_jobs(state, now_ms)

    # -- what it comes to

    def has_seen_an_hour(self, now_ms: int) -> bool:
        """Whether counts over an hour are over an hour: they begin anew with the process."""
        return now_ms - self._begun_ms >= HOUR_MS

    def unmeasured_ms(self, now_ms: int) -> int:
        """How long the machine has not been measured."""
        return now_ms - self._measured[1]

    @property
    def depth(self) -> int:
        """Jobs in line at the end of the last minute."""
        return self._depths[-1] if self._depths else 0

    @property
    def rises(self) -> int:
        """How many minutes in a row the queue has grown."""
        depths, count = self._depths, 0
        for before, after in zip(islice(reversed(depths), 1, None), reversed(depths), strict=False):
            if after <= before:
                break
            count += 1
        return count

    def change(self, depth: int) -> tuple[int, int]:
        """By how much the queue is deeper than it was, and how many minutes ago that was (5 at most)."""
        if not self._depths:
            return 0, 0
        minutes = min(TREND_MINUTES, len(self._depths))
        return depth - self._depths[-minutes], minutes

    def ended(self, now_ms: int) -> dict[str, int]:
        """Jobs that ended within an hour, by how."""
        return {
            kind.removeprefix("Job").upper(): self._ends[place].within(now_ms) for kind, place in ENDS.items()
        }

    def workers(self, now_ms: int) -> Workers:
        """Who is known, and how many of them were seen within a minute before the last look."""
        online = sum(seen_ms > self._looked_ms - MINUTE_MS for seen_ms in self._workers.values())
        last, last_ms = "", 0
        if self._workers:
            last, last_ms = max(self._workers.items(), key=lambda item: item[1])
        known, awaited = len(self._workers), self._awaited
        return Workers(known, online, awaited, last_ms, last, now_ms - self._begun_ms)

    # -- looking

    def _see_workers(self, state: State, now_ms: int) -> None:
        """Who holds a call for jobs, has asked within the last minute, or is at work."""
        for worker in islice(self._here(state), WORKERS_MAX):
            self._saw(worker, now_ms)
        shapes = islice(state.line.asks(), SHAPES_LOOKED_AT)
        self._awaited = any(ask.is_job and not self._demand.exists(ask) for ask, _ in shapes)
        while self._workers:
            worker, seen_ms = next(iter(self._workers.items()))
            if seen_ms > now_ms - DAY_MS and len(self._workers) <= WORKERS_MAX:
                break
            del self._workers[worker]

    def _saw(self, worker: str, now_ms: int) -> None:
        self._workers[worker] = now_ms
        self._workers.move_to_end(worker)

    def _here(self, state: State) -> Iterator[str]:
        for taker in self._demand.takers.values():
            if taker.worker != life.RUNNER:
                yield taker.worker
        yield from self._demand.pollers
        for _, number in running(state):
            job = state.jobs.get(number)
            if job is not None and job.worker and job.worker != life.RUNNER:
                yield job.worker

    def _see_jobs(self, state: State, now_ms: int) -> None:
        """Which running job has shown no sign of life for longest: a heartbeat, progress, use of the CPU."""
        signs: dict[str, tuple[tuple[object, ...], int]] = {}
        longest: tuple[int, int] | None = None
        for lease, number in running(state):
            live = state.liveness.get(lease.lease_id)
            if live is None or lease.state is not LeaseState.ACTIVE:
                continue
            sign = (live.renewed_wall_ms, live.progress, live.message, live.cpu_ms)
            known = self._signs.get(lease.lease_id)
            if known is None or known[0] != sign or lease.brake is not None:
                known = (sign, now_ms)
            signs[lease.lease_id] = known
            silent_ms = now_ms - known[1]
            if longest is None or silent_ms > longest[0]:
                longest = (silent_ms, number)
        self._signs = signs
        self.stuck = None if longest is None else _stuck(state, *longest)


def _stuck(state: State, silent_ms: int, number: int) -> Stuck:
    job = state.jobs.get(number)
    return Stuck(from_number("job", number), job.ask.job_type if job is not None else "", silent_ms)


def running(state: State) -> Iterator[tuple[Lease, int]]:
    """The leases of jobs that are under way, each with the number of a job of it."""
    for lease_id, numbers in islice(state.queue.by_lease.items(), RUNNING_LOOKED_AT):
        lease = state.leases.get(lease_id)
        if lease is not None and numbers:
            yield lease, next(iter(numbers))


def in_line(state: State) -> int:
    """Jobs that wait for their turn: not those that a person, another job or their time keeps back."""
    queue = state.queue
    return max(0, queue.count(JobState.QUEUED) - len(queue.waiting_on) - len(queue.later))
