"""Waiting for something to happen in a folder: inotify where there is some, else looking again."""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from pathlib import Path

IN_MODIFY, IN_CREATE, IN_MOVED_TO, IN_MOVE_SELF = 0x2, 0x100, 0x80, 0x800
WANTED = IN_MODIFY | IN_CREATE | IN_MOVED_TO | IN_MOVE_SELF
IN_Q_OVERFLOW = 0x4000
EVENT = struct.Struct("iIII")
POLL_S = 1.0
"""A safety net beside inotify."""
POLL_BARE_S = 0.1


class Changes:
    """Tells whoever waits that a folder has changed. On the event loop only."""

    def __init__(self) -> None:
        self._descriptor: int | None = None
        self._libc: ctypes.CDLL | None = None
        self._waiting: dict[int, set[asyncio.Event]] = {}

    def close(self) -> None:
        if self._descriptor is not None and self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
        self._descriptor = None

    def watch(self, folder: Path) -> Watch:
        """Take note of changes from now on, until `Watch.close`."""
        event = asyncio.Event()
        number = self._add(folder)
        if number is not None:
            self._waiting.setdefault(number, set()).add(event)
        return Watch(self, number, event)

    def _add(self, folder: Path) -> int | None:
        if self._descriptor is None:
            self._open()
        if self._libc is None or self._descriptor is None or self._descriptor < 0:
            return None
        number: int = self._libc.inotify_add_watch(self._descriptor, os.fsencode(folder), WANTED)
        return number if number >= 0 else None

    def _open(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = int(self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
        if self._descriptor >= 0:
            asyncio.get_running_loop().add_reader(self._descriptor, self._changed)

    def _changed(self) -> None:
        assert self._descriptor is not None
        try:
            data = os.read(self._descriptor, 65_536)
        except BlockingIOError:
            return
        at = 0
        while at + EVENT.size <= len(data):
            number, mask, _, length = EVENT.unpack_from(data, at)
            at += EVENT.size + length
            everybody = mask & IN_Q_OVERFLOW
            for each in list(self._waiting) if everybody else [number]:
                for event in self._waiting.get(each, ()):
                    event.set()

    def drop(self, number: int | None, event: asyncio.Event) -> None:
        """Nobody waits there by this event any more."""
        events = self._waiting.get(number) if number is not None else None
        if number is None or events is None:
            return
        events.discard(event)
        if not events:
            del self._waiting[number]
            if self._libc is not None and self._descriptor is not None:
                self._libc.inotify_rm_watch(self._descriptor, number)


class Watch:
    """One who waits."""

    def __init__(self, changes: Changes, number: int | None, event: asyncio.Event) -> None:
        self._changes = changes
        self._number = number
        self._event = event

    async def next(self, timeout_s: float) -> None:
        """Return when something has happened since the last call, or it is time to look anyway."""
        most_s = POLL_S if self._number is not None else POLL_BARE_S
        try:
            await asyncio.wait_for(self._event.wait(), min(timeout_s, most_s))
        except TimeoutError:
            return
        self._event.clear()

    def close(self) -> None:
        self._changes.drop(self._number, self._event)
