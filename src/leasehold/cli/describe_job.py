"""`leasehold describe job-…` and `leasehold why job-…`: all about one job, and why it does not start."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from leasehold.cli import exits
from leasehold.cli.session import Session

if TYPE_CHECKING:
    from leasehold.wire.job import JobExplained, JobOut

WAITING = ("QUEUED", "HELD")


def _job(session: Session, typed: str) -> JobExplained:
    from leasehold.cli.ids import job_id
    from leasehold.client import calls

    return session.client.send(calls.JOB_EXPLAIN, path={"job_id": job_id(session, typed)})


def why_job(session: Session, typed: str) -> int:
    """The reasons, its place, what would change it, and when it starts anyway."""
    from leasehold.cli.job_words import ENDED, ending, why

    job = _job(session, typed)
    out = session.out
    if out.as_json:
        out.document(job)
        return exits.DONE
    if job.state in ENDED:
        how = ending(job)
        out.text(f"{job.job_id} has ended {job.state}{f': {how}' if how else ''}")
        _attempts(session, job)
        if job.state != "DONE":
            out.text(f"`leasehold retry {job.job_id}` gives it one more attempt")
        return exits.DONE
    if job.state not in WAITING:
        more = why(job)
        out.text(f"{job.job_id} is {job.state}, under {job.lease_id}{f': {more}' if more else ''}")
        return exits.DONE
    _why_it_waits(session, job)
    _attempts(session, job)
    return exits.DONE


def _why_it_waits(session: Session, job: JobExplained) -> None:
    from leasehold.cli import estimate_words
    from leasehold.cli.amounts import ordinal
    from leasehold.cli.job_words import local
    from leasehold.cli.reasons import show_reasons

    out = session.out
    place = f", {ordinal(job.position)} in line" if job.position else ""
    out.text(f"{job.job_id} is {job.state}{place}: {job.reason or 'it is about to start'}")
    show_reasons(session, job.reasons)
    if job.start_anyway_by and job.start != "now" and job.state == "QUEUED":
        out.text(f"from {local(job.start_anyway_by)} on it starts although the machine is not quiet")
    elif job.start != "now" and job.state == "QUEUED":
        out.text(f"it waits for {'a window' if job.start == 'window' else 'quiet'}, however long that takes")
    if job.deadline_at:
        out.text(f"it expires if it waits still at {local(job.deadline_at)}")
    if job.estimate is not None:
        out.text(estimate_words.sentence(job.estimate))


def _attempts(session: Session, job: JobOut) -> None:
    from leasehold.cli.job_words import local

    for number, one in enumerate(job.history, 1):
        session.out.text(f"  attempt {number}: {one.outcome} at {local(one.ended_at)} {one.error}".rstrip())


def describe_job(session: Session, typed: str) -> int:
    """All that is known of it."""
    job = _job(session, typed)
    if session.out.as_json:
        session.out.document(job)
    elif session.quiet:
        session.out.ids([job.job_id])
    else:
        session.out.pairs(pairs(job))
        _attempts(session, job)
    return exits.DONE


def pairs(job: JobExplained) -> list[tuple[str, object]]:
    """All that is known of a job, by name."""
    from leasehold.cli import estimate_words
    from leasehold.cli.amounts import bytes_text, spell
    from leasehold.cli.job_words import ending, local

    usage = job.usage
    return [
        ("id", job.job_id),
        ("title", job.title),
        ("state", job.state),
        ("why", job.reason),
        ("place in line", job.position),
        ("will start", estimate_words.brief(job.estimate) if job.estimate else None),
        ("ended", f"{local(job.ended_at)} {ending(job)}".strip() if job.ended_at else None),
        ("exit code", None if job.exit_code is None else str(job.exit_code)),
        ("command", shlex.join(job.command)),
        ("folder", job.cwd),
        ("job type", job.job_type),
        ("holder", job.holder),
        ("submitted", local(job.submitted_at)),
        ("started", local(job.started_at)),
        ("runs for", None if job.running_sec is None else spell(job.running_sec)),
        ("progress", None if job.progress is None else f"{job.progress:.0%} {job.message}".strip()),
        ("held back", job.held_back),
        ("priority", job.priority),
        ("start", job.start),
        ("starts anyway", local(job.start_anyway_by)),
        ("not before", local(job.next_earliest_start_at or job.earliest_start_at)),
        ("to be done by", local(job.deadline_at)),
        ("at most", None if job.max_runtime_sec is None else spell(job.max_runtime_sec)),
        ("holds", ", ".join(f"{name} {value}" for name, value in job.charge.items() if value)),
        ("attempts", f"{job.attempts} of {job.max_attempts}"),
        ("after", job.after),
        ("waits for", job.waits_for),
        ("group", job.group),
        ("index", job.index or None),
        ("gang", job.gang if job.gang > 1 else None),
        ("labels", [f"{name}={value}" for name, value in job.labels.items()]),
        ("unique", job.unique_key),
        ("needs", job.needs),
        ("lease", job.lease_id),
        ("worker", job.worker_id),
        ("cancelled", job.cancel_requested),
        ("cpu time", spell(usage.cpu_seconds) if usage else None),
        ("peak memory", bytes_text(usage.memory_peak_bytes) if usage and usage.memory_peak_bytes else None),
    ]
