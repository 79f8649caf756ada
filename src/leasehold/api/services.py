"""What the edge asks of the control plane, and the record of it that is handed in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal, Protocol

import msgspec

from leasehold.api.services_care import Alerts, Audit, Notifications, Storage
from leasehold.control.event import Wanted
from leasehold.model.principal import Principal
from leasehold.wire import addon as addon_wire
from leasehold.wire import claim as claim_wire
from leasehold.wire import cost as cost_wire
from leasehold.wire import guard as guard_wire
from leasehold.wire import job as job_wire
from leasehold.wire import lease as wire
from leasehold.wire import lock as lock_wire
from leasehold.wire import metrics as metrics_wire
from leasehold.wire import owner as owner_wire
from leasehold.wire import schedule as schedule_wire
from leasehold.wire import tenant as tenant_wire
from leasehold.wire import token as token_wire
from leasehold.wire.event import EventPage
from leasehold.wire.server import SettingsOut

Lane = Literal["reserved", "normal"]


class Leases(Protocol):
    """The service of leases: ask, keep, end. Raises the errors of `model.errors`."""

    def admit(self, principal: Principal, body_bytes: int, lane: Lane) -> Callable[[], None]:
        """Back-pressure before a body is parsed (OPS-31). Raises Overloaded.

        Returns what to call when the answer is made.
        """
        ...

    async def request(
        self,
        principal: Principal,
        body: wire.HeavyLeaseRequest,
        *,
        idempotency_key: str | None = None,
        body_hash: bytes = b"",
    ) -> wire.HeavyLeaseResponse: ...

    async def heartbeat(
        self, principal: Principal, lease_id: str, body: wire.Heartbeat
    ) -> wire.HeartbeatAnswer: ...

    async def heartbeat_many(
        self, principal: Principal, body: wire.BulkHeartbeat
    ) -> wire.BulkHeartbeatAnswer: ...

    async def report(self, principal: Principal, lease_id: str, body: wire.Report) -> wire.LeaseOut: ...

    async def release(self, principal: Principal, lease_id: str, body: wire.Release) -> wire.LeaseOut: ...

    async def revoke(self, principal: Principal, lease_id: str, body: wire.Revoke) -> wire.LeaseOut: ...

    async def overtime(
        self, principal: Principal, lease_id: str, body: wire.Overtime
    ) -> wire.HeavyLeaseResponse: ...

    async def get(self, principal: Principal, lease_id: str) -> wire.LeaseOut: ...

    async def abandon(self, principal: Principal, ticket: str) -> None: ...


class Scheduler(Protocol):
    """The service that only looks."""

    async def status(self, principal: Principal) -> wire.SchedulerStatus: ...

    async def explain(self, principal: Principal, body: wire.HeavyLeaseRequest) -> wire.Explanation: ...

    async def decisions(
        self, principal: Principal, *, holder: str | None, range_sec: int
    ) -> wire.Decisions: ...

    async def costs(self, *, holder: str, job_type: str, limit: int) -> cost_wire.Costs: ...

    async def events(self, principal: Principal, wanted: Wanted) -> EventPage: ...


class Locks(Protocol):
    """The service of locks and semaphores."""

    async def locks(self, principal: Principal) -> lock_wire.Locks: ...

    async def set_lock(
        self, principal: Principal, name: str, body: lock_wire.LockSize
    ) -> lock_wire.LockOut: ...

    async def delete_lock(self, principal: Principal, name: str) -> None: ...


class Owner(Protocol):
    """The service of the owner's word about a node."""

    async def admission(self, node_id: str) -> owner_wire.AdmissionOut: ...

    async def windows(self, node_id: str) -> owner_wire.Windows: ...

    async def window(self, node_id: str, wid: str) -> owner_wire.WindowOut: ...

    async def set_admission(
        self, principal: Principal, node_id: str, body: owner_wire.AdmissionIn
    ) -> owner_wire.AdmissionOut: ...

    async def pretend(
        self, principal: Principal, node_id: str, body: owner_wire.PretendIn
    ) -> owner_wire.AdmissionOut: ...

    async def stop_pretending(self, principal: Principal, node_id: str) -> None: ...

    async def add_window(
        self, principal: Principal, node_id: str, body: owner_wire.WindowIn
    ) -> owner_wire.WindowOut: ...

    async def replace_window(
        self, principal: Principal, node_id: str, wid: str, body: owner_wire.WindowIn
    ) -> owner_wire.WindowOut: ...

    async def remove_window(self, principal: Principal, node_id: str, wid: str) -> None: ...


class Addons(Protocol):
    """The service of add-ons: their registry, and what they tell."""

    async def addons(self) -> addon_wire.AddonList: ...

    async def addon(self, addon_id: str) -> addon_wire.AddonOut: ...

    def errors(self) -> addon_wire.AddonErrors: ...

    async def register(self, principal: Principal, body: addon_wire.AddonIn) -> addon_wire.AddonOut: ...

    async def enable(self, principal: Principal, addon_id: str) -> addon_wire.AddonOut: ...

    async def disable(self, principal: Principal, addon_id: str) -> addon_wire.AddonOut: ...

    async def remove(self, principal: Principal, addon_id: str) -> None: ...

    async def tell(self, principal: Principal, addon_id: str, body: addon_wire.AddonStatsIn) -> None: ...


class Guards(Protocol):
    """The service of software that runs by itself and gives way."""

    async def guards(self) -> guard_wire.Guards: ...

    async def guard(self, principal: Principal, body: guard_wire.GuardIn) -> guard_wire.GuardOut: ...

    async def remove(self, principal: Principal, lease_id: str) -> None: ...


