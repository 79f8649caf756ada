"""How often programs may call, by tier (LEASE-4, LEASE-27, WORKER-10)."""

from __future__ import annotations

import pytest

from leasehold.control.limiter import BUCKETS_MAX, EMPTY_COST, Limiter, Tier
from leasehold.core.limits import FOREVER_MS, charged, full, take
from leasehold.model.errors import RateLimited
from leasehold.model.principal import Principal
from leasehold.model.settings import LimitSettings, PolicySettings

ANN = Principal("token:ann/tok-1", "worker", frozenset())
LIMITS = LimitSettings(request_burst=2, request_per_minute=60)
SETTINGS = PolicySettings(limits=LIMITS)


def limiter() -> Limiter:
    return Limiter(lambda: SETTINGS)


def burst(of: Limiter, tier: Tier, at_ms: int, me: Principal = ANN) -> int:
    """How many calls are taken at once."""
    taken = 0
    while taken < 1_000 and of.refused(me, tier, at_ms) is None:
        taken += 1
    return taken


def no(found: RateLimited | None) -> RateLimited:
    assert found is not None
    return found


@pytest.mark.requirement("LEASE-4")
def test_a_program_has_a_burst_and_then_its_rate() -> None:
    """Two at once, then one a second; the refusal says when to come back."""
    found = limiter()
    assert burst(found, Tier.REQUEST, 0) == 2
    assert no(found.refused(ANN, Tier.REQUEST, 0)).retry_after_s == 1
    assert found.refused(ANN, Tier.REQUEST, 1_000) is None


@pytest.mark.requirement("LEASE-27", "WORKER-10")
def test_claims_and_submissions_have_a_tier_of_their_own() -> None:
    """Fifty at once and fifty a second, whatever was asked for leases meanwhile; the refusal says all."""
    found = limiter()
    assert burst(found, Tier.REQUEST, 0) == 2
    assert burst(found, Tier.BULK, 0) == 50
    refused = no(found.refused(ANN, Tier.BULK, 0))
    assert refused.retry_after_s == 1
    assert refused.details["tier"] == "bulk"
    assert "more than 3000 times a minute" in refused.message
    assert burst(found, Tier.BULK, 1_000) == 50


@pytest.mark.requirement("LEASE-27")
def test_an_empty_answer_costs_ten() -> None:
    """Whoever polls for nothing in a tight loop has five calls a second, not fifty."""
    found = limiter()
    taken = 0
    for now_ms in range(0, 10_000, 10):
        if found.refused(ANN, Tier.BULK, now_ms) is None:
            found.charge(ANN, Tier.BULK, EMPTY_COST - 1, now_ms)
            taken += 1
    assert 50 <= taken <= 56


@pytest.mark.requirement("LEASE-27")
def test_a_worker_that_comes_back_when_told_is_never_refused() -> None:
    """An empty poll every five seconds, for an hour."""
    found = limiter()
    for now_ms in range(0, 3_600_000, 5_000):
        assert found.refused(ANN, Tier.BULK, now_ms) is None
        found.charge(ANN, Tier.BULK, EMPTY_COST - 1, now_ms)


def test_debt_is_bounded_and_waiting_as_told_pays_it() -> None:
    """However much is charged at once, the burst twice over is the longest that anybody is shut out."""
    bucket = full(50, 0)
    for _ in range(1_000):
        bucket = charged(bucket, 0, 50, 3_000, 9)
    after, wait_ms = take(bucket, 0, 50, 3_000)
    assert wait_ms == 1_020
    assert take(after, wait_ms, 50, 3_000)[1] == 0
    assert take(bucket, 0, 50, 0)[1] == FOREVER_MS


@pytest.mark.requirement("LEASE-4", "LEASE-27")
@pytest.mark.parametrize("tier", list(Tier))
def test_people_of_this_machine_are_not_limited(tier: Tier) -> None:
    """Local users, and who may, call as often as they like, and nothing is kept of them."""
    found = limiter()
    local = Principal("user:1000", "user", frozenset(), local=True)
    free = Principal("token:op/tok-2", "operator", frozenset({"limits:exempt"}))
    assert burst(found, tier, 0, local) == burst(found, tier, 0, free) == 1_000
    found.charge(local, tier, 9, 0)
    assert not found._buckets


def test_buckets_are_bounded() -> None:
    """The one that was quiet for longest is forgotten first (INV-8)."""
    found = limiter()
    for number in range(BUCKETS_MAX + 5):
        found.refused(Principal(f"w{number}", "worker", frozenset()), Tier.REQUEST, number)
    assert len(found._buckets) == BUCKETS_MAX
