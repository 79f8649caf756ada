"""Threads for calls that block on the kernel.

One each, so that one that hangs holds up no other (SENSE-7).
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from leasehold.model.errors import Overloaded

ResultT = TypeVar("ResultT")
Job = tuple[Callable[[], Any], "asyncio.Future[Any]"]

SETTLE_S = 0.004
"""Between the asking and the call. What is measured is the machine, and the thread that has just asked is
still runnable then, in want of the interpreter: without this wait the kernel's count of runnable tasks was
0.9 too high in the mean, and read as somebody else's.
"""


class ThreadLane:
    """Runs blocking calls one after the other on a thread of its own, started with the first.

    At most `waiting_max` calls wait; one more raises Overloaded. The thread is a daemon: a call that never
    comes back does not keep the process from ending. A caller that was cancelled leaves its call running;
    `busy` says so.
    """

    def __init__(self, name: str, waiting_max: int = 64) -> None:
        self._name = name
        self._waiting_max = waiting_max
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._running = 0

    @property
    def busy(self) -> bool:
        """Whether a call is still running or waiting."""
        return self._running > 0

    async def run(self, function: Callable[..., ResultT], *arguments: Any) -> ResultT:
        """Await `function(*arguments)`, run on the thread. Raises what it raises."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        if self._running > self._waiting_max:
            raise Overloaded(
                f"{self._name}: {self._running} calls are waiting already; try again", retry_after_s=2
            )
        future: asyncio.Future[ResultT] = asyncio.get_running_loop().create_future()
        self._running += 1
        self._jobs.put((lambda: function(*arguments), future))
        return await future

    def close(self) -> None:
        """Let the thread end once it has nothing left to do. Does not wait for it."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread = None

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            call, future = job
            result: Any = None
            failure: BaseException | None = None
            time.sleep(SETTLE_S)
            try:
                result = call()
            except BaseException as error:  # noqa: BLE001 - it belongs to the caller, not to this thread
                failure = error
            try:
                future.get_loop().call_soon_threadsafe(self._done, future, result, failure)
            except RuntimeError:
                return  # the loop is closed: nobody waits any more

    def _done(self, future: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
        self._running -= 1
        if future.done():
            return
        if failure is not None:
            future.set_exception(failure)
        else:
            future.set_result(result)
