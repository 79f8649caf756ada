"""What is learned of past leases: quantiles that are near the truth, small, and never below it."""

from __future__ import annotations

import msgspec
import pytest

from leasehold.core import learn
from leasehold.model.charge import Charge
from leasehold.model.learned import NOTHING_ASKED, Asked, Learned, Sketch
from leasehold.model.lease import Ask, Usage
from leasehold.testing.waiting import GIB, TOTALS

BLANK = Learned("ann", "make")


def after(*leases: tuple[int, int, int]) -> Learned:
    """Learned from leases of (cpu seconds, memory bytes, seconds)."""
    learned = BLANK
    for cpu_s, memory, seconds in leases:
        learned = learn.observe(learned, Usage(cpu_s * 1_000, memory), seconds * 1_000)
    return learned


def test_buckets_lie_side_by_side() -> None:
    """Every value has one bucket, whose top is not below it and at most a quarter above."""
    bucket = -1
    for value in range(5_000):
        found = learn.bucket_of(value)
        assert found in (bucket, bucket + 1)
        bucket = found
        assert value <= learn.top_of(found) <= value * 5 // 4 + 1
        assert learn.bucket_of(learn.top_of(found)) == found
    assert learn.bucket_of(-5) == 0
    assert learn.bucket_of(1 << 60) == learn.bucket_of(learn.VALUE_MAX)


@pytest.mark.requirement("LEASE-15")
def test_a_suggestion_covers_the_p95() -> None:
    """Twenty runs on two of four cores: the suggestion covers two cores, and shows the greatest memory."""
    learned = after(*[(20, GIB, 10)] * 19, (40, 3 * GIB, 20))
    found = learn.suggest(learned, TOTALS)
    assert found is not None
    assert (found.count, found.cpu_millicores.peak, found.memory_bytes.peak) == (20, 2_000, 3 * GIB)
    assert 2_000 <= found.cpu_millicores.p95 <= 2_500
    assert 45 <= found.cost_units <= 57
    assert GIB <= found.memory_bytes.p50 <= GIB * 5 // 4
    assert 10_000 <= found.bound_ms <= 12_500


@pytest.mark.requirement("LEASE-15")
def test_folding_never_takes_a_quantile_below_the_truth() -> None:
    """Of thirty very different values the low ones are folded upwards; the high ones stay sharp."""
    sketch = Sketch()
    for power in range(30):
        sketch = learn.seen(sketch, 1 << power)
    for percent, power in ((10, 2), (50, 14), (80, 23), (95, 28), (100, 29)):
        assert learn.quantile(sketch, percent) >= 1 << power
    assert learn.quantile(sketch, 95) <= (1 << 28) * 5 // 4


@pytest.mark.requirement("LEASE-15")
def test_nothing_is_suggested_from_too_little() -> None:
    """Two leases are no ground for advice; three are."""
    assert learn.suggest(after((1, 1, 1), (1, 1, 1)), TOTALS) is None
    assert learn.suggest(after((1, 1, 1), (1, 1, 1), (1, 1, 1)), TOTALS) is not None


@pytest.mark.requirement("LEASE-15")
def test_old_use_fades() -> None:
    """A program that became small is seen as small once its old runs have faded; its peak stays."""
    learned = after(*[(1, (4 + number % 5) * GIB, 1) for number in range(60)], *[(1, GIB, 1)] * 400)
    found = learn.suggest(learned, TOTALS)
    assert found is not None
    assert found.count <= learn.COUNT_MAX
    assert found.memory_bytes.p95 <= GIB * 5 // 4
    assert found.memory_bytes.peak == 8 * GIB


@pytest.mark.requirement("LEASE-15", "INV-8")
def test_a_record_stays_small() -> None:
    """Whatever was observed, a record without its names is below 400 bytes."""
    learned = after(*[(3**number % 10**7, 7**number % 2**50, 5**number % 10**8) for number in range(300)])
    nameless = msgspec.structs.replace(learned, holder="", job_type="")
    assert len(msgspec.json.encode(nameless)) < 400
    assert len(msgspec.msgpack.encode(nameless)) < 400
    for sketch in (learned.cpu_millicores, learned.memory_bytes, learned.duration_ms):
        assert len(sketch.hits) <= learn.BUCKETS_MAX


def test_merging_is_the_same_from_both_sides() -> None:
    """Two ledgers' records give one, whichever comes first; unlike ones can't be merged."""
    one, other = after((1, GIB, 1), (2, GIB, 5)), after((8, 4 * GIB, 9))
    assert learn.merge(one, other) == learn.merge(other, one)
    assert learn.merge(one, other) == after((1, GIB, 1), (2, GIB, 5), (8, 4 * GIB, 9))
    with pytest.raises(AssertionError):
        learn.merge(one, msgspec.structs.replace(other, holder="bob"))


def test_an_empty_sketch_has_no_quantiles() -> None:
    """Nothing seen reads as 0."""
    assert learn.quantile(Sketch(), 95) == 0


@pytest.mark.requirement("LEASE-15")
def test_what_was_asked_last_stands_beside_what_was_used() -> None:
    """Charged 60 units, then 30: the newest counts, fading keeps it, and records of before have none."""
    learned = after((1, GIB, 1))
    assert learned.asked == NOTHING_ASKED
    for units in (60, 30):
        ask = Ask("ann", "make", Charge(units, 2_000, GIB), "n", expected_ms=90_000)
        learned = learn.observe(learned, Usage(1_000, GIB), 1_000, ask)
    for _ in range(100):
        learned = learn.observe(learned, Usage(1_000, GIB), 1_000)
    assert learned.asked == Asked(30, 2_000, GIB, 90_000)
    before = msgspec.msgpack.encode({"holder": "ann", "job_type": "make", "count": 1})
    assert msgspec.msgpack.decode(before, type=Learned).asked == NOTHING_ASKED
