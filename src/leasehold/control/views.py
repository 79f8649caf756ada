"""From records to what the wire shows. No decisions here."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from leasehold.core import capacity, enforce
from leasehold.core.brake import ran_ms, stood_ms
from leasehold.core.learn import Quantiles, Suggestion
from leasehold.core.state import State
from leasehold.model.charge import DEVICE, LOCK, Charge
from leasehold.model.lease import UNLIMITED, Lease
from leasehold.model.line import Waiter
from leasehold.model.node import NodeView
from leasehold.model.refusal import Reason
from leasehold.model.settings import PolicySettings
from leasehold.wire.lease import (
    BoundProcess,
    ChargeOut,
    Dimension,
    Enforced,
    HolderAhead,
    LeaseOut,
    ReasonOut,
    WaiterOut,
)

HELD_BY_MAX = 8
APART_MS = 20
"""How finely the distance between the ledger's clock and the wall clock is told."""
"""How many holders an answer to a waiter names; the rest stand in the status."""


def rfc3339(wall_ms: int) -> str:
    """UTC with milliseconds, as on the wire."""
    return f"{_second(wall_ms // 1000)}{_MILLIS[wall_ms % 1000]}"


_MILLIS = tuple(f".{milli:03d}Z" for milli in range(1000))


@lru_cache(maxsize=1024)
def _second(wall_s: int) -> str:
    return datetime.fromtimestamp(wall_s, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def reason(found: Reason) -> ReasonOut:
    return ReasonOut(str(found.code), found.sentence, found.cure, dict(found.figures), found.retry_after_s)


def charge(held: Charge) -> ChargeOut:
    if not held.named:
        return ChargeOut(held.units, held.cpu_millicores, held.memory_bytes, held.disk_bytes)
    return ChargeOut(
        units=held.units,
        cpu_millicores=held.cpu_millicores,
        memory_bytes=held.memory_bytes,
        disk_bytes=held.disk_bytes,
        devices={name.removeprefix(DEVICE): amount for name, amount in held.named if name.startswith(DEVICE)},
        locks={name.removeprefix(LOCK): amount for name, amount in held.named if name.startswith(LOCK)},
    )


def left_sec(lease: Lease, now_ms: int) -> float | None:
    """How much longer it is expected to run; None where nobody said or it is past it."""
    expected_ms = lease.ask.bound_ms
    left_ms = expected_ms - ran_ms(lease, now_ms)
    return round(left_ms / 1000, 1) if expected_ms and left_ms > 0 else None


def holder_ahead(lease: Lease, now_ms: int) -> HolderAhead:
    return HolderAhead(
        holder=lease.ask.holder,
        job_type=lease.ask.job_type,
        cost_units=lease.ask.charge.units,
        label=lease.ask.label,
        running_sec=round(ran_ms(lease, now_ms) / 1000, 1),
        expected_left_sec=left_sec(lease, now_ms),
    )


def held_by(leases: Iterable[Lease], now_ms: int) -> list[HolderAhead]:
    """The greatest holders first, at most HELD_BY_MAX."""
    working = sorted(
        (lease for lease in leases if lease.ask.charge.is_work),
        key=lambda one: (-one.ask.charge.units, one.token),
    )
    return [holder_ahead(lease, now_ms) for lease in working[:HELD_BY_MAX]]


def lease(record: Lease, state: State, now_ms: int, wall_ms: int, *, with_token: bool) -> LeaseOut:
    """A lease as it is now. Its token is shown to its holder only."""
    live = state.liveness.get(record.lease_id)
    ask = record.ask
    end_ms = record.ended_ms or now_ms
    stood = stood_ms(record, end_ms)
    out = LeaseOut(
        lease_id=record.lease_id,
        addon_id=ask.holder,
        job_type=ask.job_type,
        cost_units=ask.charge.units,
        node_id=ask.node,
        charge=charge(ask.charge),
        priority=ask.priority.name,
        state=str(record.state),
        granted_at=rfc3339(record.granted_wall_ms),
        fencing_token=record.token if with_token else None,
        label=ask.label,
        flags=[str(flag) for flag in record.flags] if record.flags else [],
        constraints=[str(constraint) for constraint in ask.constraints] if ask.constraints else [],
        on_busy=str(ask.on_busy),
        on_lost=str(ask.on_lost),
        bound=_bound(record),
        cgroup=record.binding.cgroup,
        enforced=enforced(record),
        notice=enforce.notice(ask, record.binding) if record.is_live else "",
        running_sec=max(0, end_ms - record.granted_ms - stood) / 1000,
        stood_sec=stood / 1000,
        tenant=ask.tenant,
    )
    if record.brake is not None:
        out.held_back = record.brake.why
        out.held_back_at = rfc3339(record.brake.since_wall_ms)
    if record.ended_ms:
        out.ended_at = rfc3339(record.ended_wall_ms)
        out.end_reason = record.end_reason
    elif record.revoke_note:
        out.end_reason = record.revoke_note
    if live is not None:
        out.expires_at = expires_at(live.deadline_ms, now_ms, wall_ms)
        out.last_heartbeat_at = rfc3339(live.renewed_wall_ms) if live.renewed_wall_ms else None
        out.progress, out.message, out.metrics = live.progress, live.message, live.metrics.copy()
        out.expected_left_sec = left_sec(record, now_ms)
        if live.cpu_ms or live.memory_bytes:
            out.usage = {
                "cpu_seconds": live.cpu_ms / 1000,
                "memory_bytes": live.memory_bytes,
                "memory_peak_bytes": live.memory_peak_bytes,
            }
    elif record.usage.cpu_ms or record.usage.memory_peak_bytes:
        out.usage = {
            "cpu_seconds": record.usage.cpu_ms / 1000,
            "memory_peak_bytes": record.usage.memory_peak_bytes,
        }
    if record.usage.memory_kills:
        out.usage["memory_kills"] = record.usage.memory_kills
    return out


def enforced(record: Lease) -> Enforced | None:
    """What really holds its work to its charge; None: nothing does (LEASE-23)."""
    limits = record.binding.limits
    return None if limits == UNLIMITED else Enforced(limits.cpu_millicores, limits.memory_bytes)


def expires_at(deadline_ms: int, now_ms: int, wall_ms: int) -> str | None:
    """The deadline in wall time as it is now; None for a lease that ends with its processes."""
    if deadline_ms - now_ms >= 10**12:
        return None
    return rfc3339(on_wall(deadline_ms, now_ms, wall_ms))


def on_wall(at_ms: int, now_ms: int, wall_ms: int) -> int:
    """A time of the ledger's clock as the wall clock has it now; the same however often it is asked.

    The two clocks are read one after the other, so their difference wavers by a millisecond or two.
    """
    return at_ms + round((wall_ms - now_ms) / APART_MS) * APART_MS


def _bound(record: Lease) -> list[BoundProcess]:
    caller = record.binding.caller
    bound = [BoundProcess(caller.pid, "caller")] if caller is not None else []
    return bound + [BoundProcess(process.pid, "work") for process in record.binding.work]


def waiter(record: Waiter, state: State, position: int, found: Reason | None, now_ms: int) -> WaiterOut:
    presence = state.presence.get(record.ticket)
    return WaiterOut(
        ticket=record.ticket,
        holder=record.ask.holder,
        job_type=record.ask.job_type,
        cost_units=record.ask.charge.units,
        priority=record.ask.priority.name,
        position=position,
        waiting_sec=round((now_ms - record.since_ms) / 1000, 1),
        held=presence is not None and presence.held,
        reason=found.sentence if found is not None else "",
        code=str(found.code) if found is not None else "",
        label=record.ask.label,
    )


def dimensions(state: State, settings: PolicySettings) -> dict[str, Dimension]:
    """Capacity by dimension: total, usable, used, free (LEASE-9)."""
    view = state.view
    if view is None:
        return {}
    usable, used = capacity.usable(view, settings.capacity), state.book.used
    rows = {
        "units": _dimension(100, usable.units, used.units, usable.guarded_units),
        "cpu_millicores": _dimension(
            view.totals.cpu_millicores, usable.cpu_millicores, used.cpu_millicores, usable.guarded_millicores
        ),
        "memory_bytes": _dimension(view.totals.memory_bytes, usable.memory_bytes, used.memory_bytes),
        "disk_bytes": _dimension(view.totals.disk_bytes, usable.disk_bytes, used.disk_bytes),
    }
    for name, total in view.totals.devices:
        rows[name] = _dimension(total, total, state.book.named.get(DEVICE + name, 0))
    return rows


def _dimension(total: int, usable: int, used: int, guarded: int = 0) -> Dimension:
    """`guarded` is used by software that is charged nothing, and taken off `usable` already."""
    return Dimension(total, max(0, usable + guarded), used + guarded, max(0, usable - used))


def headline(state: State, view: NodeView | None, settings: PolicySettings) -> str:
    """The one sentence: may heavy work run now, and why."""
    if view is None:
        return "No: nothing has been measured yet"
    if "" in state.owner.blocks:
        return f"No: {_decapitalised(state.owner.blocks[''].sentence)}"
    usable = capacity.usable(view, settings.capacity)
    free = usable.units - state.book.used.units
    why = view.reasons[0] if view.reasons else ""
    if view.state in ("UNKNOWN", "PANIC"):
        return f"No: the machine is {view.state}" + (f" ({why})" if why else "")
    if free <= 0:
        guarded = f", {usable.guarded_units} used by guarded software" if usable.guarded_units else ""
        there = usable.units + usable.guarded_units
        return f"No: all {there} usable units are held by {state.book.leases} lease(s){guarded}"
    if view.state != "QUIET":
        return (
            f"Only urgent work: the machine is {view.state}"
            + (f" ({why})" if why else "")
            + f"; {free} units free"
        )
    return f"Yes: the machine is quiet, {free} of {usable.units + usable.guarded_units} units free"


def _decapitalised(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def learned(suggestion: Suggestion | None) -> dict[str, Any]:
    """What was used so far beside what to ask for (LEASE-15); says so where it is too little to tell."""
    if suggestion is None:
        return {"note": "too few leases have ended to suggest a cost"}
    return {
        "leases": suggestion.count,
        "suggested_cost_units": suggestion.cost_units,
        "cpu_millicores": _quantiles(suggestion.cpu_millicores),
        "memory_bytes": _quantiles(suggestion.memory_bytes),
        "duration_sec": {name: value / 1000 for name, value in _quantiles(suggestion.duration_ms).items()},
    }


def _quantiles(found: Quantiles) -> dict[str, int]:
    return {"p50": found.p50, "p95": found.p95, "peak": found.peak}
