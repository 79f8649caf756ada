"""One batch: the last value of each key, sizes that hold, undo (design: steps 4 and 6)."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.control import codec
from leasehold.control.batch import OpenBatch, size
from leasehold.core.state import LEASES, WAITERS, Change, Outcome, State
from leasehold.model.event import Event
from leasehold.model.lease import Ask, Binding, Process
from leasehold.ports.store import Limits
from leasehold.testing import waiting as factories

ROOMY = Limits(keys=1_000, bytes=1 << 20, commands=1_000)


def grown(ask: Ask) -> Ask:
    """An ask whose every text and list is at its limit."""
    named = tuple((f"lock:{number:0>120}", 1) for number in range(64))
    return msgspec.structs.replace(
        ask,
        holder="h" * 128,
        job_type="j" * 128,
        principal="p" * 128,
        label="\N{SNOWMAN}" * 256,
        notice="n" * 300,
        charge=msgspec.structs.replace(ask.charge, named=named),
        binding=Binding(None, tuple(Process(4_194_303, 10**12 + each, "b" * 36) for each in range(64))),
    )


def lease_change(ask: Ask, **more: object) -> Change:
    lease = msgspec.structs.replace(factories.lease(1 << 52, ask), **more)
    return Change(LEASES, lease.lease_id, lease)


def waiter_change(ask: Ask, **more: object) -> Change:
    waiter = msgspec.structs.replace(factories.waiter(1 << 52, ask), **more)
    return Change(WAITERS, waiter.ticket, waiter)


@pytest.mark.requirement("OPS-31")
@pytest.mark.requirement("CLUSTER-21")
@pytest.mark.parametrize(
    "change",
    [
        lease_change(factories.ask()),
        lease_change(
            grown(factories.ask()),
            revoke_note="r" * 1_200,
            end_reason="e" * 1_024,
            binding=Binding(None, tuple(Process(each, 10**12, "b" * 36) for each in range(256)), "/x" * 128),
        ),
        waiter_change(factories.ask()),
        waiter_change(grown(factories.ask()), call_key="k" * 400, call_hash=b"h" * 32),
    ],
    ids=["a lease", "the largest lease", "a waiter", "the largest waiter"],
)
def test_the_estimate_is_an_upper_bound(change: Change) -> None:
    """A batch that is closed by estimates never grows past what a store takes."""
    assert len(codec.encode(change.table, change.record)) <= size(outcome(change))


def outcome(*changes: Change) -> Outcome:
    made = Outcome()
    made.changes.extend(changes)
    return made


def test_only_the_last_value_of_a_key_is_written() -> None:
    """Granted and ended in one batch, a lease is written once; a waiter that came and went is deleted."""
    state, batch = State("node"), OpenBatch()
    granted = lease_change(factories.ask())
    waits = waiter_change(factories.ask())
    batch.add(outcome(granted, waits), state)
    batch.add(outcome(Change(LEASES, granted.key, granted.record, finished=True)), state)
    batch.add(outcome(Change(WAITERS, waits.key, None)), state)
    sealed, _ = batch.sealed(5, 9)
    assert [key for key, _ in sealed.finishes] == [codec.store_key(LEASES, granted.key)]
    assert list(sealed.deletes) == [codec.store_key(WAITERS, waits.key)]
    assert not sealed.puts
    assert state.book.units == 0


def test_events_are_numbered_on_from_the_last() -> None:
    """The stream of events has no gap and no number twice."""
    state, batch = State("node"), OpenBatch()
    for number in range(3):
        made = outcome()
        made.events.append(Event("X", str(number), 0))
        batch.add(made, state)
    sealed, events = batch.sealed(5, 10)
    assert [event.seq for event in events] == [10, 11, 12]
    assert (sealed.first_event, sealed.last_event) == (10, 12)
    assert codec.decode_events(sealed.events) == events


@pytest.mark.requirement("CLUSTER-21")
def test_a_batch_closes_before_it_passes_a_limit() -> None:
    """Commands, keys and bytes are each bounded; an empty batch takes any one command."""
    state = State("node")
    change = lease_change(factories.ask())
    for limits in (
        Limits(keys=1_000, bytes=1 << 20, commands=1),
        Limits(keys=1, bytes=1 << 20, commands=1_000),
        Limits(keys=1_000, bytes=size(outcome(change)), commands=1_000),
    ):
        batch = OpenBatch()
        assert batch.has_room(outcome(change), limits)
        batch.add(outcome(change), state)
        assert not batch.has_room(outcome(change), limits)
        assert batch.has_room(outcome(change), ROOMY)
        batch.take_back(state)
    assert not state.leases
