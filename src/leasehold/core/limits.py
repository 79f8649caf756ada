"""Lazy token buckets in integers (WORKER-10, LEASE-4): nothing runs between calls, no fraction is lost."""

from __future__ import annotations

import msgspec

TOKEN = 60_000
"""One token in the bucket's own unit: n tokens a minute are then exactly n of these each millisecond."""

FOREVER_MS = 1 << 53
"""The wait where nothing flows in: the rate is 0."""


class Bucket(msgspec.Struct, frozen=True, gc=False):
    """What is left (in 1/60,000 tokens; below zero after a call dearer than the burst) and as of when."""

    level: int
    at_ms: int


def full(burst: int, now_ms: int) -> Bucket:
    """A bucket that nobody has drawn from."""
    return Bucket(burst * TOKEN, now_ms)


def refilled(bucket: Bucket, now_ms: int, burst: int, per_minute: int) -> Bucket:
    """The bucket as it stands now, never above its burst. A clock that went back refills nothing."""
    elapsed_ms = now_ms - bucket.at_ms
    if elapsed_ms <= 0:
        return bucket
    return Bucket(min(burst * TOKEN, bucket.level + elapsed_ms * per_minute), now_ms)


def take(
    bucket: Bucket | None, now_ms: int, burst: int, per_minute: int, cost: int = 1
) -> tuple[Bucket, int]:
    """Draw `cost` tokens: the bucket afterwards, and 0; or it undrawn, and in how many ms it would do.

    None is a bucket seen for the first time: full. A cost above the burst is served from a full bucket and
    leaves it in debt, so that a dear call is slow rather than impossible. Waiting as told is always enough.
    """
    now = full(burst, now_ms) if bucket is None else refilled(bucket, now_ms, burst, per_minute)
    needed = min(cost, burst) * TOKEN
    if now.level >= needed:
        return Bucket(now.level - cost * TOKEN, now.at_ms), 0
    if per_minute <= 0:
        return now, FOREVER_MS
    wait_ms = -(-(needed - now.level) // per_minute) + max(0, now.at_ms - now_ms)
    return now, wait_ms


def charged(bucket: Bucket | None, now_ms: int, burst: int, per_minute: int, cost: int) -> Bucket:
    """The bucket once `cost` tokens more were drawn, whether they were there or not.

    Its debt is at most its burst, so that many such calls at once do not shut their caller out for long.
    """
    now = full(burst, now_ms) if bucket is None else refilled(bucket, now_ms, burst, per_minute)
    return Bucket(max(-burst * TOKEN, now.level - cost * TOKEN), now.at_ms)


def is_full(bucket: Bucket, now_ms: int, burst: int, per_minute: int) -> bool:
    """Whether it may be forgotten: a bucket never seen before would be just the same."""
    return refilled(bucket, now_ms, burst, per_minute).level >= burst * TOKEN
