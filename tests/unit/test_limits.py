"""Token buckets, by the figures of the specification."""

from __future__ import annotations

import pytest

from leasehold.core import limits

SECOND = 1_000


@pytest.mark.requirement("LEASE-4")
def test_ten_at_once_then_one_a_second() -> None:
    """Burst 10, 60 a minute: ten calls pass at once, the eleventh after a second."""
    bucket = None
    for _ in range(10):
        bucket, wait_ms = limits.take(bucket, 0, 10, 60)
        assert wait_ms == 0
    bucket, wait_ms = limits.take(bucket, 0, 10, 60)
    assert wait_ms == SECOND
    bucket, wait_ms = limits.take(bucket, 400, 10, 60)
    assert wait_ms == 600
    bucket, wait_ms = limits.take(bucket, SECOND, 10, 60)
    assert wait_ms == 0


def test_a_refused_call_costs_nothing() -> None:
    """Asking again and again while it is empty does not put the next token off."""
    bucket = limits.Bucket(0, 0)
    for now_ms in range(0, SECOND, 7):
        bucket, wait_ms = limits.take(bucket, now_ms, 10, 60)
        assert wait_ms == SECOND - now_ms
    assert limits.take(bucket, SECOND, 10, 60)[1] == 0


def test_a_bucket_never_holds_more_than_its_burst() -> None:
    """A day of rest is worth one burst; then the bucket may be forgotten."""
    bucket, _ = limits.take(None, 0, 10, 60, 10)
    assert not limits.is_full(bucket, 9_999, 10, 60)
    assert limits.is_full(bucket, 10_000, 10, 60)
    assert limits.refilled(bucket, 86_400_000, 10, 60) == limits.full(10, 86_400_000)


def test_a_dear_call_leaves_a_debt() -> None:
    """A cost above the burst passes from a full bucket, and the debt is paid before the next."""
    bucket, wait_ms = limits.take(None, 0, 10, 60, 25)
    assert wait_ms == 0
    bucket, wait_ms = limits.take(bucket, 0, 10, 60)
    assert wait_ms == 16 * SECOND


def test_nothing_flows_in_at_rate_zero() -> None:
    """A rate of 0 lets the burst through and then nobody, for ever."""
    bucket, wait_ms = limits.take(None, 0, 1, 0)
    assert wait_ms == 0
    assert limits.take(bucket, 10**12, 1, 0)[1] == limits.FOREVER_MS


def test_a_clock_that_goes_back_gives_and_takes_nothing() -> None:
    """The level stays as it was, and the wait covers the way back."""
    bucket = limits.Bucket(0, 5_000)
    again, wait_ms = limits.take(bucket, 4_000, 10, 60)
    assert again == bucket
    assert wait_ms == 2 * SECOND
