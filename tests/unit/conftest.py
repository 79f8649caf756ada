"""A server that answers as a test tells it to, for programs with leases of their own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.cli_scripted_server import QUICK, Scripted, beat, serving


@pytest.fixture
def program_data(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder that programs of this test look for their server in, and no other one."""
    folder = Path(tempfile.mkdtemp(prefix="lh-"))
    for name in [name for name in os.environ if name.startswith("LEASEHOLD") or name == "CI"]:
        monkeypatch.delenv(name)
    for name in ("LEASEHOLD_DATA", "HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("LEASEHOLD_RUN_DIR", str(folder / "r"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def scripted(program_data: Path) -> Iterator[Scripted]:
    """A scripted server on that folder, whose leases are renewed five times a second."""
    with serving(program_data) as found:
        found.on["POST", "/heartbeat"] = lambda body: (200, beat(limits=QUICK))
        yield found
