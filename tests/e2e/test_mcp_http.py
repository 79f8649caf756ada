"""`leasehold mcp --http`: who gets in, what may be run, and what its end leaves behind (LEASE-20)."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

import httpx
import pytest

from tests.e2e.agent import ToolRefused, eventually, http_server, over_http
from tests.e2e.machine import LEASEHOLD, Machine

pytestmark = [pytest.mark.slow, pytest.mark.requirement("LEASE-20")]

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    },
}


def token_of(here: Machine) -> str:
    """The admin token of the machine."""
    return (here.data / "admin.token").read_text().strip()


def knock(url: str, **headers: str) -> httpx.Response:
    """The first message of a client, with these headers."""
    accept = {"Accept": "application/json, text/event-stream"}
    return httpx.post(url, json=HELLO, headers=accept | headers, trust_env=False, timeout=20)


@pytest.mark.requirement("OPS-4")
def test_a_token_of_leasehold_is_needed(here: Machine) -> None:
    """Without one, or with an unknown one, nothing is answered but 401 and what to send."""
    with http_server(LEASEHOLD, here.env) as (url, _):
        none = knock(url)
        assert (none.status_code, none.headers["www-authenticate"]) == (401, "Bearer")
        assert "Authorization: Bearer" in none.json()["error"]
        assert knock(url, Authorization="Bearer lsh_wrong").status_code == 401
        assert knock(url, Authorization=f"Basic {token_of(here)}").status_code == 401
        known = knock(url, Authorization=f"Bearer {token_of(here)}")
        assert known.status_code == 200


def test_other_hosts_and_origins_are_refused(here: Machine) -> None:
    """A page in a browser that has its name point at loopback gets nothing, even with a token."""
    with http_server(LEASEHOLD, here.env) as (url, _):
        bearer = f"Bearer {token_of(here)}"
        assert knock(url, Authorization=bearer, Host="evil.example").status_code == 421
        assert knock(url, Authorization=bearer, Origin="https://evil.example").status_code == 403
        assert knock(url, Authorization=bearer, Origin="http://localhost:1234").status_code == 200


def test_it_listens_on_loopback_alone(here: Machine) -> None:
    """No other address of this machine is answered on."""
    with http_server(LEASEHOLD, here.env) as (url, _):
        port = int(url.rpartition(":")[2].partition("/")[0])
        with socket.socket() as probe:
            probe.settimeout(2)
            assert probe.connect_ex(("127.0.0.2", port)) != 0


async def test_commands_are_run_only_where_that_was_allowed(here: Machine) -> None:
    """By default there is no such tool over HTTP; `--allow-run` brings it, for administrators."""
    with http_server(LEASEHOLD, here.env) as (url, _):
        async with over_http(url, token_of(here)) as agent:
            names = {one.name for one in (await agent.client.list_tools()).tools}
            assert "request" in names
            assert not {"run", "run_status", "run_stop"} & names
    with http_server(LEASEHOLD, here.env, "--allow-run") as (url, _):
        async with over_http(url, token_of(here)) as agent:
            done = await agent("run", command="echo hello", cost=20)
            assert (done["exit_code"], done["output"]) == (0, "hello\n")


async def test_a_lease_outlives_the_connection_and_ends_with_the_server(here: Machine) -> None:
    """Over HTTP a session is a credential: a second connection with the same token renews and releases."""
    with http_server(LEASEHOLD, here.env) as (url, pid):
        async with over_http(url, token_of(here)) as agent:
            first = await agent("request", cost=20, job_type="first")
            await agent("request", cost=20, job_type="second")
        async with over_http(url, token_of(here)) as agent:
            assert (await agent("heartbeat", lease_id=first["lease_id"]))["action"] == "continue"
            assert (await agent("release", lease_id=first["lease_id"]))["state"] == "RELEASED"
        assert [one["job_type"] for one in here.leases()] == ["second"]
        os.kill(pid, signal.SIGTERM)
        await eventually(lambda: not here.leases(), "the release", 5)


async def test_a_server_that_is_away_is_said(here: Machine) -> None:
    """503 with how to start it at the door; for who is inside already an error of the tool."""
    with http_server(LEASEHOLD, here.env) as (url, _):
        async with over_http(url, token_of(here)) as agent:
            here.down()
            try:
                with pytest.raises(ToolRefused, match="leasehold up"):
                    await agent("request", cost=20)
                refused = knock(url, Authorization="Bearer lsh_unknown")
                assert refused.status_code == 503
                assert "leasehold up" in refused.json()["error"]
            finally:
                here.up()
            await eventually(lambda: here.cli("status", "--check").returncode == 0, "the first measurement")
            got = await agent("request", cost=20)
            assert got["granted"] is True


def test_a_taken_port_is_said(here: Machine) -> None:
    """With another way to go."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = here.cli("mcp", "--http", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 73
    assert "--port" in done.stderr


@pytest.mark.parametrize("agent", ["cursor", "vscode", "gemini", "zed", "json"])
def test_the_settings_that_are_printed_start_it(here: Machine, agent: str) -> None:
    """The file is JSON, names this program, and hands on what finds this server; never the token."""
    told = here.cli("mcp", "--print-config", agent, env={"LEASEHOLD_TOKEN": "lsh_secret"}).stdout
    document = json.loads(told[told.index("{") :])
    (servers,) = document.values()
    entry = servers["leasehold"]
    assert (entry["command"], entry["args"]) == (LEASEHOLD, ["mcp"])
    assert entry["env"]["LEASEHOLD_DATA"] == str(here.data)
    assert "lsh_secret" not in told


def test_an_unknown_agent_is_told_the_known_ones(tmp_path: Path) -> None:
    """With the usage code."""
    done = Machine(tmp_path).cli("mcp", "--print-config", "emacs")
    assert done.returncode == 64
    assert "claude-code" in done.stderr
