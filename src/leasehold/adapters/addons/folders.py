"""How much a folder holds, by a walk that gives up in time (SENSE-5)."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from leasehold.model.addon import FolderSize

ENTRIES_MAX = 200_000
"""The folders that are still to be read are entries too, so this bounds the walk's memory as well."""

WALK_S = 2.0
LOOK_EVERY = 256
"""Entries between two looks at the clock."""

BLOCK_BYTES = 512
NS_PER_S = 1_000_000_000


class LocalFolders:
    """The port `Folders`. `elapsed_ns` is a clock that only ever grows."""

    def __init__(
        self,
        elapsed_ns: Callable[[], int],
        *,
        entries_max: int = ENTRIES_MAX,
        walk_s: float = WALK_S,
    ) -> None:
        self._elapsed_ns = elapsed_ns
        self._entries_max = entries_max
        self._walk_s = walk_s

    def problem(self, path: str) -> str:
        """A link is refused: what it points to could become another folder."""
        if not os.path.isabs(path):
            return "expected an absolute path"
        try:
            found = os.lstat(path)
        except (OSError, ValueError) as error:  # ValueError: letters that no file name can have.
            return f"expected a folder that is there ({getattr(error, 'strerror', None) or 'no such name'})"
        if stat.S_ISLNK(found.st_mode):
            return "expected the folder itself, not a link to it"
        return "" if stat.S_ISDIR(found.st_mode) else "expected a folder"

    def size(self, path: str) -> FolderSize:
        """Bytes that its files take on the disk, each hard-linked file once."""
        return _Walk(self._elapsed_ns, self._entries_max, self._walk_s).run(path)


class _Walk:
    """One walk, with what it has counted so far."""

    def __init__(self, elapsed_ns: Callable[[], int], entries_max: int, walk_s: float) -> None:
        self._elapsed_ns = elapsed_ns
        self._entries_max = entries_max
        self._walk_s = walk_s
        self._ends_ns = elapsed_ns() + int(walk_s * NS_PER_S)
        self._device = 0
        self._linked: set[int] = set()
        self._waiting: list[str] = []
        self._bytes = self._entries = self._unread = 0
        self._stopped = ""

    def run(self, path: str) -> FolderSize:
        self._count_all(path)
        while self._waiting and not self._stopped:
            try:
                self._count_all(self._waiting.pop())
            except OSError:  # Gone since, a link by now, or not for us to read.
                self._unread += 1
        return FolderSize(self._bytes, self._entries, self._stopped, self._unread)

    def _count_all(self, path: str) -> None:
        """The entries of one folder. Raises OSError where it can't be read, or is none any more."""
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            device = os.fstat(folder).st_dev
            self._device = self._device or device
            if device != self._device:
                return
            with os.scandir(folder) as entries:
                for entry in entries:
                    if self._is_over():
                        return
                    self._count(entry, path)
        finally:
            os.close(folder)

    def _is_over(self) -> bool:
        if self._entries >= self._entries_max:
            self._stopped = f"stopped after {self._entries_max} entries"
        elif self._entries % LOOK_EVERY == 0 and self._elapsed_ns() > self._ends_ns:
            self._stopped = f"stopped after {self._walk_s:g} s"
        self._entries += not self._stopped
        return bool(self._stopped)

    def _count(self, entry: os.DirEntry[str], above: str) -> None:
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError:
            return
        if found.st_dev != self._device:
            return
        if stat.S_ISDIR(found.st_mode):
            self._waiting.append(os.path.join(above, entry.name))
        elif found.st_nlink > 1:
            if found.st_ino in self._linked:
                return
            self._linked.add(found.st_ino)
        self._bytes += found.st_blocks * BLOCK_BYTES
