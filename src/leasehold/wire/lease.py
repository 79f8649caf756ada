"""Messages of `/api/scheduler/lease` and `/api/scheduler/status` (LEASE-1, 2, 9…13, 17).

Requests refuse unknown fields. Times on the wire are RFC 3339 in UTC; durations are seconds.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from leasehold.wire.estimate import EstimateOut

Name = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
LockName = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/@-]*$")]
Text = Annotated[str, Meta(max_length=1024)]
Token = Annotated[int, Meta(ge=0, lt=2**53)]
Pid = Annotated[int, Meta(ge=1, le=2**22)]
LeaseId = Annotated[str, Meta(min_length=1, max_length=64)]

PRIORITIES = "URGENT HIGH NORMAL LOW BACKGROUND, in any case"
PriorityName = Annotated[str, Meta(max_length=16, pattern=r"^[A-Za-z]+$", description=f"One of {PRIORITIES}")]


class Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of all request bodies."""


class Resources(Input, frozen=True):
    """Physical needs. `devices` counts by name, like `{"gpu:0": 1}` or `{"gpu": 1}` for any."""

    cpu_millicores: Annotated[int, Meta(ge=1, le=4_096_000)] | None = None
    memory_bytes: Annotated[int, Meta(ge=1, lt=2**53)] | None = None
    disk_bytes: Annotated[int, Meta(ge=1, lt=2**53)] | None = None
    devices: Annotated[dict[Name, Annotated[int, Meta(ge=1, le=64)]], Meta(max_length=64)] = {}


class SlotAsk(Input, frozen=True):
    """One slot of a counted semaphore.

    `size` sets it where the semaphore is new; another size later is 409.
    """

    name: LockName
    size: Annotated[int, Meta(ge=1, le=100_000)] | None = None


class Bind(Input, frozen=True):
    """Processes or a cgroup that the lease is about; checked against the caller (LEASE-22)."""

    pids: Annotated[list[Pid], Meta(max_length=64)] = []
    cgroup: Annotated[str, Meta(max_length=512)] | None = None


class HeavyLeaseRequest(Input, frozen=True):
    """`POST /api/scheduler/lease/request`. `enforce`: the charge is a limit for what is bound (LEASE-23)."""

    addon_id: Name | None = None
    job_type: Name = "generic"
    cost_units: Annotated[int, Meta(ge=1, le=100)] | None = None
    cost_class: Literal["LOW", "NORMAL", "HIGH", "AUTO"] | None = None
    resources: Resources | None = None
    locks: Annotated[list[LockName], Meta(max_length=32)] = []
    slots: Annotated[list[SlotAsk], Meta(max_length=32)] = []
    expected_duration_sec: Annotated[int, Meta(ge=1, le=31_536_000)] | None = None
    priority: PriorityName = "NORMAL"
    constraints: Annotated[
        list[Literal["cpu_heavy", "disk_write_heavy", "network_heavy", "gpu"]], Meta(max_length=4)
    ] = []
    path: Annotated[str, Meta(max_length=4096)] | None = None
    node: Name | None = None
    start: Literal["quiet", "now"] = "quiet"
    on_busy: Literal["keep", "throttle", "pause", "stop"] = "keep"
    on_lost: Literal["continue", "stop"] | None = None
    enforce: bool = False
    bind: Bind | None = None
    wait_sec: Annotated[int, Meta(ge=0, le=300)] = 0
    ticket: Annotated[str, Meta(max_length=64)] | None = None
    label: Annotated[str, Meta(max_length=256)] = ""


class ReasonOut(msgspec.Struct, omit_defaults=True):
    """One reason, the decisive one first (INV-6)."""

    code: str
    sentence: str
    cure: str = ""
    figures: dict[str, int | float | str] = {}
    retry_after_sec: int | None = None


class LimitsOut(msgspec.Struct):
    """How long the lease lives without a heartbeat, and when to send the next one."""

    ttl_sec: float
    refresh_after_sec: float


