"""Standing leases for software that runs by itself (LEASE-26), as pure decisions.

A guard is an ACTIVE lease that charges nothing and that no time ends. It is bound to where its software runs
now, and to nothing while that does not run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

from leasehold.core import capacity
from leasehold.core import lease as life
from leasehold.core.brake import free
from leasehold.core.state import LEASES, Change, Outcome, Stamp, State
from leasehold.model.errors import Invalid, Overloaded
from leasehold.model.event import Event
from leasehold.model.lease import UNBOUND, Ask, Binding, Lease, LeaseState
from leasehold.model.settings import PolicySettings

GUARDS_MAX = 64
KINDS = {
    "docker": re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}"),
    "unit": re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.\\@-]{0,254}"),
    "cgroup": re.compile(r"(/[^/\x00-\x1f\x7f]{1,255}){1,32}"),
    "pid": re.compile(r"[1-9][0-9]{0,6}"),
}
"""What may stand behind each kind of target."""

STARTED_AGAIN = ("docker:", "unit:")
"""What can be stopped, because something knows how to start it again."""


def checked(target: str) -> str:
    """The target as it is known from now on. Raises Invalid."""
    kind, _, name = target.partition(":")
    name = name.rstrip("/") if kind == "cgroup" else name
    if kind not in KINDS or not KINDS[kind].fullmatch(name) or ".." in name.split("/"):
        expected = "docker:NAME, unit:NAME, cgroup:/PATH or pid:N"
        raise Invalid(f"target: {target} is none; expected {expected}", field="$.target", expected=expected)
    if kind == "unit" and "." not in name:
        name += ".service"
    return f"{kind}:{name}"


def of_target(state: State, target: str) -> Lease | None:
    """The guard of this target, if there is one."""
    return next((lease for lease in guards(state.leases.values()) if _target(lease) == target), None)


def guards(leases: Iterable[Lease]) -> list[Lease]:
    """Those of these leases that are guards and live, oldest first."""
    found = [lease for lease in leases if lease.ask.guard is not None and lease.is_live]
    return sorted(found, key=lambda lease: lease.token)


def _target(lease: Lease) -> str:
    return lease.ask.guard.target if lease.ask.guard is not None else ""


def stand(state: State, stamp: Stamp, settings: PolicySettings, ask: Ask, binding: Binding) -> Outcome:
    """Guard a target, or change how an existing guard gives way. Answer: the lease.

    It takes no room, so nothing is asked. Raises Overloaded beyond GUARDS_MAX.
    """
    assert ask.guard is not None
    known = of_target(state, ask.guard.target)
    if known is not None:
        return _changed(known, ask, binding, stamp)
    if len(guards(state.leases.values())) >= GUARDS_MAX:
        raise Overloaded(f"at most {GUARDS_MAX} guards at a time; remove one first", retry_after_s=60)
    outcome = Outcome()
    made = life.grant(state, ask, stamp, settings, outcome)
    lease = msgspec.structs.replace(made, state=LeaseState.ACTIVE, binding=binding)
    outcome.changes[-1] = Change(LEASES, lease.lease_id, lease)
    outcome.deadlines[-1] = (lease.lease_id, life.NEVER_MS)
    outcome.events[-1].details.update(guard=ask.guard.target, on_busy=str(ask.on_busy))
    outcome.answer = lease
    return outcome


def _changed(known: Lease, ask: Ask, binding: Binding, stamp: Stamp) -> Outcome:
    outcome = Outcome(known)
    again = msgspec.structs.replace(known.ask, guard=ask.guard, on_busy=ask.on_busy)
    lease = msgspec.structs.replace(known, ask=again, binding=rebound(known.binding, binding))
    if lease == known:
        return outcome
    if lease.brake is not None and not lease.brake.by and again.on_busy is not known.ask.on_busy:
        lease = free(lease, stamp.now_ms)  # It gives way in another way from now on, if it still has to.
    outcome.changes.append(Change(LEASES, lease.lease_id, lease))
    details: dict[str, object] = {"holder": _target(lease), "on_busy": str(again.on_busy)}
    outcome.events.append(
        Event("GuardChanged", lease.lease_id, stamp.wall_ms, ask.principal, details=details)
    )
    outcome.answer = lease
    return outcome


def rebound(known: Binding, found: Binding) -> Binding:
    """What was found, with what is known of how the very same was before."""
    same = (known.work, known.cgroup) == (found.work, found.cgroup)
    return msgspec.structs.replace(found, before=found.before or (known.before if same else ()))


def runs_at(state: State, stamp: Stamp, lease_id: str, binding: Binding | None) -> Outcome:
    """Where its software runs now, None: nowhere. A bare process does not come again: its guard ends."""
    lease = state.leases.get(lease_id)
    if lease is None or not lease.is_live or lease.ask.guard is None:
        return Outcome()
    outcome = Outcome(lease)
    wanted = UNBOUND if binding is None else rebound(lease.binding, binding)
    if wanted == lease.binding:
        return outcome
    outcome.answer = msgspec.structs.replace(lease, binding=wanted)
    outcome.changes.append(Change(LEASES, lease_id, outcome.answer))
    if (lease.binding == UNBOUND) is not (wanted == UNBOUND):
        kind = "GuardedStopped" if binding is None else "GuardedStarted"
        outcome.events.append(Event(kind, lease_id, stamp.wall_ms, details={"holder": _target(lease)}))
    return outcome


def complaint(lease: Lease, units: int) -> str:
    """What `why` says of a guard whose software uses more than it was said to cost; "" where it does not."""
    guard = lease.ask.guard
    if guard is None or not guard.cost_units or units <= guard.cost_units:
        return ""
    return (
        f"{guard.target} uses {units} units, more than the {guard.cost_units} that it was said to cost; "
        f"give it less to do, or say so: `leasehold guard {guard.target} --cost {units}`"
    )


def complaints(state: State) -> list[str]:
    """Those of all guards, oldest first."""
    view = state.view
    if view is None or not view.guarded:
        return []
    found = [
        complaint(lease, capacity.units_used(view.guarded.get(lease.lease_id, 0), view.totals))
        for lease in guards(state.leases[each] for each in view.guarded if each in state.leases)
    ]
    return [each for each in found if each]
