"""Quantile sketches over random values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasehold.core import learn
from leasehold.model.learned import EMPTY

values = st.lists(st.integers(0, 1 << 50), min_size=1, max_size=60)


@pytest.mark.requirement("LEASE-15", "PROVE-2")
@given(values, st.sampled_from([1, 10, 50, 95, 100]))
def test_a_quantile_is_never_below_the_truth(seen: list[int], percent: int) -> None:
    """It is at least the true one; and at most a quarter above it where the buckets have sufficed."""
    sketch = EMPTY
    for each in seen:
        sketch = learn.seen(sketch, each)
    rising = sorted(seen)
    truth = rising[-(-len(rising) * percent // 100) - 1]
    found = learn.quantile(sketch, percent)
    assert truth <= found <= rising[-1]
    if len({learn.bucket_of(each) for each in seen}) <= learn.BUCKETS_MAX:
        assert found <= truth * 5 // 4 + 1


@given(values, values)
def test_a_merged_sketch_has_seen_both(one: list[int], other: list[int]) -> None:
    """Counts add up, the peak is the greater, and the order does not matter."""
    sketches = []
    for seen in (one, other):
        sketch = EMPTY
        for each in seen:
            sketch = learn.seen(sketch, each)
        sketches.append(sketch)
    merged = learn.united(*sketches)
    assert merged == learn.united(*reversed(sketches))
    assert sum(count for _, count in merged.hits) == len(one) + len(other)
    assert merged.peak == max(*one, *other)
