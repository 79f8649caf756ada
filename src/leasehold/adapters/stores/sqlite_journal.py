"""The journal (WAL) of the SQLite store: when its pages are moved to the file, and by whom.

Moving 32 MiB at once would hold up every commit behind it for 50 to 150 ms. So a thread of its own moves the
bulk in pieces while the writer goes on, which SQLite allows; only when little is left does the writer move
the rest itself, between two commits, so that the journal can begin again at its start.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
import threading
from collections.abc import Callable
from pathlib import Path

CHECKPOINT_FRAMES = 8_192
"""Pages (4 KiB) after which the journal is to begin again: 32 MiB, read in 0.1 s after a crash."""

IDLE_FRAMES = 1_000
"""Pages that are worth moving when nothing else is to do; fewer wait, for each move costs flushes of its
own.
"""


class Journal:
    """Of one open store. All methods but `kick`'s work run on the writer's thread."""

    def __init__(self, path: Path, connect: Callable[[], sqlite3.Connection]) -> None:
        """`connect` makes a connection to the same file, with the writer's settings."""
        self.shrink = False
        """The disk is full: cut the journal, which may be most of what we take."""
        self.held = False
        """A snapshot is being read that keeps the journal from beginning again: the writer must not try."""
        self._behind = False
        self._connect = connect
        self._index = os.open(f"{path}-shm", os.O_RDONLY | os.O_CLOEXEC)
        self._mover: Mover | None = None

    def frames(self) -> tuple[int, int]:
        """Pages in the journal, and those of them that are not in the file yet.

        Read from the WAL-index (sqlite.org/walformat.html).
        """
        header = os.pread(self._index, 100, 0)
        if len(header) < 100:
            return 0, 0
        newest: int = struct.unpack_from("=I", header, 16)[0]
        moved: int = struct.unpack_from("=I", header, 96)[0]
        return newest, max(0, newest - moved)

    def after(self, connection: sqlite3.Connection) -> bool:
        """Look after the journal when a job is done. True: `tidy` is worth it once nothing else is to do."""
        newest, unmoved = self.frames()
        if self._catching_up(unmoved):
            return False
        is_long = newest >= CHECKPOINT_FRAMES and unmoved <= CHECKPOINT_FRAMES // 8
        if self.shrink or is_long or newest >= 2 * CHECKPOINT_FRAMES:
            if unmoved or self.shrink:
                self.tidy(connection)
            return False
        if unmoved >= CHECKPOINT_FRAMES // 4:
            self._kick()
        return unmoved >= IDLE_FRAMES

    def _catching_up(self, unmoved: int) -> bool:
        """While a snapshot is read, and until what has gathered by then has been moved, the thread moves it:
        in one piece it would hold the writer up.
        """
        self._behind = self._behind or self.held
        if not self._behind or self.shrink:
            return False
        if not self.held and unmoved <= CHECKPOINT_FRAMES // 8:
            self._behind = False
            return False
        if unmoved >= IDLE_FRAMES:
            self._kick()
        return True

    def tidy(self, connection: sqlite3.Connection) -> None:
        """Move the journal's pages to the file. What fails is tried again later: the journal keeps them."""
        with contextlib.suppress(sqlite3.Error):
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            if self.shrink:
                self._give_room_back(connection)

    def close(self) -> None:
        """End the mover. The index is closed by `release`, after the writer's connection."""
        if self._mover is not None:
            self._mover.stop()
            self._mover = None

    def release(self) -> None:
        """Closing the index drops SQLite's locks on the same file: only when no connection is left."""
        os.close(self._index)

    def _kick(self) -> None:
        if self._mover is None:
            self._mover = Mover(self._connect)
        self._mover.wanted.set()

    def _give_room_back(self, connection: sqlite3.Connection) -> None:
        (busy_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
        connection.execute("PRAGMA busy_timeout = 0").fetchall()
        try:
            is_busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            self.shrink = bool(is_busy)
        finally:
            connection.execute(f"PRAGMA busy_timeout = {busy_ms}").fetchall()


class Mover:
    """A thread that moves what is in the journal when `wanted`. What fails is left to the writer."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self.wanted = threading.Event()
        self._connect = connect
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="leasehold-journal", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Wait for what is being moved."""
        self._ended = True
        self.wanted.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            connection = self._connect()
        except sqlite3.Error:
            return  # The writer moves all of it, as long as it takes.
        with contextlib.closing(connection):
            while True:
                self.wanted.wait()
                self.wanted.clear()
                if self._ended:
                    return
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
