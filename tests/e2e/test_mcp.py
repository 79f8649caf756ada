"""`leasehold mcp` with the official client: leases asked for, renewed, lost and given back (LEASE-20)."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from tests.e2e.agent import Agent, ToolRefused, eventually, http_server, over_http, over_stdio
from tests.e2e.machine import LEASEHOLD, Machine

pytestmark = [pytest.mark.slow, pytest.mark.requirement("LEASE-20")]

TRANSPORTS = ["stdio", "http", "stdio-legacy", "http-legacy"]
"""Each also with the handshake that most hosts still open with."""


@asynccontextmanager
async def agent_of(here: Machine, transport: str = "stdio") -> AsyncIterator[Agent]:
    """An agent on this machine."""
    mode = "legacy" if transport.endswith("legacy") else "auto"
    if transport.startswith("stdio"):
        async with over_stdio(LEASEHOLD, here.env, here.folder, mode=mode) as agent:
            yield agent
        return
    token = (here.data / "admin.token").read_text().strip()
    with http_server(LEASEHOLD, here.env) as (url, _):
        async with over_http(url, token, mode=mode) as agent:
            yield agent


def lease(here: Machine, lease_id: str) -> dict[str, Any]:
    """A lease as the server has it; empty where it is not live."""
    return next((one for one in here.leases() if one["lease_id"] == lease_id), {})


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_lease_is_held_renewed_and_given_back(here: Machine, transport: str) -> None:
    """Over both transports and both generations of the protocol; the charge is there, then gone."""
    async with agent_of(here, transport) as agent:
        got = await agent("request", cost=40, label="a build", job_type="make all", expected_sec=60)
        assert (got["granted"], got["cost_units"], got["hold_sec"]) == (True, 40, 300)
        assert got["lease_id"] in agent.text
        held = await asyncio.to_thread(lease, here, got["lease_id"])
        assert (held["state"], held["job_type"], held["label"]) == ("ACTIVE", "make all", "a build")
        kept = await agent("heartbeat", lease_id=got["lease_id"])
        assert (kept["action"], kept["state"], kept["hold_sec"]) == ("continue", "ACTIVE", 300)
        told = await agent("report", lease_id=got["lease_id"], progress=0.5, message="half")
        assert told["action"] == "continue"
        assert (await asyncio.to_thread(lease, here, got["lease_id"]))["progress"] == 0.5
        ended = await agent("release", lease_id=got["lease_id"], outcome="built")
        assert (ended["state"], ended["reason"]) == ("RELEASED", "built")
        assert (await agent("heartbeat", lease_id=got["lease_id"]))["action"] == "stop"
    assert here.leases() == []


@pytest.mark.parametrize("transport", ["stdio", "http"])
@pytest.mark.requirement("LEASE-7")
async def test_a_wait_answers_early_with_a_ticket_that_keeps_its_place(here: Machine, transport: str) -> None:
    """The call comes back with place, holder and reason; called again with the ticket it gets the lease."""
    with here.run("--cost", "90", "--job-type", "all", "--", "sleep", "100") as holder:
        await eventually(lambda: here.until_active("all"), "the other's lease")
        async with agent_of(here, transport) as agent:
            first = await agent("request", cost=50, job_type="mine", wait_sec=1)
            assert (first["granted"], first["place"]) == (False, 1)
            assert first["reason"]
            assert first["ticket"] in first["next"]
            waits = await agent("why", subject=first["ticket"])
            assert (waits["state"], waits["place"]) == ("WAITING", 1)
            again = await agent("request", ticket=first["ticket"], wait_sec=1)
            assert (again["granted"], again["ticket"]) == (False, first["ticket"])
            waiting = asyncio.create_task(agent("request", ticket=first["ticket"], wait_sec=20))
            await eventually(lambda: any(one["held"] for one in here.status()["waiting"]), "a held waiter")
            holder.terminate()
            got = await waiting
            assert (got["granted"], got["cost_units"]) == (True, 50)
            # The answer may be lost on its way: the ticket stands for the lease that it became.
            assert (await agent("request", ticket=first["ticket"]))["lease_id"] == got["lease_id"]
            await agent("release", lease_id=got["lease_id"])


@pytest.mark.parametrize("transport", ["stdio", "http"])
@pytest.mark.requirement("LEASE-13")
async def test_a_revoked_lease_is_told_as_stop(here: Machine, transport: str) -> None:
    """With who took it back and why, in the news of whatever is called next, and by heartbeat."""
    async with agent_of(here, transport) as agent:
        got = await agent("request", cost=30, job_type="taken")
        revoke = ["revoke", got["lease_id"], "--grace", "60s", "--note", "mine now"]
        assert (await asyncio.to_thread(here.cli, *revoke)).returncode == 0
        told = await agent.until("status", lambda found: bool(found.get("news")))
        assert "mine now" in told["news"][0]
        assert "end the work" in agent.text
        stopped = await agent("heartbeat", lease_id=got["lease_id"])
        assert (stopped["action"], stopped["state"]) == ("stop", "REVOKING")
        assert stopped["deadline_sec"] > 0
        assert (await agent("release", lease_id=got["lease_id"]))["state"] == "RELEASED"


async def test_a_lost_lease_is_told(here: Machine) -> None:
    """One that the server has ended is an answer too: stop, and why."""
    async with agent_of(here) as agent:
        got = await agent("request", cost=30, job_type="lost")
        assert (await asyncio.to_thread(here.cli, "revoke", got["lease_id"], "--grace", "0s")).returncode == 0
        await eventually(lambda: not here.leases(), "the revocation")
        stopped = await agent("heartbeat", lease_id=got["lease_id"])
        assert (stopped["action"], stopped["state"]) == ("stop", "REVOKED")
        ended = await agent("why", subject=got["lease_id"])
        assert ended["state"] == "REVOKED"


@pytest.mark.parametrize("transport", ["stdio", "stdio-legacy"])
async def test_closing_the_session_frees_the_lease_at_once(here: Machine, transport: str) -> None:
    """Well before it would have expired."""
    async with agent_of(here, transport) as agent:
        await agent("request", cost=40, job_type="left")
    ended = await eventually(
        lambda: next((one for one in here.status()["ended"] if one["job_type"] == "left"), None), "the end", 3
    )
    assert ended["end_reason"] == "the agent's session ended"


async def test_a_session_that_is_killed_frees_the_lease_within_its_time_to_live(here: Machine) -> None:
    """A kill -9 of `leasehold mcp` leaves nobody to renew."""
    process = here.start([LEASEHOLD, "mcp"], stdin=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    hello = (
        '{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18",'
        '"capabilities":{},"clientInfo":{"name":"t","version":"1"}}}\n'
        '{"jsonrpc":"2.0","method":"notifications/initialized"}\n'
        '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"request",'
        '"arguments":{"cost":40,"job_type":"killed"}}}\n'
    )
    process.stdin.write(hello)
    process.stdin.flush()
    await eventually(lambda: here.until_active("killed"), "its lease")
    process.kill()
    process.communicate()
    await eventually(lambda: not here.leases(), "the expiry", 40)


async def test_status_says_what_is_ones_own(here: Machine) -> None:
    """Beside what others hold."""
    with here.run("--cost", "20", "--job-type", "theirs", "--", "sleep", "100") as other:
        await eventually(lambda: here.until_active("theirs"), "the other's lease")
        async with agent_of(here) as agent:
            await agent("request", cost=30, job_type="mine")
            told = await agent("status")
            whose = {one["job_type"]: one["yours"] for one in told["active"]}
            assert whose == {"mine": True, "theirs": False}
            assert told["units_free"] == 40
            would = await agent("why", cost=80)
            assert would["may_start"] is False
            assert would["reasons"][0]["code"] == "CAPACITY"
        other.terminate()


# -- what goes wrong ---------------------------------------------------------------------------------------


async def test_without_a_server_a_tool_says_how_to_start_one(tmp_path: Path) -> None:
    """As an error of the tool, which a model reads; the session stays usable."""
    bare = Machine(tmp_path)
    async with over_stdio(LEASEHOLD, bare.env, tmp_path) as agent:
        for tool, arguments in (
            ("request", {"cost": 10}),
            ("run", {"command": "true"}),
            ("status", {}),
            ("why", {"cost": 10}),
        ):
            with pytest.raises(ToolRefused, match="leasehold up"):
                await agent(tool, **arguments)


GARBAGE: list[tuple[str, dict[str, Any], str]] = [
    ("request", {"cost": 0}, "cost"),
    ("request", {"cost": 101}, "cost"),
    ("request", {"cost": "much"}, "cost"),
    ("request", {"cpu": -1}, "cpu"),
    ("request", {"wait_sec": 3600}, "wait_sec"),
    ("request", {"job_type": "a\nb"}, "job_type"),
    ("request", {"memory_mib": 16_000_000}, "never"),
    ("heartbeat", {"lease_id": "lease-of-nobody"}, "no lease"),
    ("heartbeat", {}, "lease_id"),
    ("release", {"lease_id": ""}, "lease_id"),
    ("run", {"command": ""}, "command"),
    ("run", {"command": "true", "cwd": "/no/such/folder"}, "no folder"),
    ("run_status", {"run_id": "run-of-nobody"}, "no run"),
    ("why", {"subject": "thing-1"}, "expected"),
    ("no_such_tool", {}, "no_such_tool"),
]
"""A tool, its arguments, and a word of what it has to say about them."""


async def test_garbage_is_refused_with_what_was_expected(here: Machine) -> None:
    """Nothing is leased by it, and the session goes on."""
    async with agent_of(here) as agent:
        for tool, arguments, told in GARBAGE:
            try:
                answer = await agent(tool, **arguments)
            except (ToolRefused, MCPError) as error:
                said = str(error)
            else:
                assert answer["granted"] is False
                said = str(answer)
            assert told in said.lower(), (tool, arguments)
        assert (await agent("status"))["active"] == []


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_call_that_is_cancelled_leaves_nothing(here: Machine, transport: str) -> None:
    """The agent gives up in the middle of a wait: when there is room, nobody gets it for that."""
    with here.run("--cost", "90", "--job-type", "all", "--", "sleep", "100") as holder:
        await eventually(lambda: here.until_active("all"), "the other's lease")
        async with agent_of(here, transport) as agent:
            waiting = asyncio.create_task(agent("request", cost=50, wait_sec=30))
            await eventually(lambda: any(one["held"] for one in here.status()["waiting"]), "a held waiter")
            waiting.cancel()
            await eventually(lambda: not any(one["held"] for one in here.status()["waiting"]), "its end")
            holder.terminate()
            await eventually(lambda: not here.leases(), "an idle machine")
            assert (await agent("status"))["active"] == []


async def test_the_tools_are_described_with_schemas(here: Machine) -> None:
    """Each has a description, described arguments and a schema of its answer: a model sees nothing else."""
    async with agent_of(here) as agent:
        tools = {one.name: one for one in (await agent.client.list_tools()).tools}
    assert set(tools) == {
        "request", "heartbeat", "release", "report", "why", "status", "run", "run_status", "run_stop",
        "submit", "job_status", "job_cancel",
    }  # fmt: skip
    for tool in tools.values():
        assert tool.description
        assert len(tool.description) < 500
        assert tool.output_schema is not None
        for name, field in tool.input_schema.get("properties", {}).items():
            assert field.get("description"), f"{tool.name}.{name}"
