"""From jobs to what the wire shows. No decisions here."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Callable, Mapping, Sequence

import msgspec

from leasehold.control import views
from leasehold.core import admission
from leasehold.core.attempt import job_id
from leasehold.core.brake import ran_ms
from leasehold.core.state import State
from leasehold.model.job import AT_WORK, RUNNER, Attempt, End, Job, JobSpec, JobState
from leasehold.model.lease import Usage
from leasehold.model.refusal import Code, Reason
from leasehold.model.settings import PolicySettings
from leasehold.wire import job as wire

TITLE_MAX = 256
WORDS_SHOWN = 2
PLAIN = re.compile(r"[a-z][a-z-]{0,19}")


def state_of(job: Job, state: State) -> JobState:
    """Its state as people see it: PAUSED is its lease's word (QUEUE-2)."""
    if job.state is JobState.RUNNING:
        lease = state.leases.get(job.lease_id)
        if lease is not None and lease.is_frozen:
            return JobState.PAUSED
    return job.state


def shown(job: Job, spec: JobSpec | None, state: State, now_ms: int, wall_ms: int) -> wire.JobOut:
    """One job, without its place and reasons."""
    terms, ask = job.terms, job.terms.ask
    out = wire.JobOut(
        job_id=job_id(job.number),
        state=str(state_of(job, state)),
        job_type=ask.job_type,
        holder=ask.holder,
        tenant=ask.tenant,
        priority=ask.priority.name,
        start=str(terms.start),
        submitted_at=views.rfc3339(job.since_wall_ms),
        charge=msgspec.to_builtins(views.charge(ask.charge)),
        needs=[need for need in ask.needs if need != RUNNER],
        labels=dict(terms.labels),
        group=terms.group,
        gang=terms.gang,
        index=job.index,
        unique_key=job.unique,
        earliest_start_at=_time(job.earliest_wall_ms),
        deadline_at=_time(job.deadline_wall_ms),
        start_anyway_by=_time(job.anyway_wall_ms),
        expected_duration_sec=ask.expected_ms / 1000 if ask.expected_ms else None,
        max_runtime_sec=terms.max_runtime_ms // 1000 or None,
        max_attempts=terms.max_attempts,
        after=[job_id(number) for number in job.after],
        waits_for=[job_id(number) for number in job.waits_for],
        generation=job.generation,
        attempts=job.attempts,
        lease_id=job.lease_id,
        worker_id=job.worker,
        started_at=_time(job.started_wall_ms),
        ended_at=_time(job.ended_wall_ms),
        cancel_requested=job.cancel,
        history=[_attempt(attempt) for attempt in job.past],
    )
    if job.state is JobState.QUEUED and job.not_before_ms > now_ms:
        out.next_earliest_start_at = _time(views.on_wall(job.not_before_ms, now_ms, wall_ms))
    if job.memory_bytes:
        out.charge["memory_bytes"] = job.memory_bytes
    if spec is not None:
        _add_cold(out, spec)
    if job.end is not None:
        _add_end(out, job.end)
    if job.state in AT_WORK:
        _add_life(out, job, state, now_ms)
    return out


def _add_cold(out: wire.JobOut, spec: JobSpec) -> None:
    out.title, out.submitter, out.repo_url = spec.title, spec.submitter, spec.repo_url
    if spec.uid >= 0:
        command = msgspec.json.decode(spec.payload, type=wire.ExecIn)
        out.is_command, out.command, out.cwd = True, command.argv, command.cwd
        out.title = out.title or shlex.join(command.argv)[:TITLE_MAX]
    else:
        out.payload = msgspec.Raw(spec.payload)


def hide(out: wire.JobOut, spec: JobSpec | None) -> None:
    """Take out what only its owner is shown: what it was given, and what it gave."""
    if out.is_command:
        out.title = (spec.title if spec is not None else "") or brief(out.command)
    out.payload, out.result, out.command, out.cwd = None, None, [], ""


def brief(argv: Sequence[str]) -> str:
    """A command as everybody may read it: its program and at most two plain words, as in `git pull`.

    What else it was given may be a secret.
    """
    words = list(itertools.takewhile(PLAIN.fullmatch, argv[1 : 1 + WORDS_SHOWN]))
    return " ".join([argv[0].rpartition("/")[2][:TITLE_MAX], *words]) if argv else ""


def _add_end(out: wire.JobOut, end: End) -> None:
    out.error, out.exit_code, out.signal = end.error, end.exit_code, end.signal
    out.error_class = str(end.error_class) if end.error_class else ""
    out.result = msgspec.Raw(end.result) if end.result else None
    out.usage = _usage(end.usage)


