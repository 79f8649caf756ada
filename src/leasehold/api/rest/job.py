"""`/api/scheduler/queue`: jobs as people and add-ons see them, and as workers take them (QUEUE-3, 4)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from leasehold.api.endpoint import Call, Nothing, Table
from leasehold.api.rest.lease import WRITES
from leasehold.model import errors
from leasehold.wire.claim import (
    Ack,
    Claim,
    ClaimOut,
    Complete,
    Completed,
    CompleteOut,
    Completion,
    Dispatchable,
)
from leasehold.wire.job import (
    SUBMIT_BYTES,
    Bulk,
    BulkOut,
    Cancel,
    JobEvents,
    JobExplained,
    JobId,
    JobOut,
    JobPage,
    LogPage,
    NewPriority,
    Note,
    QueueStats,
    Submit,
    Submitted,
)

table = Table("jobs")

QUEUE = "/api/scheduler/queue"

OF_ONE = (errors.NotFound, errors.NotPermitted, errors.Conflict)


class JobPath(msgspec.Struct, frozen=True):
    job_id: JobId


class JobQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which jobs; `state` names one or more, by commas; `label` is `name` or `name=value`.

    `text` stands in a title, a command, a job's type, holder, group, worker, labels or id, in whatever case;
    a page looks at so many jobs for it, and may be empty before the last. `fold`: of each group only the
    newest on a page, with how many of it are in which state.
    """

    state: Annotated[str, Meta(max_length=128)] = ""
    job_type: Annotated[str, Meta(max_length=128)] = ""
    holder: Annotated[str, Meta(max_length=128)] = ""
    tenant: Annotated[str, Meta(max_length=128)] = ""
    group: Annotated[str, Meta(max_length=128)] = ""
    label: Annotated[str, Meta(max_length=385)] = ""
    worker: Annotated[str, Meta(max_length=128)] = ""
    text: Annotated[str, Meta(max_length=128)] = ""
    fold: bool = False
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    cursor: Annotated[str, Meta(max_length=64)] | None = None


class LogQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From where on, how much at most; a negative offset counts from the end. `attempt` 0: the last one's.

    `rank`: which member's of a gang.
    """

    offset: Annotated[int, Meta(ge=-(2**53), lt=2**53)] = 0
    limit: Annotated[int, Meta(ge=1, le=4 << 20)] = 65_536
    wait_sec: Annotated[int, Meta(ge=0, le=30)] = 0
    attempt: Annotated[int, Meta(ge=0, lt=2**31)] = 0
    rank: Annotated[int, Meta(ge=0, lt=32)] = 0


class PollQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What this worker can do: job types and capabilities, by commas."""

    job_types: Annotated[str, Meta(max_length=4096)] = ""
    capabilities: Annotated[str, Meta(max_length=4096)] = ""
    limit: Annotated[int, Meta(ge=1, le=64)] = 1


@table.endpoint(
    "POST",
    f"{QUEUE}/jobs/submit",
    verb="job:submit",
    body=Submit,
    answer=Submitted,
    errors=(
        *WRITES,
        errors.Invalid,
        errors.NotPermitted,
        errors.NotFound,
        errors.Conflict,
        errors.IdempotencyBusy,
        errors.IdempotencyMismatch,
        errors.NeverFits,
        errors.QueueFull,
        errors.QuotaReached,
        errors.RateLimited,
    ),
    lane="normal",
    hot=True,
    idempotent=True,
    body_bytes=SUBMIT_BYTES,
    verbatim=True,
)
async def submit_jobs(call: Call[Submit, Nothing, Nothing]) -> Submitted:
    """Submit one job, or up to 1,000 in `jobs`; says which were taken, and why others were not."""
    return await call.services.jobs.submit(
        call.principal, call.body, idempotency_key=call.idempotency_key, body_hash=call.body_hash
    )


@table.endpoint(
    "GET", f"{QUEUE}/jobs", verb="job:read", query=JobQuery, answer=JobPage, errors=(errors.Invalid,)
)
async def list_jobs(call: Call[None, JobQuery, Nothing]) -> JobPage:
    """Jobs that match, newest first: live ones, then those that have ended."""
    return await call.services.jobs.listing(call.principal, call.query)


