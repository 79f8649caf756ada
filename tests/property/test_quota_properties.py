"""Quotas over random lines: nobody gets beyond one, and who is shut out is no hindrance to others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from leasehold.core import dispatch, reservation
from leasehold.core.book import NOTHING_HELD, Book
from leasehold.core.dispatch import Plan
from leasehold.model.lease import Ask, Lease
from leasehold.model.line import Waiter
from leasehold.model.priority import Priority
from leasehold.model.settings import PolicySettings
from leasehold.model.tenant import Tenant
from leasehold.testing.waiting import GIB, all_held, as_present, ask, book_of, lease, line_of, quiet, waiter

NAMES = ("lab", "shop", "default")
SETTINGS = PolicySettings()

ASKS = some.lists(
    some.builds(
        ask,
        units=some.integers(1, 60),
        holder=some.sampled_from(["ann", "bob", "cy"]),
        tenant=some.sampled_from(NAMES),
        priority=some.sampled_from(list(Priority)),
        cpu=some.sampled_from([0, 500, 2_000]),
        memory=some.sampled_from([0, GIB, 4 * GIB]),
        bound_ms=some.sampled_from([0, 30_000, 90_000]),
    ),
    max_size=14,
)
MOST = some.one_of(some.none(), some.integers(0, 80))
TENANTS = some.lists(
    some.builds(
        Tenant,
        some.sampled_from(NAMES),
        units=MOST,
        cpu_millicores=some.one_of(some.none(), some.integers(0, 4_000)),
        memory_bytes=some.one_of(some.none(), some.integers(0, 8 * GIB)),
        leases=some.one_of(some.none(), some.integers(0, 4)),
    ),
    unique_by=lambda tenant: tenant.name,
)


def plan(waiters: list[Waiter], leases: list[Lease], tenants: list[Tenant]) -> Plan[Waiter]:
    return dispatch.plan(
        line_of(waiters),
        {},
        as_present(all_held(waiters), 0),
        book_of(leases),
        quiet(),
        {},
        lambda: [reservation.running(each, 0) for each in leases],
        SETTINGS,
        0,
        lambda each: None,
        tenants={each.name: each for each in tenants},
    )


def most(book: Book, tenant: Tenant) -> list[tuple[int, int | None]]:
    held = book.per_tenant.get(tenant.name, NOTHING_HELD)
    quotas = (tenant.units, tenant.cpu_millicores, tenant.memory_bytes, tenant.leases)
    return list(zip(held, quotas, strict=True))


def placed(asks: list[Ask]) -> list[Waiter]:
    return [waiter(number, each) for number, each in enumerate(asks)]


@pytest.mark.requirement("OPS-7", "LEASE-4", "PROVE-2")
@given(ASKS, ASKS, TENANTS)
def test_no_plan_goes_beyond_a_quota(held: list[Ask], asks: list[Ask], tenants: list[Tenant]) -> None:
    """What is granted keeps within every quota that it takes of, whatever was held before."""
    leases = [lease(f"lease-{number}", each) for number, each in enumerate(held)]
    before, after = book_of(leases), book_of(leases)
    for each in plan(placed(asks), leases, tenants).grants:
        after.add_ask(each.ask)
    for tenant in tenants:
        pairs = zip(most(before, tenant), most(after, tenant), strict=True)
        assert all(now <= quota or now == was for (was, _), (now, quota) in pairs if quota is not None)


@pytest.mark.requirement("OPS-7", "QUEUE-7", "PROVE-2")
@given(ASKS, ASKS)
def test_who_is_shut_out_is_as_if_it_were_not_there(held: list[Ask], asks: list[Ask]) -> None:
    """Others start, and are promised times, just as in a line without that tenant."""
    leases = [lease(f"lease-{number}", each) for number, each in enumerate(held)]
    waiters = placed(asks)
    with_it = plan(waiters, leases, [Tenant("lab", leases=0)])
    without = plan([each for each in waiters if each.ask.tenant != "lab"], leases, [])
    assert [each.number for each in with_it.grants] == [each.number for each in without.grants]
    assert with_it.reserved == without.reserved
