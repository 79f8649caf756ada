"""What a tenant may hold and queue at most, judged against what it has (OPS-7, LEASE-4, LEASE-5 QUOTA).

Quotas are about what is new: what runs stays when one shrinks. Locks and slots alone, guards and leases for
overtime are not held to them.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from leasehold.core.book import NOTHING_HELD, Book
from leasehold.model.lease import Ask
from leasehold.model.refusal import Code, Reason
from leasehold.model.tenant import Tenant

NO_TENANTS: dict[str, Tenant] = {}

MIB = 1 << 20


class Over(msgspec.Struct, frozen=True, gc=False):
    """One quota that stands in the way: used + requested > quota, in its own unit."""

    dimension: str
    used: int
    requested: int
    quota: int


def rows(tenant: Tenant, book: Book, ask: Ask) -> tuple[tuple[str, int, int, int | None], ...]:
    """Dimension, used, asked and quota, of all that a tenant's leases are held to."""
    used, charge = book.per_tenant.get(tenant.name, NOTHING_HELD), ask.charge
    return (
        ("units", used.units, charge.units, tenant.units),
        ("cpu", used.cpu_millicores, charge.cpu_millicores, tenant.cpu_millicores),
        ("memory", used.memory_bytes, charge.memory_bytes, tenant.memory_bytes),
        ("leases", used.leases, 0 if ask.instead_of else 1, tenant.leases),
    )


def within(tenants: Mapping[str, Tenant], book: Book, ask: Ask) -> bool:
    """Whether the ask's tenant may have it beside what its leases hold; the cheap form of `over`."""
    tenant = tenants.get(ask.tenant)
    if tenant is None or not tenant.limits_leases or not ask.charge.is_work:
        return True
    return not over(tenant, book, ask)


def over(tenant: Tenant, book: Book, ask: Ask) -> list[Over]:
    """The quotas that stand in the way. What takes nothing of a dimension is not held to it."""
    if not ask.charge.is_work:
        return []
    return [
        Over(dimension, used, asked, quota)
        for dimension, used, asked, quota in rows(tenant, book, ask)
        if quota is not None and asked and used + asked > quota
    ]


def exhausted(tenant: Tenant, book: Book) -> bool:
    """Whether nothing that would be one lease more may start of this tenant, however little it asks for."""
    used = book.per_tenant.get(tenant.name, NOTHING_HELD)
    return tenant.leases is not None and used.leases >= tenant.leases


def reasons(tenants: Mapping[str, Tenant], book: Book, ask: Ask) -> list[Reason]:
    """QUOTA, once for each quota that stands in the way, with its figures and its cure."""
    tenant = tenants.get(ask.tenant)
    if tenant is None or not tenant.limits_leases:
        return []
    return [_reason(tenant, each) for each in over(tenant, book, ask)]


def _reason(tenant: Tenant, each: Over) -> Reason:
    name = tenant.name
    figures: dict[str, int | float | str] = {
        "tenant": name,
        "dimension": each.dimension,
        "used": each.used,
        "requested": each.requested,
        "capacity": each.quota,
    }
    if tenant.unreadable:
        sentence = f"What tenant {name} may hold can't be read; it gets nothing new until it is said anew"
        return Reason(Code.QUOTA, sentence, f"`leasehold tenant set {name}`", figures)
    more = f"`leasehold tenant set {name} --{each.dimension} {_enough(each)}`"
    cure = f"the end of something that {name} runs, or a greater quota: {more}"
    if each.requested > each.quota:
        cure = f"less asked for, or a greater quota: {more}"
    return Reason(Code.QUOTA, sentence_of(name, each), cure, figures)


def _enough(each: Over) -> str:
    """The least quota that has room for what is used and what is asked for, as it is typed."""
    amount = each.used + each.requested
    if each.dimension == "cpu":
        return f"{amount / 1000:g}"
    if each.dimension in ("memory", "payload"):
        return f"{-(-amount // MIB)}M"
    return str(amount)


def sentence_of(name: str, each: Over) -> str:
    """`Tenant lab: units: used=40, requested=20, quota=50`; used and asked rounded up, the quota down."""
    used, asked, quota, unit = each.used, each.requested, each.quota, ""
    if each.dimension == "cpu":
        unit = "m"
    elif each.dimension in ("memory", "payload"):
        used, asked, quota, unit = -(-used // MIB), -(-asked // MIB), quota // MIB, "MiB"
    told = f"used={used}{unit}, requested={asked}{unit}, quota={quota}{unit}"
    return f"Tenant {name} is at its quota of {each.dimension}: {told}"


def taken(ask: Ask) -> dict[str, int]:
    """What an ask takes of its tenant's quotas, under the names of `left`."""
    if not ask.charge.is_work:
        return {}
    charge, head = ask.charge, f"tenant {ask.tenant}"
    return {
        f"{head} units": charge.units,
        f"{head} cpu": charge.cpu_millicores,
        f"{head} memory": charge.memory_bytes,
        f"{head} leases": 0 if ask.instead_of else 1,
    }


def left(tenants: Mapping[str, Tenant], book: Book, ask: Ask) -> dict[str, int]:
    """What is left of the quotas of the ask's tenant, in what the ask takes. May be below zero."""
    tenant = tenants.get(ask.tenant)
    if tenant is None or not tenant.limits_leases or not ask.charge.is_work:
        return {}
    return {
        f"tenant {ask.tenant} {dimension}": quota - used
        for dimension, used, asked, quota in rows(tenant, book, ask)
        if quota is not None and asked
    }


def of_queue(tenant: Tenant, live: tuple[int, int], jobs: int, payload_bytes: int) -> list[Over]:
    """The quotas against so many more jobs with so many bytes beside those that live (jobs, bytes)."""
    return [
        Over(dimension, used, asked, quota)
        for dimension, used, asked, quota in (
            ("jobs", live[0], jobs, tenant.jobs),
            ("payload", live[1], payload_bytes, tenant.payload_bytes),
        )
        if quota is not None and asked and used + asked > quota
    ]
