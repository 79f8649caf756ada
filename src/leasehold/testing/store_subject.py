"""What the contract suites of stores and archives share: a durable state under test, and its handles."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any, Protocol

from leasehold.ports.archive import Archive
from leasehold.ports.store import Store

HANG_S = 30
"""A test that waits for something that never comes fails after this."""


class Trouble(StrEnum):
    """What a subject can make of its next commit."""

    FAILED = "definitely not committed"
    UNKNOWN_COMMITTED = "committed, and its writer can't tell"
    UNKNOWN_LOST = "not committed, and its writer can't tell"


class Subject(Protocol):
    """One durable state under test, and what can be done to it from outside."""

    def store(self) -> Store:
        """A fresh handle, not open."""
        ...

    def archive(self, store: Store) -> Archive:
        """The archive beside an open store. It is closed with `close_archive`."""
        ...

    async def close_archive(self, archive: Archive) -> None: ...

    def arm(self, trouble: Trouble) -> None:
        """The next commit meets `trouble`. After an unknown outcome nothing can be read until `heal`."""
        ...

    def heal(self) -> None: ...

    def damage(self, key: str) -> None:
        """Spoil the value of a live record in the durable state. No store is open."""
        ...


def awaited(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test on an event loop of its own, bounded in time."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(HANG_S):
                await test(*args, **kwargs)

        asyncio.run(bounded())

    return run


@asynccontextmanager
async def opened(subject: Subject) -> AsyncIterator[Store]:
    """A store that is open for the length of the block."""
    store = subject.store()
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def live(store: Store) -> dict[str, bytes]:
    """The live records by key."""
    return dict((await store.load()).records)
