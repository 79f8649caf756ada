"""Leases: what is asked, what is granted, and how a lease may change (LEASE-1…3, INV-5)."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from leasehold.model.charge import Charge
from leasehold.model.priority import Priority


class LeaseState(StrEnum):
    OFFERED = "OFFERED"
    ACTIVE = "ACTIVE"
    REVOKING = "REVOKING"
    EXPIRED = "EXPIRED"
    RELEASED = "RELEASED"
    REVOKED = "REVOKED"


TRANSITIONS: dict[LeaseState, frozenset[LeaseState]] = {
    LeaseState.OFFERED: frozenset(
        {LeaseState.ACTIVE, LeaseState.REVOKING, LeaseState.EXPIRED, LeaseState.RELEASED}
    ),
    LeaseState.ACTIVE: frozenset({LeaseState.REVOKING, LeaseState.EXPIRED, LeaseState.RELEASED}),
    LeaseState.REVOKING: frozenset({LeaseState.REVOKED, LeaseState.RELEASED}),
    LeaseState.EXPIRED: frozenset(),
    LeaseState.RELEASED: frozenset(),
    LeaseState.REVOKED: frozenset(),
}
"""The one table of transitions (INV-5). The first three states are live: they hold their charge."""

LIVE = frozenset({LeaseState.OFFERED, LeaseState.ACTIVE, LeaseState.REVOKING})


class Flag(StrEnum):
    SILENT = "silent"
    UNATTENDED = "unattended"
    OVERTIME = "overtime"
    FROZEN = "frozen"
    LOST = "lost"
    THROTTLED = "throttled"
    PAUSED = "paused"
    """Frozen by a person, and so thawed by nobody else."""
    RESUMED = "resumed"
    """A person let it go on although the machine is busy: spared until it is calm again."""


class OnBusy(StrEnum):
    KEEP = "keep"
    THROTTLE = "throttle"
    PAUSE = "pause"
    STOP = "stop"


class OnLost(StrEnum):
    CONTINUE = "continue"
    STOP = "stop"


class Constraint(StrEnum):
    """What the work will press (LEASE-25)."""

    CPU_HEAVY = "cpu_heavy"
    DISK_WRITE_HEAVY = "disk_write_heavy"
    NETWORK_HEAVY = "network_heavy"
    GPU = "gpu"


class Process(msgspec.Struct, frozen=True, gc=False):
    """One process, identified beyond the reuse of its pid: start time in clock ticks since that boot."""

    pid: int
    start_ticks: int
    boot_id: str


class Limits(msgspec.Struct, frozen=True, gc=False):
    """What the kernel holds work to (LEASE-23). 0: no limit of that kind."""

    cpu_millicores: int = 0
    memory_bytes: int = 0


UNLIMITED = Limits()


class Binding(msgspec.Struct, frozen=True, gc=False):
    """What a lease is bound to on this node (LEASE-22).

    `caller` is the process that asked over the Unix socket; it frees an OFFERED lease by its death, and its
    death makes the work unattended. `work` are the processes whose life keeps the charge. `cgroup` is where
    they were put, if anywhere; an absolute path is somebody else's, and `before` how that was before its
    weight was lowered, to be put back. `limits` really hold; `unlimited` says what was to be limited and is
    not, and why.
    """

    caller: Process | None = None
    work: tuple[Process, ...] = ()
    cgroup: str = ""
    before: tuple[tuple[str, str], ...] = ()
    limits: Limits = UNLIMITED
    unlimited: str = ""


UNBOUND = Binding()


class Guard(msgspec.Struct, frozen=True, gc=False):
    """What a standing lease is about: software that runs by itself (LEASE-26).

    `target` is `docker:NAME`, `unit:NAME`, `cgroup:/PATH` or `pid:N`. Above `cost_units` (0: never) `why`
    complains. `note` is what the person who guards it says.
    """

    target: str
    cost_units: int = 0
    note: str = ""


class Ask(msgspec.Struct, frozen=True, gc=False):
    """A normalised request.

    Defaults filled in, rights applied, cost decided. Everything policy needs is here.

    `bound_ms` is the time after which the work will have ended as far as anybody promised (0: nobody did);
    `expected_ms` is what the order charges. `disk` names the disk that `disk_write_heavy` is about.
    `notice` is a sentence for the answer where the request was judged as something less than was asked.
    `instead_of` is the lost lease whose work goes on under this one (LEASE-28). `guard` makes it a standing
    lease. `limits` is what its bound processes are to be held to (LEASE-23), None: to nothing. `is_job`
    stands for a job of the queue, which only a worker with these `needs` can do; `anyway` for one past its
    `start_anyway_by`, which neither waits for quiet nor is held to the curve; `window` for one that waits for
    a window (QUEUE-19).
    """

    holder: str
    job_type: str
    charge: Charge
    node: str
    principal: str = ""
    tenant: str = "default"
    priority: Priority = Priority.NORMAL
    quiet_gate: bool = True
    constraints: tuple[Constraint, ...] = ()
    disk: str = ""
    on_busy: OnBusy = OnBusy.KEEP
    on_lost: OnLost = OnLost.CONTINUE
    expected_ms: int = 60_000
    bound_ms: int = 0
    binding: Binding = UNBOUND
    notice: str = ""
    label: str = ""
    instead_of: str = ""
    guard: Guard | None = None
    limits: Limits | None = None
    is_job: bool = False
    needs: tuple[str, ...] = ()
    anyway: bool = False
    window: bool = False

    @property
    def waits_for_window(self) -> bool:
        """Whether it starts in a window only (QUEUE-19)."""
        return self.window and not self.anyway

    @property
    def waits_for_quiet(self) -> bool:
        """Whether the quiet gate stands before it (LEASE-4)."""
        return self.quiet_gate and self.priority > Priority.HIGH and not self.anyway

    @property
    def presses(self) -> bool:
        """Whether there is work behind it that presses the machine: charged, or guarded."""
        return self.guard is not None or self.charge.is_work


class Usage(msgspec.Struct, frozen=True, gc=False):
    """What the work really used, from reports and measurement.

    `memory_kills`: processes of it that the kernel ended because they went over its memory limit.
    """

    cpu_ms: int = 0
    memory_peak_bytes: int = 0
    bytes_moved: int = 0
    memory_kills: int = 0


class BrakeLevel(StrEnum):
    THROTTLED = "throttled"
    FROZEN = "frozen"


class Brake(msgspec.Struct, frozen=True, gc=False):
    """How work gives way to the people of its machine (LEASE-14). None on a lease: it runs freely.

    `since_ms` is on the ledger's clock. `by` is the person who paused it, "" where the ladder did;
    `paused_ms` is when. `owed` is what the lease was charged before a long pause gave it back.
    """

    level: BrakeLevel
    since_ms: int
    since_wall_ms: int
    why: str
    by: str = ""
    paused_ms: int = 0
    owed: Charge | None = None


class Lease(msgspec.Struct, frozen=True, gc=False):
    """The durable record (LEASE-3). Deadlines and progress are volatile and stand in `Liveness`.

    `granted_ms` is on the ledger's clock, `granted_wall_ms` and `ended_wall_ms` are wall time for people.
    `stood_ms` is how long its work stood still in freezes that are over; what it ran is without them. `job`
    is the number of the job whose attempt it is, 0: of none. `waited_ms` is how long its request stood in
    line.
    """

    lease_id: str
    token: int
    ask: Ask
    state: LeaseState
    granted_ms: int
    granted_wall_ms: int
    flags: tuple[Flag, ...] = ()
    binding: Binding = UNBOUND
    revoke_note: str = ""
    ended_ms: int = 0
    ended_wall_ms: int = 0
    end_reason: str = ""
    usage: Usage = Usage()
    brake: Brake | None = None
    stood_ms: int = 0
    job: int = 0
    waited_ms: int = 0

    @property
    def is_frozen(self) -> bool:
        """Whether its work is to stand still, whoever wants that."""
        return self.brake is not None and self.brake.level is BrakeLevel.FROZEN

    @property
    def is_live(self) -> bool:
        return self.state in LIVE


class Liveness(msgspec.Struct):
    """What moves without a write (INV-4): mutable, and lost with the process.

    `deadline_ms` is when the lease expires if nobody renews it. In REVOKING it is the end of the grace
    period, and `told_ms` is when its holder first heard of that. `by_caller` says that the process that
    asked for it renews it itself, and so is its holder, not a messenger like `curl`.
    """

    deadline_ms: int
    renewed_wall_ms: int = 0
    told_ms: int | None = None
    by_caller: bool = False
    progress: float | None = None
    message: str = ""
    metrics: dict[str, float | str] = {}
    cpu_ms: int = 0
    memory_bytes: int = 0
    memory_peak_bytes: int = 0
