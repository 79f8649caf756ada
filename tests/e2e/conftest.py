"""What tests of the whole program share: one running server per file, idle between tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.machine import Machine, machine


@pytest.fixture(scope="module")
def server() -> Iterator[Machine]:
    """One server for the file."""
    with machine() as found:
        yield found


@pytest.fixture
def here(server: Machine) -> Iterator[Machine]:
    """The machine, with nothing held before or after."""
    server.until_idle()
    yield server
    server.until_idle()
