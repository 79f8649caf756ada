"""Connections that only read, on threads of their own: in WAL mode they never wait for the writer."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from leasehold.adapters.stores.sqlite_check import UNREADABLE, corrupt
from leasehold.ports.store import StoreError

T = TypeVar("T")

READERS = 2
"""Threads, each with a connection of its own: one long answer does not hold up all others."""


class Readers:
    """Close them before the store: its last connection tidies the journal away."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._pool = ThreadPoolExecutor(READERS, thread_name_prefix=name)
        self._here = threading.local()
        self._closed = False
        self._connections: list[sqlite3.Connection] = []

    async def ask(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Run `query` on a connection of its own. Raises StoreError."""
        if self._closed:
            raise StoreError(f"{self._path} is not open")
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._ask, query)

    async def close(self) -> None:
        """Wait for what is being read, and end. Idempotent."""
        self._closed = True
        await asyncio.to_thread(self._pool.shutdown)
        for connection in self._connections:
            connection.close()
        self._connections.clear()

    def _ask(self, query: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return query(self._connection())
        except sqlite3.OperationalError as exc:
            raise StoreError(f"{self._path} can't be read: {exc}") from exc
        except UNREADABLE as exc:
            raise corrupt(str(self._path), exc) from exc

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._here, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                f"{self._path.resolve().as_uri()}?mode=ro",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
            )
            connection.execute("PRAGMA cache_size = -1000")
            self._here.connection = connection
            self._connections.append(connection)
        return connection
