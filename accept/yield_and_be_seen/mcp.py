"""Coding agents: the official MCP client and plain curl against the installed wheel, and two agents at once."""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from accept.ask_first.pauses import live
from accept.harness import Skipped, check, expect
from accept.product import ROOT, Product, Server
from tests.e2e.agent import Agent, eventually, http_server, over_http, over_stdio

# -- one agent ---------------------------------------------------------------------------------------------


@asynccontextmanager
async def agents(server: Server, transport: str) -> AsyncIterator[tuple[Agent, Agent]]:
    """Two agents: over stdio with a process each, over HTTP with one `leasehold mcp` and one token."""
    leasehold = server.product.leasehold
    async with AsyncExitStack() as stack:
        if transport == "stdio":
            with tempfile.TemporaryDirectory() as folder:
                made = [over_stdio(leasehold, server.env, folder) for _ in range(2)]
                first, second = [await stack.enter_async_context(one) for one in made]
                yield first, second
            return
        token = (server.data / "admin.token").read_text().strip()
        url, _ = stack.enter_context(http_server(leasehold, server.env))
        first, second = [await stack.enter_async_context(over_http(url, token)) for _ in range(2)]
        yield first, second


async def granted(agent: Agent, **ask: Any) -> dict[str, Any]:
    """Ask as an agent is told to: again with the ticket, as long as the machine is not quiet for its owner."""
    found = await agent("request", **ask)
    for _ in range(6):
        if found["granted"]:
            break
        found = await agent("request", ticket=found["ticket"])
    expect(found["granted"], f"not granted within two minutes: {found}")
    return found


async def course(server: Server, transport: str) -> None:
    """Hold, renew, wait with a ticket, release, and lose; raises what is wrong."""
    async with agents(server, transport) as (one, two):
        held = await granted(one, cost=60, label="a build", expected_sec=60)
        kept = await one("heartbeat", lease_id=held["lease_id"])
        expect(kept["action"] == "continue", f"{transport}: a renewal says {kept}")
        began = time.monotonic()
        waits = await two("request", cost=60, wait_sec=2)
        took_s = time.monotonic() - began
        expect(
            not waits["granted"] and waits["place"] == 1,
            f"{transport}: 120 of 90 units: {waits}, place 1 was due",
        )
        expect(took_s < 4, f"{transport}: the early answer took {took_s:.1f} s")
        ended = await one("release", lease_id=held["lease_id"])
        expect(ended["state"] == "RELEASED", f"{transport}: a release says {ended}")
        got = await granted(two, ticket=waits["ticket"])
        revoked = await asyncio.to_thread(server.run, "revoke", got["lease_id"], "--note", "mine now")
        expect(revoked.returncode == 0, f"the revoke failed: {revoked.stderr}")
        lost = await two("heartbeat", lease_id=got["lease_id"])
        expect(
            lost["action"] == "stop" and "mine now" in lost["reason"], f"{transport}: after a revoke: {lost}"
        )
        await two("release", lease_id=got["lease_id"])
        await granted(one, cost=20)
    await eventually(lambda: not live(server), "a lease is left when the agents are gone", 5)


@check(
    "mcp.client",
    "The official MCP client over stdio and over HTTP holds, renews, loses and releases a lease, and gets a "
    "ticket when it has to wait",
    command="leasehold mcp --print-config claude-code",
    budget_s=90,
)
def client(product: Product) -> str:
    """With default settings, both transports, two agents each."""
    with product.server() as server:
        for transport in ("stdio", "http"):
            server.until_quiet()
            asyncio.run(course(server, transport))
    return "held, renewed, waited with a ticket, released, lost with who and why; over stdio and over HTTP"


