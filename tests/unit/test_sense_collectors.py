"""Collectors keep to themselves, whatever one of them does (SENSE-7, 8)."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from leasehold.control.collectors import Collector, Collectors
from leasehold.model.errors import Overloaded
from leasehold.runtime.clock import RealClock
from leasehold.runtime.lanes import SETTLE_S, ThreadLane
from leasehold.testing.hosts import InlineLane
from leasehold.testing.manual_clock import ManualClock


def states(collectors: Collectors) -> dict[str, tuple[int, int]]:
    """Runs and failures in a row, by name."""
    return {state.name: (state.runs, state.consecutive_failures) for state in collectors.states()}


@pytest.mark.requirement("SENSE-7")
async def test_one_that_raises_keeps_its_error_until_it_succeeds_and_harms_no_other() -> None:
    """Its failure stands by its name with a count; the other collects on; one success clears it."""
    clock, collected, broken = ManualClock(), [], [True]
    collectors = Collectors(clock, lambda: 0.5, InlineLane)

    def sometimes() -> str:
        if broken[0]:
            raise OSError("no such sensor")
        return "fine"

    collectors.add(Collector("good", 2_000, 5_000, collected.append, lambda: "fine"))
    collectors.add(Collector("bad", 2_000, 5_000, collected.append, sometimes))
    collectors.start()
    await clock.advance(4_100)
    assert states(collectors) == {"bad": (3, 3), "good": (3, 0)}
    assert collectors.errors() == {"bad": "OSError: no such sensor"}
    assert collected == ["fine"] * 3
    broken[0] = False
    await clock.advance(2_000)
    assert collectors.errors() == {}
    await collectors.stop()


@pytest.mark.requirement("SENSE-7")
async def test_one_that_hangs_harms_no_other_and_does_not_delay_the_end() -> None:
    """A call that never comes back is given up and not started twice; others go on; the end is not late."""
    release, failures = threading.Event(), asyncio.Semaphore(0)
    collectors = Collectors(RealClock(), lambda: 0.5, ThreadLane)
    taken: asyncio.Queue[object] = asyncio.Queue()
    collectors.add(Collector("hangs", 20, 50, taken.put_nowait, release.wait, failed=failures.release))
    collectors.add(Collector("works", 20, 5_000, taken.put_nowait, lambda: "fine"))
    before = threading.active_count()
    collectors.start()
    try:
        for _ in range(3):
            await asyncio.wait_for(failures.acquire(), 30)
        for _ in range(5):
            assert await asyncio.wait_for(taken.get(), 30) == "fine"
        assert "has not come back" in collectors.errors()["hangs"]
        assert threading.active_count() <= before + 2
        started = time.monotonic()
        await collectors.stop()
        assert time.monotonic() - started < 2.0
    finally:
        release.set()


@pytest.mark.requirement("SENSE-7")
@pytest.mark.parametrize(("dice", "pause_ms"), [(0.0, 1_800), (0.5, 2_000), (1.0, 2_200)])
async def test_intervals_are_jittered_by_a_tenth(dice: float, pause_ms: int) -> None:
    """Collectors of many nodes don't fall into step."""
    clock = ManualClock()
    collectors = Collectors(clock, lambda: dice, InlineLane)
    collectors.add(Collector("one", 2_000, 5_000, lambda result: None, lambda: None))
    collectors.start()
    await clock.advance(0)
    state = collectors.states()[0]
    assert state.next_run_ms == clock.now_ms() + pause_ms
    await collectors.stop()


@pytest.mark.requirement("SENSE-8")
async def test_what_a_collector_did_can_be_seen() -> None:
    """Start, duration, the next run and how late it was stand in its state."""
    clock = ManualClock()
    collectors = Collectors(clock, lambda: 0.5, InlineLane)

    took_ms = iter([700])

    def slow() -> None:
        clock._now_ms += next(took_ms, 0)

    collectors.add(Collector("slow", 2_000, 5_000, lambda result: None, slow, warm_up_ms=(400,)))
    started_ms = clock.now_ms()
    collectors.start()
    await clock.advance(0)
    state = collectors.states()[0]
    assert (state.runs, state.last_start_ms, state.late_ms) == (2, started_ms + 700, 300)
    assert state.last_duration_ms == 0
    assert state.next_run_ms == started_ms + 2_700
    await clock.advance(2_700)  # the sleep was begun when the clock already said 700
    assert (state.runs, state.late_ms) == (3, 0)
    await collectors.stop()


