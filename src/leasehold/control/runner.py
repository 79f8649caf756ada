"""The built-in runner as a worker of the queue: takes commands, renews their leases, tells how they ended.

What runs is the port's matter (`ports/runner.py`): it outlives this server, which finds it again (QUEUE-15).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec
import structlog

from leasehold.control.cold import ColdParts
from leasehold.control.demand import RUNNERS_WANTS, Demand, Taker
from leasehold.control.live import LiveLeases
from leasehold.core import attempt, execution
from leasehold.core import lease as life
from leasehold.core.attempt import job_id
from leasehold.core.job import join
from leasehold.core.state import Outcome, Stamp, State
from leasehold.model.errors import LeaseholdError
from leasehold.model.event import Event
from leasehold.model.job import End, ErrorClass, Job, JobSpec, JobState
from leasehold.model.lease import Lease, LeaseState, Usage
from leasehold.model.run import Command, Ended, Fault, RunKey, Started
from leasehold.ports.runner import RunFailed, Runner
from leasehold.wire.job import ExecIn

log = structlog.get_logger(__name__)

AT_ONCE_MAX = 10_000
NEVER_AGAIN = frozenset({Fault.NOT_FOUND, Fault.NOT_EXECUTABLE, Fault.NO_FOLDER})
"""Another attempt would end the same."""

AGAIN_MS = 10_000
"""How long a command waits that could not be started for want of something of the machine's."""


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
        self._to_tell: dict[RunKey, Ended] = {}
        self._taker = Taker(life.RUNNER, life.RUNNER, RUNNERS_WANTS, 0, offers=True)
        self._taker.on_taken = lambda handed: self._spawn(self._start(*handed))

    # -- life

    async def attach(self) -> None:
        """Find what runs and what ended meanwhile, then take commands."""
        found = {started.key: started for started in await self.runner.attach(self._told)}
        for job in list(self._ledger.state.jobs.values()):
            if job.state in (JobState.DISPATCHING, JobState.RUNNING) and job.worker == life.RUNNER:
                await self._found(job, found.pop(RunKey(job.number, job.generation), None))
        for key, started in found.items():
            self._spawn(self._abandon(key, started))
        at_once = self._settings().queue.runner_at_once or AT_ONCE_MAX
        self._taker.room = max(0, at_once - len(self._running))
        self._demand.open(self._taker)
        self._leases.line.dispatch()

    async def _found(self, job: Job, started: Started | None) -> None:
        """A command that ran when this server was not there."""
        key = RunKey(job.number, job.generation)
        self._running[job.lease_id] = key
        if started is None:
            if job.state is JobState.RUNNING:
                self._told(
                    key, Ended(None, fault=Fault.SHIM_LOST, error="nothing is known of its command here")
                )
                return
            lease = self._ledger.state.leases.get(job.lease_id)
            if lease is not None:
                self._spawn(self._start(job, lease))
        elif started.ended is not None:
            self._told(key, started.ended)
        else:
            await self._taken_up(job, started)

    async def _abandon(self, key: RunKey, started: Started) -> None:
        """A run that no job knows any more: its generation is over, so it must not go on."""
        log.warning("run_abandoned", run=key.name)
        if started.ended is None:
            await self.runner.stop(key)
            return
        await self.runner.forget(key, keep_log=False)

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

    def committed(self, events: Sequence[Event]) -> None:
        """Who is to end is told so: a revoked lease, a cancelled job."""
        for event in events:
            if event.kind == "LeaseRevoking" and event.subject in self._running:
                grace_ms = int(event.details.get("grace_ms", 0))
                self._spawn(self._stop(self._running[event.subject], grace_ms))

    async def _stop(self, key: RunKey, grace_ms: int) -> None:
        try:
            await self.runner.stop(key, grace_ms)
        except RunFailed as error:
            log.info("run_not_stopped", run=key.name, why=error.sentence)

    def _spawn(self, work: object) -> None:
        self._leases.spawn(work)

    # -- starting

    async def _start(self, job: Job, lease: Lease) -> None:
        """A command that was dispatched and is durable: run it, and say that it runs."""
        key = RunKey(job.number, job.generation)
        self._running[lease.lease_id] = key
        specs = await self._cold.specs([job.number])
        spec = specs.get(job.number)
        if spec is None:
            self._refused(key, lease.lease_id, "its command can't be read", ErrorClass.PERMANENT)
            return
        try:
            started = await self.runner.start(command_of(job, lease, spec))
        except RunFailed as error:
            error_class = ErrorClass.RETRYABLE if error.code == "NOT_STARTED" else ErrorClass.PERMANENT
            self._refused(key, lease.lease_id, error.sentence, error_class)
            return
        except (msgspec.MsgspecError, ValueError) as error:
            self._refused(key, lease.lease_id, str(error), ErrorClass.PERMANENT)
            return
        if started.ended is not None:
            await self._taken_up(job, started)
            self._told(key, started.ended)
        else:
            await self._taken_up(job, started)

    async def _taken_up(self, job: Job, started: Started) -> None:
        """It runs: the job is RUNNING, and its lease is bound to it."""
        state = self._ledger.state
        lease = state.leases.get(job.lease_id)
        current = state.jobs.get(job.number)
        if lease is None or current is None or current.generation != job.generation:
            await self._stop(started.key, 0)
            return
        work = (started.process,) if started.process is not None else ()
        admitted = await self._leases.bindings.admit(lease, work) if work else None

        def decide(state: State, stamp: Stamp) -> Outcome:
            job_now, lease_now = state.jobs.get(job.number), state.leases.get(job.lease_id)
            if job_now is None or lease_now is None or job_now.generation != job.generation:
                return Outcome()
            outcome = life.renew(
                lease_now,
                stamp,
                self._settings(),
                work=work,
                cgroup=admitted.cgroup if admitted is not None else "",
                caller=started.shim,
            )
            if job_now.state is JobState.DISPATCHING:
                join(outcome, execution.taken_up(job_now, stamp))
            outcome.answer = outcome.answer or lease_now
            return outcome

        try:
            bound = await self._ledger.execute(decide)
        except LeaseholdError as error:
            log.info("run_not_taken_up", run=started.key.name, why=str(error))
            return
        running = state.jobs.get(job.number)
        if running is not None:
            self.on_started((running,))
        if bound is None:
            await self._stop(started.key, 0)
        elif bound.state is LeaseState.REVOKING:
            await self._stop(started.key, self._settings().lease.grace_ms)

    def _refused(self, key: RunKey, lease_id: str, why: str, error_class: ErrorClass) -> None:
        """It could not be started: never, or not now."""

        def decide(state: State, stamp: Stamp) -> Outcome:
            outcome = Outcome([])
            job, lease = state.jobs.get(key.number), state.leases.get(lease_id)
            if job is None or lease is None or job.generation != key.generation:
                return outcome
            end = End(f"it could not be started: {why}", error_class)
            if job.cancel:
                over = attempt.ended(
                    outcome, job, JobState.CANCELED, attempt.with_(end, error=job.cancel), stamp
                )
            elif error_class is ErrorClass.PERMANENT:
                over = attempt.ended(outcome, job, JobState.FAILED, end, stamp)
            else:
                over = attempt.requeued(
                    outcome, job, "NOT_STARTED", end, stamp, not_before_ms=stamp.now_ms + AGAIN_MS
                )
            join(
                outcome,
                life.release(state, lease, stamp, self._settings(), lease.usage, why, settled=job.number),
            )
            outcome.answer = [over]
            return outcome

        try:
            over, _ = self._ledger.submit(decide)
        except LeaseholdError as error:
            log.info("put_off", run=key.name, why=str(error))
            return  # The offer lapses.
        self._gone(lease_id, over)

    # -- ends

    def _told(self, key: RunKey, ended: Ended) -> None:
        self._to_tell[key] = ended
        self._tell(key, ended)

    def _tell(self, key: RunKey, ended: Ended) -> None:
        """Tell the ledger how it ended; the run is taken off the file once that is durable."""
        job = self._ledger.state.jobs.get(key.number)
        lease_id = job.lease_id if job is not None and job.generation == key.generation else ""
        try:
            over, durable = self._ledger.submit(partial(self._decide, key, ended))
        except LeaseholdError as error:
            log.info("put_off", run=key.name, why=str(error))
            return
        self._to_tell.pop(key, None)
        self._gone(lease_id, over)
        if durable is None:
            self._spawn(self.runner.forget(key, keep_log=True))
        else:
            durable.add_done_callback(partial(self._settled, key, ended))

    def _settled(self, key: RunKey, ended: Ended, done: asyncio.Future[None]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._to_tell[key] = ended
            return
        self._spawn(self.runner.forget(key, keep_log=True))

    def _gone(self, lease_id: str, over: Sequence[Job]) -> None:
        if self._running.pop(lease_id, None) is not None:
            self._taker.room += 1
        if over:
            self._ended(over)
        self._leases.bindings.forget(lease_id)
        self._leases.after_end(lease_id)

    def _decide(self, key: RunKey, ended: Ended, state: State, stamp: Stamp) -> Outcome:
        outcome = Outcome([])
        job = state.jobs.get(key.number)
        if job is None or job.generation != key.generation:
            return outcome
        lease = state.leases.get(job.lease_id)
        if job.state is JobState.DISPATCHING:  # It ended before it was written that it ran.
            taken = execution.taken_up(job, stamp)
            join(outcome, taken)
            job = taken.answer
        end = end_of(ended)
        is_revoked = lease is not None and lease.state in (LeaseState.REVOKING, LeaseState.REVOKED)
        if ended.exit_code == 0 and ended.fault is not Fault.STOPPED:
            attempt.done(outcome, job, end, stamp)
        elif job.cancel:
            attempt.ended(outcome, job, JobState.CANCELED, attempt.with_(end, error=job.cancel), stamp)
        elif ended.fault in (Fault.SHIM_LOST, Fault.MACHINE_LOST):
            attempt.lost(outcome, job, ended.error or str(ended.fault), state, stamp, end)
        elif is_revoked and lease is not None:
            attempt.taken_back(outcome, job, lease.revoke_note, state, stamp, end)
        else:
            attempt.failed(outcome, job, end, state, stamp)
        over = [change.record for change in outcome.changes if change.key == key.number]
        if lease is not None:
            note = f"its job is {over[-1].state}"
            join(
                outcome,
                life.release(state, lease, stamp, self._settings(), end.usage, note, settled=job.number),
            )
        outcome.answer = over[-1:]
        return outcome


def command_of(job: Job, lease: Lease, spec: JobSpec) -> Command:
    """The command of a job. Raises msgspec.ValidationError, ValueError."""
    wanted = msgspec.json.decode(spec.payload, type=ExecIn)
    charge, limits = lease.ask.charge, wanted.limits
    extra: Mapping[str, str] = {
        "LEASEHOLD_LEASE": f"{lease.lease_id}:{lease.token}",
        "LEASEHOLD_JOB": job_id(job.number),
        "LEASEHOLD_ATTEMPT": str(job.attempts + (job.state is JobState.DISPATCHING)),
        **({"LEASEHOLD_ARRAY_INDEX": str(job.index)} if job.index else {}),
    }
    env = {**spec.env, **extra}
    return Command(
        RunKey(job.number, job.generation),
        tuple(_raw(each) for each in wanted.argv),
        _raw(wanted.cwd),
        tuple((_raw(name), _raw(value)) for name, value in env.items()),
        spec.uid,
        lease.lease_id,
        limits.cpu_millicores or charge.cpu_millicores,
        limits.memory_bytes or charge.memory_bytes,
        limits.pids or 0,
        wanted.grace_sec * 1000,
        limits.log_bytes,
        wanted.terminal,
    )


def _raw(text: str) -> bytes:
    """Bytes as the kernel has them: what is no UTF-8 comes over the wire as surrogates."""
    return text.encode("utf-8", "surrogateescape")


def end_of(ended: Ended) -> End:
    """How a run ended, as the job remembers it."""
    error = ended.error
    if not error and ended.exit_code:
        error = f"exit code {ended.exit_code}"
    elif not error and ended.signal:
        error = f"ended by {ended.signal}"
    error_class: ErrorClass | None = None
    if ended.fault is Fault.OUT_OF_MEMORY:
        error_class = ErrorClass.OUT_OF_MEMORY
    elif ended.fault in NEVER_AGAIN:
        error_class = ErrorClass.PERMANENT
    elif error:
        error_class = ErrorClass.RETRYABLE
    usage = Usage(ended.cpu_ms, ended.memory_peak_bytes, 0, ended.memory_kills)
    return End(error, error_class, b"", ended.exit_code, ended.signal, usage)
