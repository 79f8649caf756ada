"""From a request on the wire to an `Ask`:

defaults filled in, rights applied, the cost decided (LEASE-1, 4, 24).
"""

from __future__ import annotations

from collections.abc import Callable

from leasehold.core import cost, enforce, learn
from leasehold.core.state import State
from leasehold.core.tenant import tenant_of
from leasehold.model.charge import Totals
from leasehold.model.errors import Invalid, NotPermitted
from leasehold.model.lease import Ask, Binding, Constraint, OnBusy, OnLost
from leasehold.model.principal import Principal
from leasehold.model.priority import Priority
from leasehold.model.settings import PolicySettings
from leasehold.wire.job import JobIn
from leasehold.wire.lease import HeavyLeaseRequest

Body = HeavyLeaseRequest | JobIn

EXPECTED_DEFAULT_MS = 60_000
"""What the order charges work of which nothing is known: a minute."""


ON_BUSY = {str(each): each for each in OnBusy}
ON_LOST = {str(each): each for each in OnLost}


def build(
    principal: Principal,
    body: Body,
    state: State,
    settings: PolicySettings,
    *,
    totals: Totals,
    disk_of: Callable[[str], str],
    binding: Binding,
) -> Ask:
    """The normalised request. Raises Invalid with the field and what was expected, NotPermitted."""
    if body.node not in (None, "any", state.node_id):
        raise Invalid(
            f"node: none of that name is known; this server's node is {state.node_id}",
            field="$.node",
            expected=state.node_id,
        )
    wanted = _wanted(body)
    if not wanted.has_cost and not wanted.semaphores:
        raise Invalid(
            "one of cost_units, cost_class (AUTO: as learned), resources, locks or slots is needed",
            field="$",
            expected="cost_units, cost_class, resources, locks or slots",
        )
    holder = _holder(principal, body)
    learned = state.learned.get(f"{holder}/{body.job_type}")
    known = learn.suggest(learned, totals) if learned is not None else None
    charge = cost.charge(wanted, totals, settings.capacity, known.cost_units if known is not None else 0)
    priority, quiet_gate, lowered = _rights(principal, body)
    limits, unlimited = enforce.asked(body.enforce, settings.lease.enforce, charge, wanted, totals)
    expected_ms = (body.expected_duration_sec or 0) * 1000
    learned_ms = known.duration_ms.p50 if known is not None else 0
    return Ask(
        holder=holder,
        job_type=body.job_type,
        charge=charge,
        node=state.node_id,
        principal=principal.name,
        tenant=tenant_of(principal, getattr(body, "tenant", None), state),
        priority=priority,
        quiet_gate=quiet_gate,
        constraints=tuple(sorted({Constraint(name) for name in body.constraints}))
        if body.constraints
        else (),
        disk=disk_of(body.path or ".") if "disk_write_heavy" in body.constraints else "",
        on_busy=ON_BUSY[body.on_busy],
        on_lost=ON_LOST[body.on_lost or ("stop" if body.locks else "continue")],
        expected_ms=expected_ms or learned_ms or EXPECTED_DEFAULT_MS,
        bound_ms=expected_ms or (known.bound_ms if known is not None else 0),
        binding=binding,
        notice="; ".join(sentence for sentence in (lowered, unlimited) if sentence),
        label=body.label,
        limits=limits,
    )


def _wanted(body: Body) -> cost.Wanted:
    resources = body.resources
    semaphores = (*body.locks, *[slot.name for slot in body.slots])
    if resources is None and not semaphores:
        return cost.Wanted(body.cost_units or 0, body.cost_class or "")
    if len(set(semaphores)) != len(semaphores):
        raise Invalid(
            "locks and slots must not name the same thing twice", field="$.locks", expected="distinct names"
        )
    return cost.Wanted(
        units=body.cost_units or 0,
        cost_class=body.cost_class or "",
        cpu_millicores=(resources and resources.cpu_millicores) or 0,
        memory_bytes=(resources and resources.memory_bytes) or 0,
        disk_bytes=(resources and resources.disk_bytes) or 0,
        devices=(resources and resources.devices) or {},
        semaphores=semaphores,
    )


def _holder(principal: Principal, body: Body) -> str:
    """The name that the credential acts as; only who may act for others sets another one (LEASE-1)."""
    if body.addon_id is None or body.addon_id == principal.acts_as:
        return principal.acts_as
    if not principal.may("lease:for-others"):
        raise NotPermitted(f"addon_id: {principal.acts_as} may ask for itself only; leave addon_id out")
    return body.addon_id


def _rights(principal: Principal, body: Body) -> tuple[Priority, bool, str]:
    """Priority and quiet gate as far as the caller may choose them; a sentence where they were lowered
    (LEASE-4).
    """
    try:
        priority = Priority.parse(body.priority)
    except ValueError as error:
        raise Invalid(f"priority: {error}", field="$.priority", expected=str(error)) from error
    wants_now = body.start == "now" or priority <= Priority.HIGH
    if wants_now and not principal.may("lease:now"):
        lowered = max(priority, Priority.NORMAL)
        notice = f"{principal.name} lacks the right lease:now: judged as start=quiet, priority {lowered.name}"
        return lowered, True, notice
    return priority, body.start == "quiet", ""
