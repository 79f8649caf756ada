"""Room: what a node can give, what is held, what is missing, in exact figures and sentences."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.core import capacity
from leasehold.core.capacity import Shortfall, Usable
from leasehold.model.charge import Charge, Totals
from leasehold.model.errors import InvariantBroken
from leasehold.model.lease import Constraint
from leasehold.model.settings import CapacitySettings
from leasehold.testing.waiting import GIB, TOTALS, ask, book_of, lease, quiet

SETTINGS = CapacitySettings()
EMPTY = book_of([])
QUIET = capacity.usable(quiet(100), SETTINGS)


@pytest.mark.requirement("LEASE-6")
@pytest.mark.parametrize(
    ("score", "units"),
    [(100, 90), (80, 90), (79, 88), (65, 66), (50, 42), (25, 18), (10, 4), (5, 0), (0, 0), (None, 0)],
)
def test_usable_units_follow_the_curve(score: int | None, units: int) -> None:
    """max(0, floor(100 x curve x 0.95) - 5): 90 from score 80 on, 42 at 50, nothing at 0 or unknown."""
    assert capacity.usable(quiet(score), SETTINGS).units == units


@pytest.mark.requirement("LEASE-6")
def test_the_curve_can_be_off() -> None:
    """The preset `always`, and a job past its start_anyway_by, get the units of a quiet node."""
    assert capacity.usable(quiet(None, always=True), SETTINGS).units == 90
    assert capacity.usable(quiet(3), SETTINGS, without_curve=True).units == 90


@pytest.mark.requirement("LEASE-6")
def test_reserves_and_foreign_use_are_subtracted() -> None:
    """Memory is what is left of reserve, foreign use and excess; cores are all of them."""
    view = msgspec.structs.replace(quiet(), foreign_memory_bytes=3 * GIB, excess_memory_bytes=GIB)
    assert capacity.usable(view, SETTINGS) == Usable(90, 4_000, 12 * GIB - (256 << 20), 99 * GIB)
    crowded = msgspec.structs.replace(quiet(), foreign_memory_bytes=20 * GIB)
    assert capacity.usable(crowded, SETTINGS).memory_bytes == 0


@pytest.mark.requirement("LEASE-6")
def test_headroom_reserve_and_curve_are_configurable() -> None:
    """Another headroom, reserve and curve give other units, and the greatest of them."""
    settings = CapacitySettings(headroom_pct=20, reserve_units=10, curve=((40, 2_000), (60, 10_000)))
    assert capacity.units_greatest(settings) == 70
    assert [capacity.usable(quiet(score), settings).units for score in (0, 40, 50, 60, 99)] == [
        6,
        6,
        38,
        70,
        70,
    ]
    assert capacity.share_of_curve((), 100) == 0


@pytest.mark.requirement("LEASE-5")
def test_the_sentence_of_units_is_exact() -> None:
    """LEASE-5's own example."""
    book = book_of([lease(1, ask(60))])
    (short,) = capacity.shortfalls(book, QUIET, TOTALS, {}, ask(50).charge)
    assert capacity.sentence(short) == "Capacity exceeded: used=60, requested=50, capacity=90"
    assert capacity.figures(short) == {"dimension": "units", "used": 60, "requested": 50, "capacity": 90}


@pytest.mark.requirement("LEASE-5")
def test_other_dimensions_are_named_and_come_first() -> None:
    """Each dimension that is short has its own sentence, units last; shown figures never seem to fit."""
    held = ask(60, cpu=3_000, memory=8 * GIB + 1, disk=60 * GIB, named=[("device:gpu:0", 1), ("lock:db", 1)])
    wanted = ask(
        50, cpu=2_000, memory=8 * GIB + 1, disk=60 * GIB, named=[("device:gpu:0", 1), ("lock:db", 1)]
    )
    short = capacity.shortfalls(book_of([lease(1, held)]), QUIET, TOTALS, {}, wanted.charge)
    assert [capacity.sentence(each) for each in short] == [
        "cpu: used=3000m, requested=2000m, capacity=4000m",
        "memory: used=8193MiB, requested=8193MiB, capacity=16128MiB",
        "disk: used=61440MiB, requested=61440MiB, capacity=101376MiB",
        "device:gpu:0: used=1, requested=1, capacity=1",
        "lock:db: used=1, requested=1, capacity=1",
        "Capacity exceeded: used=60, requested=50, capacity=90",
    ]
    assert not capacity.fits(book_of([lease(1, held)]), QUIET, TOTALS, {}, wanted.charge)


