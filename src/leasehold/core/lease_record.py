"""A lease with some fields replaced: what every decision about one ends in."""

from __future__ import annotations

from leasehold.model.lease import Binding, Flag, Lease, LeaseState, Usage


def with_(
    lease: Lease,
    *,
    state: LeaseState | None = None,
    flags: tuple[Flag, ...] | None = None,
    binding: Binding | None = None,
    revoke_note: str | None = None,
    ended_ms: int | None = None,
    ended_wall_ms: int | None = None,
    end_reason: str | None = None,
    usage: Usage | None = None,
) -> Lease:
    """The lease with some fields replaced; spelled out because `msgspec.structs.replace` is several times
    slower.
    """
    return Lease(
        lease.lease_id,
        lease.token,
        lease.ask,
        lease.state if state is None else state,
        lease.granted_ms,
        lease.granted_wall_ms,
        lease.flags if flags is None else flags,
        lease.binding if binding is None else binding,
        lease.revoke_note if revoke_note is None else revoke_note,
        lease.ended_ms if ended_ms is None else ended_ms,
        lease.ended_wall_ms if ended_wall_ms is None else ended_wall_ms,
        lease.end_reason if end_reason is None else end_reason,
        lease.usage if usage is None else usage,
        lease.brake,
        lease.stood_ms,
        lease.job,
        lease.waited_ms,
    )
