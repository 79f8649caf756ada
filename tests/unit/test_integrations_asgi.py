"""The middleware for other programs: what it counts, whom it tells, and that it harms nothing (SENSE-22)."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from leasehold.client.endpoint import Endpoint
from leasehold.integrations.asgi import CUSTOM_BYTES_MAX, LeaseholdStats, Push, figures

STATS = "/api/addons/shop/stats"


async def page(request: Request) -> PlainTextResponse:
    """A page that fails where it is told to."""
    return PlainTextResponse("page", status_code=int(request.query_params.get("status", "200")))


def program() -> Starlette:
    return Starlette(routes=[Route("/page", page), Route("/health", page)])


@asynccontextmanager
async def client(app: Any, host: str = "127.0.0.1") -> AsyncIterator[httpx.AsyncClient]:
    """Somebody at that address who talks to the program."""
    transport = httpx.ASGITransport(app=app, client=(host, 5_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as found:
        yield found


@pytest.mark.requirement("SENSE-22")
async def test_figures_of_the_program_are_served_with_its_own() -> None:
    """Rate, errors of 5xx, p95, in flight; its health checks and the asking itself don't count."""
    app = LeaseholdStats(program(), "shop", custom=lambda: {"queue": 3, "requests": "mine"})
    async with client(app) as someone:
        for _ in range(9):
            await someone.get("/page")
        await someone.get("/page?status=404")
        for _ in range(2):
            await someone.get("/page?status=500")
        for _ in range(5):
            await someone.get("/health")
            told = (await someone.get(STATS)).json()
    assert told["queue"] == 3
    requests = told["requests"]
    assert requests["error_pct"] == pytest.approx(100 * 2 / 12, abs=0.01)
    assert requests["in_flight"] == 0
    assert requests["p95_ms"] > 0
    assert requests["rps"] == 12.0
    assert app.stats.stats().requests == 12


@pytest.mark.requirement("SENSE-22")
async def test_what_is_in_flight_is_seen_while_it_is() -> None:
    """A request that is being answered counts as in flight."""
    go, inside = asyncio.Event(), asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        inside.set()
        await go.wait()
        await PlainTextResponse("done")(scope, receive, send)

    app = LeaseholdStats(slow, "shop")
    async with client(app) as someone:
        waiting = asyncio.create_task(someone.get("/slow"))
        await inside.wait()
        assert figures(app.stats)["in_flight"] == 1
        go.set()
        await waiting
    assert figures(app.stats)["in_flight"] == 0


@pytest.mark.requirement("SENSE-22")
async def test_figures_are_for_this_machine_unless_said_otherwise() -> None:
    """From elsewhere the path is the program's own, which does not know it."""
    async with client(LeaseholdStats(program(), "shop"), "10.0.0.9") as someone:
        assert (await someone.get(STATS)).status_code == 404
    async with client(LeaseholdStats(program(), "shop", readers=None), "10.0.0.9") as someone:
        assert (await someone.get(STATS)).status_code == 200
        assert (await someone.post(STATS)).status_code == 404


def too_much() -> dict[str, Any]:
    return {"text": "x" * CUSTOM_BYTES_MAX}


def failing() -> dict[str, Any]:
    raise RuntimeError("no figures")


def no_json() -> dict[str, Any]:
    return {"it": object()}


@pytest.mark.requirement("SENSE-22")
@pytest.mark.parametrize("custom", [too_much, failing, no_json])
async def test_custom_figures_that_fail_keep_the_others_from_nobody(
    custom: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The request figures are told all the same, and the log says what was the matter."""
    app = LeaseholdStats(program(), "shop", custom=custom)
    async with client(app) as someone:
        await someone.get("/page")
        with caplog.at_level(logging.WARNING):
            told = (await someone.get(STATS)).json()
    assert list(told) == ["requests"]
    assert "custom figures of shop" in caplog.text


@pytest.mark.requirement("SENSE-22")
async def test_what_an_application_raises_passes_through() -> None:
    """It is counted as an error, and still the program's own."""

    async def broken(scope: Any, receive: Any, send: Any) -> None:
        raise ValueError("a bug of the program")

    app = LeaseholdStats(broken, "shop")
    async with client(app) as someone:
        with pytest.raises(ValueError, match="a bug of the program"):
            await someone.get("/page")
    assert app.stats.stats().errors == 1


@pytest.mark.requirement("SENSE-22")
async def test_a_server_that_is_not_there_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A push that fails is logged once, and tried again; the program answers meanwhile."""
    push = Push(Endpoint(host="127.0.0.1", port=1), every_s=0.01)
    app = LeaseholdStats(program(), "shop", push=push)
    with caplog.at_level(logging.WARNING):
        async with client(app) as someone:
            assert (await someone.get("/page")).status_code == 200
            async with asyncio.timeout(30):
                while "does not take the figures" not in caplog.text:  # noqa: ASYNC110 - a log has no event
                    await asyncio.sleep(0.01)
            assert (await someone.get("/page")).status_code == 200
    assert app._pushing is not None
    assert not app._pushing.done()
    assert caplog.text.count("does not take the figures") == 1
    app._pushing.cancel()


@pytest.mark.requirement("SENSE-22")
async def test_pushing_lives_as_long_as_the_program() -> None:
    """It begins with the start-up, before any request, and ends with the shut-down."""
    said: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    heard: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    app = LeaseholdStats(program(), "shop", push=Push(Endpoint(host="127.0.0.1", port=1), every_s=60))
    life = asyncio.create_task(app({"type": "lifespan"}, said.get, heard.put))
    await said.put({"type": "lifespan.startup"})
    assert (await asyncio.wait_for(heard.get(), 30))["type"] == "lifespan.startup.complete"
    pushing = app._pushing
    assert pushing is not None
    await said.put({"type": "lifespan.shutdown"})
    await asyncio.wait_for(life, 30)
    await asyncio.wait({pushing}, timeout=30)
    assert pushing.cancelled()


def test_it_brings_no_server_along() -> None:
    """What other programs import loads neither the ledger nor the web framework."""
    code = (
        "import sys, leasehold.integrations.asgi\n"
        "print([name for name in sys.modules if name.startswith(('leasehold.control', 'leasehold.api', "
        "'fastapi', 'httpx'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
