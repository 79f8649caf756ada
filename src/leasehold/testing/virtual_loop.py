"""An event loop on virtual time, with a seeded order of what becomes ready at one instant (PROVE-3, 22).

Sleeping costs nothing, and the same seed gives the same interleaving. Only timers that are due at one instant
change places: the order of `call_soon` is a promise of asyncio, and is kept.

Uses of what asyncio does not document, held by a test on each supported Python: `BaseEventLoop` asks
`_selector.select(timeout)` how long to wait, and takes all timers before `time() + _clock_resolution` at
once, in the order of their times.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import random
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")

US_PER_S = 1_000_000
RESOLUTION_S = 1e-9
"""Timers of one instant are told apart by less than this, which is how their order is drawn."""


TASKS_KEPT = 4_096
"""Tasks remembered per simulated process before those that are done are forgotten."""


class Deadlock(RuntimeError):
    """Nothing is runnable and no timer is pending: whoever waits would wait for ever."""


class Life(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"
    DEAD = "dead"


class Program:
    """One simulated process: everything that was started from its context runs, stands still, or is gone."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.life = Life.RUNNING
        self.held: list[_Turn] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.context = contextvars.copy_context()
        self.context.run(PROGRAM.set, self)


class _Turn:
    """One callback, and the handle by which whoever scheduled it may cancel it."""

    __slots__ = ("args", "callback", "context", "handle")

    def __init__(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context | None
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = contextvars.copy_context() if context is None else context
        self.handle: asyncio.Handle | None = None


PROGRAM: contextvars.ContextVar[Program | None] = contextvars.ContextVar("program", default=None)


class _NoSelector:
    """Nothing comes from outside: waiting only moves the clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Deadlock("nothing is runnable and no timer is pending")
        self._loop.pass_time(timeout)
        return []

    def close(self) -> None:
        """Nothing is open."""


class VirtualLoop(asyncio.BaseEventLoop):
    """`seed` draws the order of timers that are due at one instant. Threads and sockets are refused."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._us = 0
        self._order = random.Random(seed)
        self._selector = _NoSelector(self)
        self._clock_resolution = RESOLUTION_S

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._us / US_PER_S

    @property
    def now_ms(self) -> int:
        return self._us // 1_000

    def pass_time(self, seconds: float) -> None:
        """Move the clock; whole microseconds, so that no error adds up."""
        self._us += max(0, round(seconds * US_PER_S))

    # -- one simulated process can stand still, or be killed

    def start(self, program: Program, work: Coroutine[Any, Any, ResultT]) -> asyncio.Task[ResultT]:
        """Run a coroutine as a part of that process."""
        task: asyncio.Task[ResultT] = self.create_task(work, context=program.context)
        return task

    def stop_program(self, program: Program) -> None:
        """SIGSTOP: nothing of it runs until `resume`; what becomes ready meanwhile is kept, in order."""
        if program.life is Life.RUNNING:
            program.life = Life.STOPPED

    def resume(self, program: Program) -> None:
        """SIGCONT."""
        if program.life is not Life.STOPPED:
            return
        program.life = Life.RUNNING
        held, program.held = program.held, []
        for turn in held:
            super().call_soon(self._take, turn, context=turn.context)

    def kill(self, program: Program) -> None:
        """SIGKILL: nothing of it ever runs again, no `finally` either. Its tasks are kept to the end."""
        program.life = Life.DEAD
        program.held.clear()
        for task in program.tasks:
            leave(task)

    # -- what asyncio calls

    def create_task(  # type: ignore[override]
        self, coro: Any, *, name: str | None = None, context: Any = None, **more: Any
    ) -> Any:
        """Every task is known to the process that it is a part of."""
        task = super().create_task(coro, name=name, context=context, **more)
        program = PROGRAM.get() if context is None else context.get(PROGRAM)
        if program is not None:
            if len(program.tasks) >= TASKS_KEPT:
                program.tasks = [each for each in program.tasks if not each.done()]
            program.tasks.append(task)
        return task

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        turn = _Turn(callback, args, context)
        turn.handle = super().call_soon(self._take, turn, context=turn.context)
        return turn.handle

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        instant = -(-round(when * US_PER_S * 1_000) // 1_000) / US_PER_S
        tie = self._order.random() * RESOLUTION_S * 0.9
        turn = _Turn(callback, args, context)
        handle = super().call_at(instant + tie, self._take, turn, context=turn.context)
        turn.handle = handle
        return handle

    def _take(self, turn: _Turn) -> None:
        if turn.handle is not None and turn.handle.cancelled():
            return
        program = turn.context.get(PROGRAM)
        if program is None or program.life is Life.RUNNING:
            turn.handle = None
            turn.callback(*turn.args)
        elif program.life is Life.STOPPED:
            program.held.append(turn)

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        raise RuntimeError("threads are refused: the simulation would not be deterministic")


def leave(task: asyncio.Task[Any]) -> None:
    """Let a task that will never run again go without a word."""
    if task.done():
        _ = task.cancelled() or task.exception()  # Whoever would have looked at it is gone too.
        return
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    work = task.get_coro()
    if inspect.iscoroutine(work) and inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
        work.close()


def close(loop: VirtualLoop) -> None:
    """Leave what still waits, and close the loop."""
    for task in asyncio.all_tasks(loop):
        leave(task)
    loop.close()


def run(work: Callable[[], Coroutine[Any, Any, ResultT]], seed: int) -> ResultT:
    """Run a coroutine to its end on a loop of its own. Raises Deadlock where it could never end."""
    loop = VirtualLoop(seed)
    try:
        return loop.run_until_complete(work())
    finally:
        close(loop)
