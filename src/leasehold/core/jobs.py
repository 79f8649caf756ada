"""The indexes over live jobs: who stands in line, who waits for what, who runs under which lease.

Rebuilt from the records alone. Only what is eligible by its record stands in the line; a job whose time has
to come (`later`) is put there when a wheel says so, which is volatile: after a recovery it says so again.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from leasehold.core.line import Line
from leasehold.core.wheel import Wheel
from leasehold.model.charge import Charge
from leasehold.model.job import Job, JobState
from leasehold.model.lease import Ask
from leasehold.model.line import Waiter

BLOCK_BITS = 10
"""So many consecutive numbers, as a power of two, are a block: the list of jobs goes from block to block."""

Unique = tuple[str, str, str]
"""Tenant, job type, key."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A job's entry in the line where it does not ask just what its terms say."""

    number: int
    ask: Ask
    due_ms: int
    gang: int = 1

    @property
    def kind(self) -> tuple[str, ...]:
        """As `Job.kind`; a gang is of another kind than a job that asks for as much alone."""
        gang = (f"gang of {self.gang}",) if self.gang > 1 else ()
        return (self.ask.job_type, *self.ask.needs, *gang)


class Jobs:
    """Indexes over `State.jobs`; `index` keeps them up with every change and its inverse."""

    __slots__ = (
        "_lifted",
        "blocks",
        "by_lease",
        "bytes",
        "dependants",
        "depth",
        "later",
        "line",
        "over",
        "per_holder",
        "per_tenant",
        "states",
        "terms_used",
        "unique",
        "unused",
        "waiting_on",
        "wheel",
        "wheel_wall",
    )

    def __init__(self, line: Line[Waiter | Job | Entry]) -> None:
        self.line = line
        self.blocks: dict[int, int] = {}
        """How many live jobs a block of numbers has."""
        self.by_lease: dict[str, dict[int, None]] = {}
        self.unique: dict[Unique, int] = {}
        self.dependants: dict[int, dict[int, None]] = {}
        self.over: dict[int, bool] = {}
        """Those that have ended while others come after them, and whether they are done."""
        self.waiting_on: set[int] = set()
        self.later: set[int] = set()
        self.depth: dict[tuple[str, JobState], int] = {}
        self.states: dict[JobState, int] = {}
        self.terms_used: dict[str, int] = {}
        self.unused: dict[str, None] = {}
        self.per_holder: dict[str, int] = {}
        self.per_tenant: dict[str, tuple[int, int]] = {}
        """Live jobs, and the bytes of their payloads."""
        self.bytes = 0
        self.wheel = Wheel()
        self.wheel_wall = Wheel()
        self._lifted: dict[str, Ask] = {}

    # -- keeping up

    def index(self, old: Job | None, new: Job | None) -> None:
        """A job's record changed from `old` to `new`; None: there was or is none that lives."""
        stood = old is not None and old.number in self.line
        if old is not None:
            self._out(old)
            if new is None:
                _down(self.blocks, old.number >> BLOCK_BITS)
        if new is not None:
            self._in(new, stood)
            if old is None:
                _up(self.blocks, new.number >> BLOCK_BITS)
            if self.over:  # It lives again: its end was taken back, or somebody tries it again.
                self.over.pop(new.number, None)

    def ended(self, job: Job) -> None:
        """A job has ended so. Whatever ended it, those that come after it are found here."""
        if job.number in self.dependants:
            self.over[job.number] = job.state is JobState.DONE

    def _in(self, job: Job, stood: bool) -> None:
        key, number, state = job.terms.key, job.number, job.state
        _up(self.depth, (key, state))
        _up(self.states, state)
        used = self.terms_used.get(key, 0)
        self.terms_used[key] = used + 1
        if not used:
            self.unused.pop(key, None)
        _up(self.per_holder, job.terms.ask.holder)
        self._of_tenant(job, 1)
        self.bytes += job.size
        if job.unique:
            self.unique[unique_of(job)] = number
        if job.waits_for:  # Also while a person holds it back.
            for other in job.waits_for:
                self.dependants.setdefault(other, {})[number] = None
        if state is JobState.QUEUED:
            if job.waits_for:
                self.waiting_on.add(number)
            elif stood or not (job.not_before_ms or job.earliest_wall_ms):
                self.line.add(self._entry(job, lifted=False))
            else:
                self.later.add(number)
        else:
            for lease_id in job.leases:
                self.by_lease.setdefault(lease_id, {})[number] = None
        self._file(job, self.wheel.add, self.wheel_wall.add)

    def _out(self, job: Job) -> None:
        key, number, state = job.terms.key, job.number, job.state
        _down(self.depth, (key, state))
        _down(self.states, state)
        used = self.terms_used[key] = self.terms_used[key] - 1
        if not used:
            del self.terms_used[key]
            self.unused[key] = None
        _down(self.per_holder, job.terms.ask.holder)
        self._of_tenant(job, -1)
        self.bytes -= job.size
        if job.unique and self.unique.get(unique_of(job)) == number:
            del self.unique[unique_of(job)]
        if job.waits_for:
            self._no_longer_waits(job)
        if state is JobState.QUEUED:
            if job.waits_for:
                self.waiting_on.discard(number)
            elif number in self.later:
                self.later.discard(number)
            else:
                self.line.remove(number)
        else:
            for lease_id in job.leases:
                under = self.by_lease[lease_id]
                del under[number]
                if not under:
                    del self.by_lease[lease_id]
        self._file(job, self.wheel.discard, self.wheel_wall.discard)

    def _of_tenant(self, job: Job, sign: int) -> None:
        tenant = job.terms.ask.tenant
        jobs, size = self.per_tenant.get(tenant, (0, 0))
        if jobs + sign:
            self.per_tenant[tenant] = (jobs + sign, size + sign * job.size)
        else:
            del self.per_tenant[tenant]

    def _no_longer_waits(self, job: Job) -> None:
        for other in job.waits_for:
            waiting = self.dependants.get(other)
            if waiting is not None:
                waiting.pop(job.number, None)
                if not waiting:
                    del self.dependants[other]
                    self.over.pop(other, None)

    @staticmethod
    def _file(job: Job, in_ledger_time, in_wall_time) -> None:  # type: ignore[no-untyped-def]
        """File every time at which something may have to be done about it."""
        number, state = job.number, job.state
        if state is JobState.QUEUED or state is JobState.HELD:
            if job.not_before_ms:
                in_ledger_time(job.not_before_ms, number)
            for due_ms in (job.earliest_wall_ms, job.anyway_wall_ms, job.deadline_wall_ms):
                if due_ms:
                    in_wall_time(due_ms, number)
            return
        if job.terms.max_runtime_ms and job.started_ms:
            in_ledger_time(job.started_ms + job.terms.max_runtime_ms, number)
        if job.cancel and job.not_before_ms:
            in_ledger_time(job.not_before_ms, number)

    # -- the line

    def ripe(self, job: Job, *, lifted: bool) -> bool:
        """Its time has come: it stands in the line from now on. `lifted`: past its `start_anyway_by`.

        True where that changed anything.
        """
        number = job.number
        if number in self.later:
            self.later.discard(number)
            self.line.add(self._entry(job, lifted=lifted))
            return True
        entry = self.line.entry(number)
        if not lifted or entry is None or entry.ask.anyway:
            return False
        self.line.remove(number)
        self.line.add(self._entry(job, lifted=True))
        return True

    def _entry(self, job: Job, *, lifted: bool) -> Job | Entry:
        gang = job.terms.gang
        if not lifted and not job.memory_bytes and gang == 1:
            return job
        ask = self.ask_of(job, lifted=lifted)
        return Entry(job.number, ask if gang == 1 else together(ask, gang), job.due_ms, gang)

    def ask_of(self, job: Job, *, lifted: bool = False) -> Ask:
        """What it asks now: its terms', with the memory of its next attempt, and without the quiet gate where
        it is past its `start_anyway_by` (QUEUE-11, 19).
        """
        ask = job.terms.ask
        if job.memory_bytes:
            charge = ask.charge
            ask = msgspec.structs.replace(
                ask,
                charge=Charge(
                    charge.units, charge.cpu_millicores, job.memory_bytes, charge.disk_bytes, charge.named
                ),
            )
        elif lifted:
            known = self._lifted.get(job.terms.key)
            if known is None:
                known = self._lifted[job.terms.key] = anyway(ask)
            return known
        return anyway(ask) if lifted else ask

    def forget_terms(self, key: str) -> None:
        """Terms that no job has any more are gone."""
        self.unused.pop(key, None)
        self._lifted.pop(key, None)

    # -- looking

    def count(self, state: JobState) -> int:
        """How many live jobs are in this state."""
        return self.states.get(state, 0)


@lru_cache(maxsize=1_024)
def together(ask: Ask, members: int) -> Ask:
    """What a gang asks of the line: room for all of its members, or none (QUEUE-20)."""
    charge = ask.charge
    named = tuple((name, count * members) for name, count in charge.named)
    whole = Charge(
        charge.units * members,
        charge.cpu_millicores * members,
        charge.memory_bytes * members,
        charge.disk_bytes * members,
        named,
    )
    return msgspec.structs.replace(ask, charge=whole)


def anyway(ask: Ask) -> Ask:
    """The ask of a job that is past its `start_anyway_by`: no quiet gate, no curve, no window."""
    return msgspec.structs.replace(ask, quiet_gate=False, anyway=True)


def unique_of(job: Job) -> Unique:
    ask = job.terms.ask
    return (ask.tenant, ask.job_type, job.unique)


def _up(counts: dict, key: object) -> None:  # type: ignore[type-arg]
    counts[key] = counts.get(key, 0) + 1


def _down(counts: dict, key: object) -> None:  # type: ignore[type-arg]
    left = counts[key] - 1
    if left:
        counts[key] = left
    else:
        del counts[key]
