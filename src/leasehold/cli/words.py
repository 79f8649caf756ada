"""How records of the API are said in a table or a sentence."""

from __future__ import annotations

from leasehold.cli.amounts import bytes_text, spell
from leasehold.wire.lease import ChargeOut, Enforced, LeaseOut, WaiterOut

LEASE_HEAD = ("ID", "HOLDER", "JOB", "COST", "STATE", "RUNS", "LEFT", "NOTES")
WAITER_HEAD = ("PLACE", "TICKET", "HOLDER", "JOB", "COST", "WAITS", "WHY")


def short(typed: str) -> str:
    """A typed id cut to what people type: the noun and the first eight digits."""
    noun, _, digits = typed.partition("-")
    return f"{noun}-{digits[:8]}" if digits else typed


def charge(held: ChargeOut) -> str:
    """`40 units, 2 cores, 8 GiB`."""
    parts = [f"{held.units} units"] if held.units else []
    if held.cpu_millicores:
        parts.append(f"{held.cpu_millicores / 1000:g} cores")
    if held.memory_bytes:
        parts.append(f"{bytes_text(held.memory_bytes)} memory")
    if held.disk_bytes:
        parts.append(f"{bytes_text(held.disk_bytes)} disk")
    named = held.devices | held.locks
    parts += [name if count == 1 else f"{count} {name}" for name, count in named.items()]
    return ", ".join(parts) or "nothing"


def limits(held: Enforced) -> str:
    """`limited to 2 cores, 8 GiB memory`."""
    return (
        f"limited to {charge(ChargeOut(cpu_millicores=held.cpu_millicores, memory_bytes=held.memory_bytes))}"
    )


def lease_row(lease: LeaseOut) -> tuple[object, ...]:
    left = lease.expected_left_sec
    notes = [*lease.flags, *(text for text in (lease.held_back, lease.end_reason, lease.label) if text)]
    if lease.enforced is not None and not lease.ended_at:
        notes.insert(len(lease.flags), limits(lease.enforced))
    if lease.job_type == "guard":
        notes = [text for text in notes if text != lease.addon_id]
    if lease.progress is not None:
        notes.insert(0, f"{lease.progress:.0%}")
    return (
        short(lease.lease_id),
        lease.addon_id,
        lease.job_type,
        charge(lease.charge),
        lease.state,
        spell(lease.running_sec),
        "-" if left is None else spell(max(0.0, left)),
        "; ".join(notes),
    )


def waiter_row(waiter: WaiterOut) -> tuple[object, ...]:
    return (
        waiter.position,
        short(waiter.ticket),
        waiter.holder,
        waiter.job_type,
        f"{waiter.cost_units} units",
        spell(waiter.waiting_sec),
        waiter.reason,
    )
