"""Due times by key: one each, moved freely."""

from __future__ import annotations

import pytest

from leasehold.control.timers import Timers


@pytest.mark.requirement("LEASE-10")
def test_a_key_comes_up_at_its_latest_time() -> None:
    """A renewal moves the deadline later: it does not come up at the old one."""
    timers = Timers()
    timers.set("a", 10)
    timers.set("a", 30)
    assert timers.pop_due(29) == []
    assert timers.pop_due(30) == ["a"]
    assert timers.pop_due(1_000) == []


def test_an_earlier_time_takes_effect_at_once() -> None:
    """A revoke shortens what is left: the key comes up at the earlier time, once."""
    timers = Timers()
    timers.set("a", 30)
    timers.set("a", 10)
    assert timers.pop_due(10) == ["a"]
    assert timers.pop_due(100) == []


def test_what_was_dropped_does_not_come_up() -> None:
    """A lease that has ended has no deadline; set again, it has its new one only."""
    timers = Timers()
    timers.set("a", 10)
    timers.drop("a")
    assert timers.pop_due(10) == []
    timers.set("a", 20)
    assert timers.pop_due(15) == []
    assert timers.pop_due(20) == ["a"]


def test_keys_come_up_in_the_order_of_their_times() -> None:
    """Earliest first, ties by key, so that the same state gives the same order."""
    timers = Timers()
    for key, due_ms in (("c", 3), ("b", 1), ("a", 1)):
        timers.set(key, due_ms)
    assert timers.pop_due(5) == ["a", "b", "c"]


def test_the_next_time_is_never_told_too_late() -> None:
    """Who sleeps until then misses nothing; after a move it may look once too early."""
    timers = Timers()
    assert timers.next_ms() is None
    timers.set("a", 10)
    timers.set("b", 5)
    assert timers.next_ms() == 5
