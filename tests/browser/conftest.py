"""A real Chromium and a real server with a few leases, for the tests of the page."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from leasehold.testing import browser as real
from tests.api.browser_session import new_code
from tests.api.real_server import RealServer

WEB = Path(__file__).parents[2] / "web"
SHOTS = Path(__file__).parents[2] / "reports" / "screenshots"

Opened = Callable[..., real.Visit]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of these need a browser; where there is none they say so."""
    lacking = real.missing(WEB)
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.slow)
            if lacking:
                item.add_marker(pytest.mark.skip(reason=lacking))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """One browser for the tests of a file."""
    with real.browser() as started:
        yield started


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a path short enough for the name of a Unix socket."""
    made = Path(tempfile.mkdtemp(prefix="lh-"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def machine(folder: Path) -> Iterator[RealServer]:
    """A server of this test's own, quiet whatever this machine does."""
    with RealServer(folder) as running:
        yield running


@pytest.fixture
def visit(chromium: Any, machine: RealServer) -> Iterator[Opened]:
    """Open the page signed in: `visit(role=…, size=…, scheme=…, port=…)`."""
    opened: list[real.Visit] = []

    def open_page(role: str = "admin", port: int = 0, **options: str) -> real.Visit:
        one = real.Visit(chromium, **options)
        opened.append(one)
        one.sign_in(f"http://127.0.0.1:{port or machine.port}/sign-in#{new_code(machine, role)}")
        return one

    yield open_page
    for one in opened:
        one.close()


def held(machine: RealServer, **asked: Any) -> Any:
    """A lease that was taken up: it lives for a minute and more without another word."""
    lease = machine.lease(**asked)
    path = f"/api/scheduler/lease/{lease['lease_id']}"
    own = {"fencing_token": lease["fencing_token"]}
    assert machine.post(f"{path}/heartbeat", own).status == 200
    return lease


def busy(machine: RealServer) -> None:
    """Three leases, one of which tells its progress, and one that waits."""
    for label, units in (("train the model", 40), ("make test", 25), ("backup of the photos", 15)):
        lease = held(machine, label=label, job_type="build", cost_units=units)
    own = {"fencing_token": lease["fencing_token"], "progress": 0.4}
    assert machine.post(f"/api/scheduler/lease/{lease['lease_id']}/report", own).status == 200
    asked = machine.post("/api/scheduler/lease/request", {"cost_units": 60, "label": "render the film"})
    assert asked.json["approved"] is False
