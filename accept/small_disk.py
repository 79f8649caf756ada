"""A file system of a few MiB, to be filled."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accept.harness import Skipped


@contextmanager
def small_disk(mib: int) -> Iterator[Path]:
    """Mounted for as long as it is needed; skipped with its reason where nothing may be mounted."""
    with tempfile.TemporaryDirectory() as folder:
        disk = Path(folder) / "small"
        disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=700", "leasehold-accept", str(disk)]
        if subprocess.run(mount, check=False, capture_output=True).returncode:
            raise Skipped("a small file system can't be mounted here (needs root)")
        try:
            yield disk
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=False)
