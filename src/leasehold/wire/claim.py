"""Messages of `/api/scheduler/queue` as workers send and get them (QUEUE-4, LEASE-27)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from leasehold.wire.job import JOBS_AT_ONCE, JobId
from leasehold.wire.lease import Input, Name, ReasonOut, Token

RESULT_BYTES = 64 << 10


class SessionIn(Input, frozen=True):
    """A lease that its jobs run under (LEASE-27), charged `concurrency` times the dearest of them."""

    lease_id: Annotated[str, Meta(min_length=1, max_length=64)]
    fencing_token: Token
    concurrency: Annotated[int, Meta(ge=1, le=1_000)] = 1


class Claim(Input, frozen=True):
    """`POST /claim`: up to `max` jobs for this worker, waiting up to `wait_sec` for the first one.

    Only jobs of `job_types` (empty: any) of which every need is among `capabilities`. With a `session` they
    run under its lease, else each gets one of its own. `known`: the jobs that this worker knows it has;
    others that are its own, because an answer was lost, come again first.
    """

    max: Annotated[int, Meta(ge=1, le=JOBS_AT_ONCE)] = 1
    job_types: Annotated[list[Name], Meta(max_length=64)] = []
    capabilities: Annotated[list[Name], Meta(max_length=128)] = []
    wait_sec: Annotated[int, Meta(ge=0, le=60)] = 0
    session: SessionIn | None = None
    worker_id: Name | None = None
    known: Annotated[list[JobId], Meta(max_length=JOBS_AT_ONCE)] | None = None


class Member(msgspec.Struct):
    """The lease of one member of a gang, by its rank: each is renewed; the first's token speaks for all."""

    lease_id: str
    fencing_token: int


class Claimed(msgspec.Struct, omit_defaults=True):
    """A job that is to be done now. Its `generation` and `fencing_token` go with every word about it."""

    job_id: str
    generation: int
    job_type: str
    payload: msgspec.Raw
    lease_id: str = ""
    fencing_token: int = 0
    attempt: int = 1
    deadline_at: str | None = None
    max_runtime_sec: int | None = None
    memory_bytes: int | None = None
    labels: dict[str, str] = {}
    repo_url: str = ""
    members: list[Member] = []


class ClaimOut(msgspec.Struct, omit_defaults=True):
    """The jobs of a claim. Under a session they have its token; each of their own leases lives `ttl_sec`."""

    jobs: list[Claimed]
    lease_id: str = ""
    fencing_token: int = 0
    ttl_sec: float = 30.0
    reasons: list[ReasonOut] = []
    retry_after_sec: int | None = None


class Offered(msgspec.Struct):
    """A job that is offered to this worker, until `expires_at` (QUEUE-4)."""

    job_id: str
    generation: int
    job_type: str
    payload: msgspec.Raw
    lease_id: str
    fencing_token: int
    expires_at: str


class Dispatchable(msgspec.Struct, omit_defaults=True):
    jobs: list[Offered]
    reasons: list[ReasonOut] = []
    retry_after_sec: int | None = None


class Ack(Input, frozen=True):
    """`POST /jobs/{id}/ack`: the worker takes it up, under the lease that it was offered with."""

    lease_id: Annotated[str, Meta(min_length=1, max_length=64)]
    fencing_token: Token


class Metrics(Input, frozen=True):
    """What the work used, as its worker measured."""

    cpu_seconds: Annotated[float, Meta(ge=0, lt=2**43)] | None = None
    peak_memory_bytes: Annotated[int, Meta(ge=0, lt=2**53)] | None = None
    bytes: Annotated[int, Meta(ge=0, lt=2**53)] | None = None


class Completion(Input, frozen=True, kw_only=True):
    """How a job ended. RETURNED: it was not worked on, and goes back without an attempt counted."""

    generation: Annotated[int, Meta(ge=1, lt=2**31)]
    fencing_token: Token = 0
    outcome: Literal["DONE", "FAILED", "RETURNED"] = "DONE"
    result: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    error: Annotated[str, Meta(max_length=8_192)] = ""
    error_class: Literal["retryable", "permanent", "out_of_memory"] | None = None
    metrics: Metrics | None = None


class CompletionItem(Completion, frozen=True, kw_only=True):
    """One of many."""

    job_id: JobId


class Complete(Input, frozen=True):
    """`POST /complete`: up to 1,000. `fencing_token`: the session's, for items without one of their own."""

    items: Annotated[list[CompletionItem], Meta(min_length=1, max_length=JOBS_AT_ONCE)]
    fencing_token: Token = 0


class Completed(msgspec.Struct, omit_defaults=True):
    """What became of one completion: the job's state, or why it was refused."""

    job_id: str
    state: str = ""
    code: str = ""
    detail: str = ""


class CompleteOut(msgspec.Struct):
    done: int
    refused: int
    items: list[Completed]
