"""Collectors, each on its own.

Interval with jitter, timeout, captured failure, off the event loop (SENSE-7, 8).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import msgspec
import structlog

from leasehold.ports.clock import Clock

log = structlog.get_logger(__name__)

JITTER_PCT = 10
STOP_S = 2.0  # SENSE-7: a shutdown waits no longer for collectors
ERROR_CHARS_MAX = 500  # of a failure's text that is kept and shown


class Lane(Protocol):
    """Where one collector's blocking calls run."""

    @property
    def busy(self) -> bool:
        """Whether an earlier call has not come back."""
        ...

    def run(self, function: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:
        """Await `function(*arguments)` off the event loop."""
        ...

    def close(self) -> None:
        """Take no more calls. Does not wait."""
        ...


class Collector(msgspec.Struct, frozen=True):
    """One thing that is collected.

    `prepare` runs on the loop and gives the arguments of `collect`, which blocks elsewhere; `take` gets its
    result on the loop, or what `prepare` gave where there is nothing to call. `fetch` stands in the place of
    `collect` for what waits without blocking, and is awaited on the loop. `failed` is told of a failure,
    `removed` of the end.
    `warm_up_ms` are the waits before the runs that follow the first; `sooner` may shorten any other.
    """

    name: str
    interval_ms: int
    timeout_ms: int
    take: Callable[[Any], None]
    collect: Callable[..., Any] | None = None
    fetch: Callable[..., Awaitable[Any]] | None = None
    prepare: Callable[[], tuple[Any, ...]] = tuple
    failed: Callable[[], None] = lambda: None
    removed: Callable[[], None] = lambda: None
    warm_up_ms: tuple[int, ...] = ()
    sooner: Callable[[int], int] | None = None


class CollectorState(msgspec.Struct):
    """SENSE-8. Times are on the ledger's clock; durations are of the call alone, without the wait for it."""

    name: str
    interval_ms: int
    runs: int = 0
    last_start_ms: int | None = None
    last_duration_ms: int | None = None
    last_error: str | None = None
    consecutive_failures: int = 0
    next_run_ms: int | None = None
    late_ms: int = 0


class Collectors:
    """Runs collectors until stopped. `jitter` gives numbers from 0 to 1; `lane` makes a lane by its name."""

    def __init__(self, clock: Clock, jitter: Callable[[], float], lane: Callable[[str], Lane]) -> None:
        self._clock = clock
        self._jitter = jitter
        self._make_lane = lane
        self._collectors: dict[str, Collector] = {}
        self._states: dict[str, CollectorState] = {}
        self._lanes: dict[str, Lane] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._runs = False

    def add(self, collector: Collector) -> None:
        """Names are unique. One that is added after `start` runs at once."""
        assert collector.name not in self._collectors, collector.name
        self._collectors[collector.name] = collector
        self._states[collector.name] = CollectorState(collector.name, collector.interval_ms)
        if collector.collect is not None:
            self._lanes[collector.name] = self._make_lane(f"collect-{collector.name}")
        if self._runs:
            self._begin(collector)

    def remove(self, name: str) -> None:
        """End one, and forget it. A call of it that blocks ends by itself. Idempotent."""
        collector = self._collectors.pop(name, None)
        if collector is None:
            return
        del self._states[name]
        task, lane = self._tasks.pop(name, None), self._lanes.pop(name, None)
        if task is not None:
            task.cancel()
        if lane is not None:
            lane.close()
        collector.removed()

    def start(self) -> None:
        """Run every collector at once and then by its interval."""
        self._runs = True
        for collector in list(self._collectors.values()):
            self._begin(collector)

    def _begin(self, collector: Collector) -> None:
        self._tasks[collector.name] = asyncio.get_running_loop().create_task(
            self._run(collector), name=f"collect-{collector.name}"
        )

    async def stop(self) -> None:
        """Cancel all within `STOP_S`, also those that hang."""
        self._runs = False
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=STOP_S)
        for lane in self._lanes.values():
            lane.close()
        for collector in self._collectors.values():
            collector.removed()
        self._tasks.clear()

    def states(self) -> list[CollectorState]:
        """By name."""
        return [self._states[name] for name in sorted(self._states)]

    def errors(self) -> dict[str, str]:
        """The last failure of each collector that has not succeeded since (SENSE-1)."""
        return {name: state.last_error for name, state in sorted(self._states.items()) if state.last_error}

    async def once(self, name: str) -> None:
        """One run of one collector, now."""
        await self._attempt(self._collectors[name], self._states[name], self._clock.now_ms())

    async def _run(self, collector: Collector) -> None:
        state = self._states[collector.name]
        due_ms = self._clock.now_ms()
        while True:
            await self._attempt(collector, state, due_ms)
            # From its real start: one that was late does not run twice to make up for it.
            due_ms = (state.last_start_ms or due_ms) + self._pause_ms(collector, state.runs)
            state.next_run_ms = due_ms
            await self._clock.sleep(max(0, due_ms - self._clock.now_ms()))

    def _pause_ms(self, collector: Collector, runs: int) -> int:
        if runs <= len(collector.warm_up_ms):
            return collector.warm_up_ms[runs - 1]
        spread = collector.interval_ms * JITTER_PCT // 100
        pause_ms = collector.interval_ms - spread + int(self._jitter() * 2 * spread)
        return pause_ms if collector.sooner is None else collector.sooner(pause_ms)

    async def _attempt(self, collector: Collector, state: CollectorState, due_ms: int) -> None:
        """One run; whatever goes wrong in it stays in it."""
        started_ms = self._clock.now_ms()
        state.runs += 1
        state.last_start_ms, state.late_ms = started_ms, max(0, started_ms - due_ms)
        try:
            collector.take(await self._collected(collector))
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - a collector that fails harms no other
            self._failed(collector, state, error)
        else:
            if state.last_error is not None:
                log.info("collector_recovered", collector=collector.name, failures=state.consecutive_failures)
            state.last_error, state.consecutive_failures = None, 0
        state.last_duration_ms = self._clock.now_ms() - started_ms

    async def _collected(self, collector: Collector) -> Any:
        if collector.fetch is not None:
            return await self._within(collector, collector.fetch(*collector.prepare()))
        if collector.collect is None:
            return collector.prepare()
        lane = self._lanes[collector.name]
        if lane.busy:
            raise TimeoutError(f"an earlier run of {collector.name} has not come back")
        return await self._within(collector, lane.run(collector.collect, *collector.prepare()))

    async def _within(self, collector: Collector, call: Awaitable[Any]) -> Any:
        timeout = asyncio.timeout(collector.timeout_ms / 1000)
        try:
            async with timeout:
                return await call
        except TimeoutError:
            if not timeout.expired():
                raise
            raise TimeoutError(f"{collector.name} took longer than {collector.timeout_ms} ms") from None

    def _failed(self, collector: Collector, state: CollectorState, error: Exception) -> None:
        state.consecutive_failures += 1
        text = f"{type(error).__name__}: {error}"[:ERROR_CHARS_MAX]
        if state.last_error != text:
            log.warning("collector_failed", collector=collector.name, why=text)
        state.last_error = text
        collector.failed()