class Schedules(Protocol):
    """The service of recurring schedules."""

    async def schedules(self, principal: Principal) -> schedule_wire.Schedules: ...

    async def get(self, principal: Principal, schedule_id: str) -> schedule_wire.ScheduleOut: ...

    async def create(
        self, principal: Principal, body: schedule_wire.ScheduleIn
    ) -> schedule_wire.ScheduleOut: ...

    async def replace(
        self, principal: Principal, schedule_id: str, body: schedule_wire.ScheduleIn
    ) -> schedule_wire.ScheduleOut: ...

    async def pause(self, principal: Principal, schedule_id: str) -> schedule_wire.ScheduleOut: ...

    async def resume(self, principal: Principal, schedule_id: str) -> schedule_wire.ScheduleOut: ...

    async def run(self, principal: Principal, schedule_id: str) -> schedule_wire.ScheduleOut: ...

    async def remove(self, principal: Principal, schedule_id: str) -> None: ...


class Tenants(Protocol):
    """The service of tenants: weights and quotas."""

    async def tenants(self) -> tenant_wire.Tenants: ...

    async def tenant(self, name: str) -> tenant_wire.TenantOut: ...

    async def set_tenant(
        self, principal: Principal, name: str, body: tenant_wire.TenantIn
    ) -> tenant_wire.TenantOut: ...

    async def remove(self, principal: Principal, name: str) -> None: ...


class Tokens(Protocol):
    """The service of credentials that people make for programs."""

    async def create(self, principal: Principal, body: token_wire.TokenIn) -> token_wire.TokenMade: ...

    async def tokens(self, principal: Principal) -> token_wire.Tokens: ...

    async def revoke(self, principal: Principal, token_id: str) -> None: ...


class Jobs(Protocol):
    """The service of jobs."""

    async def submit(
        self,
        principal: Principal,
        body: job_wire.Submit,
        *,
        idempotency_key: str | None = None,
        body_hash: bytes = b"",
    ) -> job_wire.Submitted: ...

    async def listing(self, principal: Principal, query: Any) -> job_wire.JobPage: ...

    async def get(self, principal: Principal, ident: str) -> job_wire.JobOut: ...

    async def cancel(self, principal: Principal, ident: str, body: job_wire.Cancel) -> job_wire.JobOut: ...

    async def hold(self, principal: Principal, ident: str, body: job_wire.Note) -> job_wire.JobOut: ...

    async def pause(self, principal: Principal, ident: str, body: job_wire.Note) -> job_wire.JobOut: ...

    async def resume(self, principal: Principal, ident: str, body: job_wire.Note) -> job_wire.JobOut: ...

    async def retry(self, principal: Principal, ident: str, body: job_wire.Note) -> job_wire.JobOut: ...

    async def prioritise(
        self, principal: Principal, ident: str, body: job_wire.NewPriority
    ) -> job_wire.JobOut: ...

    async def log(self, principal: Principal, ident: str, query: Any) -> job_wire.LogPage: ...

    async def events(self, ident: str) -> job_wire.JobEvents: ...

    async def explain(self, principal: Principal, ident: str) -> job_wire.JobExplained: ...

    async def stats(self) -> job_wire.QueueStats: ...

    async def bulk(self, principal: Principal, body: job_wire.Bulk) -> job_wire.BulkOut: ...

    async def poll(self, principal: Principal, query: Any) -> claim_wire.Dispatchable: ...

    async def ack(self, principal: Principal, ident: str, body: claim_wire.Ack) -> job_wire.JobOut: ...

    async def claim(self, principal: Principal, body: claim_wire.Claim) -> claim_wire.ClaimOut: ...

    async def complete(
        self, principal: Principal, ident: str, body: claim_wire.Completion
    ) -> claim_wire.Completed: ...

    async def complete_many(
        self, principal: Principal, body: claim_wire.Complete
    ) -> claim_wire.CompleteOut: ...


class LogLevels(Protocol):
    """Levels of loggers, until restart (OPS-11)."""

    def levels(self) -> dict[str, str]: ...

    def set_level(self, logger: str, level: str) -> None: ...


class Services(msgspec.Struct, frozen=True):
    """Everything that handlers call. Made by `bootstrap` once recovery is done.

    `ready` tells whether commands are accepted, else why not. `metrics` renders the Prometheus text,
    `metrics_snapshot` answers `/api/metrics`. `stats` is the service behind `/api/system-stats`, `forecast`
    that of what is to come there, `owner` that behind `/api/nodes`, `dashboard` and `sessions` those behind
    `/api/dashboard` and `/api/session`, `ladder` that which pauses, `jobs` that of the queue, `storage` that
    which cares for the store, `settings` gives what is configured, as it stands now; the others are behind
    the path of their name.
    """

    leases: Leases
    scheduler: Scheduler
    locks: Locks
    logs: LogLevels
    ready: Callable[[], tuple[bool, str]]
    metrics: Callable[[], bytes]
    owner: Owner
    addons: Addons
    tokens: Tokens
    guards: Guards
    audit: Audit
    jobs: Jobs
    schedules: Schedules
    tenants: Tenants
    storage: Storage
    alerts: Alerts
    metrics_snapshot: Callable[[], Awaitable[metrics_wire.MetricsSnapshot]]
    notifications: Notifications
    settings: Callable[[], SettingsOut]
    stats: Any = None
    forecast: Any = None
    dashboard: Any = None
    sessions: Any = None
    ladder: Any = None
