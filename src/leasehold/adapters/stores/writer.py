"""One thread that does a store's writing, job by job, so that the event loop never waits for a disk."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sys
import threading
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

from leasehold.ports.store import StoreError

T = TypeVar("T")
Job: TypeAlias = tuple[Callable[[], Any], asyncio.Future[Any]]

SWITCH_S = 0.0005
"""How long the loop may keep the interpreter from this thread. CPython's own 5 ms are longer than a flush
takes, and everyone who waits for a batch would wait for them too."""

IDLE_S = 1.0
"""After this long without a job the thread tidies up."""


class WriterThread:
    """Runs jobs in order. What a job raises becomes its caller's; nothing that a job does ends the thread.

    `after` runs after each job's answer has been sent, `idle` once when no job has come for a while; both
    on the thread. `after` says whether `idle` has anything to do. Neither may raise.
    """

    def __init__(self, name: str, *, after: Callable[[], bool], idle: Callable[[], None]) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._after = after
        self._idle = idle
        self._running = True
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        if sys.getswitchinterval() > SWITCH_S:
            sys.setswitchinterval(SWITCH_S)
        self._thread.start()

    def call(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """Queue a job; the future is done when it has run. StoreError when the thread has been stopped."""
        if not self._running:
            raise StoreError("the store is not open")
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs.put((job, future))
        return future

    async def stop(self, last: Callable[[], None]) -> None:
        """Run what is queued, then `last`, and end the thread."""
        done = self.call(last)
        self._running = False
        self._jobs.put(None)
        try:
            await done
        finally:
            self._thread.join()

    def _run(self) -> None:
        tidy = False
        while True:
            try:
                job = self._jobs.get(timeout=IDLE_S if tidy else None)
            except queue.Empty:
                self._idle()
                tidy = False
                continue
            if job is None:
                return
            work, future = job
            try:
                outcome, error = work(), None
            except BaseException as exc:  # noqa: BLE001  (whatever it is belongs to who waits for this job)
                outcome, error = None, exc
            self._answer(future, outcome, error)
            del work, future, outcome, error, job
            tidy = self._after()

    def _answer(self, future: asyncio.Future[Any], outcome: Any, error: BaseException | None) -> None:
        with contextlib.suppress(RuntimeError):  # The loop has been closed: nobody waits any more.
            self._loop.call_soon_threadsafe(_settle, future, outcome, error)


def _settle(future: asyncio.Future[Any], outcome: Any, error: BaseException | None) -> None:
    if future.done():
        return  # Cancelled by who waited.
    if error is None:
        future.set_result(outcome)
    else:
        future.set_exception(error)
