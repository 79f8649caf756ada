"""Room over random curves, books and asks."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.core import capacity
from leasehold.core.book import Held
from leasehold.model.charge import Charge
from leasehold.model.lease import Constraint, Lease
from leasehold.model.settings import CapacitySettings
from leasehold.testing.waiting import GIB, TOTALS, ask, book_of, lease, quiet

points = st.dictionaries(st.integers(0, 100), st.integers(0, 10_000), min_size=1, max_size=6)
curves = points.map(lambda found: tuple(zip(sorted(found), sorted(found.values()), strict=False)))
settings = st.builds(
    CapacitySettings, headroom_pct=st.integers(0, 100), reserve_units=st.integers(0, 100), curve=curves
)
names = st.dictionaries(
    st.sampled_from(["device:gpu:0", "device:gpu:1", "lock:db", "lock:net"]), st.integers(1, 2), max_size=3
)
leases = st.lists(
    st.builds(
        ask,
        units=st.integers(0, 60),
        holder=st.sampled_from(["ann", "bob"]),
        tenant=st.sampled_from(["default", "lab"]),
        cpu=st.integers(0, 2_000),
        memory=st.sampled_from([0, 0, GIB, 5 * GIB, 8 * GIB]),
        disk=st.integers(0, 60 * GIB),
        named=names.map(lambda found: found.items()),
        constraints=st.lists(st.sampled_from(list(Constraint)), unique=True).map(tuple),
    ),
    max_size=10,
).map(lambda asks: [lease(number, each) for number, each in enumerate(asks)])


@pytest.mark.requirement("LEASE-6", "PROVE-2")
@given(settings, st.integers(0, 100), st.integers(0, 100))
def test_a_quieter_node_never_gives_less(policy: CapacitySettings, one: int, other: int) -> None:
    """The curve is monotone: a higher score gives at least as many units, never more than when quiet."""
    low, high = sorted((one, other))
    less, more = capacity.usable(quiet(low), policy).units, capacity.usable(quiet(high), policy).units
    assert 0 <= less <= more <= capacity.units_greatest(policy) <= 100


@pytest.mark.requirement("INV-1", "PROVE-2")
@given(leases, leases, st.integers(0, 100))
def test_what_fits_is_what_has_no_shortfall(held: list[Lease], wanted: list[Lease], score: int) -> None:
    """The quick answer and the explained one agree; what fits keeps within what is usable."""
    usable = capacity.usable(quiet(score), CapacitySettings())
    book = book_of(held)
    for each in wanted:
        charge = each.ask.charge
        short = capacity.shortfalls(book, usable, TOTALS, {"lock:net": 3}, charge)
        assert capacity.fits(book, usable, TOTALS, {"lock:net": 3}, charge) == (not short)
        for found in short:
            assert found.used + found.requested > found.capacity
            assert capacity.sentence(found)
        if not short and charge.is_work:
            assert book.cpu_millicores + charge.cpu_millicores <= usable.cpu_millicores
            assert book.memory_bytes + charge.memory_bytes <= usable.memory_bytes
            assert book.disk_bytes + charge.disk_bytes <= usable.disk_bytes
            assert not charge.units or book.units + charge.units <= usable.units


def _by_tenant(live: Iterable[Lease]) -> dict[str, Held]:
    """What each tenant holds, added up by the definition."""
    found: dict[str, Held] = {}
    for name in ("default", "lab"):
        work = [each.ask.charge for each in live if each.ask.tenant == name and each.ask.charge.is_work]
        if work:
            found[name] = Held(
                sum(each.units for each in work),
                sum(each.cpu_millicores for each in work),
                sum(each.memory_bytes for each in work),
                len(work),
            )
    return found


@pytest.mark.requirement("INV-2", "PROVE-2", "OPS-7")
@given(leases, st.randoms(use_true_random=False))
def test_the_book_is_always_the_sum(held: list[Lease], dice: random.Random) -> None:
    """Whatever was added and removed in whatever order, the sums are those of a book written afresh."""
    book = book_of([])
    live: dict[str, Lease] = {}
    for each in dice.choices(held, k=4 * len(held)) if held else ():
        if each.lease_id in live:
            book.remove(live.pop(each.lease_id))
        else:
            book.add(each)
            live[each.lease_id] = each
        fresh = book_of(live.values())
        assert book.used == fresh.used
        assert (book.leases, book.per_holder) == (fresh.leases, fresh.per_holder)
        assert book.per_tenant == _by_tenant(live.values())
        assert book.constraints == fresh.constraints


@pytest.mark.requirement("LEASE-24")
@given(st.integers(0, 10_000))
def test_all_cores_are_never_too_many(cpu: int) -> None:
    """Units of a request for cores rise with them, and up to the node's own number it can be held."""
    units = capacity.units_of(cpu, False, TOTALS)
    assert 1 <= units <= 90
    assert units <= capacity.units_of(cpu + 1, False, TOTALS)
    never = capacity.never_fits(Charge(units=units, cpu_millicores=cpu), TOTALS, CapacitySettings())
    assert bool(never) == (cpu > TOTALS.cpu_millicores)
