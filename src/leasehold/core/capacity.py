"""What a node can hold, what is held, and what is missing (LEASE-5, 6, 24, 25; INV-1). Integers only.

Dimensions and their units: `units` (abstract), `cpu` (millicores), `memory` and `disk` (bytes), and named
ones, of which whole pieces are counted: `device:gpu:0`, `lock:db`. Sentences show `cpu: used=3000m` and
`memory: used=6144MiB`, where what is used and asked is rounded up and what there is is rounded down, so that
a shown sum never seems to fit when it does not.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from leasehold.core.book import Book as Book
from leasehold.model.charge import DEVICE, UNITS_TOTAL, Charge, Totals
from leasehold.model.lease import Ask, Constraint
from leasehold.model.node import NodeView
from leasehold.model.settings import CapacitySettings

UNITS_QUIET = 90
"""The greatest usable units by default, and the scale on which cores become units (LEASE-24)."""

GUARDED_UNITS_MIN = 5
"""Fewer units of guarded software count nothing: idle, it would keep out what needs all of the machine."""

WHOLE = 10_000
"""A share of one, in basis points."""

MIB = 1 << 20

NO_SEMAPHORES: dict[str, int] = {}


class Usable(msgspec.Struct, frozen=True, gc=False):
    """What new work may be charged against at this moment, together with what is charged already.

    What guarded software uses is taken off already (below nothing, where it uses more than there is); it is
    shown as used (LEASE-26).
    """

    units: int
    cpu_millicores: int
    memory_bytes: int
    disk_bytes: int
    guarded_units: int = 0
    guarded_millicores: int = 0


class Shortfall(msgspec.Struct, frozen=True, gc=False):
    """One dimension in which a charge does not fit: used + requested > capacity, in its own unit."""

    dimension: str
    used: int
    requested: int
    capacity: int


def share_of_curve(curve: tuple[tuple[int, int], ...], score: int) -> int:
    """The share (basis points) at a quiet score: linear between points, flat beyond, rounded down."""
    if not curve or score < curve[0][0]:
        return curve[0][1] if curve else 0
    low_score, low_share = curve[0]
    for high_score, high_share in curve[1:]:
        if score < high_score:
            return low_share + (high_share - low_share) * (score - low_score) // (high_score - low_score)
        low_score, low_share = high_score, high_share
    return low_share


def units_at(share: int, settings: CapacitySettings) -> int:
    """Usable units where the curve gives `share`: max(0, floor(total x share x (1 - headroom)) - reserve)."""
    cut = UNITS_TOTAL * share * (100 - settings.headroom_pct) // (WHOLE * 100)
    return max(0, cut - settings.reserve_units)


def units_greatest(settings: CapacitySettings) -> int:
    """Usable units of a quiet node (90 by default): no ask above it can ever be granted."""
    return units_at(WHOLE, settings)


def usable(view: NodeView, settings: CapacitySettings, *, without_curve: bool = False) -> Usable:
    """What may be charged on this node now (LEASE-6). An unknown score gives no units.

    Where the curve is off (`always`), the score does not matter.
    `without_curve` is for a job past its `start_anyway_by`: only its units are judged without the curve.
    """
    if view.always or without_curve:
        units = units_greatest(settings)
    elif view.score is None:
        units = 0
    else:
        units = units_at(share_of_curve(settings.curve, view.score), settings)
    totals = view.totals
    guarded = guarded_units = 0
    if view.guarded:
        guarded = min(sum(view.guarded.values()), totals.cpu_millicores)
        guarded_units = units_used(guarded, totals)
        if guarded_units < GUARDED_UNITS_MIN:
            guarded = guarded_units = 0
    memory = totals.memory_bytes - settings.memory_reserve_bytes
    memory -= view.foreign_memory_bytes + view.excess_memory_bytes
    disk = totals.disk_bytes - settings.disk_reserve_bytes
    cores = totals.cpu_millicores - guarded
    return Usable(units - guarded_units, cores, max(0, memory), max(0, disk), guarded_units, guarded)


def units_used(millicores: int, totals: Totals) -> int:
    """How many units measured use comes to, rounded down."""
    return min(UNITS_QUIET, UNITS_QUIET * millicores // totals.cpu_millicores) if totals.cpu_millicores else 0


def fits(
    book: Book,
    usable: Usable,
    totals: Totals,
    semaphores: Mapping[str, int],
    charge: Charge,
) -> bool:
    """Whether `shortfalls` would be empty; the cheap form of it."""
    units = charge.units
    cpu = charge.cpu_millicores
    memory = charge.memory_bytes
    disk = charge.disk_bytes
    named = charge.named
    if units or cpu or memory or disk or (named and charge.is_work):
        if units and book.units + units > usable.units:
            return False
        if (
            book.cpu_millicores + cpu > usable.cpu_millicores
            or book.memory_bytes + memory > usable.memory_bytes
            or book.disk_bytes + disk > usable.disk_bytes
        ):
            return False
    return not named or not _named_shortfalls(book, totals, semaphores, charge)


def shortfalls(
    book: Book,
    usable: Usable,
    totals: Totals,
    semaphores: Mapping[str, int],
    charge: Charge,
) -> tuple[Shortfall, ...]:
    """Every dimension in which `charge` does not fit beside what `book` holds; units come last.

    `semaphores` gives the sizes of locks (a name that is not in it is a lock: size 1). Work is refused on
    cpu, memory and disk even where it asks for nothing of them but more is held than there is (INV-1: nothing
    new until it fits); locks and slots alone are measured by themselves only.
    """
    found: list[Shortfall] = []
    if charge.is_work:
        cores = usable.cpu_millicores + usable.guarded_millicores
        for dimension, used, asked, there in (
            ("cpu", book.cpu_millicores + usable.guarded_millicores, charge.cpu_millicores, cores),
            ("memory", book.memory_bytes, charge.memory_bytes, usable.memory_bytes),
            ("disk", book.disk_bytes, charge.disk_bytes, usable.disk_bytes),
        ):
            if used + asked > there:
                found.append(Shortfall(dimension, used, asked, there))
    if charge.named:
        found.extend(_named_shortfalls(book, totals, semaphores, charge))
    if charge.units and book.units + charge.units > usable.units:
        used, there = book.units + usable.guarded_units, usable.units + usable.guarded_units
        found.append(Shortfall("units", used, charge.units, there))
    return tuple(found)


def _named_shortfalls(
    book: Book, totals: Totals, semaphores: Mapping[str, int], charge: Charge
) -> list[Shortfall]:
    found = []
    for name, asked in charge.named:
        used = book.named.get(name, 0)
        there = size_of(name, totals, semaphores)
        if used + asked > there:
            found.append(Shortfall(name, used, asked, there))
    return found


def size_of(name: str, totals: Totals, semaphores: Mapping[str, int]) -> int:
    """How many of a named thing there are: a device of the node (0: it has none), a lock or semaphore."""
    if name.startswith(DEVICE):
        bare = name[len(DEVICE) :]
        for device, count in totals.devices:
            if device == bare:
                return count
        return 0
    return semaphores.get(name, 1)


def never_fits(
    charge: Charge,
    totals: Totals,
    settings: CapacitySettings,
    semaphores: Mapping[str, int] = NO_SEMAPHORES,
) -> tuple[Shortfall, ...]:
    """Dimensions in which even the quiet, empty node could not hold `charge` (NEVER_FITS); units last.

    Cores are held against the node's own number, memory and disk against totals without their reserves, units
    against what is usable when quiet.
    """
    empty = Book()
    best = Usable(
        units_greatest(settings),
        totals.cpu_millicores,
        max(0, totals.memory_bytes - settings.memory_reserve_bytes) if charge.memory_bytes else 0,
        max(0, totals.disk_bytes - settings.disk_reserve_bytes) if charge.disk_bytes else 0,
    )
    if fits(empty, best, totals, semaphores, charge):
        return ()
    return shortfalls(empty, best, totals, semaphores, charge)


def sentence(short: Shortfall) -> str:
    """LEASE-5: `Capacity exceeded: used=60, requested=50, capacity=90`, or `memory: used=…` and so on."""
    if short.dimension == "units":
        return f"Capacity exceeded: used={short.used}, requested={short.requested}, capacity={short.capacity}"
    used, asked, there, unit = short.used, short.requested, short.capacity, ""
    if short.dimension == "cpu":
        unit = "m"
    elif short.dimension in ("memory", "disk"):
        used, asked, there, unit = -(-used // MIB), -(-asked // MIB), there // MIB, "MiB"
    return f"{short.dimension}: used={used}{unit}, requested={asked}{unit}, capacity={there}{unit}"


def figures(short: Shortfall) -> dict[str, int | float | str]:
    """The same as exact figures: bytes, millicores, units or pieces."""
    return {
        "dimension": short.dimension,
        "used": short.used,
        "requested": short.requested,
        "capacity": short.capacity,
    }


def units_of(cpu_millicores: int, devices_only: bool, totals: Totals, greatest: int = UNITS_QUIET) -> int:
    """Units of a request that names resources (LEASE-24): ceil(90 x its share of the cores), 1 to 90.

    `greatest` is `units_greatest(settings)` where headroom or reserve were changed: all cores of a node are
    then still as many units as it can ever give.
    """
    if devices_only or cpu_millicores <= 0 or totals.cpu_millicores <= 0:
        return 1
    return min(greatest, max(1, -(-greatest * cpu_millicores // totals.cpu_millicores)))


def dominant_share_cost(charge: Charge, totals: Totals) -> int:
    """What the order charges per unit of time: max(1, 100 x dominant share), rounded up, at most 100.

    The dominant share is the greatest share of any one dimension (Ghodsi et al., Dominant Resource Fairness,
    2011). Devices count among their kind: one of two `gpu` is a half. Locks and slots are no share of the
    machine.
    """
    cost = charge.units
    if not (charge.cpu_millicores or charge.memory_bytes or charge.disk_bytes or charge.named):
        return min(100, max(1, cost))
    for asked, there in (
        (charge.cpu_millicores, totals.cpu_millicores),
        (charge.memory_bytes, totals.memory_bytes),
        (charge.disk_bytes, totals.disk_bytes),
    ):
        if asked and there:
            cost = max(cost, -(-100 * asked // there))
    if charge.named:
        asked_of: dict[str, int] = {}
        for name, count in charge.named:
            if name.startswith(DEVICE):
                kind = _kind(name[len(DEVICE) :])
                asked_of[kind] = asked_of.get(kind, 0) + count
        for kind, asked in asked_of.items():
            there = sum(count for device, count in totals.devices if _kind(device) == kind)
            if there:
                cost = max(cost, -(-100 * asked // there))
    return min(100, max(1, cost))


def _kind(device: str) -> str:
    return device.partition(":")[0]


def constraint_limits(ask: Ask, totals: Totals, settings: CapacitySettings) -> tuple[tuple[str, int], ...]:
    """What this ask's constraints are counted under in a book, and how many may run at a time (LEASE-25)."""
    return tuple((key, _limit_of(key, totals, settings)) for key in Book.constraint_keys(ask))


def _limit_of(key: str, totals: Totals, settings: CapacitySettings) -> int:
    constraint = key.partition(":")[0]
    if constraint == Constraint.CPU_HEAVY:
        return settings.cpu_heavy_at_once or max(2, totals.cpu_millicores // 2_000)
    if constraint == Constraint.NETWORK_HEAVY:
        return settings.network_heavy_at_once
    if constraint == Constraint.DISK_WRITE_HEAVY:
        return settings.disk_write_heavy_at_once
    if key == Constraint.GPU:
        return max(1, sum(1 for device, _ in totals.devices if _kind(device) == "gpu"))
    return 1


def within_counts(book: Book, ask: Ask, totals: Totals, settings: CapacitySettings) -> bool:
    """Whether the limits that count leases allow one more: per node, per holder, per constraint."""
    if not ask.charge.is_work:
        return True
    if book.leases >= settings.max_per_node:
        return False
    if book.per_holder.get(ask.holder, 0) >= settings.max_per_holder_per_node:
        return False
    if not ask.constraints:
        return True
    counts = book.constraints
    return all(counts.get(key, 0) < limit for key, limit in constraint_limits(ask, totals, settings))
