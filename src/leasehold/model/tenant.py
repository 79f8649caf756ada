"""Tenants: who shares the machine with whom, by which weight, and how much of it at most (OPS-7)."""

from __future__ import annotations

import msgspec

DEFAULT = "default"
"""The tenant of everybody who was put into no other. It is always there."""


class Tenant(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One tenant. `weight` is its share in the order (QUEUE-6); each quota is the most, None: any number.

    `units`, `cpu_millicores`, `memory_bytes` and `leases` are over the live leases of work, `jobs` and
    `payload_bytes` over the live jobs of the queue. `unreadable`: its record can't be read, so nothing new of
    it is taken until somebody sets it anew (OPS-15).
    """

    name: str
    weight: int = 1
    units: int | None = None
    cpu_millicores: int | None = None
    memory_bytes: int | None = None
    leases: int | None = None
    jobs: int | None = None
    payload_bytes: int | None = None
    note: str = ""
    changed_wall_ms: int = 0
    changed_by: str = ""
    unreadable: bool = False

    @property
    def limits_leases(self) -> bool:
        """Whether any quota is about leases."""
        return not (self.units is self.cpu_millicores is self.memory_bytes is self.leases is None)


def closed(name: str) -> Tenant:
    """What stands for a record that can't be read: the stricter side of every quota."""
    return Tenant(name, 1, 0, 0, 0, 0, 0, 0, unreadable=True)
