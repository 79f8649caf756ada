"""The slow disk: a library that makes each flush wait, preloaded into every program that a benchmark starts.

It costs each program that flushes the same, so that ours and the peers stand on the same disk; a real one
would also make them wait for each other.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

FLUSH_US = 3_300
"""About 300 flushes a second: what virtual disks fall to for minutes at a time."""


def environment(cache: Path, flush_us: int = FLUSH_US) -> dict[str, str]:
    """The variables that preload it; built into `cache` where it is not there. RuntimeError without `cc`."""
    source = Path(__file__).with_name("slow_flush.c")
    library = cache / "slow_flush.so"
    if not library.exists() or library.stat().st_mtime < source.stat().st_mtime:
        compiler = shutil.which("cc")
        if compiler is None:
            raise RuntimeError("no C compiler `cc`, so the slow disk can't be made; install gcc")
        subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "BENCH_FLUSH_US": str(flush_us)}