@pytest.mark.requirement("LEASE-21")
def test_a_semaphore_has_its_size_and_a_lock_is_one_of_size_one() -> None:
    """`slots` counts up to the size that was set; a name of which nothing is known is a lock."""
    charge = Charge(named=(("lock:net", 2),))
    assert capacity.fits(EMPTY, QUIET, TOTALS, {"lock:net": 2}, charge)
    assert capacity.shortfalls(EMPTY, QUIET, TOTALS, {}, charge) == (Shortfall("lock:net", 0, 2, 1),)


@pytest.mark.requirement("INV-1")
def test_nothing_new_starts_while_memory_is_overcommitted() -> None:
    """When memory shrank below what is held, work is refused even if it asks for none; a lock is not."""
    book = book_of([lease(1, ask(1, memory=8 * GIB))])
    shrunk = msgspec.structs.replace(QUIET, memory_bytes=4 * GIB)
    short = capacity.shortfalls(book, shrunk, TOTALS, {}, ask(1).charge)
    assert [each.dimension for each in short] == ["memory"]
    assert not capacity.fits(book, shrunk, TOTALS, {}, ask(1).charge)
    assert capacity.fits(book, shrunk, TOTALS, {}, Charge(named=(("lock:db", 1),)))


@pytest.mark.requirement("LEASE-4", "LEASE-6")
@pytest.mark.parametrize(
    ("charge", "dimensions"),
    [
        (Charge(units=90, cpu_millicores=4_000), []),
        (Charge(units=91), ["units"]),
        (Charge(units=100), ["units"]),
        (Charge(units=90, cpu_millicores=4_001), ["cpu"]),
        (Charge(units=1, memory_bytes=16 * GIB - (256 << 20)), []),
        (Charge(units=1, memory_bytes=16 * GIB), ["memory"]),
        (Charge(units=1, disk_bytes=100 * GIB), ["disk"]),
        (Charge(units=1, named=(("device:gpu:0", 1),)), []),
        (Charge(units=1, named=(("device:gpu:0", 2),)), ["device:gpu:0"]),
        (Charge(units=1, named=(("device:gpu:7", 1),)), ["device:gpu:7"]),
        (Charge(named=(("lock:net", 3),)), ["lock:net"]),
    ],
)
def test_what_never_fits(charge: Charge, dimensions: list[str]) -> None:
    """Only what the quiet, empty node can't hold never fits; all of its cores always can be asked for."""
    short = capacity.never_fits(charge, TOTALS, SETTINGS, {"lock:net": 2})
    assert [each.dimension for each in short] == dimensions
    assert all(each.used == 0 for each in short)


def test_a_node_smaller_than_its_reserves_still_takes_units() -> None:
    """Where memory and disk are below their reserves, only asks for them never fit."""
    tiny = Totals(1_000, 128 << 20, 0)
    assert not capacity.never_fits(Charge(units=50), tiny, SETTINGS)
    assert capacity.never_fits(Charge(units=1, memory_bytes=1), tiny, SETTINGS)
    assert capacity.fits(EMPTY, capacity.usable(quiet(totals=tiny), SETTINGS), tiny, {}, Charge(units=50))


@pytest.mark.requirement("LEASE-24")
@pytest.mark.parametrize(
    ("cpu", "devices_only", "units"),
    [
        (4_000, False, 90),
        (2_000, False, 45),
        (1_000, False, 23),
        (1, False, 1),
        (9_000, False, 90),
        (0, True, 1),
        (0, False, 1),
    ],
)
def test_units_of_resources(cpu: int, devices_only: bool, units: int) -> None:
    """ceil(90 x share of the cores), between 1 and 90; devices only: 1."""
    assert capacity.units_of(cpu, devices_only, TOTALS) == units


def test_units_of_resources_on_another_scale() -> None:
    """With another headroom all cores are the greatest units that the node can give; no cores known: 1."""
    assert capacity.units_of(4_000, False, TOTALS, 70) == 70
    assert capacity.units_of(4_000, False, Totals(0, 0, 0)) == 1


@pytest.mark.requirement("LEASE-24", "QUEUE-6")
@pytest.mark.parametrize(
    ("charge", "cost"),
    [
        (Charge(units=30), 30),
        (Charge(units=23, cpu_millicores=1_000, memory_bytes=8 * GIB), 50),
        (Charge(units=1, named=(("device:gpu:0", 1),)), 50),
        (Charge(units=1, named=(("device:gpu:0", 1), ("device:gpu:1", 1))), 100),
        (Charge(units=1, disk_bytes=1), 1),
        (Charge(units=1, memory_bytes=64 * GIB), 100),
        (Charge(named=(("lock:db", 1),)), 1),
        (Charge(units=5, named=(("device:tpu:0", 1),)), 5),
    ],
)
def test_cost_is_the_dominant_share(charge: Charge, cost: int) -> None:
    """max(1, 100 x the greatest share of one dimension), rounded up, at most 100."""
    assert capacity.dominant_share_cost(charge, TOTALS) == cost


