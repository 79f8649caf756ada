"""What a benchmark is handed: its scratch folder, ports, length, and a line to say what it is doing."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Setup:
    """`scratch` stands on the disk that durable figures are about; `cache` keeps peers between runs."""

    scratch: Path
    cache: Path
    reports: Path
    port_base: int
    is_quick: bool
    is_profiled: bool
    rest_minutes: float
    round_count: int | None = None
    preload: Mapping[str, str] = field(default_factory=dict)
    """Variables for all programs, ours and the peers': the slow disk, where that is measured."""

    @property
    def rounds(self) -> int:
        return self.round_count or (1 if self.is_quick else 5)

    @property
    def warm_s(self) -> float:
        return 0.5 if self.is_quick else 1.0

    @property
    def measure_s(self) -> float:
        return 2.0 if self.is_quick else 4.0

    def folder(self, name: str) -> Path:
        """A fresh folder in scratch."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.scratch))

    def say(self, text: str) -> None:
        print(f"bench: {text}", file=sys.stderr, flush=True)

    def environment(self, **more: str) -> dict[str, str]:
        """A small environment of its own, so that no outer lease or setting leaks into what is measured."""
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.scratch),
            "LANG": "C.UTF-8",
            "TMPDIR": str(self.scratch),
            **self.preload,
            **more,
        }


def cache_folder() -> Path:
    """Where peers are unpacked: `$XDG_CACHE_HOME/leasehold-bench`, kept until `--clean`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "leasehold-bench"


@contextmanager
def scratch_folder(cache: Path) -> Iterator[Path]:
    """A throw-away folder on the cache's disk; short, because Unix socket paths end at 107 bytes."""
    cache.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=cache))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def machine(scratch: Path) -> dict[str, str]:
    """What the figures were measured on."""
    return {
        "cores": str(os.cpu_count()),
        "memory_gib": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "filesystem": filesystem_of(scratch),
        "load_before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
    }


def filesystem_of(path: Path) -> str:
    """The type of the file system that holds `path`, from the longest mount point that is its prefix."""
    best, kind = "", "unknown"
    resolved = str(path.resolve()) + "/"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        mount, mounted_kind = line.split()[1:3]
        if resolved.startswith(mount.rstrip("/") + "/") and len(mount) >= len(best):
            best, kind = mount, mounted_kind
    return kind
