"""The control beside each durable figure: how often this disk can append 4 KiB and flush it, per second.

The disk of a virtual machine may be many times slower in one minute than in the next, so a durable
figure means nothing without this one, taken just before and after it, on the same file system. It is a
floor for what one flush costs, not a bound on grants: group commit puts many of them into one flush.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from bench.setup import Setup

CONTROL_S = 0.5
ROOT = Path(__file__).resolve().parent.parent
BLOCK = bytes(range(256)) * 16
"""4 KiB that do not compress to nothing."""


def flushes_of(setup: Setup, measure_s: float = CONTROL_S) -> float:
    """The same in a process of its own, which stands on the slow disk where the programs do."""
    argv = [sys.executable, "-m", "bench.control", str(setup.scratch), str(measure_s)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=setup.environment(), cwd=ROOT)
    return float(done.stdout)


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


if __name__ == "__main__":
    print(flushes_per_s(Path(sys.argv[1]), float(sys.argv[2])))
