"""Records as bytes: what counts of a lease survives damage to the rest (INV-9)."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.control import codec
from leasehold.core.state import CALLS, LEASES, RECORD_OF, SEMAPHORES, WAITERS, Call
from leasehold.model.event import Event
from leasehold.model.lease import Flag, LeaseState
from leasehold.model.line import Semaphore
from leasehold.testing import waiting as factories

LEASE = factories.lease(7, factories.ask(40, memory=1 << 30, named=[("lock:a", 1)]))


@pytest.mark.parametrize(
    ("table", "key", "record"),
    [
        (LEASES, LEASE.lease_id, LEASE),
        (WAITERS, "tkt-000003", factories.waiter(3, factories.ask())),
        (SEMAPHORES, "lock:a", Semaphore("lock:a", 3, "ann", 5)),
        (CALLS, "k", Call("k", "ann", b"\x00\xff", "lease-1", 9)),
    ],
)
def test_a_record_comes_back_as_it_was(table: str, key: str, record: object) -> None:
    """Encoding and decoding changes nothing, and the key tells the table."""
    assert codec.decode(table, key, codec.encode(table, record)) == record
    assert codec.split_key(codec.store_key(table, key)) == (table, key)
    assert table in RECORD_OF


@pytest.mark.requirement("INV-9")
def test_a_lease_with_a_damaged_body_keeps_what_counts() -> None:
    """Id, node, charge, token and state are read from the head; the lease still holds its charge."""
    version, head, body = msgspec.msgpack.decode(codec.encode(LEASES, LEASE))
    damaged = msgspec.msgpack.encode([version, head, body[:-9]])
    with pytest.raises(codec.Unreadable) as error:
        codec.decode(LEASES, LEASE.lease_id, damaged)
    rescued = error.value.rescued
    assert rescued is not None
    assert (rescued.lease_id, rescued.token, rescued.ask.charge) == (LEASE.lease_id, 7, LEASE.ask.charge)
    assert rescued.state is LeaseState.ACTIVE
    assert Flag.LOST in rescued.flags


@pytest.mark.requirement("INV-9")
@pytest.mark.parametrize("value", [b"", b"\x00", b"\xc1garbage", msgspec.msgpack.encode([1, [2], b""])])
def test_a_lease_without_a_head_is_unreadable(value: bytes) -> None:
    """Nothing can be rescued, and that is said: the caller must not take it for absent."""
    with pytest.raises(codec.Unreadable) as error:
        codec.decode(LEASES, "lease-1", value)
    assert error.value.rescued is None


def test_fields_of_a_newer_version_are_ignored() -> None:
    """A record with a field that we do not know loads without it."""
    body = msgspec.msgpack.encode({"name": "lock:a", "size": 2, "colour": "red"})
    value = msgspec.msgpack.encode([1, body])
    assert codec.decode(SEMAPHORES, "lock:a", value) == Semaphore("lock:a", 2)


def test_events_come_back_in_order() -> None:
    """One record holds all events of a batch, with their numbers and details."""
    events = [
        Event("LeaseGranted", "lease-1", 5, "ann", details={"units": 3}, seq=number) for number in (1, 2)
    ]
    assert codec.decode_events(codec.encode_events(events)) == events
