"""What the built-in runner is told to run, and how what it ran has ended, in the words of jobs (QUEUE-15)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from leasehold.core.attempt import job_id
from leasehold.model.job import End, ErrorClass, Job, JobSpec, JobState
from leasehold.model.lease import UNLIMITED, Lease, Limits, Usage
from leasehold.model.run import Command, Ended, Fault, RunKey, Started
from leasehold.wire.job import ExecIn

NOT_ITS_FAULT = frozenset({Fault.SHIM_LOST, Fault.MACHINE_LOST})
"""Not the fault of its job, until that has happened too often (QUEUE-11)."""

NEVER_AGAIN = frozenset({Fault.NOT_FOUND, Fault.NOT_EXECUTABLE, Fault.NO_FOLDER})
"""Another attempt would end the same."""


def keys_of(job: Job) -> list[RunKey]:
    """The runs of its attempt: one, or of a gang one for each member."""
    return [RunKey(job.number, job.generation, rank) for rank in range(job.terms.gang)]


def command_of(job: Job, key: RunKey, lease: Lease, spec: JobSpec) -> Command:
    """The command of a job, or of one member of its gang. Raises msgspec.ValidationError, ValueError."""
    wanted = msgspec.json.decode(spec.payload, type=ExecIn)
    charge, limits = lease.ask.charge, wanted.limits
    extra: Mapping[str, str] = {
        "LEASEHOLD_LEASE": f"{lease.lease_id}:{lease.token}",
        "LEASEHOLD_JOB": job_id(job.number),
        "LEASEHOLD_ATTEMPT": str(job.attempts + (job.state is JobState.DISPATCHING)),
        **({"LEASEHOLD_ARRAY_INDEX": str(job.index)} if job.index else {}),
    }
    if job.terms.gang > 1:
        gang = {"LEASEHOLD_GANG_RANK": str(key.member), "LEASEHOLD_GANG_SIZE": str(job.terms.gang)}
        extra = {**extra, **gang}
    env = {**spec.env, **extra}
    return Command(
        key,
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


def held_by(job: Job, started: Started, lease: Lease, spec: JobSpec | None) -> Limits:
    """What the kernel holds a run to, as far as it really does."""
    if spec is None:
        return UNLIMITED
    command = command_of(job, started.key, lease, spec)
    cpu = command.cpu_millicores if "cpu_millicores" in started.held else 0
    return Limits(cpu, command.memory_bytes if "memory_bytes" in started.held else 0)
