"""The vector that a lease charges against a node's capacity, and what a node has in total."""

from __future__ import annotations

import msgspec

UNITS_TOTAL = 100
"""Abstract units of a node. 100 by definition; headroom, reserve and curve cut from it (LEASE-6)."""


class Charge(msgspec.Struct, frozen=True, gc=False):
    """What one lease holds. `named` counts devices, slots and locks by their full name, sorted by it."""

    units: int = 0
    cpu_millicores: int = 0
    memory_bytes: int = 0
    disk_bytes: int = 0
    named: tuple[tuple[str, int], ...] = ()

    @property
    def is_work(self) -> bool:
        """Whether it presses the machine at all; locks and slots alone do not (LEASE-24)."""
        return bool(
            self.units
            or self.cpu_millicores
            or self.memory_bytes
            or self.disk_bytes
            or any(name.startswith(DEVICE) for name, _ in self.named)
        )


DEVICE = "device:"
LOCK = "lock:"
"""Locks and counted semaphores share one name space: a lock is a semaphore of size one."""

NOTHING = Charge()


class Totals(msgspec.Struct, frozen=True, gc=False):
    """What a node has. Devices by name (`gpu:0`) with how many leases may hold each."""

    cpu_millicores: int
    memory_bytes: int
    disk_bytes: int
    devices: tuple[tuple[str, int], ...] = ()
