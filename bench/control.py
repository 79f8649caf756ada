"""The control beside each durable figure: how often this disk can append 4 KiB and flush it, per second.

The disk of a virtual machine may be many times slower in one minute than in the next, so a durable
figure means nothing without this one, taken just before and after it, on the same file system. It is a
floor for what one flush costs, not a bound on grants: group commit puts many of them into one flush.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

BLOCK = bytes(range(256)) * 16
"""4 KiB that do not compress to nothing."""


def flushes_per_s(folder: Path, measure_s: float) -> float:
    """Append 4 KiB and `fdatasync`, again and again for `measure_s`, to a file in `folder`; the rate."""
    path = folder / "control.bin"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        began_at = time.perf_counter()
        count = 0
        while time.perf_counter() - began_at < measure_s:
            os.write(descriptor, BLOCK)
            os.fdatasync(descriptor)
            count += 1
        return count / (time.perf_counter() - began_at)
    finally:
        os.close(descriptor)
        path.unlink(missing_ok=True)
