"""A lease's brake as pure changes of its record, and how long a lease has run and stood."""

from __future__ import annotations

import msgspec

from leasehold.model.lease import Brake, BrakeLevel, Flag, Lease

_OF_BRAKES = frozenset({Flag.FROZEN, Flag.THROTTLED, Flag.PAUSED})


def braked(lease: Lease, brake: Brake) -> Lease:
    """The lease under this brake. The time that it stood under an earlier one is kept."""
    flags = [flag for flag in lease.flags if flag not in _OF_BRAKES and flag is not Flag.RESUMED]
    flags.append(Flag.FROZEN if brake.level is BrakeLevel.FROZEN else Flag.THROTTLED)
    if brake.by:
        flags.append(Flag.PAUSED)
    return msgspec.structs.replace(lease, brake=brake, flags=tuple(flags))


def free(lease: Lease, now_ms: int) -> Lease:
    """The lease without a brake; how long it stood still is added up. The same one where it had none."""
    if lease.brake is None:
        return lease
    flags = tuple(flag for flag in lease.flags if flag not in _OF_BRAKES)
    return msgspec.structs.replace(lease, brake=None, flags=flags, stood_ms=stood_ms(lease, now_ms))


def stood_ms(lease: Lease, now_ms: int) -> int:
    """How long its work has stood still since it was granted, until `now_ms`."""
    if lease.brake is None or lease.brake.level is not BrakeLevel.FROZEN:
        return lease.stood_ms
    return lease.stood_ms + max(0, now_ms - lease.brake.since_ms)


def ran_ms(lease: Lease, now_ms: int) -> int:
    """How long it has run: runtime stands still while the work does (LEASE-14)."""
    return max(0, now_ms - lease.granted_ms - stood_ms(lease, now_ms))