@table.endpoint(
    "GET",
    f"{QUEUE}/jobs/{{job_id}}",
    verb="job:read",
    path_params=JobPath,
    answer=JobOut,
    errors=(errors.NotFound,),
)
async def get_job(call: Call[None, Nothing, JobPath]) -> JobOut:
    """One job as it is now, live or ended, with its place in line and what it waits for."""
    return await call.services.jobs.get(call.principal, call.path.job_id)


@table.endpoint(
    "POST",
    f"{QUEUE}/jobs/{{job_id}}/cancel",
    verb="job:submit",
    path_params=JobPath,
    body=Cancel,
    answer=JobOut,
    errors=(*OF_ONE, *WRITES),
    lane="normal",
)
async def cancel_job(call: Call[Cancel, Nothing, JobPath]) -> JobOut:
    """End a job: at once where nothing runs, else as soon as its worker has stopped."""
    return await call.services.jobs.cancel(call.principal, call.path.job_id, call.body)


@table.endpoint(
    "POST",
    f"{QUEUE}/jobs/{{job_id}}/retry",
    verb="job:submit",
    path_params=JobPath,
    body=Note,
    answer=JobOut,
    errors=(*OF_ONE, *WRITES),
    lane="normal",
)
async def retry_job(call: Call[Note, Nothing, JobPath]) -> JobOut:
    """Give a job that ended other than DONE one more attempt, with its history."""
    return await call.services.jobs.retry(call.principal, call.path.job_id, call.body)


@table.endpoint(
    "POST",
    f"{QUEUE}/jobs/{{job_id}}/priority",
    verb="job:submit",
    path_params=JobPath,
    body=NewPriority,
    answer=JobOut,
    errors=(*OF_ONE, errors.Invalid, *WRITES),
    lane="normal",
)
async def prioritise_job(call: Call[NewPriority, Nothing, JobPath]) -> JobOut:
    """Put a waiting job into another lane; its age counts there as well."""
    return await call.services.jobs.prioritise(call.principal, call.path.job_id, call.body)


@table.endpoint(
    "POST",
    f"{QUEUE}/jobs/{{job_id}}/hold",
    verb="job:submit",
    path_params=JobPath,
    body=Note,
    answer=JobOut,
    errors=(*OF_ONE, *WRITES),
    lane="normal",
)
async def hold_job(call: Call[Note, Nothing, JobPath]) -> JobOut:
    """Keep a waiting job back until somebody resumes it."""
    return await call.services.jobs.hold(call.principal, call.path.job_id, call.body)


@table.endpoint(
    "POST",
    f"{QUEUE}/jobs/{{job_id}}/pause",
    verb="job:submit",
    path_params=JobPath,
    body=Note,
    answer=JobOut,
    errors=(*OF_ONE, errors.LeaseEnded, *WRITES),
    lane="normal",
)
async def pause_job(call: Call[Note, Nothing, JobPath]) -> JobOut:
    """Have a running job stand still until somebody resumes it; one that waits is held."""
    return await call.services.jobs.pause(call.principal, call.path.job_id, call.body)


@table.endpoint(
    "POST",
    f"{QUEUE}/jobs/{{job_id}}/resume",
    verb="job:submit",
    path_params=JobPath,
    body=Note,
    answer=JobOut,
    errors=(*OF_ONE, errors.LeaseEnded, *WRITES),
    lane="normal",
)
async def resume_job(call: Call[Note, Nothing, JobPath]) -> JobOut:
    """A held job stands in line again; one that stands still goes on."""
    return await call.services.jobs.resume(call.principal, call.path.job_id, call.body)


@table.endpoint(
    "POST",
    f"{QUEUE}/jobs/bulk",
    verb="job:submit",
    body=Bulk,
    answer=BulkOut,
    errors=(errors.Invalid, errors.NotPermitted, *WRITES),
    lane="normal",
)
async def change_jobs(call: Call[Bulk, Nothing, Nothing]) -> BulkOut:
    """Cancel, hold, resume, retry or reorder every job that matches a filter; `dry_run` only counts."""
    return await call.services.jobs.bulk(call.principal, call.body)


@table.endpoint("GET", f"{QUEUE}/stats", verb="job:read", answer=QueueStats)
async def queue_stats(call: Call[None, Nothing, Nothing]) -> QueueStats:
    """Depth by state, tenant, holder and priority; rates; waiting times; why jobs wait."""
    return await call.services.jobs.stats()


