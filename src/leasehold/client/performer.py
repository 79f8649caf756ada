"""Calling handlers: in the threads of a worker, coroutines on one event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from leasehold.client import handler as handlers_
from leasehold.client.handler import End, Handler
from leasehold.client.work import Work, entered

Perform = Callable[[Work], End]


class Performer(Protocol):
    """Calls handlers; `slot` is entered by each thread that does."""

    def slot(self) -> Any: ...
    def kill(self) -> None: ...
    def close(self) -> None: ...


class Threads:
    """In the thread that asks. What does not look at `should_stop` can't be ended."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    @contextmanager
    def slot(self) -> Iterator[Perform]:
        yield self._perform

    def kill(self) -> None:
        """Nothing can end a thread."""

    def close(self) -> None:
        """The event loop ends, when what runs on it is over."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _perform(self, work: Work) -> End:
        found = self._handlers[work.job_type]
        try:
            if found.is_async:
                return asyncio.run_coroutine_threadsafe(_awaited(found, work), self._event_loop()).result()
            with entered(work) as context:
                return handlers_.done(found.call(work.document.get("payload"), context))
        except BaseException as error:  # noqa: BLE001 - whatever it raises is how its job ended
            return handlers_.failed(error, work)

    def _event_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=self._turn, args=(self._loop,), name="leasehold-loop", daemon=True
                ).start()
            return self._loop

    @staticmethod
    def _turn(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()
        loop.close()


async def _awaited(found: Handler, work: Work) -> End:
    try:
        with entered(work) as context:
            return handlers_.done(await found.call(work.document.get("payload"), context))
    except BaseException as error:  # noqa: BLE001 - whatever it raises is how its job ended
        return handlers_.failed(error, work)