async def test_a_lane_runs_calls_in_order_off_the_loop_and_hands_errors_back() -> None:
    """Every call on the one other thread; what it raises belongs to its caller alone."""
    lane = ThreadLane("test")
    threads = await asyncio.gather(*(lane.run(threading.get_ident) for _ in range(5)))
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await lane.run(lambda: 1 // 0)
    assert await lane.run(max, 1, 2) == 2
    assert not lane.busy
    lane.close()


@pytest.mark.requirement("SENSE-6")
async def test_a_lane_lets_the_thread_that_asks_go_to_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """A measurement that begins at once counts the asking thread as runnable: as somebody else's load."""
    seen: list[object] = []
    monkeypatch.setattr("leasehold.runtime.lanes.time.sleep", seen.append)
    lane = ThreadLane("test")
    await lane.run(seen.append, "measured")
    await lane.run(seen.append, "measured")
    lane.close()
    assert seen == [SETTLE_S, "measured", SETTLE_S, "measured"]


async def test_a_lane_takes_no_more_than_its_limit() -> None:
    """One more than may wait is refused with when to come again; a cancelled caller leaves the lane busy."""
    release = threading.Event()
    lane = ThreadLane("test", waiting_max=1)
    try:
        first = asyncio.ensure_future(lane.run(release.wait))
        second = asyncio.ensure_future(lane.run(release.wait))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await lane.run(release.wait)
        first.cancel()
        await asyncio.sleep(0)
        assert lane.busy
    finally:
        release.set()
    assert await second is True
    lane.close()


@pytest.mark.requirement("SENSE-7")
async def test_one_can_come_and_go_while_others_run() -> None:
    """Added after the start it runs at once; removed it runs no more, is told, and leaves no error behind."""
    clock, collected, told = ManualClock(), [], []
    collectors = Collectors(clock, lambda: 0.5, InlineLane)
    collectors.add(Collector("first", 2_000, 5_000, collected.append, prepare=lambda: ("first",)))
    collectors.start()
    await clock.advance(100)

    async def broken() -> None:
        raise OSError("gone")

    gone = Collector(
        "late", 2_000, 5_000, collected.append, fetch=broken, removed=lambda: told.append("late")
    )
    collectors.add(gone)
    await clock.advance(2_500)
    assert states(collectors) == {"first": (2, 0), "late": (2, 2)}
    assert collectors.errors() == {"late": "OSError: gone"}
    collectors.remove("late")
    collectors.remove("late")
    await clock.advance(10_000)
    assert (told, collectors.errors(), list(states(collectors))) == (["late"], {}, ["first"])
    assert collected == [("first",)] * 7
    await collectors.stop()


@pytest.mark.requirement("SENSE-7")
async def test_one_that_waits_on_the_loop_is_given_up_in_time() -> None:
    """What it waits for is cancelled, its failure says how long it may take; a later one may succeed."""
    answers, told, taken = [asyncio.Event(), asyncio.Event()], list[str](), asyncio.Event()
    answers[1].set()
    waiting = iter(answers)

    async def fetch() -> str:
        await next(waiting).wait()
        return "answer"

    collectors = Collectors(RealClock(), lambda: 0.5, InlineLane)
    collectors.add(
        Collector(
            "asks",
            50,
            20,
            lambda result: taken.set(),
            fetch=fetch,
            failed=lambda: told.append(collectors.errors()["asks"]),
        )
    )
    collectors.start()
    await asyncio.wait_for(taken.wait(), 30)
    await collectors.stop()
    assert told == ["TimeoutError: asks took longer than 20 ms"]