@table.endpoint(
    "GET",
    f"{QUEUE}/jobs/{{job_id}}/events",
    verb="job:read",
    path_params=JobPath,
    answer=JobEvents,
    errors=(errors.NotFound,),
)
async def job_events(call: Call[None, Nothing, JobPath]) -> JobEvents:
    """What has happened to a job, the oldest first."""
    return await call.services.jobs.events(call.path.job_id)


@table.endpoint(
    "GET",
    f"{QUEUE}/jobs/{{job_id}}/explain",
    verb="job:read",
    path_params=JobPath,
    answer=JobExplained,
    errors=(errors.NotFound,),
)
async def explain_job(call: Call[None, Nothing, JobPath]) -> JobExplained:
    """Why a job does not start, its place in line, and when it will start (P50 and P90)."""
    return await call.services.jobs.explain(call.principal, call.path.job_id)


@table.endpoint(
    "GET",
    f"{QUEUE}/jobs/{{job_id}}/log",
    verb="job:submit",
    path_params=JobPath,
    query=LogQuery,
    answer=LogPage,
    errors=(errors.NotFound, errors.NotPermitted),
    holds=lambda query: query.wait_sec > 0,
)
async def read_log(call: Call[None, LogQuery, JobPath]) -> LogPage:
    """A piece of a command's output from `offset` on, also while it runs; `wait_sec` waits for more."""
    return await call.services.jobs.log(call.principal, call.path.job_id, call.query)


@table.endpoint(
    "GET",
    f"{QUEUE}/dispatchable",
    verb="job:work",
    query=PollQuery,
    answer=Dispatchable,
    errors=(errors.NotPermitted, errors.RateLimited, *WRITES),
    lane="normal",
)
async def dispatchable_jobs(call: Call[None, PollQuery, Nothing]) -> Dispatchable:
    """What is offered to this worker, for 30 seconds each; `ack` takes it up."""
    return await call.services.jobs.poll(call.principal, call.query)


@table.endpoint(
    "POST",
    f"{QUEUE}/jobs/{{job_id}}/ack",
    verb="job:work",
    path_params=JobPath,
    body=Ack,
    answer=JobOut,
    errors=(*OF_ONE, errors.StaleToken, errors.LeaseEnded, *WRITES),
    lane="reserved",
    hot=True,
)
async def ack_job(call: Call[Ack, Nothing, JobPath]) -> JobOut:
    """Take up an offered job: it runs from now on, under the lease that it was offered with."""
    return await call.services.jobs.ack(call.principal, call.path.job_id, call.body)


@table.endpoint(
    "POST",
    f"{QUEUE}/jobs/{{job_id}}/complete",
    verb="job:work",
    path_params=JobPath,
    body=Completion,
    answer=Completed,
    errors=(*OF_ONE, errors.StaleToken, errors.LeaseEnded, errors.Invalid, *WRITES),
    lane="reserved",
    hot=True,
    verbatim=True,
)
async def complete_job(call: Call[Completion, Nothing, JobPath]) -> Completed:
    """Say how a job ended. The same again is fine, anything else later is 409."""
    return await call.services.jobs.complete(call.principal, call.path.job_id, call.body)


@table.endpoint(
    "POST",
    f"{QUEUE}/claim",
    verb="job:work",
    body=Claim,
    answer=ClaimOut,
    errors=(
        errors.NotPermitted,
        errors.NotFound,
        errors.StaleToken,
        errors.LeaseEnded,
        errors.Invalid,
        errors.RateLimited,
        *WRITES,
    ),
    lane="normal",
    hot=True,
    holds=lambda body: body.wait_sec > 0,
)
async def claim_jobs(call: Call[Claim, Nothing, Nothing]) -> ClaimOut:
    """Take up to 1,000 jobs, waiting for the first; each with its own lease, or under a session's."""
    return await call.services.jobs.claim(call.principal, call.body)


@table.endpoint(
    "POST",
    f"{QUEUE}/complete",
    verb="job:work",
    body=Complete,
    answer=CompleteOut,
    errors=WRITES,
    lane="reserved",
    hot=True,
    body_bytes=SUBMIT_BYTES,
    verbatim=True,
)
async def complete_jobs(call: Call[Complete, Nothing, Nothing]) -> CompleteOut:
    """Say how up to 1,000 jobs ended; each is taken or refused by itself."""
    return await call.services.jobs.complete_many(call.principal, call.body)
