"""Logs of runs that are over: kept to be read, the oldest dropped when they are too much (QUEUE-15)."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from pathlib import Path

from leasehold.adapters.hosts.run_order import DROPPED, KEPT

BYTES_MAX = 5_000_000_000
"""A hundred logs that were too long, or millions that were not."""


class Kept:
    """The folder of what is kept. For any thread."""

    def __init__(self, root: Path, bytes_max: int = BYTES_MAX) -> None:
        self._root = root
        self._bytes_max = bytes_max
        self._sizes: dict[str, int] | None = None
        self._total = 0
        self._lock = threading.Lock()

    def keep(self, folder: Path) -> None:
        """File it away, and drop the oldest if that makes too much."""
        with self._lock:
            sizes = self._known()
            os.makedirs(self._root / KEPT, mode=0o700, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                os.rename(folder, self._root / KEPT / folder.name)
            self._total -= sizes.pop(folder.name, 0)
            sizes[folder.name] = size = _size(self._root / KEPT / folder.name)
            self._total += size
            while self._total > self._bytes_max and len(sizes) > 1:
                self._drop(next(iter(sizes)))

    def drop(self, folder: Path) -> None:
        """Remove it, at once as far as anybody can see."""
        if folder.parent.name == KEPT:
            with self._lock:
                self._known()
                self._drop(folder.name)
            return
        gone = self._root / f"{DROPPED}{folder.name}"
        with contextlib.suppress(FileNotFoundError):
            os.rename(folder, gone)
        shutil.rmtree(gone, ignore_errors=True)

    def _drop(self, name: str) -> None:
        assert self._sizes is not None
        self._total -= self._sizes.pop(name, 0)
        gone = self._root / f"{DROPPED}{name}"
        with contextlib.suppress(FileNotFoundError):
            os.rename(self._root / KEPT / name, gone)
        shutil.rmtree(gone, ignore_errors=True)

    def _known(self) -> dict[str, int]:
        """Sizes by name, oldest first; read once, when something is first kept."""
        if self._sizes is None:
            found = []
            with contextlib.suppress(FileNotFoundError), os.scandir(self._root / KEPT) as entries:
                for each in entries:
                    with contextlib.suppress(FileNotFoundError):
                        found.append((each.stat().st_mtime_ns, each.name, _size(Path(each.path))))
            self._sizes = {name: size for _, name, size in sorted(found)}
            self._total = sum(self._sizes.values())
        return self._sizes


def _size(folder: Path) -> int:
    """What it takes on the disk."""
    total = 0
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for each in entries:
            with contextlib.suppress(FileNotFoundError):
                total += each.stat(follow_symlinks=False).st_blocks * 512
    return total
