"""Quotas of tenants in admission and in the dispatcher's plan (OPS-7, LEASE-4, LEASE-5)."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.core import admission, dispatch, quota, reservation
from leasehold.core.dispatch import Plan, Why
from leasehold.core.reservation import Reservation, Room
from leasehold.core.state import LEASES, TENANTS, Change, State
from leasehold.model.lease import Ask, Lease
from leasehold.model.line import Waiter
from leasehold.model.refusal import Code
from leasehold.model.settings import PolicySettings
from leasehold.model.tenant import Tenant, closed
from leasehold.testing.waiting import (
    GIB,
    all_held,
    as_present,
    ask,
    book_of,
    lease,
    line_of,
    quiet,
    waiter,
)

SETTINGS = PolicySettings()
LAB = Tenant("lab", units=50)


def plan(
    waiters: list[Waiter],
    leases: list[Lease] | None = None,
    *tenants: Tenant,
    settings: PolicySettings = SETTINGS,
    kept: Reservation | None = None,
) -> Plan[Waiter]:
    leases = leases or []
    return dispatch.plan(
        line_of(waiters),
        {},
        as_present(all_held(waiters), 0),
        book_of(leases),
        quiet(),
        {},
        lambda: [reservation.running(each, 0) for each in leases],
        settings,
        0,
        lambda waiter: None,
        kept=kept,
        tenants={each.name: each for each in tenants},
    )


def line(*asks: Ask) -> list[Waiter]:
    return [waiter(number, each) for number, each in enumerate(asks)]


def numbers(made: Plan[Waiter]) -> list[int]:
    return sorted(each.number for each in made.grants)


def holding(*leases: Lease, tenants: tuple[Tenant, ...] = (LAB,)) -> State:
    state = State("node-1")
    state.view = quiet()
    for each in leases:
        state.apply(Change(LEASES, each.lease_id, each))
    for tenant in tenants:
        state.apply(Change(TENANTS, tenant.name, tenant))
    return state


@pytest.mark.requirement("OPS-7", "LEASE-4", "LEASE-5")
def test_the_refusal_names_quota_figures_and_cure() -> None:
    """QUOTA says what is used, asked for and allowed, in words and as figures, and what would help."""
    state = holding(lease("lease-a", ask(40, tenant="lab")))
    (found,) = admission.reasons(state, ask(20, tenant="lab"), 0, SETTINGS)
    assert found.code is Code.QUOTA
    assert found.sentence == "Tenant lab is at its quota of units: used=40, requested=20, quota=50"
    assert found.figures == {
        "tenant": "lab",
        "dimension": "units",
        "used": 40,
        "requested": 20,
        "capacity": 50,
    }
    assert "`leasehold tenant set lab --units 60`" in found.cure
    assert admission.admissible(state, ask(10, tenant="lab"), 0, SETTINGS)
    assert admission.admissible(state, ask(20), 0, SETTINGS)


@pytest.mark.parametrize(
    ("tenant", "wanted", "dimension"),
    [
        (Tenant("lab", cpu_millicores=3_000), {"cpu": 1_500}, "cpu"),
        (Tenant("lab", memory_bytes=5 * GIB), {"memory": 3 * GIB}, "memory"),
        (Tenant("lab", leases=1), {}, "leases"),
    ],
)
@pytest.mark.requirement("OPS-7")
def test_each_quota_is_of_its_own(tenant: Tenant, wanted: dict[str, int], dimension: str) -> None:
    """Cores, memory and leases are counted by themselves; what asks for none of one is not held to it."""
    held = lease("lease-a", ask(5, tenant="lab", cpu=2_000, memory=3 * GIB))
    state = holding(held, tenants=(tenant,))
    (found,) = admission.reasons(state, ask(5, tenant="lab", **wanted), 0, SETTINGS)  # type: ignore[arg-type]
    assert (found.code, found.figures["dimension"]) == (Code.QUOTA, dimension)
    if dimension != "leases":
        assert admission.admissible(state, ask(5, tenant="lab"), 0, SETTINGS)


@pytest.mark.requirement("OPS-7", "LEASE-24")
def test_locks_alone_are_not_held_to_quotas() -> None:
    """A tenant that may run nothing still takes turns at its locks."""
    state = holding(tenants=(Tenant("lab", units=0, leases=0),))
    assert admission.admissible(state, ask(0, tenant="lab", named=[("lock:db", 1)]), 0, SETTINGS)
    assert not admission.admissible(state, ask(1, tenant="lab"), 0, SETTINGS)


@pytest.mark.requirement("OPS-15")
def test_a_record_that_cannot_be_read_lets_nothing_new_in() -> None:
    """The stricter side of every quota, and a cure that says how to end it."""
    state = holding(tenants=(closed("lab"),))
    found = admission.reasons(state, ask(1, tenant="lab"), 0, SETTINGS)
    assert {each.code for each in found} == {Code.QUOTA}
    assert "can't be read" in found[0].sentence
    assert found[0].cure == "`leasehold tenant set lab`"


@pytest.mark.requirement("OPS-7")
def test_what_runs_stays_when_a_quota_shrinks() -> None:
    """Less than is held: nothing new, and no sum goes wrong; with all of it gone there is room again."""
    held = lease("lease-a", ask(40, tenant="lab"))
    state = holding(held)
    state.apply(Change(TENANTS, "lab", Tenant("lab", units=10)))
    assert not admission.admissible(state, ask(1, tenant="lab"), 0, SETTINGS)
    state.apply(Change(LEASES, held.lease_id, None))
    assert admission.admissible(state, ask(10, tenant="lab"), 0, SETTINGS)


@pytest.mark.requirement("OPS-7", "QUEUE-7")
def test_others_pass_a_tenant_at_its_quota_and_no_room_is_kept_for_it() -> None:
    """Two of five of `lab` fit its quota; what is behind them starts, and nothing is promised to the rest."""
    made = plan(line(*[ask(25, tenant="lab", holder=f"h{n}") for n in range(5)], ask(25)), None, LAB)
    assert numbers(made) == [0, 1, 5]
    assert made.reserved is None
    assert {each.why for each in made.passed} == {Why.AT_LIMIT}


@pytest.mark.requirement("OPS-7", "QUEUE-8")
def test_a_tenant_at_its_quota_of_leases_does_not_use_up_the_looks() -> None:
    """However many shapes it waits in, one look is enough, and whoever comes behind them all starts."""
    settings = msgspec.structs.replace(
        SETTINGS, line=msgspec.structs.replace(SETTINGS.line, looked_at=4, tenant_weights={"lab": 1_000})
    )
    many = [ask(1 + n, tenant="lab", holder=f"h{n}") for n in range(30)]
    running = [lease("lease-a", ask(5, tenant="lab"))]
    assert numbers(plan(line(*many, ask(25)), running, Tenant("lab", leases=1), settings=settings)) == [30]


@pytest.mark.requirement("OPS-7", "QUEUE-8")
def test_one_shape_of_a_tenant_at_its_quota_is_looked_at_once() -> None:
    """Thirty holders who ask for the same cost one look; a smaller one of that tenant starts."""
    settings = msgspec.structs.replace(SETTINGS, line=msgspec.structs.replace(SETTINGS.line, looked_at=4))
    many = [ask(25, tenant="lab", holder=f"h{n}") for n in range(30)]
    running = [lease("lease-a", ask(40, tenant="lab"))]
    made = plan(line(*many, ask(5, tenant="lab"), ask(25)), running, LAB, settings=settings)
    assert numbers(made) == [30, 31]


@pytest.mark.requirement("OPS-7", "QUEUE-7")
def test_who_is_promised_a_time_is_not_overtaken_in_its_tenants_quota() -> None:
    """Room for the first of `lab` comes at 60 s; another of `lab` may not take what it will need then."""
    running = [lease("lease-a", ask(70, bound_ms=60_000))]
    waiters = line(ask(40, tenant="lab"), ask(20, tenant="lab", holder="bob"), ask(20, holder="cy"))
    made = plan(waiters, running, LAB)
    assert made.reserved is not None
    assert made.reserved.number == 0
    assert made.reserved.spare["tenant lab units"] == 10
    assert numbers(made) == [2]
    short = line(ask(40, tenant="lab"), ask(20, tenant="lab", holder="bob", bound_ms=30_000))
    assert numbers(plan(short, running, LAB)) == [1]


def test_a_paused_lease_of_a_full_tenant_may_go_on() -> None:
    """What is resumed is no lease more: its tenant's quota of leases does not stand in its way."""
    resumed = msgspec.structs.replace(ask(30, tenant="lab"), instead_of="lease-a")
    paused = [lease("lease-a", ask(0, tenant="lab", memory=GIB))]
    made = plan(line(ask(30, tenant="lab"), resumed), paused, Tenant("lab", leases=1))
    assert numbers(made) == [1]


def test_room_tells_what_is_left_of_a_quota() -> None:
    """Only what is asked for, and only where there is a quota of it."""
    room = Room.of(quiet(), {}, SETTINGS.capacity, {"lab": LAB})
    free = room.left(book_of([lease("lease-a", ask(40, tenant="lab"))]), ask(5, tenant="lab"))
    assert free["tenant lab units"] == 10
    assert not [name for name in free if name.startswith("tenant lab") and "units" not in name]
    assert not [name for name in room.left(book_of([]), ask(5)) if name.startswith("tenant")]


@pytest.mark.requirement("OPS-7")
def test_the_queues_quotas_are_over_jobs_and_bytes() -> None:
    """Both at once may stand in the way; nothing that is asked for none of is judged."""
    tenant = Tenant("lab", jobs=3, payload_bytes=100)
    assert not quota.of_queue(tenant, (2, 50), 1, 50)
    assert [each.dimension for each in quota.of_queue(tenant, (2, 50), 2, 51)] == ["jobs", "payload"]
    assert not quota.of_queue(tenant, (9, 900), 0, 0)