@check(
    "mcp.curl",
    "A script with nothing but curl holds, renews, waits with a ticket, gives back and loses a lease",
    command="sh docs/guide/lease.sh",
    budget_s=60,
)
def curl(product: Product) -> str:
    """The documented one, with default settings."""
    if shutil.which("curl") is None:
        raise Skipped("curl is not installed")
    with product.server() as server:
        server.until_quiet()
        env = server.env | {
            "LEASEHOLD_URL": f"http://127.0.0.1:{server.port}",
            "LEASEHOLD_TOKEN": (server.data / "admin.token").read_text().strip(),
        }
        script = str(ROOT / "docs" / "guide" / "lease.sh")
        done = subprocess.run(
            ["sh", script], env=env, capture_output=True, text=True, timeout=180, check=False
        )
        lines = done.stdout.splitlines()
        expect(done.returncode == 0, f"ended with {done.returncode}: {done.stderr}{done.stdout}")
        for number, begin in enumerate(
            ("granted", "renewed: continue", "the next one", "given", "with", "taken")
        ):
            expect(lines[number].startswith(begin), f"line {number + 1} is {lines[number]!r}")
        expect(not live(server), f"a lease is left: {live(server)}")
        return "; ".join(line.split(":")[0] for line in lines)


# -- two agents --------------------------------------------------------------------------------------------

SUITE = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n"]
"""This project's own property tests: real, CPU-bound, on as many workers as there are cores."""
COST = 60
"""Two of it do not fit: a suite on all cores is meant to have the machine to itself."""


def suite() -> list[str]:
    return [
        *SUITE,
        str(os.cpu_count() or 1),
        "-m",
        "not serial and not slow",
        str(ROOT / "tests" / "property"),
    ]


async def bare() -> tuple[int, str]:
    """The suite as an agent would start it without asking: exit code and output."""
    process = await asyncio.create_subprocess_exec(
        *suite(), cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode(errors="replace")


async def leased(agent: Agent) -> tuple[int, str]:
    """The same through the agent's `run` tool, waited for call by call."""
    found = await agent(
        "run",
        command=shlex.join(suite()),
        cwd=str(ROOT),
        cost=COST,
        job_type="pytest property",
        expected_sec=60,
    )
    while found["state"] != "ended":
        found = await agent("run_status", run_id=found["run_id"])
    return int(found["exit_code"]), str(found["output"])


async def both(make: Callable[[int], Awaitable[tuple[int, str]]]) -> list[tuple[float, int, str]]:
    """Two at once: after how many seconds each was done, its exit code, its output."""
    began = time.monotonic()

    async def timed(number: int) -> tuple[float, int, str]:
        code, out = await make(number)
        return time.monotonic() - began, code, out

    return sorted(await asyncio.gather(timed(0), timed(1)))


def shown(ends: list[tuple[float, int, str]]) -> str:
    """The figures of one way."""
    times = [one[0] for one in ends]
    failed = sum(code != 0 for _, code, _ in ends)
    return f"done after {times[0]:.0f} and {times[1]:.0f} s, mean {sum(times) / 2:.0f} s, {failed} failed"


@check(
    "mcp.two_agents",
    "Two agents that each run a test suite on all cores at once are done sooner in the mean through `run` than "
    "without asking, and none fails from overload",
    command="two agents: run `pytest -n auto`",
    budget_s=400,
)
def two_agents(product: Product) -> str:
    """Unleased at once, then through one `leasehold mcp` each."""
    without = asyncio.run(both(lambda _: bare()))
    with product.server() as server:

        async def asked() -> list[tuple[float, int, str]]:
            async with agents(server, "stdio") as pair:
                await asyncio.to_thread(server.until_quiet)
                return await both(lambda number: leased(pair[number]))

        ends = asyncio.run(asked())
    figures = f"asking: {shown(ends)}; at once without asking: {shown(without)}"
    for _, code, out in ends:
        expect(code == 0, f"{figures}; a leased suite failed: {out[-400:]}")
    expect(mean(ends) < mean(without), figures)
    return figures


def mean(ends: list[tuple[float, int, str]]) -> float:
    """Seconds until an agent's suite was done, in the mean."""
    return sum(one[0] for one in ends) / len(ends)