def _add_life(out: wire.JobOut, job: Job, state: State, now_ms: int) -> None:
    lease = state.leases.get(job.lease_id)
    if lease is None:
        return
    if lease.job == job.number:
        out.running_sec = round(ran_ms(lease, now_ms) / 1000, 1)
        live = state.liveness.get(lease.lease_id)
        if live is not None:
            out.progress, out.message = live.progress, live.message
    elif job.started_ms:
        out.running_sec = round((now_ms - job.started_ms) / 1000, 1)
    if lease.brake is not None:
        out.held_back = f"{lease.brake.level}: {lease.brake.why}"


def _attempt(attempt: Attempt) -> wire.AttemptOut:
    end = attempt.end
    return wire.AttemptOut(
        attempt.generation,
        attempt.outcome,
        attempt.worker,
        views.rfc3339(attempt.started_wall_ms),
        views.rfc3339(attempt.ended_wall_ms),
        end.error,
        end.exit_code,
        end.signal,
        _usage(end.usage),
    )


def timeline(job: Job, state: State) -> list[wire.JobEvent]:
    """What has happened to a job, from its record."""
    rows = [wire.JobEvent(views.rfc3339(job.since_wall_ms), "submitted")]
    for attempt in job.past:
        rows += [
            wire.JobEvent(
                views.rfc3339(attempt.started_wall_ms), "started", attempt.generation, attempt.worker
            ),
            wire.JobEvent(
                views.rfc3339(attempt.ended_wall_ms),
                attempt.outcome.lower(),
                attempt.generation,
                attempt.worker,
                attempt.end.error,
            ),
        ]
    if job.started_wall_ms and (not job.past or job.past[-1].generation != job.generation):
        rows.append(wire.JobEvent(views.rfc3339(job.started_wall_ms), "started", job.generation, job.worker))
    if job.ended_wall_ms and (job.state is JobState.DONE or not job.started_wall_ms):
        error = job.end.error if job.end is not None else ""
        rows.append(
            wire.JobEvent(
                views.rfc3339(job.ended_wall_ms), str(job.state).lower(), job.generation, job.worker, error
            )
        )
    return rows


def _usage(usage: Usage) -> wire.UsageOut | None:
    if usage == Usage():
        return None
    return wire.UsageOut(usage.cpu_ms / 1000, usage.memory_peak_bytes, usage.memory_kills)


def _time(wall_ms: int) -> str | None:
    return views.rfc3339(wall_ms) if wall_ms else None


def why(
    job: Job,
    state: State,
    settings: PolicySettings,
    now_ms: int,
    wall_ms: int,
    has_worker: Callable[[Job], bool],
    places: Mapping[int, int],
) -> list[Reason]:
    """Why a job that waits does not start, the decisive reason first; empty where it is about to.

    `places`: of those that stand in line.
    """
    if job.state is JobState.HELD:
        return [
            Reason(Code.HELD, "It is held; nothing starts it", f"`leasehold resume {job_id(job.number)}`")
        ]
    if job.state is not JobState.QUEUED:
        return []
    if job.waits_for:
        first, others = job_id(job.waits_for[0]), len(job.waits_for) - 1
        and_more = f" and {others} more" if others else ""
        return [Reason(Code.AFTER, f"It comes after {first}{and_more}", "their end", {"open": others + 1})]
    for due_ms, clock_ms in ((job.not_before_ms, now_ms), (job.earliest_wall_ms, wall_ms)):
        if due_ms > clock_ms:
            left_s = -(-(due_ms - clock_ms) // 1000)
            at = views.rfc3339(views.on_wall(due_ms, clock_ms, wall_ms))
            sentence = f"Not before {at} ({left_s} s left)"
            return [Reason(Code.NOT_YET, sentence, "time", {"left_sec": left_s}, min(300, left_s))]
    entry = state.line.entry(job.number) or job
    found = [_of_job(each, job.number) for each in admission.reasons(state, entry.ask, now_ms, settings)]
    if not has_worker(job):
        needs = ", ".join(job.kind)
        found.insert(
            0, Reason(Code.NO_WORKER, f"No worker is there that does {needs}", "a worker that claims it")
        )
    position = places.get(job.number, 1)
    if position > 1 or not found:
        found.append(in_line(position, len(state.line)))
    return found


ASK_FOR_NOW = "or start=now"
"""What whoever asks for a lease can say anew. A job was submitted: it is changed by a command instead."""


def _of_job(reason: Reason, number: int) -> Reason:
    """The reason with a cure that can be typed as it stands."""
    if not reason.cure.endswith(ASK_FOR_NOW):
        return reason
    command = f"or `leasehold prioritise {job_id(number)} --to high`"
    return msgspec.structs.replace(reason, cure=reason.cure.removesuffix(ASK_FOR_NOW) + command)


def in_line(position: int, waiting: int) -> Reason:
    ahead = position - 1
    who = "one is" if ahead == 1 else f"{ahead} are"
    sentence = f"{who} ahead in line, {waiting} wait in all" if ahead else "next in line"
    return Reason(Code.IN_LINE, sentence, "its turn", {"position": position, "waiting": waiting})
