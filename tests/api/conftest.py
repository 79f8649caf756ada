"""A real server for the tests of its edge: a process of its own, a scratch folder, preset `always`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.real_server import RealServer


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder with a path short enough for the name of a Unix socket."""
    folder = Path(tempfile.mkdtemp(prefix="lh-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def server() -> Iterator[RealServer]:
    """One running server for all tests of a file; they leave nothing behind that the next would trip over."""
    folder = Path(tempfile.mkdtemp(prefix="lh-"))
    with RealServer(folder) as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)
