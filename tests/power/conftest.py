"""Where images of disks are laid out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is some to write to: images are thrown away, and flushes cost time."""
    shared = Path("/dev/shm")
    folder = shared / f"leasehold-power-{os.getpid()}" if os.access(shared, os.W_OK) else tmp_path / "images"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)
