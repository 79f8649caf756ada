"""Asking add-ons over HTTP: what they answer is bounded, and where they are is checked each time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from leasehold.adapters.addons.http import HEAD_BYTES_MAX, HttpProbe
from leasehold.core.addon import Url
from leasehold.ports.addon import ProbeFailed
from leasehold.testing.hosts import InlineLane

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
LOOPBACK = ("127.0.0.0/8", "::1")
MOST = 1_000


@asynccontextmanager
async def addon(answer: Answer | bytes) -> AsyncIterator[Url]:
    """A program on loopback that answers each connection so, whatever it was asked."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if isinstance(answer, bytes):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                await writer.drain()
            else:
                await answer(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Url("http", "127.0.0.1", server.sockets[0].getsockname()[1], "")
    finally:
        server.close()


def probe(allowed: tuple[str, ...] = LOOPBACK) -> HttpProbe:
    return HttpProbe(lambda: allowed, InlineLane)


async def code_of(answer: Answer | bytes) -> str:
    """The code with which asking such an add-on fails."""
    async with addon(answer) as url:
        with pytest.raises(ProbeFailed) as failed:
            await asyncio.wait_for(probe().get(url, "/health", bytes_max=MOST), 20)
    return failed.value.code


@pytest.mark.requirement("SENSE-5")
async def test_it_asks_as_http_asks() -> None:
    """One plain GET on the prefix, that wants nothing compressed and closes."""
    asked = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async with addon(answer) as url:
        found = await probe().get(url._replace(prefix="/app"), "/health", bytes_max=MOST)
    assert (found.status, found.body) == (200, b"ok")
    lines = asked[0].decode().split("\r\n")
    assert lines[0] == "GET /app/health HTTP/1.1"
    assert f"host: 127.0.0.1:{url.port}" in lines
    assert {"accept-encoding: identity", "connection: close"} <= set(lines)


@pytest.mark.requirement("SENSE-5")
@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\nbody",
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nbody",
    ],
    ids=["length", "chunks", "until the end", "after an early answer"],
)
async def test_every_way_to_send_a_body_is_read(raw: bytes) -> None:
    """By length, in chunks, up to the end of the connection, after an informational answer."""
    async with addon(raw) as url:
        found = await probe().get(url, "/", bytes_max=MOST)
    assert (found.status, found.body) == (200, b"body")


@pytest.mark.requirement("SENSE-21", "INV-8")
@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\n\r\n", "REDIRECT"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"x" * 100_000, "TOO_LARGE"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000, "TOO_LARGE"),
        (b"HTTP/1.1 200 OK\r\nx: " + b"x" * 4 * HEAD_BYTES_MAX, "TOO_LARGE"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", "NOT_HTTP"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "NOT_HTTP"),
        (b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n\x00\x01", "NOT_HTTP"),
        (b"", "NOT_HTTP"),
    ],
    ids=["redirect", "large", "endless", "large head", "cut short", "not HTTP", "upgrade", "nothing"],
)
async def test_what_is_no_usable_answer_has_a_code(raw: bytes, code: str) -> None:
    """No redirect is followed, no more than the bound is read."""
    assert await code_of(raw) == code


@pytest.mark.requirement("INV-8")
async def test_a_stream_without_end_is_given_up() -> None:
    """Tiny chunks with long frames are bounded too, and the sender is cut off."""
    cut_off = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"1;" + b"x" * 500 + b"\r\ny\r\n")
                await writer.drain()
        except ConnectionError:
            cut_off.set()

    assert await code_of(answer) == "TOO_LARGE"
    await asyncio.wait_for(cut_off.wait(), 20)


async def test_nobody_there_is_unreachable() -> None:
    """A closed port says so."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = Url("http", "127.0.0.1", closed.getsockname()[1], "")
        with pytest.raises(ProbeFailed, match="nobody answers") as failed:
            await probe().get(url, "/health", bytes_max=MOST)
    assert failed.value.code == "UNREACHABLE"


@pytest.mark.requirement("SENSE-21")
async def test_a_name_is_looked_up_and_checked_for_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that leads elsewhere the second time is not followed there; what was checked is connected to."""
    async with addon(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n") as url:
        leads_to = ["127.0.0.1"]

        def getaddrinfo(host: str, *_: Any, **__: Any) -> list[Any]:
            assert host == "shop.example"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in leads_to]

        monkeypatch.setattr("leasehold.adapters.addons.http.socket.getaddrinfo", getaddrinfo)
        named, asking = url._replace(host="shop.example"), probe()
        await asking.check(named)
        assert (await asking.get(named, "/health", bytes_max=MOST)).status == 200
        leads_to[:] = ["127.0.0.1", "169.254.169.254"]
        with pytest.raises(ProbeFailed, match=r"shop.example is at 169.254.169.254") as failed:
            await asking.get(named, "/health", bytes_max=MOST)
        assert failed.value.code == "NOT_ALLOWED"


@pytest.mark.requirement("SENSE-21")
async def test_a_name_that_is_not_known_or_hangs_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is looked up twice at the same time."""

    def unknown(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("leasehold.adapters.addons.http.socket.getaddrinfo", unknown)
    lanes: list[InlineLane] = []

    def lane(name: str) -> InlineLane:
        lanes.append(InlineLane(name))
        return lanes[-1]

    asking, url = HttpProbe(lambda: LOOPBACK, lane), Url("http", "gone.example", 80, "")
    for _ in range(2):
        with pytest.raises(ProbeFailed, match="not known"):
            await asking.check(url)
    assert [each.name for each in lanes] == ["resolve-gone.example"]
    lanes[0].busy = True
    with pytest.raises(ProbeFailed, match="has not come back") as failed:
        await asking.check(url)
    assert failed.value.code == "UNRESOLVED"


@pytest.mark.requirement("SENSE-21")
async def test_the_setting_decides_and_may_change_while_running() -> None:
    """What was allowed a moment ago is not asked again once it is not."""
    allowed = ["127.0.0.1"]
    async with addon(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n") as url:
        asking = HttpProbe(lambda: allowed, InlineLane)
        assert (await asking.get(url, "/", bytes_max=MOST)).status == 200
        allowed[:] = ["10.0.0.0/8"]
        with pytest.raises(ProbeFailed) as failed:
            await asking.get(url, "/", bytes_max=MOST)
    assert failed.value.code == "NOT_ALLOWED"
