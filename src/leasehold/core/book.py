"""The running sums of what live leases of one node hold: plain integers, kept up with every grant and end."""

from __future__ import annotations

from typing import NamedTuple

from leasehold.model.charge import DEVICE, Charge
from leasehold.model.errors import InvariantBroken
from leasehold.model.lease import Ask, Constraint, Lease


class Held(NamedTuple):
    """What the live leases of one tenant hold. Those of locks and slots alone count nothing."""

    units: int
    cpu_millicores: int
    memory_bytes: int
    leases: int


NOTHING_HELD = Held(0, 0, 0, 0)


class Book:
    """Sums over live leases; mutable, and always what adding them up afresh would give.

    `units`, `cpu_millicores`, `memory_bytes`, `disk_bytes` and `named` are over all charges. `leases`,
    `per_holder`, `per_tenant` and `constraints` count leases, and leave out those whose charge is locks and
    slots alone (LEASE-4). Constraints are counted under `cpu_heavy`, `network_heavy`,
    `disk_write_heavy:<disk>`, `gpu`, and `gpu:<device>` for each device that was named. Names at zero are
    forgotten.
    """

    __slots__ = (
        "constraints",
        "cpu_millicores",
        "disk_bytes",
        "leases",
        "memory_bytes",
        "named",
        "per_holder",
        "per_tenant",
        "units",
    )

    def __init__(self) -> None:
        self.units = 0
        self.cpu_millicores = 0
        self.memory_bytes = 0
        self.disk_bytes = 0
        self.named: dict[str, int] = {}
        self.leases = 0
        self.per_holder: dict[str, int] = {}
        self.per_tenant: dict[str, Held] = {}
        self.constraints: dict[str, int] = {}

    @property
    def used(self) -> Charge:
        """All of it as one charge, its names sorted."""
        named = tuple(sorted(self.named.items()))
        return Charge(self.units, self.cpu_millicores, self.memory_bytes, self.disk_bytes, named)

    def add(self, lease: Lease) -> None:
        """A lease was granted."""
        self.add_ask(lease.ask)

    def remove(self, lease: Lease) -> None:
        """A lease that was added has ended. InvariantBroken where a sum would fall below nothing (INV-2)."""
        self.remove_ask(lease.ask)

    def add_ask(self, ask: Ask) -> None:
        """Charge what is asked, as a grant of it would."""
        charge = ask.charge
        self.units += charge.units
        self.cpu_millicores += charge.cpu_millicores
        self.memory_bytes += charge.memory_bytes
        self.disk_bytes += charge.disk_bytes
        for name, count in charge.named:
            self.named[name] = self.named.get(name, 0) + count
        if charge.units or charge.is_work:
            self.leases += 1
            self.per_holder[ask.holder] = self.per_holder.get(ask.holder, 0) + 1
            held = self.per_tenant.get(ask.tenant, NOTHING_HELD)
            self.per_tenant[ask.tenant] = Held(
                held.units + charge.units,
                held.cpu_millicores + charge.cpu_millicores,
                held.memory_bytes + charge.memory_bytes,
                held.leases + 1,
            )
            for key in self.constraint_keys(ask) if ask.constraints else ():
                self.constraints[key] = self.constraints.get(key, 0) + 1

    def remove_ask(self, ask: Ask) -> None:
        """Take back what `add_ask` charged."""
        charge = ask.charge
        self.units -= charge.units
        self.cpu_millicores -= charge.cpu_millicores
        self.memory_bytes -= charge.memory_bytes
        self.disk_bytes -= charge.disk_bytes
        for name, count in charge.named:
            _take(self.named, name, count)
        if charge.units or charge.is_work:
            self.leases -= 1
            _take(self.per_holder, ask.holder, 1)
            self._take_from_tenant(ask)
            for key in self.constraint_keys(ask) if ask.constraints else ():
                _take(self.constraints, key, 1)
        if (
            self.units < 0
            or self.cpu_millicores < 0
            or self.memory_bytes < 0
            or self.disk_bytes < 0
            or self.leases < 0
        ):
            raise InvariantBroken(
                "more was taken out of the book of charges than had been put in", holder=ask.holder
            )

    def _take_from_tenant(self, ask: Ask) -> None:
        held, charge = self.per_tenant.get(ask.tenant, NOTHING_HELD), ask.charge
        left = Held(
            held.units - charge.units,
            held.cpu_millicores - charge.cpu_millicores,
            held.memory_bytes - charge.memory_bytes,
            held.leases - 1,
        )
        if min(left) < 0:
            raise InvariantBroken(f"more of tenant {ask.tenant} was given back than it held", name=ask.tenant)
        if left.leases:
            self.per_tenant[ask.tenant] = left
        else:
            del self.per_tenant[ask.tenant]

    def copy(self) -> Book:
        """A book of the same sums, to try things on."""
        other = Book()
        other.units = self.units
        other.cpu_millicores = self.cpu_millicores
        other.memory_bytes = self.memory_bytes
        other.disk_bytes = self.disk_bytes
        other.named = self.named.copy()
        other.leases = self.leases
        other.per_holder = self.per_holder.copy()
        other.per_tenant = self.per_tenant.copy()
        other.constraints = self.constraints.copy()
        return other

    @staticmethod
    def constraint_keys(ask: Ask) -> tuple[str, ...]:
        """What the ask's constraints are counted under, each once, in the order of the scale's names."""
        keys: list[str] = []
        for constraint in sorted(set(ask.constraints)):
            if constraint is Constraint.DISK_WRITE_HEAVY:
                keys.append(f"{constraint}:{ask.disk}")
                continue
            keys.append(str(constraint))
            if constraint is Constraint.GPU:
                keys.extend(
                    name[len(DEVICE) :] for name, _ in ask.charge.named if name.startswith(f"{DEVICE}gpu:")
                )
        return tuple(keys)


def _take(counts: dict[str, int], key: str, amount: int) -> None:
    left = counts.get(key, 0) - amount
    if left < 0:
        raise InvariantBroken(f"more of {key} was given back than was held", name=key)
    if left:
        counts[key] = left
    else:
        del counts[key]
