"""Calls by key (LEASE-8)."""

from __future__ import annotations

import pytest

from leasehold.control.calls import Calls
from leasehold.core.state import CALLS, Call, Change, Stamp, State
from leasehold.model.errors import IdempotencyBusy, IdempotencyMismatch
from leasehold.model.principal import Principal
from leasehold.model.settings import LimitSettings, PolicySettings

ANN = Principal("user:ann", "worker", frozenset())
LIMITS = LimitSettings(idempotency_ms=1_000, idempotency_per_principal=3)
SETTINGS = PolicySettings(limits=LIMITS)


def calls() -> Calls:
    return Calls(lambda: SETTINGS)


def remembering(*made: Call) -> State:
    state = State("node")
    for call in made:
        state.apply(Change(CALLS, call.key, call))
    return state


def call(key: str, *, at_ms: int = 0, body: bytes = b"b", me: Principal = ANN) -> Call:
    made = calls().call_of(me, key, body, at_ms)
    assert made is not None
    return made


@pytest.mark.requirement("LEASE-8")
def test_a_key_is_its_callers_own() -> None:
    """The same key of two callers are two calls; without a key there is nothing to remember."""
    assert call("k").key != call("k", me=Principal("user:bob", "worker", frozenset())).key
    assert calls().call_of(ANN, None, b"", 0) is None


@pytest.mark.requirement("LEASE-8")
def test_a_known_call_is_found_for_its_time() -> None:
    """Within its time a repeat finds the lease; later the key is free again."""
    state = remembering(call("k"))
    assert calls().known(state, call("k", at_ms=1_000)) is not None
    assert calls().known(state, call("k", at_ms=1_001)) is None


@pytest.mark.requirement("LEASE-8")
def test_another_body_under_the_same_key_is_refused() -> None:
    """Also while the first call is still being answered."""
    with pytest.raises(IdempotencyMismatch):
        calls().known(remembering(call("k")), call("k", body=b"other"))
    service = calls()
    with (
        service.in_flight(call("k")),
        pytest.raises(IdempotencyMismatch),
        service.in_flight(call("k", body=b"o")),
    ):
        pass


@pytest.mark.requirement("LEASE-8")
def test_a_repeat_in_flight_is_busy_unless_the_first_waits_in_line() -> None:
    """409 while it is being decided; once it waits, the repeat takes over its ticket."""
    service = calls()
    with service.in_flight(call("k")):
        with pytest.raises(IdempotencyBusy), service.in_flight(call("k")):
            pass
        service.waits(call("k"), "tkt-1")
        with service.in_flight(call("k")) as second:
            assert second.ticket == "tkt-1"
    with service.in_flight(call("k")) as third:
        assert third.ticket is None


@pytest.mark.requirement("LEASE-8")
def test_old_calls_are_forgotten_oldest_first() -> None:
    """What is past its time goes, and what is over its caller's number."""
    made = [call(f"k{number}", at_ms=number * 300) for number in range(6)]
    outcome = calls().stale(remembering(*made), Stamp(1_500, 0, 1, 0))
    assert [change.key for change in outcome.changes] == [each.key for each in made[:3]]
