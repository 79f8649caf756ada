"""Calls by key and by rate (LEASE-8, LEASE-4)."""

from __future__ import annotations

import pytest

from leasehold.control.calls import BUCKETS_MAX, Calls
from leasehold.core.state import CALLS, Call, Change, Stamp, State
from leasehold.model.errors import IdempotencyBusy, IdempotencyMismatch
from leasehold.model.principal import Principal
from leasehold.model.settings import LimitSettings, PolicySettings

ANN = Principal("user:ann", "worker", frozenset())
LIMITS = LimitSettings(
    idempotency_ms=1_000, idempotency_per_principal=3, request_burst=2, request_per_minute=60
)
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


@pytest.mark.requirement("LEASE-4")
def test_a_program_has_a_burst_and_then_its_rate() -> None:
    """Two at once, then one a second; the refusal says when to come back."""
    service = calls()
    assert service.rate_limited(ANN, 0) is None
    assert service.rate_limited(ANN, 0) is None
    refused = service.rate_limited(ANN, 0)
    assert refused is not None
    assert refused.retry_after_s == 1
    assert service.rate_limited(ANN, 1_000) is None


@pytest.mark.requirement("LEASE-4")
def test_people_of_this_machine_are_not_limited() -> None:
    """Local users and administrators ask as often as they like."""
    service = calls()
    local = Principal("user:1000", "user", frozenset(), local=True)
    assert all(service.rate_limited(local, 0) is None for _ in range(100))


def test_buckets_are_bounded() -> None:
    """The one that was quiet for longest is forgotten first (INV-8)."""
    service = calls()
    for number in range(BUCKETS_MAX + 5):
        service.rate_limited(Principal(f"w{number}", "worker", frozenset()), number)
    assert len(service._buckets) == BUCKETS_MAX
