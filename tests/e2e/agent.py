"""A coding agent as far as Leasehold can tell: the official MCP client, over stdio or HTTP."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

CALL_S = 60.0


class ToolRefused(Exception):
    """A tool answered with an error; its sentence."""


class Agent:
    """Calls tools, and returns what they answer as structured output."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.text = ""

    async def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The structured answer; its words stand in `text`. Raises ToolRefused."""
        result = await self.client.call_tool(tool, arguments, read_timeout_seconds=CALL_S)
        self.text = "\n".join(one.text for one in result.content if one.type == "text")
        if result.is_error:
            raise ToolRefused(self.text)
        assert result.structured_content is not None
        return dict(result.structured_content)

    async def until(
        self, tool: str, holds: Callable[[dict[str, Any]], bool], timeout_s: float = 30.0, **arguments: Any
    ) -> dict[str, Any]:
        """Call a tool until its answer is as wanted, and return that."""
        end = time.monotonic() + timeout_s
        while True:
            found = await self(tool, **arguments)
            if holds(found):
                return found
            if time.monotonic() > end:
                raise AssertionError(f"{tool} never answered as wanted: {found}")
            await asyncio.sleep(0.1)


@asynccontextmanager
async def over_stdio(
    leasehold: str, env: Mapping[str, str], cwd: os.PathLike[str] | str, *, mode: Any = "auto"
) -> AsyncIterator[Agent]:
    """An agent with a `leasehold mcp` of its own."""
    # The client adds a few variables of this process; those of the machine under test come on top.
    server = StdioServerParameters(command=leasehold, args=["mcp"], env=dict(env), cwd=str(cwd))
    async with Client(server, mode=mode) as client:
        yield Agent(client)


@asynccontextmanager
async def over_http(url: str, token: str, *, mode: Any = "auto") -> AsyncIterator[Agent]:
    """An agent of a running `leasehold mcp --http`."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=CALL_S, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield Agent(client)


@contextmanager
def http_server(leasehold: str, env: Mapping[str, str], *words: str) -> Iterator[tuple[str, int]]:
    """A running `leasehold mcp --http`: its URL and process; ended by its pid."""
    process = subprocess.Popen(
        [leasehold, "mcp", "--http", "--port", "0", *words],
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), f"no URL was told: {url!r}"
        yield url, process.pid
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()  # type: ignore[union-attr]


async def eventually(holds: Callable[[], Any], why: str, timeout_s: float = 20.0) -> Any:
    """Wait for something outside the agent to become true, off the event loop, and return it."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if found := await asyncio.to_thread(holds):
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"{why}: not within {timeout_s} s")


Scene = Callable[[Agent], Awaitable[None]]
