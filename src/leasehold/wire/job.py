"""Messages of `/api/scheduler/queue` (QUEUE-1, 3, 4, 5).

Times are RFC 3339 with a zone; durations are seconds.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from leasehold.wire.estimate import EstimateOut, EstimateStats
from leasehold.wire.lease import (
    Input,
    LockName,
    Name,
    PriorityName,
    ReasonOut,
    Resources,
    SlotAsk,
    Text,
)

PAYLOAD_BYTES = 192 << 10
PAYLOAD_DEPTH = 64
"""Levels of a payload or result: what reads it recursively can read it."""

JOBS_AT_ONCE = 1_000
SUBMIT_BYTES = 16 << 20

JobId = Annotated[str, Meta(min_length=1, max_length=64, description="like `job-7f3k2m9q4x0`")]
After = Annotated[
    str, Meta(min_length=1, max_length=129, description="a job id, or `@key` of another job of the same call")
]
Time = Annotated[
    str,
    Meta(
        min_length=20,
        max_length=40,
        pattern=r"^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d:\d\d)$",
        description="RFC 3339, with its zone",
    ),
]
Count = Annotated[int, Meta(ge=0, lt=2**31)]
Seconds = Annotated[int, Meta(ge=1, le=31_536_000)]
Label = Annotated[str, Meta(max_length=256)]
Argument = Annotated[str, Meta(max_length=128 << 10, pattern=r"^[^\x00]*$")]


class RetryIn(Input, frozen=True):
    """Exponential back-off with full jitter: up to min(cap, base · 2^(n-1)) seconds after attempt n."""

    base_sec: Annotated[float, Meta(ge=0, le=86_400)] = 10.0
    cap_sec: Annotated[float, Meta(ge=0, le=604_800)] = 3_600.0


class LimitsIn(Input, frozen=True):
    """What the kernel is to hold a command to, beside what it asked of the machine."""

    cpu_millicores: Annotated[int, Meta(ge=10, le=4_096_000)] | None = None
    memory_bytes: Annotated[int, Meta(ge=1 << 20, lt=2**53)] | None = None
    pids: Annotated[int, Meta(ge=1, le=1 << 22)] | None = None
    log_bytes: Annotated[int, Meta(ge=4_096, le=1 << 30)] = 50 << 20


class ExecIn(Input, frozen=True):
    """A command for the built-in runner (QUEUE-15): arguments, never a shell string.

    `env` is kept where only owner and admin read it, and is never shown again (QUEUE-21). `user`: whose
    command it is, where that is not the caller (the verb job:run-as).
    """

    argv: Annotated[list[Argument], Meta(min_length=1, max_length=4_096)]
    cwd: Annotated[str, Meta(min_length=1, max_length=4_096, pattern=r"^/[^\x00]*$")]
    env: Annotated[
        dict[Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[^=\x00]+$")], Argument],
        Meta(max_length=1_000),
    ] = {}
    limits: LimitsIn = LimitsIn()
    grace_sec: Annotated[int, Meta(ge=0, le=3_600)] = 10
    terminal: bool = False
    user: Name | None = None


class JobIn(Input, frozen=True):
    """A job (QUEUE-1). `payload` is any JSON up to 192 KiB, for its worker; `exec` makes it a command.

    `start_anyway_by`: a time, or `never`. `after` names jobs that have to be DONE first (`after_any`: only
    ended), by id, or as `@key` by the `key` of another job of the same call. `hold` files it HELD.
    """

    job_type: Name = "generic"
    payload: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"{}"))
    exec: ExecIn | None = None
    title: Annotated[str, Meta(max_length=256)] = ""
    addon_id: Name | None = None
    tenant: Name | None = None
    cost_units: Annotated[int, Meta(ge=1, le=100)] | None = None
    cost_class: Literal["LOW", "NORMAL", "HIGH", "AUTO"] | None = None
    resources: Resources | None = None
    locks: Annotated[list[LockName], Meta(max_length=32)] = []
    slots: Annotated[list[SlotAsk], Meta(max_length=32)] = []
    priority: PriorityName = "NORMAL"
    constraints: Annotated[
        list[Literal["cpu_heavy", "disk_write_heavy", "network_heavy", "gpu"]], Meta(max_length=4)
    ] = []
    path: Annotated[str, Meta(max_length=4096)] | None = None
    node: Name | None = None
    needs: Annotated[list[Name], Meta(max_length=32)] = []
    expected_duration_sec: Seconds | None = None
    max_runtime_sec: Seconds | None = None
    time_sensitive: bool = False
    earliest_start_at: Time | None = None
    deadline_at: Time | None = None
    start: Literal["quiet", "now", "window"] = "quiet"
    start_anyway_by: Annotated[str, Meta(min_length=5, max_length=40)] | None = None
    on_busy: Literal["keep", "throttle", "pause", "stop"] = "keep"
    on_lost: Literal["continue", "stop"] | None = None
    enforce: bool = False
    max_attempts: Annotated[int, Meta(ge=1, le=1_000)] = 1
    retry: RetryIn = RetryIn()
    key: Annotated[str, Meta(max_length=128)] = ""
    after: Annotated[list[After], Meta(max_length=100)] = []
    after_any: bool = False
    unique_key: Annotated[str, Meta(max_length=256)] = ""
    labels: Annotated[dict[Name, Label], Meta(max_length=16)] = {}
    repo_url: Annotated[str, Meta(max_length=1024)] = ""
    gang: Annotated[int, Meta(ge=1, le=32)] = 1
    group: Annotated[str, Meta(max_length=128)] = ""
    index: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    hold: bool = False

    @property
    def label(self) -> str:
        """As a request for a lease has one; jobs have a title."""
        return ""


class Submit(JobIn, frozen=True):
    """`POST /jobs/submit`: one job, or up to 1,000 in `jobs`.

    `allow_unfit` keeps what no known node could ever hold.
    """

    jobs: Annotated[list[JobIn], Meta(max_length=JOBS_AT_ONCE)] = []
    allow_unfit: bool = False


class Taken(msgspec.Struct, omit_defaults=True):
    """What became of one job of a submission: its id, or why it was not taken.

    `existing`: a live job of the same unique key, which stands for it.
    """

    job_id: str = ""
    state: str = ""
    existing: bool = False
    code: str = ""
    detail: str = ""
    field: str = ""


class Submitted(msgspec.Struct, omit_defaults=True):
    """Which jobs were taken, in the order of the call."""

    taken: int
    refused: int
    jobs: list[Taken]
    notice: str = ""


class UsageOut(msgspec.Struct, omit_defaults=True):
    cpu_seconds: float = 0.0
    memory_peak_bytes: int = 0
    memory_kills: int = 0


class AttemptOut(msgspec.Struct, omit_defaults=True):
    """One execution that is over, the oldest first."""

    generation: int
    outcome: str
    worker: str
    started_at: str
    ended_at: str
    error: str = ""
    exit_code: int | None = None
    signal: str = ""
    usage: UsageOut | None = None


class JobOut(msgspec.Struct, omit_defaults=True):
    """A job as it is now. The environment of a command is never shown.

    `payload`, `result`, `command` and `cwd` are shown to its holder and to who may manage others' jobs.
    """

    job_id: str
    state: str
    job_type: str
    holder: str
    tenant: str
    priority: str
    start: str
    submitted_at: str
    title: str = ""
    submitter: str = ""
    payload: Any = None  # JSON as it was sent; `Raw | None` can be written, but never read back.
    is_command: bool = False
    command: list[str] = []
    cwd: str = ""
    charge: dict[str, Any] = {}
    needs: list[str] = []
    labels: dict[str, str] = {}
    repo_url: str = ""
    group: str = ""
    gang: int = 1
    index: int = 0
    unique_key: str = ""
    earliest_start_at: str | None = None
    deadline_at: str | None = None
    start_anyway_by: str | None = None
    next_earliest_start_at: str | None = None
    expected_duration_sec: float | None = None
    max_runtime_sec: int | None = None
    max_attempts: int = 1
    after: list[str] = []
    waits_for: list[str] = []
    generation: int = 0
    attempts: int = 0
    lease_id: str = ""
    worker_id: str = ""
    started_at: str | None = None
    ended_at: str | None = None
    running_sec: float | None = None
    progress: float | None = None
    message: str = ""
    held_back: str = ""
    cancel_requested: str = ""
    result: Any = None
    error: str = ""
    error_class: str = ""
    exit_code: int | None = None
    signal: str = ""
    usage: UsageOut | None = None
    history: list[AttemptOut] = []
    position: int | None = None
    reason: str = ""
    reasons: list[ReasonOut] = []
    members: dict[str, int] = {}
    """Where a list is folded: the live jobs of its group by state, this one among them."""


class JobPage(msgspec.Struct, omit_defaults=True):
    """One page of jobs, newest first; `cursor` leads to the next."""

    jobs: list[JobOut]
    cursor: str | None = None


class Note(Input, frozen=True):
    """Why a person does it, for the record."""

    note: Text = ""


class Cancel(Input, frozen=True):
    """`grace_sec`: how long its worker has to stop."""

    note: Text = ""
    grace_sec: Annotated[int, Meta(ge=0, le=600)] | None = None


class NewPriority(Input, frozen=True):
    priority: PriorityName
    note: Text = ""


class Depth(msgspec.Struct, omit_defaults=True):
    """How many jobs of one kind are in one state."""

    state: str
    count: int
    tenant: str = ""
    holder: str = ""
    priority: str = ""
    job_type: str = ""


class Rates(msgspec.Struct):
    """Jobs in a minute, over the last five."""

    submitted_per_min: float
    started_per_min: float
    ended_per_min: float


class JobExplained(JobOut, omit_defaults=True):
    """`GET /jobs/{id}/explain`: a job as it is now, and when it will start where it waits.

    `waiting` is how many stand in line with it.
    """

    waiting: int = 0
    estimate: EstimateOut | None = None


class QueueStats(msgspec.Struct, omit_defaults=True):
    """`GET /stats` (QUEUE-5)."""

    states: dict[str, int]
    depth: list[Depth]
    payload_bytes: int
    oldest_sec: float | None
    rates: Rates
    wait_p50_sec: float | None
    wait_p95_sec: float | None
    reasons: dict[str, int]
    workers: int
    unreadable: list[str] = []
    estimates: EstimateStats | None = None


class LogChunkOut(msgspec.Struct):
    """What came out of a stream (`out`, `err`; `note`: a word of the runner) at once. `data` is base64."""

    offset: int
    at: str
    stream: str
    data: bytes


class LogPage(msgspec.Struct, omit_defaults=True):
    """A piece of a command's output, and where to read on. `over`: it has ended, and nothing follows.

    `dropped_bytes` were before the first chunk and are not kept any more.
    """

    chunks: list[LogChunkOut]
    next: int
    over: bool
    dropped_bytes: int = 0


class JobEvent(msgspec.Struct, omit_defaults=True):
    """Something that has happened to a job."""

    at: str
    what: str
    generation: int = 0
    worker: str = ""
    detail: str = ""


class JobEvents(msgspec.Struct):
    events: list[JobEvent]


class Bulk(Input, frozen=True):
    """`POST /jobs/bulk`: one action on everything that matches a filter. `grace_sec` is for cancel."""

    action: Literal["cancel", "hold", "pause", "resume", "retry", "priority"]
    priority: PriorityName | None = None
    note: Text = ""
    grace_sec: Annotated[int, Meta(ge=0, le=600)] | None = None
    state: Annotated[list[str], Meta(max_length=9)] = []
    job_type: Name | None = None
    holder: Name | None = None
    tenant: Name | None = None
    group: Annotated[str, Meta(max_length=128)] | None = None
    label: Annotated[str, Meta(max_length=385)] | None = None
    ids: Annotated[list[JobId], Meta(max_length=JOBS_AT_ONCE)] = []
    dry_run: bool = False


class BulkOut(msgspec.Struct, omit_defaults=True):
    """How many matched, and what became of them."""

    matched: int
    changed: int
    refused: int = 0
    ids: list[str] = []
    details: list[str] = []
