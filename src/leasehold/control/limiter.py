"""How often a principal may call: a token bucket each, by tier (LEASE-4, LEASE-27, WORKER-10)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from enum import StrEnum

from leasehold.core.limits import Bucket, charged, take
from leasehold.model.errors import RateLimited
from leasehold.model.principal import Principal
from leasehold.model.settings import LimitSettings, PolicySettings

BUCKETS_MAX = 10_000
"""Buckets in memory; the one that was quiet for longest is forgotten first."""

EMPTY_COST = 10
"""What a claim or poll costs that got nothing and had not waited for it (LEASE-27)."""


class Tier(StrEnum):
    """What is counted together."""

    REQUEST = "request"
    """Asking for leases."""
    BULK = "bulk"
    """Claims, polls and submissions of jobs, each call as one, however many jobs it is about."""


class Limiter:
    """The buckets of one server. Local users, and who may `limits:exempt`, are not counted."""

    def __init__(self, settings: Callable[[], PolicySettings]) -> None:
        self._settings = settings
        self._buckets: OrderedDict[tuple[Tier, str], Bucket] = OrderedDict()

    def refused(self, principal: Principal, tier: Tier, now_ms: int) -> RateLimited | None:
        """Take one token; the refusal, with when to come back, where there is none."""
        if exempt(principal):
            return None
        burst, per_minute = _rate(self._settings().limits, tier)
        key = (tier, principal.name)
        bucket, wait_ms = take(self._buckets.get(key), now_ms, burst, per_minute)
        self._keep(key, bucket)
        if not wait_ms:
            return None
        wait_s = max(1, -(-wait_ms // 1000))
        return RateLimited(
            _sentence(principal.name, tier, per_minute, wait_s),
            retry_after_s=wait_s,
            per_minute=per_minute,
            tier=str(tier),
        )

    def charge(self, principal: Principal, tier: Tier, cost: int, now_ms: int) -> None:
        """Take tokens for what a call turned out to be; it may leave the bucket in debt."""
        if not exempt(principal):
            burst, per_minute = _rate(self._settings().limits, tier)
            key = (tier, principal.name)
            self._keep(key, charged(self._buckets.get(key), now_ms, burst, per_minute, cost))

    def _keep(self, key: tuple[Tier, str], bucket: Bucket) -> None:
        self._buckets[key] = bucket
        self._buckets.move_to_end(key)
        if len(self._buckets) > BUCKETS_MAX:
            self._buckets.popitem(last=False)


def exempt(principal: Principal) -> bool:
    """Whether it may call as often as it likes."""
    return principal.local or principal.may("limits:exempt")


def _rate(limits: LimitSettings, tier: Tier) -> tuple[int, int]:
    if tier is Tier.BULK:
        return limits.bulk_burst, limits.bulk_per_minute
    return limits.request_burst, limits.request_per_minute


def _sentence(name: str, tier: Tier, per_minute: int, wait_s: int) -> str:
    if tier is Tier.BULK:
        return (
            f"{name} claims and submits more than {per_minute} times a minute (one that got nothing counts "
            f"{EMPTY_COST} times); come back in {wait_s} s, take more jobs with each call, and wait for them "
            "with wait_sec"
        )
    return f"{name} asks more than {per_minute} times a minute; come back in {wait_s} s"