class Enforced(msgspec.Struct, omit_defaults=True):
    """What the kernel really holds the bound processes to (LEASE-23); left out: no such limit."""

    cpu_millicores: int = 0
    memory_bytes: int = 0


class HolderAhead(msgspec.Struct, omit_defaults=True):
    """Who holds what, as far as the caller may know."""

    holder: str
    job_type: str
    cost_units: int
    label: str = ""
    running_sec: float = 0.0
    expected_left_sec: float | None = None


class LineOut(msgspec.Struct, omit_defaults=True):
    """Where a waiter stands: its place (1 is next), who holds the room, when it is expected to start."""

    position: int
    waiting: int
    held_by: list[HolderAhead] = []
    expected_start_sec: float | None = None


class HeavyLeaseResponse(msgspec.Struct, omit_defaults=True):
    """The answer to a request: a lease, or no with why and when (LEASE-2)."""

    approved: bool
    reason: str
    lease_id: str | None = None
    fencing_token: int | None = None
    node_id: str | None = None
    state: str | None = None
    cost_units: int | None = None
    expires_at: str | None = None
    limits: LimitsOut | None = None
    retry_after_sec: int | None = None
    ticket: str | None = None
    line: LineOut | None = None
    reasons: list[ReasonOut] = []
    notice: str = ""
    enforced: Enforced | None = None


class Heartbeat(Input, frozen=True):
    """`POST /api/scheduler/lease/{id}/heartbeat`.

    `bind` adds processes; the first one makes an OFFERED lease ACTIVE.
    """

    fencing_token: Token
    bind: Bind | None = None


class HeartbeatAnswer(msgspec.Struct, omit_defaults=True):
    """What to do next, why, until when; `cgroup` where the bound processes were put, if anywhere.

    `notice` says what was asked for and could not be done. `cancel` are jobs under a session's lease that are
    to be stopped.
    """

    action: Literal["continue", "pause", "stop"]
    state: str
    expires_at: str
    limits: LimitsOut
    reason: str = ""
    deadline_sec: float | None = None
    cgroup: str = ""
    low_weight: str = ""
    notice: str = ""
    enforced: Enforced | None = None
    cancel: list[str] = []


class BulkHeartbeat(Input, frozen=True):
    """`POST /api/scheduler/lease/heartbeat`: fencing token by lease id, at most 1,000 (LEASE-27)."""

    ids: Annotated[dict[LeaseId, Token], Meta(min_length=1, max_length=1000)]


class BulkItem(msgspec.Struct, omit_defaults=True):
    """One lease's outcome: `answer`, or the code and sentence of the error it would have got alone."""

    lease_id: str
    answer: HeartbeatAnswer | None = None
    code: str = ""
    detail: str = ""


class BulkHeartbeatAnswer(msgspec.Struct):
    leases: list[BulkItem]


class ReportMetrics(Input, frozen=True):
    cpu_seconds: Annotated[float, Meta(ge=0, le=1e12)] | None = None
    peak_memory_bytes: Annotated[int, Meta(ge=0, lt=2**53)] | None = None
    bytes: Annotated[int, Meta(ge=0, lt=2**53)] | None = None
    checkpoint: Text | None = None


class Report(Input, frozen=True):
    """`POST /api/scheduler/lease/{id}/report`. It does not extend the lease (LEASE-11)."""

    fencing_token: Token
    progress: Annotated[float, Meta(ge=0, le=1)] | None = None
    message: Text | None = None
    metrics: ReportMetrics | None = None


class Release(Input, frozen=True):
    """`POST /api/scheduler/lease/{id}/release`. Idempotent."""

    fencing_token: Token
    outcome: Text | None = None
    metrics: ReportMetrics | None = None


class Revoke(Input, frozen=True):
    """`POST /api/scheduler/lease/{id}/revoke`, by a person."""

    grace_sec: Annotated[int, Meta(ge=0, le=600)] | None = None
    note: Text = ""


class Overtime(Input, frozen=True):
    """`POST /api/scheduler/lease/{id}/overtime`: the lease was lost, and its work goes on (LEASE-28).

    `fencing_token` is that of the lost lease.
    """

    fencing_token: Token
    bind: Bind | None = None


