"""The decisions about tenants: set, remove; and whose something is (OPS-7)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from leasehold.core import quota
from leasehold.core.state import TENANTS, Change, Outcome, Stamp, State
from leasehold.model.errors import Conflict, Invalid, NotFound, NotPermitted, Overloaded, QuotaReached
from leasehold.model.event import Event
from leasehold.model.principal import Principal
from leasehold.model.tenant import DEFAULT, Tenant

TENANTS_MAX = 1_000
"""Each stands in one list and in one answer."""

WEIGHT_MAX = 1_000

QUEUE_RETRY_S = 10

QUOTAS = ("units", "cpu_millicores", "memory_bytes", "leases", "jobs", "payload_bytes")


def tenant_of(principal: Principal, wanted: str | None, state: State) -> str:
    """Whose the work or the token of this caller is: its own tenant's, or one that it may name.

    Raises NotPermitted without `tenant:set`, Invalid where no such tenant was ever set.
    """
    if wanted is None or wanted == principal.tenant:
        return principal.tenant
    if not principal.may("tenant:set"):
        raise NotPermitted(
            f"tenant: {principal.name} is of tenant {principal.tenant}; to name another takes tenant:set"
        )
    if wanted != DEFAULT and wanted not in state.tenants:
        raise Invalid(
            f"tenant: there is no {wanted}; `leasehold tenant set {wanted}` makes it",
            field="$.tenant",
            expected=f"one of {', '.join(sorted({DEFAULT, *state.tenants})[:20])}",
        )
    return wanted


def set_tenant(state: State, name: str, said: Mapping[str, object], stamp: Stamp, by: str) -> Outcome:
    """Make a tenant, or change what is said of it; the rest stays. Answer: the record.

    The same again changes nothing. Raises Overloaded where there are too many.
    """
    known = state.tenants.get(name)
    if known is None and len(state.tenants) >= TENANTS_MAX:
        raise Overloaded(f"there are {TENANTS_MAX} tenants; remove some first")
    before = Tenant(name) if known is None or known.unreadable else known
    tenant = msgspec.structs.replace(before, **said)
    if tenant == known:
        return Outcome(known)
    tenant = msgspec.structs.replace(tenant, changed_wall_ms=stamp.wall_ms, changed_by=by)
    outcome = Outcome(tenant)
    outcome.changes.append(Change(TENANTS, name, tenant))
    details: dict[str, object] = {"weight": tenant.weight}
    details |= {field: getattr(tenant, field) for field in QUOTAS if getattr(tenant, field) is not None}
    kind = "TenantSet" if known is None else "TenantChanged"
    outcome.events.append(Event(kind, name, stamp.wall_ms, by, details=details))
    return outcome


def remove(state: State, name: str, stamp: Stamp, by: str) -> Outcome:
    """Forget a tenant that nobody belongs to, and nothing. Raises NotFound, Conflict."""
    if name not in state.tenants:
        raise NotFound(f"there is no tenant {name}; see `leasehold tenant list`", tenant=name)
    used = in_use(state, name)
    if used and name != DEFAULT:
        raise Conflict(
            f"tenant {name} is in use by {used}, which would be held to nothing any more; end that first, or "
            "give it other quotas",
            tenant=name,
        )
    outcome = Outcome()
    outcome.changes.append(Change(TENANTS, name, None))
    outcome.events.append(Event("TenantRemoved", name, stamp.wall_ms, by))
    return outcome


def check_queue(state: State, more: Mapping[str, tuple[int, int]]) -> None:
    """Raise QuotaReached where a tenant would have more live jobs, or bytes of payloads, than it may.

    `more` are jobs and bytes by tenant.
    """
    for name, (jobs, size) in more.items():
        tenant = state.tenants.get(name)
        if tenant is None:
            continue
        for each in quota.of_queue(tenant, state.queue.per_tenant.get(name, (0, 0)), jobs, size):
            raise QuotaReached(
                f"{quota.sentence_of(name, each)}; wait until some have ended, or "
                f"`leasehold tenant set {name} --{each.dimension}`",
                retry_after_s=QUEUE_RETRY_S,
                tenant=name,
                dimension=each.dimension,
                used=each.used,
                requested=each.requested,
                quota=each.quota,
            )


def in_use(state: State, name: str) -> str:
    """What belongs to this tenant, in words; "" where nothing does."""
    held = state.book.per_tenant.get(name)
    counts = (
        (held.leases if held is not None else 0, "lease(s)"),
        (state.queue.per_tenant.get(name, (0, 0))[0], "job(s)"),
        (sum(1 for one in state.waiters.values() if one.ask.tenant == name), "request(s) in line"),
        (sum(1 for one in state.tokens.values() if one.tenant == name), "token(s)"),
        (sum(1 for one in state.schedules.values() if one.tenant == name), "schedule(s)"),
    )
    return ", ".join(f"{count} {what}" for count, what in counts if count)


def names(state: State, also: Collection[str] = ()) -> list[str]:
    """All tenants that were set or that have anything, sorted; `default` is always there."""
    found = {DEFAULT, *also, *state.tenants, *state.book.per_tenant, *state.queue.per_tenant}
    return sorted(found)
