"""What a request is charged (LEASE-24): one currency, from units, class, resources, or what was learned."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from leasehold.core import capacity
from leasehold.model.charge import DEVICE, LOCK, Charge, Totals
from leasehold.model.settings import CapacitySettings

AUTO = "AUTO"


class Wanted(msgspec.Struct, frozen=True):
    """What was asked, before it is priced.

    0 or empty: not asked. `semaphores` names locks and slots, one unit each.
    """

    units: int = 0
    cost_class: str = ""
    cpu_millicores: int = 0
    memory_bytes: int = 0
    disk_bytes: int = 0
    devices: Mapping[str, int] = {}
    semaphores: tuple[str, ...] = ()

    @property
    def has_resources(self) -> bool:
        return bool(self.cpu_millicores or self.memory_bytes or self.disk_bytes or self.devices)

    @property
    def has_cost(self) -> bool:
        return bool(self.units or self.cost_class or self.has_resources)


def charge(wanted: Wanted, totals: Totals, settings: CapacitySettings, learned_units: int = 0) -> Charge:
    """The charge of a request: explicit units win, then the class, then the share of cores.

    Class AUTO is what was learned, else class NORMAL. Locks and slots alone charge 0 units.
    """
    units = _units(wanted, totals, settings, learned_units)
    if not wanted.has_resources and not wanted.semaphores:
        return Charge(units)
    named = sorted(
        [(DEVICE + device, amount) for device, amount in wanted.devices.items()]
        + [(LOCK + name, 1) for name in set(wanted.semaphores)]
    )
    return Charge(
        units=units,
        cpu_millicores=wanted.cpu_millicores,
        memory_bytes=wanted.memory_bytes,
        disk_bytes=wanted.disk_bytes,
        named=tuple(named),
    )


def _units(wanted: Wanted, totals: Totals, settings: CapacitySettings, learned_units: int) -> int:
    if wanted.units:
        return wanted.units
    if wanted.cost_class == AUTO:
        return learned_units or settings.class_units["NORMAL"]
    if wanted.cost_class:
        return settings.class_units[wanted.cost_class]
    if wanted.cpu_millicores or wanted.devices:
        greatest = capacity.units_greatest(settings)
        return capacity.units_of(wanted.cpu_millicores, not wanted.cpu_millicores, totals, greatest)
    if wanted.has_resources:
        return 1
    return 0
