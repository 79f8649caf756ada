"""The built-in runner as a worker of the queue: takes commands, renews their leases, tells how they ended.

What runs is the port's matter (`ports/runner.py`): it outlives this server, which finds it again (QUEUE-15).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import msgspec
import structlog

from leasehold.control.cold import ColdParts
from leasehold.control.demand import RUNNERS_WANTS, Demand, Taker
from leasehold.control.live import LiveLeases
from leasehold.control.runner_orders import NOT_ITS_FAULT, command_of, end_of, held_by, keys_of
from leasehold.core import attempt, execution
from leasehold.core import lease as life
from leasehold.core.attempt import job_id
from leasehold.core.brake import stood_ms
from leasehold.core.job import join
from leasehold.core.state import Outcome, Stamp, State
from leasehold.model.errors import LeaseholdError
from leasehold.model.event import Event
from leasehold.model.job import AT_WORK, End, ErrorClass, Job, JobState
from leasehold.model.lease import LeaseState
from leasehold.model.run import Ended, Fault, RunKey, Started
from leasehold.ports.runner import RunFailed, Runner

log = structlog.get_logger(__name__)

AT_ONCE_MAX = 10_000
LEASE_ENDS = frozenset({"LeaseReleased", "LeaseExpired", "LeaseRevoked"})


class RunnerService:
    """Does the jobs that are commands. One per server."""

    def __init__(
        self,
        leases: LiveLeases,
        demand: Demand,
        cold: ColdParts,
        runner: Runner,
        ended: Callable[[Sequence[Job]], None],
    ) -> None:
        self._leases = leases
        self._ledger = leases.ledger
        self._settings = leases.settings
        self._demand = demand
        self._cold = cold
        self._ended = ended
        self.runner = runner
        self.on_started: Callable[[Sequence[Job]], None] = lambda jobs: None
        self._running: dict[str, RunKey] = {}
        self._members: dict[tuple[int, int], dict[int, Ended]] = {}
        self._to_tell: dict[RunKey, Ended] = {}
        self._to_take_up: dict[RunKey, tuple[Job, Started]] = {}
        self._alive: dict[int, dict[RunKey, asyncio.Event]] = {}
        self._ended_early: set[RunKey] = set()
        self._is_attached = False
        self._taker = Taker(life.RUNNER, life.RUNNER, RUNNERS_WANTS, 0, offers=True)
        self._taker.on_taken = lambda handed: self._taken(handed[0])

    # -- life

    async def attach(self) -> None:
        """Find what runs and what ended meanwhile, then take commands."""
        found = {started.key: started for started in await self.runner.attach(self._told)}
        for key, started in found.items():
            if started.ended is None and key not in self._ended_early:
                self._lives(key)
        for job in list(self._ledger.state.jobs.values()):
            if job.state in (JobState.DISPATCHING, JobState.RUNNING) and job.worker == life.RUNNER:
                await self._found(job, [found.pop(key, None) for key in keys_of(job)])
        for key, started in found.items():
            self._spawn(self._abandon(key, started))
        self._is_attached = True
        self._ended_early.clear()
        at_once = self._settings().queue.runner_at_once or AT_ONCE_MAX
        self._taker.room = max(0, at_once - sum(not key.member for key in self._running.values()))
        self._demand.open(self._taker)
        self._leases.line.dispatch()

    async def _found(self, job: Job, runs: Sequence[Started | None]) -> None:
        """A command, or a gang of them, that ran when this server was not there."""
        self._running.update(zip(job.leases, keys_of(job), strict=True))
        if job.state is JobState.DISPATCHING and None in runs:
            self._spawn(self._start(job))
            return
        for key, started in zip(keys_of(job), runs, strict=True):
            if started is None:
                lost = "nothing is known of its command here"
                self._told(key, Ended(None, fault=Fault.SHIM_LOST, error=lost))
            elif started.ended is not None:
                self._told(key, started.ended)
            else:
                await self._taken_up(job, started)

    async def _abandon(self, key: RunKey, started: Started) -> None:
        """A run that no job is at any more: its generation is over, so it must not go on.

        Mostly its job has ended by it, and the server died before it was filed away: its log is kept.
        """
        if started.ended is None:
            log.warning("run_abandoned", run=key.name)
            await self.runner.stop(key)
            return
        await self.runner.forget(key, keep_log=True)

    def tick(self) -> None:
        """Renew the leases of what runs, and tell again what could not be written."""
        now_ms = self._ledger.clock.now_ms()
        ttl_ms = self._settings().lease.ttl_ms
        leases, liveness = self._ledger.state.leases, self._ledger.state.liveness
        for lease_id in self._running:
            lease, live = leases.get(lease_id), liveness.get(lease_id)
            if lease is None or live is None or lease.state is not LeaseState.ACTIVE:
                continue
            if live.deadline_ms < now_ms + ttl_ms * 2 // 3:
                live.deadline_ms = now_ms + ttl_ms
                self._leases.timers.set(lease_id, live.deadline_ms)
        for key, ended in list(self._to_tell.items()):
            self._tell(key, ended)
        again, self._to_take_up = self._to_take_up, {}
        for job, started in again.values():
            self._spawn(self._taken_up(job, started))

    def committed(self, events: Sequence[Event]) -> None:
        """Who is to end is told so: a revoked lease, a cancelled job, one whose lease somebody else ended."""
        for event in events:
            if event.subject not in self._running:
                continue
            if event.kind == "LeaseRevoking":
                grace_ms = int(event.details.get("grace_ms", 0))
                self._spawn(self._stop(self._running[event.subject], grace_ms))
            elif event.kind in LEASE_ENDS and event.subject not in self._ledger.state.leases:
                self._spawn(self._stop(self._let_go(event.subject), None))

    def _let_go(self, lease_id: str) -> RunKey:
        """What ran under this lease does so no more: there is room for another command."""
        key = self._running.pop(lease_id)
        if not key.member:
            self._taker.room += 1
        if self._at_work(key) is None:  # The others of its gang are not waited for any more.
            members = self._members.pop((key.number, key.generation), {})
            self._forget([RunKey(key.number, key.generation, member) for member in members])
        return key

    async def _stop(self, key: RunKey, grace_ms: int | None) -> None:
        try:
            await self.runner.stop(key, grace_ms)
        except RunFailed as error:
            log.info("run_not_stopped", run=key.name, why=error.sentence)

    def _spawn(self, work: object) -> None:
        self._leases.spawn(work)

    # -- starting

    def _taken(self, job: Job) -> None:
        """A command was dispatched to the runner, and that is durable."""
        if any(lease_id not in self._ledger.state.leases for lease_id in job.leases):
            self._taker.room += 1
            return  # It has been taken back meanwhile.
        self._running.update(zip(job.leases, keys_of(job), strict=True))
        self._spawn(self._start(job))

    async def _start(self, job: Job) -> None:
        """Run it, once for each member of its gang, when nothing of an attempt before runs any more."""
        await self._others_gone(job)
        spec = (await self._cold.specs([job.number])).get(job.number)
        if spec is None:
            self._refused(job, "its command can't be read", ErrorClass.PERMANENT)
            return
        for key, lease_id in zip(keys_of(job), job.leases, strict=True):
            lease = self._ledger.state.leases.get(lease_id)
            if lease is None:
                return  # It has been taken back meanwhile.
            try:
                command = command_of(job, key, lease, spec)
                self._lives(key)
                started = await self.runner.start(command)
            except RunFailed as error:
                self._dead(key)
                again = error.code == "NOT_STARTED"
                error_class = ErrorClass.RETRYABLE if again else ErrorClass.PERMANENT
                self._refused(job, error.sentence, error_class)
                return
            except (msgspec.MsgspecError, ValueError) as error:
                self._dead(key)
                self._refused(job, str(error), ErrorClass.PERMANENT)
                return
            await self._taken_up(job, started)
            if started.ended is not None:
                self._told(key, started.ended)

    def _lives(self, key: RunKey) -> None:
        """From now on a process of this run may be there, until its end is told."""
        self._alive.setdefault(key.number, {}).setdefault(key, asyncio.Event())

    def _dead(self, key: RunKey) -> None:
        runs = self._alive.get(key.number, {})
        over = runs.pop(key, None)
        if over is not None:
            over.set()
        if not runs:
            self._alive.pop(key.number, None)

    async def _others_gone(self, job: Job) -> None:
        """End what still runs of attempts that are over: no job runs twice at the same time (QUEUE-13).

        However long that takes: the offer lapses meanwhile, and the job is offered again.
        """
        runs = self._alive.get(job.number, {})
        others = {key: over for key, over in runs.items() if key.generation < job.generation}
        for key in others:
            await self._stop(key, None)
        for over in others.values():
            await over.wait()

    async def _taken_up(self, job: Job, started: Started) -> None:
        """It runs: the job is RUNNING, and its lease is bound to it."""
        state = self._ledger.state
        lease_id = job.leases[started.key.member]
        lease = state.leases.get(lease_id)
        current = state.jobs.get(job.number)
        if lease is None or current is None or current.generation != job.generation:
            await self._stop(started.key, 0)
            return
        work = (started.process,) if started.process is not None else ()
        admitted = await self._leases.bindings.admit(lease, work) if work else None
        held = held_by(job, started, lease, (await self._cold.specs([job.number])).get(job.number))

        def decide(state: State, stamp: Stamp) -> Outcome:
            job_now, lease_now = state.jobs.get(job.number), state.leases.get(lease_id)
            if job_now is None or lease_now is None or job_now.generation != job.generation:
                return Outcome()
            outcome = life.renew(
                lease_now,
                stamp,
                self._settings(),
                work=work,
                cgroup=admitted.cgroup if admitted is not None else "",
                caller=started.shim,
                limits=held,
            )
            if job_now.state is JobState.DISPATCHING:
                join(outcome, execution.taken_up(job_now, stamp))
            outcome.answer = outcome.answer or lease_now
            return outcome

        try:
            bound = await self._ledger.execute(decide)
        except LeaseholdError as error:
            log.info("run_not_taken_up", run=started.key.name, why=str(error))
            if started.key in self._alive.get(job.number, {}):
                self._to_take_up[started.key] = (job, started)  # `tick` tries again.
            return
        running = state.jobs.get(job.number)
        if running is not None:
            self.on_started((running,))
        if bound is None:
            await self._stop(started.key, 0)
        elif bound.state is LeaseState.REVOKING:
            await self._stop(started.key, self._settings().lease.grace_ms)

    def _refused(self, job: Job, why: str, error_class: ErrorClass) -> None:
        """It could not be started: never, or not now. Members that run already are told to stop."""

        def decide(state: State, stamp: Stamp) -> Outcome:
            outcome = Outcome([])
            now = state.jobs.get(job.number)
            if now is None or now.generation != job.generation:
                return outcome
            end = End(f"it could not be started: {why}", error_class)
            if now.cancel:
                end = attempt.with_(end, error=now.cancel)
                over = attempt.ended(outcome, now, JobState.CANCELED, end, stamp)
            elif error_class is ErrorClass.PERMANENT:
                over = attempt.ended(outcome, now, JobState.FAILED, end, stamp)
            else:
                again_ms = stamp.now_ms + attempt.NOT_STARTED_MS
                over = attempt.requeued(outcome, now, "NOT_STARTED", end, stamp, not_before_ms=again_ms)
            execution.release(state, now, why, end.usage, stamp, self._settings(), outcome)
            outcome.answer = [over]
            return outcome

        for key in keys_of(job):
            self._spawn(self._stop(key, 0))
        try:
            over, _ = self._ledger.submit(decide)
        except LeaseholdError as error:
            log.info("put_off", job=job_id(job.number), why=str(error))
            return  # The offer lapses.
        self._gone(job.leases, over)

    # -- ends

    def _told(self, key: RunKey, ended: Ended) -> None:
        """A run has ended. A gang has ended with its last member; the first that fails ends the others."""
        self._dead(key)
        if not self._is_attached:
            self._ended_early.add(key)
        self._to_take_up.pop(key, None)
        job = self._at_work(key)
        if job is not None and job.terms.gang > 1:
            members = self._members.setdefault((key.number, key.generation), {})
            members[key.member] = ended
            if len(members) < job.terms.gang:
                if ended.exit_code != 0:
                    for other in keys_of(job):
                        if other.member not in members:
                            self._spawn(self._stop(other, self._settings().lease.grace_ms))
                return
            ended = next((one for one in members.values() if one.exit_code != 0), ended)
            del self._members[key.number, key.generation]
            key = RunKey(key.number, key.generation)
        self._to_tell[key] = ended
        self._tell(key, ended)

    def _at_work(self, key: RunKey) -> Job | None:
        """The job whose attempt this run is, or a part of."""
        job = self._ledger.state.jobs.get(key.number)
        is_it = job is not None and job.generation == key.generation and job.state in AT_WORK
        return job if is_it else None

    def _tell(self, key: RunKey, ended: Ended) -> None:
        """Tell the ledger how it ended; the run is taken off the file once that is durable."""
        job = self._at_work(key)
        leases = job.leases if job is not None else ()
        keys = keys_of(job) if job is not None else [key]
        try:
            over, durable = self._ledger.submit(partial(self._decide, key, ended))
        except LeaseholdError as error:
            log.info("put_off", run=key.name, why=str(error))
            return
        self._to_tell.pop(key, None)
        self._gone(leases, over)
        if durable is None:
            self._forget(keys)
        else:
            durable.add_done_callback(partial(self._settled, key, keys, ended))

    def _settled(self, key: RunKey, keys: Sequence[RunKey], ended: Ended, done: asyncio.Future[None]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._to_tell[key] = ended
            return
        self._forget(keys)

    def _forget(self, keys: Sequence[RunKey]) -> None:
        for key in keys:
            self._spawn(self.runner.forget(key, keep_log=True))

    def _gone(self, leases: Sequence[str], over: Sequence[Job]) -> None:
        if over:
            self._ended(over)
        for lease_id in leases:
            if lease_id in self._running:
                self._let_go(lease_id)
            self._leases.bindings.forget(lease_id)
            self._leases.after_end(lease_id)

    def _decide(self, key: RunKey, ended: Ended, state: State, stamp: Stamp) -> Outcome:
        outcome = Outcome([])
        job = state.jobs.get(key.number)
        if job is None or job.generation != key.generation or job.state not in AT_WORK:
            return outcome
        lease = state.leases.get(job.lease_id)
        if job.state is JobState.DISPATCHING:  # It ended before it was written that it ran.
            taken = execution.taken_up(job, stamp)
            join(outcome, taken)
            job = taken.answer
        end = end_of(ended)
        is_revoked = lease is not None and lease.state in (LeaseState.REVOKING, LeaseState.REVOKED)
        if ended.exit_code == 0 and ended.fault is None:
            over = attempt.done(outcome, job, end, stamp)
        elif job.cancel:
            end = attempt.with_(end, error=job.cancel)
            over = attempt.ended(outcome, job, JobState.CANCELED, end, stamp)
        elif ended.fault is Fault.NOT_STARTED:  # Nothing of it ran: no attempt.
            again_ms, attempts = stamp.now_ms + attempt.NOT_STARTED_MS, job.attempts - 1
            over = attempt.requeued(
                outcome, job, "NOT_STARTED", end, stamp, not_before_ms=again_ms, attempts=attempts
            )
        elif ended.fault in NOT_ITS_FAULT:
            over = attempt.lost(outcome, job, ended.error or str(ended.fault), state, stamp, end)
        elif is_revoked and lease is not None:
            stood = stood_ms(lease, stamp.now_ms)
            over = attempt.taken_back(outcome, job, lease.revoke_note, state, stamp, end, stood)
        else:
            reserve = self._settings().capacity.memory_reserve_bytes
            over = attempt.failed(outcome, job, end, state, stamp, reserve_bytes=reserve)
        execution.release(state, job, f"its job is {over.state}", end.usage, stamp, self._settings(), outcome)
        outcome.answer = [over]
        return outcome
