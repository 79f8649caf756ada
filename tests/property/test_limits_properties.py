"""Token buckets over random calls."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.core import limits

calls = st.lists(st.tuples(st.integers(0, 5_000), st.integers(1, 10)), max_size=60)


@pytest.mark.requirement("WORKER-10", "PROVE-2")
@given(st.integers(10, 50), st.integers(1, 600), calls)
def test_never_more_than_burst_and_rate(burst: int, per_minute: int, steps: list[tuple[int, int]]) -> None:
    """Over every interval that begins with a call, at most burst + rate x time passes."""
    bucket = None
    now_ms = 0
    passed: list[tuple[int, int]] = []
    for gap_ms, cost in steps:
        now_ms += gap_ms
        bucket, wait_ms = limits.take(bucket, now_ms, burst, per_minute, cost)
        if wait_ms == 0:
            passed.append((now_ms, cost))
    for at, (start_ms, _) in enumerate(passed):
        spent = 0
        for end_ms, cost in passed[at:]:
            spent += cost
            assert spent * limits.TOKEN <= burst * limits.TOKEN + per_minute * (end_ms - start_ms)


@pytest.mark.requirement("WORKER-10", "PROVE-2")
@given(st.integers(1, 50), st.integers(1, 600), calls)
def test_waiting_as_told_is_enough_and_not_too_long(
    burst: int, per_minute: int, steps: list[tuple[int, int]]
) -> None:
    """After exactly the wait that was told the call passes; a millisecond earlier it does not."""
    bucket = None
    now_ms = 0
    for gap_ms, cost in steps:
        now_ms += gap_ms
        bucket, wait_ms = limits.take(bucket, now_ms, burst, per_minute, cost)
        if wait_ms:
            assert limits.take(bucket, now_ms + wait_ms - 1, burst, per_minute, cost)[1] == 1
            bucket, again_ms = limits.take(bucket, now_ms + wait_ms, burst, per_minute, cost)
            assert again_ms == 0
            now_ms += wait_ms


@given(st.integers(1, 50), st.integers(1, 600), st.lists(st.integers(1, 5_000), max_size=30))
def test_looking_often_loses_nothing(burst: int, per_minute: int, gaps: list[int]) -> None:
    """Refilled in many small steps or in one, the level is the same: no fraction is dropped."""
    bucket = limits.Bucket(0, 0)
    for gap_ms in gaps:
        bucket = limits.refilled(bucket, bucket.at_ms + gap_ms, burst, per_minute)
    assert bucket.level == limits.refilled(limits.Bucket(0, 0), sum(gaps), burst, per_minute).level
