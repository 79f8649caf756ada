"""What the tests of the SQLite store share."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from leasehold.adapters.stores.sqlite import FILE_NAME, SqliteStore


def store_in(folder: Path, **more: Any) -> SqliteStore:
    return SqliteStore(folder, wall_ms=lambda: 0, **more)


def meeting(meet: Callable[[str], None]) -> type[sqlite3.Connection]:
    """A connection that hands each statement to `meet` before it is run."""

    class Meeting(sqlite3.Connection):
        def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
            meet(statement)
            return super().execute(statement, *parameters)

    return Meeting


def edit(folder: Path, *statements: str) -> None:
    connection = sqlite3.connect(folder / FILE_NAME, isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()
