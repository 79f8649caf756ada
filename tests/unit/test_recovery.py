"""From the store's records to a state (INV-3, INV-9)."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.adapters.stores.memory import MemoryStore
from leasehold.control import codec, recovery
from leasehold.core.lease import NEVER_MS
from leasehold.core.state import LEASES, Change, State
from leasehold.model.errors import InvariantBroken
from leasehold.model.lease import Flag, LeaseState, Liveness
from leasehold.ports.store import Batch
from leasehold.testing import waiting as factories

FIRST = (1 << recovery.INCARNATION_BITS) + 1


async def stored(*records: tuple[str, bytes]) -> MemoryStore:
    store = MemoryStore()
    await store.open()
    await store.commit(Batch(seq=1, puts=[(recovery.META_INCARNATION, msgspec.msgpack.encode(1)), *records]))
    return store


def a_lease(number: int = FIRST) -> tuple[str, bytes]:
    lease = factories.lease(number, factories.ask(40))
    return codec.store_key(LEASES, lease.lease_id), codec.encode(LEASES, lease)


@pytest.mark.requirement("INV-3")
async def test_each_start_has_numbers_of_its_own() -> None:
    """The next incarnation begins above every number of the one before."""
    _, start = await recovery.load(await stored(a_lease()), State("node"))
    assert start.incarnation == 2
    assert start.first_number > FIRST
    assert start.first_number < start.numbers_end


@pytest.mark.requirement("INV-9")
async def test_a_damaged_lease_still_holds_its_charge() -> None:
    """Its body can't be read, its head can: it counts, flagged, and nobody's start is stopped."""
    key, value = a_lease()
    version, head, body = msgspec.msgpack.decode(value)
    state, _ = await recovery.load(
        await stored((key, msgspec.msgpack.encode([version, head, body[:-9]]))), State("node")
    )
    assert state.book.units == 40
    assert [Flag.LOST in lease.flags for lease in state.leases.values()] == [True]
    assert not state.unsettled


@pytest.mark.requirement("INV-9")
async def test_a_lease_that_cannot_be_read_at_all_is_unsettled() -> None:
    """It neither stops the start nor disappears: the node grants nothing until a person has settled it."""
    state, _ = await recovery.load(await stored(("/leases/lease-x", b"\xc1")), State("node"))
    assert list(state.unsettled) == ["lease-x"]
    state.apply(Change(LEASES, "lease-x", None))
    assert not state.unsettled


@pytest.mark.requirement("INV-3")
async def test_two_leases_with_one_token_stop_the_start() -> None:
    """No store that this ledger wrote holds that: it is said, not worked with."""
    first, second = (factories.lease(FIRST, factories.ask()) for _ in range(2))
    second = msgspec.structs.replace(second, lease_id="lease-other")
    records = [
        (codec.store_key(LEASES, each.lease_id), codec.encode(LEASES, each)) for each in (first, second)
    ]
    with pytest.raises(InvariantBroken, match="same fencing token"):
        await recovery.load(await stored(*records), State("node"))


@pytest.mark.requirement("INV-3")
async def test_a_token_of_the_future_stops_the_start() -> None:
    """A token of an incarnation that the store never had would be given out a second time."""
    with pytest.raises(InvariantBroken, match="later incarnation"):
        await recovery.load(await stored(a_lease((7 << recovery.INCARNATION_BITS) + 1)), State("node"))


@pytest.mark.requirement("LEASE-10")
def test_everyone_gets_a_full_time_and_never_less_than_it_had() -> None:
    """After a stall: now + TTL, or what was promised where that is later; the silent have no deadline."""
    state = State("node")
    kinds = {"plain": (), "long": (), "silent": (Flag.SILENT,)}
    for number, (name, flags) in enumerate(kinds.items()):
        lease = msgspec.structs.replace(factories.lease(number, factories.ask()), lease_id=name, flags=flags)
        state.apply(Change(LEASES, name, lease))
    state.liveness["long"] = Liveness(99_000)
    revoked = msgspec.structs.replace(
        factories.lease(9, factories.ask()), lease_id="revoked", state=LeaseState.REVOKED
    )
    state.apply(Change(LEASES, "revoked", revoked))
    deadlines = dict(recovery.full_time(state, 10_000, 30_000))
    assert deadlines == {"plain": 40_000, "long": 99_000, "silent": NEVER_MS, "revoked": NEVER_MS}