class Pause(Input, frozen=True):
    """`POST /api/scheduler/lease/{id}/pause`: the work stands still until a person resumes it."""

    note: Text = ""


class Resume(Input, frozen=True):
    """`POST /api/scheduler/lease/{id}/resume`: the work goes on at once, also while the machine is busy."""

    note: Text = ""


class ChargeOut(msgspec.Struct, frozen=True, omit_defaults=True):
    units: int = 0
    cpu_millicores: int = 0
    memory_bytes: int = 0
    disk_bytes: int = 0
    devices: dict[str, int] = {}
    locks: dict[str, int] = {}


class BoundProcess(msgspec.Struct):
    pid: int
    role: Literal["caller", "work"]


class LeaseOut(msgspec.Struct, omit_defaults=True):
    """`GET /api/scheduler/lease/{id}`: the record as it is now (LEASE-3).

    `running_sec` is without `stood_sec`, for which its work stood still; `held_back` says why it is frozen or
    throttled now (LEASE-14).
    """

    lease_id: str
    addon_id: str
    job_type: str
    cost_units: int
    node_id: str
    charge: ChargeOut
    priority: str
    state: str
    granted_at: str
    fencing_token: int | None = None
    last_heartbeat_at: str | None = None
    expires_at: str | None = None
    ended_at: str | None = None
    end_reason: str = ""
    label: str = ""
    flags: list[str] = []
    constraints: list[str] = []
    on_busy: str = "keep"
    on_lost: str = "continue"
    bound: list[BoundProcess] = []
    cgroup: str = ""
    enforced: Enforced | None = None
    notice: str = ""
    progress: float | None = None
    message: str = ""
    metrics: dict[str, Any] = {}
    running_sec: float = 0.0
    stood_sec: float = 0.0
    held_back: str = ""
    held_back_at: str | None = None
    expected_left_sec: float | None = None
    usage: dict[str, Any] = {}
    asked_vs_used: dict[str, Any] = {}
    tenant: str = "default"


class Dimension(msgspec.Struct):
    """One dimension of capacity: the whole, what may be used now, what is used, what is left."""

    total: int
    usable: int
    used: int
    free: int


class WaiterOut(msgspec.Struct, omit_defaults=True):
    ticket: str
    holder: str
    job_type: str
    cost_units: int
    priority: str
    position: int
    waiting_sec: float
    held: bool
    reason: str = ""
    code: str = ""
    expected_start_sec: float | None = None
    label: str = ""


class SchedulerStatus(msgspec.Struct, omit_defaults=True):
    """`GET /api/scheduler/status`: may heavy work run now, who holds what, who waits (LEASE-9)."""

    headline: str
    quiet_state: str
    quiet_score: int | None
    reasons: list[str]
    capacity: dict[str, Dimension]
    active: list[LeaseOut]
    waiting: list[WaiterOut]
    ended: list[LeaseOut]
    node_id: str
    preset: str
    read_only: bool = False
    notices: list[str] = []


class DecisionCount(msgspec.Struct, omit_defaults=True):
    code: str
    count: int
    first_at: str
    last_at: str
    last_sentence: str = ""


class HolderDecisions(msgspec.Struct, omit_defaults=True):
    """One holder's outcomes in the range (LEASE-17)."""

    holder: str
    counts: list[DecisionCount]
    last_reason: str = ""
    last_at: str | None = None
    cooldown_left_sec: float = 0.0
    learned: list[dict[str, Any]] = []


class Decisions(msgspec.Struct):
    range_sec: int
    holders: list[HolderDecisions]


class Explanation(msgspec.Struct, omit_defaults=True):
    """`POST /api/scheduler/explain`: the decision without making it. `estimate`: when it would start."""

    approved: bool
    reason: str
    reasons: list[ReasonOut] = []
    charge: ChargeOut = ChargeOut()
    line: LineOut | None = None
    learned: dict[str, Any] = {}
    notice: str = ""
    notices: list[str] = []
    estimate: EstimateOut | None = None