@pytest.mark.requirement("LEASE-25")
def test_constraints_are_counted_and_limited() -> None:
    """cpu_heavy half the cores and at least 2; network_heavy 2; gpu one per device; 1 writer per disk."""
    every = msgspec.structs.replace(
        ask(named=[("device:gpu:0", 1)], constraints=tuple(Constraint)), disk="sda"
    )
    assert dict(capacity.constraint_limits(every, TOTALS, SETTINGS)) == {
        "cpu_heavy": 2,
        "network_heavy": 2,
        "disk_write_heavy:sda": 1,
        "gpu": 2,
        "gpu:0": 1,
    }
    wide = Totals(64_000, GIB, GIB)
    assert dict(capacity.constraint_limits(every, wide, SETTINGS))["cpu_heavy"] == 32
    assert dict(capacity.constraint_limits(every, wide, SETTINGS))["gpu"] == 1
    configured = CapacitySettings(cpu_heavy_at_once=7, network_heavy_at_once=5, disk_write_heavy_at_once=3)
    limits = dict(capacity.constraint_limits(every, TOTALS, configured))
    assert (limits["cpu_heavy"], limits["network_heavy"], limits["disk_write_heavy:sda"]) == (7, 5, 3)


@pytest.mark.requirement("LEASE-25")
def test_one_writer_per_disk() -> None:
    """A second disk_write_heavy waits on the same disk, not on another."""
    writer = ask(constraints=(Constraint.DISK_WRITE_HEAVY,))
    on_sda, on_sdb = (msgspec.structs.replace(writer, disk=disk) for disk in ("sda", "sdb"))
    book = book_of([lease(1, on_sda)])
    assert not capacity.within_counts(book, on_sda, TOTALS, SETTINGS)
    assert capacity.within_counts(book, on_sdb, TOTALS, SETTINGS)


@pytest.mark.requirement("LEASE-4")
def test_leases_are_limited_per_node_and_per_holder() -> None:
    """At most 256 on a node and 64 of a holder; locks and slots neither count nor are limited by it."""
    lock = ask(0, named=[("lock:db", 1)])
    few = book_of([lease(number, ask(0, disk=1, holder="ann")) for number in range(63)])
    few.add(lease(100, lock))
    assert capacity.within_counts(few, ask(holder="ann"), TOTALS, SETTINGS)
    few.add(lease(64, ask(0, disk=1, holder="ann")))
    assert not capacity.within_counts(few, ask(holder="ann"), TOTALS, SETTINGS)
    assert capacity.within_counts(few, ask(holder="bob"), TOTALS, SETTINGS)
    assert capacity.within_counts(few, lock, TOTALS, SETTINGS)
    full = book_of([lease(number, ask(0, disk=1, holder=f"h{number % 8}")) for number in range(256)])
    assert not capacity.within_counts(full, ask(holder="new"), TOTALS, SETTINGS)


@pytest.mark.requirement("INV-2")
def test_the_book_gives_back_exactly_what_it_took() -> None:
    """When all has ended nothing is left in it, not even a name; more than that can't be taken out."""
    leases = [
        lease(1, ask(30, memory=GIB, named=[("device:gpu:0", 1)], constraints=(Constraint.GPU,))),
        lease(2, ask(10, cpu=500, disk=GIB, holder="bob")),
        lease(3, ask(0, named=[("lock:db", 1), ("lock:net", 2)])),
    ]
    book = book_of(leases)
    assert book.used == Charge(40, 500, GIB, GIB, (("device:gpu:0", 1), ("lock:db", 1), ("lock:net", 2)))
    assert (book.leases, book.per_holder) == (2, {"ann": 1, "bob": 1})
    assert book.constraints == {"gpu": 1, "gpu:0": 1}
    trial = book.copy()
    for each in leases:
        trial.remove(each)
    assert trial.used == Charge()
    assert (trial.leases, trial.per_holder, trial.constraints) == (0, {}, {})
    for each in leases:
        with pytest.raises(InvariantBroken):
            trial.copy().remove(each)
    assert book.leases == 2
