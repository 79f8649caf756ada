"""Reading kernel files: by open descriptors in the hot path, or out of a recording."""

from __future__ import annotations

import os
from collections.abc import Callable

Read = Callable[[str], "str | None"]
"""The text of a file, None where it cannot be read. The only way in which the parsers see a machine."""

SIZE_MAX = 1 << 20  # /proc/stat of a 512-core machine is about 200 kB
OPEN_MAX = 32  # the files of one tick are about ten


class KernelFiles:
    """Reads small kernel files.

    Keeping those that are read again and again open (a third less time than opening).

    For one thread at a time.
    """

    def __init__(self) -> None:
        self._open: dict[str, int] = {}

    def again(self, path: str) -> str | None:
        """Read a file that every tick reads."""
        try:
            descriptor = self._open.get(path)
            if descriptor is None:
                if len(self._open) >= OPEN_MAX:
                    return read(path)
                descriptor = self._open[path] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            return _all(descriptor)
        except OSError:
            self._drop(path)
            return None

    def _drop(self, path: str) -> None:
        descriptor = self._open.pop(path, None)
        if descriptor is not None:
            os.close(descriptor)

    def close(self) -> None:
        """Close every descriptor; reading again opens them anew."""
        for path in list(self._open):
            self._drop(path)


def _all(descriptor: int) -> str:
    """Everything from the start of the file, to `SIZE_MAX`.

    A kernel file may give less than asked per read.
    """
    parts: list[bytes] = []
    offset = 0
    while offset < SIZE_MAX and (part := os.pread(descriptor, 65_536, offset)):
        parts.append(part)
        offset += len(part)
    return b"".join(parts).decode("utf-8", "replace")


def read(path: str) -> str | None:
    """The text of a file, opened for this once."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _all(descriptor)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def number(text: str | None) -> int | None:
    """The file's only number, None where there is none (`max` and the like included)."""
    try:
        return None if text is None else int(text)
    except ValueError:
        return None
