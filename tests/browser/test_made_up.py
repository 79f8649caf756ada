"""A server of made-up data says so over every page, and a measured one never does (`leasehold demo`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from leasehold.adapters.stores import made_up as mark
from leasehold.model.made_up import MadeUp
from tests.api.real_server import RealServer
from tests.browser.conftest import SHOTS, WEB, Opened

LOOKS = [("desktop", "light"), ("phone", "dark")]


@pytest.fixture
def machine(folder: Path, request: pytest.FixtureRequest) -> Iterator[RealServer]:
    """A server on a folder that is marked, unless the test wants it measured."""
    server = RealServer(folder)
    if "measured" not in request.node.name:
        server.data.mkdir(parents=True, exist_ok=True)
        mark.write(server.data, MadeUp(7, 8, "Europe/Berlin", 1_764_150_000_000))
    with server as running:
        yield running


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_the_banner_is_over_every_page(machine: RealServer, visit: Opened, size: str, scheme: str) -> None:
    """It stands at the top of each page, stays there when one scrolls, and is accessible."""
    seen = visit(size=size, scheme=scheme)
    for path in ("/", "/queue"):
        seen.page.goto(f"http://127.0.0.1:{machine.port}{path}")
        banner = seen.page.get_by_role("complementary", name="Made-up data")
        banner.wait_for()
        assert "MADE-UP DATA: a demo from seed 7" in banner.inner_text()
        seen.page.mouse.wheel(0, 4_000)
        box = banner.bounding_box()
        assert box is not None
        assert box["y"] == 0
        bar = seen.page.locator(".top").bounding_box()
        assert bar is not None
        assert bar["y"] == pytest.approx(box["height"], abs=1), "nothing is covered"
    SHOTS.mkdir(parents=True, exist_ok=True)
    seen.page.screenshot(path=str(SHOTS / f"made-up-{size}-{scheme}.png"))
    assert seen.violations(WEB) == []
    assert seen.overflow() == 0
    assert seen.complaints == []


def test_a_measured_server_has_no_banner(machine: RealServer, visit: Opened) -> None:
    """Where figures are measured nothing speaks of made-up data."""
    seen = visit()
    seen.page.wait_for_selector("h1")
    assert seen.page.locator(".made-up").count() == 0
    assert "MADE-UP" not in seen.page.content()
