"""What must be true of jobs, kept beside the real code from what the disk took (PROVE-3, QUEUE-2, 9, 13, 14).

Fed with every batch in the instant in which it is durable, with every state that is read from the store, and
with what callers are told. What it finds broken it tells `fail`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

from leasehold.control import codec
from leasehold.core.attempt import job_id
from leasehold.core.state import COLD_JOBS, JOBS, TERMS, Change, State
from leasehold.model.ids import to_number
from leasehold.model.job import AT_WORK, ENDED, TRANSITIONS, Job, JobState, Terms
from leasehold.model.lease import Lease
from leasehold.ports.store import COLD, Batch

TOLD_BY = {
    "JobOffered": JobState.DISPATCHING,
    "JobStarted": JobState.RUNNING,
    "JobRequeued": JobState.QUEUED,
    "JobHeld": JobState.HELD,
    "JobResumed": JobState.QUEUED,
    "JobRetried": JobState.QUEUED,
    "JobDone": JobState.DONE,
    "JobFailed": JobState.FAILED,
    "JobCanceled": JobState.CANCELED,
    "JobExpired": JobState.EXPIRED,
}
"""The event that is committed with each transition (INV-5); JobSubmitted tells the first state."""

Fail = Callable[[str, str], None]


class JobModel:
    """`fail` is told the rule that was broken, and what was seen."""

    def __init__(self, fail: Fail) -> None:
        self.fail = fail
        self.live: dict[int, Job] = {}
        self.ended: dict[int, Job] = {}
        self.terms: dict[str, Terms] = {}
        self.cold: set[str] = set()
        self.retried: dict[int, set[JobState]] = {}
        """How those had ended that somebody retried since, in the same batch maybe."""

    # -- what the disk took

    def committed(self, batch: Batch, leases: Mapping[str, Lease]) -> None:
        """Hold one batch against what was durable before it. `leases` are those that live after it."""
        steps = self._steps(batch)
        for key, value in sorted(batch.puts, key=lambda put: not put[0].startswith(f"/{TERMS}/")):
            self._put(key, value, steps)
        for key, value in batch.finishes:
            table, name = codec.split_key(key)
            if table == JOBS:
                job = codec.decode(JOBS, name, value)
                self._changed(job, steps)
                self.live.pop(job.number, None)
                self.ended[job.number] = job
                if job.state not in ENDED:
                    self.fail("QUEUE-14", f"{job_id(job.number)} was archived as {job.state}")
        for key in batch.deletes:
            self._deleted(key)
        self._one_commit(leases)

    def _put(self, key: str, value: bytes, steps: Mapping[int, list[JobState]]) -> None:
        table, name = codec.split_key(key)
        if table == TERMS:
            self.terms[name] = codec.decode(TERMS, name, value)
        elif table == JOBS:
            job = codec.decode(JOBS, name, value, self.terms)
            self._changed(job, steps)
            self.live[job.number] = job
            self.ended.pop(job.number, None)  # Somebody has retried it.
            if codec.store_key(COLD_JOBS, job.number) not in self.cold and not self._brings(job):
                self.fail("INV-4", f"{job_id(job.number)} is durable, and its payload is not")
        elif key.startswith(COLD):
            self.cold.add(key)

    def _brings(self, job: Job) -> bool:
        """Whether the batch that is looked at has its cold part."""
        return codec.store_key(COLD_JOBS, job.number) in self._coming

    def _deleted(self, key: str) -> None:
        table, name = codec.split_key(key)
        if table == TERMS:
            self.terms.pop(name, None)
            if any(job.terms.key == name for job in self.live.values()):
                self.fail("INV-4", f"the terms {name} were dropped, and a live job has them")
        elif table == JOBS:
            self.fail("INV-4", f"{name} was deleted without having ended")
        elif key.startswith(COLD):
            self.cold.discard(key)

    def _steps(self, batch: Batch) -> dict[int, list[JobState]]:
        """The states that each job took in this batch, as its events tell them."""
        self._coming = {key for key, _ in batch.puts if key.startswith(COLD)}
        steps: dict[int, list[JobState]] = {}
        for event in codec.decode_events(batch.events) if batch.events else []:
            number = to_number("job", event.subject)
            if number is not None and event.kind in TOLD_BY:
                steps.setdefault(number, []).append(TOLD_BY[event.kind])
        return steps

    def _changed(self, job: Job, steps: Mapping[int, list[JobState]]) -> None:
        name, path = job_id(job.number), steps.get(job.number, [])
        known = self.live.get(job.number) or self.ended.get(job.number)
        if known is None:
            held = job.state is JobState.HELD or path[:1] == [JobState.QUEUED]
            path = [JobState.HELD if held and path[:1] != [JobState.HELD] else JobState.QUEUED, *path]
            generation = 0
        else:
            path = [known.state, *path]
            generation = known.generation
        if job.state not in ENDED and (over := ENDED.intersection(path)):
            self.retried.setdefault(job.number, set()).update(over)
        if path[-1] is not job.state or any(to not in TRANSITIONS[at] for at, to in pairwise(path)):
            told = [str(each) for each in path]
            self.fail("INV-5", f"{name} is {job.state}, its events say {told}")
        times = sum(at not in AT_WORK and to in AT_WORK for at, to in pairwise(path))
        if job.generation != generation + times:
            sentence = f"{name} was handed out {times} times and went from {generation} to {job.generation}"
            self.fail("INV-3", sentence)
        if known is None:
            return
        if job.terms.ask.job_type != known.terms.ask.job_type or job.since_wall_ms != known.since_wall_ms:
            self.fail("INV-4", f"{name} became another job")

    def _one_commit(self, leases: Mapping[str, Lease]) -> None:
        """A job at work has a lease that lives, and a lease of a job has it at work (QUEUE-9)."""
        for job in self.live.values():
            if job.state in AT_WORK and not any(lease_id in leases for lease_id in job.leases):
                self.fail(
                    "QUEUE-9", f"{job_id(job.number)} is {job.state} under {job.leases}, none of which lives"
                )
        for lease in leases.values():
            of = self.live.get(lease.job) if lease.job else None
            if lease.job and (of is None or of.state not in AT_WORK or lease.lease_id not in of.leases):
                state = of.state if of is not None else "not live"
                self.fail("QUEUE-9", f"{lease.lease_id} is held for {job_id(lease.job)}, which is {state}")

    # -- what a server holds

    def recovered(self, state: State) -> None:
        """INV-4: what a server read from the store is what was durable."""
        if dict(state.jobs.items()) != self.live:
            odd = sorted(set(state.jobs) ^ set(self.live)) or "their records"
            self.fail("INV-4", f"recovered jobs differ from the durable ones in {odd}")

    def indexes(self, state: State) -> None:
        """The indexes over live jobs are what the records alone give (after any undo too)."""
        fresh = State("node")
        for terms in state.terms.values():
            fresh.apply(Change(TERMS, terms.key, terms))
        for job in state.jobs.values():
            fresh.apply(Change(JOBS, job.number, job))
        kept, wanted = state.queue, fresh.queue
        for what in ("by_lease", "unique", "dependants", "depth", "terms_used", "per_holder", "bytes"):
            if getattr(kept, what) != getattr(wanted, what):
                odd = f"{getattr(kept, what)} is not {getattr(wanted, what)}"
                self.fail("INV-2", f"{what} of the queue: {odd[:400]}")
        if kept.waiting_on != wanted.waiting_on:
            self.fail("INV-2", f"waiting on others: {kept.waiting_on} is not {wanted.waiting_on}")
        inline = {number for number in state.jobs if number in state.line}
        if inline & kept.later or inline | kept.later != wanted.later | {
            number for number in fresh.jobs if number in fresh.line
        }:
            self.fail("QUEUE-8", f"in line {sorted(inline)}, later {sorted(kept.later)}")

    # -- what callers were told

    def told_submitted(self, number: int) -> None:
        if number not in self.live and number not in self.ended:
            self.fail("INV-4", f"{job_id(number)} was told to be there before it was durable")

    def told_handed(self, number: int, generation: int, token: int) -> None:
        """A worker was given it: that is durable, or more than that."""
        job = self.live.get(number) or self.ended.get(number)
        if job is None or job.generation < generation:
            self.fail(
                "INV-4", f"{job_id(number)} generation {generation} was handed out before it was durable"
            )
        elif job.generation == generation and job.state in AT_WORK and job.token != token:
            self.fail("INV-3", f"{job_id(number)} was handed out with token {token}, and has {job.token}")

    def told_ended(self, number: int, state: str) -> None:
        job = self.ended.get(number)
        if job is None and JobState(state) in self.retried.get(number, ()):
            return  # It was so, and the answer came late, or with what somebody did next.
        if job is None or str(job.state) != state:
            is_now = job.state if job is not None else "live" if number in self.live else "unknown"
            self.fail("INV-4", f"{job_id(number)} was told to be {state} and is {is_now}")
