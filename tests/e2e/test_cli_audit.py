"""`leasehold audit` as people type it (OPS-7)."""

from __future__ import annotations

import json

import pytest

from tests.e2e.machine import Machine


@pytest.mark.requirement("OPS-7", "OPS-18")
def test_who_did_what_from_where_is_shown(server: Machine) -> None:
    """A change, and a refusal of a token that has been revoked, each with who, by what, from where."""
    assert server.cli("block", "--for", "10m").returncode == 0
    made = json.loads(server.cli("token", "create", "--role", "viewer", "--name", "watcher", "--json").stdout)
    token_id = made["about"]["token_id"]
    port = json.loads((server.data / "server.json").read_text())["port"]
    env = {"LEASEHOLD_URL": f"http://127.0.0.1:{port}", "LEASEHOLD_TOKEN": made["token"]}
    assert server.cli("allow", env=env).returncode == 77
    assert server.cli("audit", env=env).returncode == 77, "a viewer does not read it"
    assert server.cli("token", "revoke", token_id).returncode == 0
    assert server.cli("status", env=env).returncode == 77
    assert server.cli("allow").returncode == 0

    shown = server.cli("audit")
    assert shown.returncode == 0, shown.stderr
    head, *lines = shown.stdout.splitlines()
    assert head.split() == ["WHEN", "TIMES", "OUTCOME", "WHO", "BY", "FROM", "WHAT"]
    block = next(line for line in lines if "PUT /api/nodes/self/admission" in line)
    assert "done" in block
    assert "over leasehold.sock" in block
    assert any("POST /api/tokens token_id=" in line for line in lines)

    denied = json.loads(server.cli("audit", "--denied", "--json").stdout)
    assert {one["outcome"] for one in denied} == {"denied"}
    by_token = json.loads(server.cli("audit", "--who", token_id, "--json").stdout)
    assert {(one["who"], one["status"]) for one in by_token} == {
        (f"token:watcher/{token_id}", 403),
        ("nobody", 401),
    }
    by_name = json.loads(server.cli("audit", "--who", "watcher", "--json").stdout)
    assert {one["what"]: one["status"] for one in by_name} == {
        "PUT /api/nodes/{node_id}/admission": 403,
        "GET /api/audit": 403,
    }
    assert made["token"] not in shown.stdout


@pytest.mark.requirement("OPS-7", "OPS-18", "OPS-30")
def test_the_audit_is_asked_in_parts(server: Machine) -> None:
    """By number, by time, by count; what makes no sense is said."""
    for _ in range(3):
        assert server.cli("block", "--for", "10m").returncode == 0
        assert server.cli("allow").returncode == 0
    newest = [int(seq) for seq in server.cli("audit", "--quiet", "--limit", "4").stdout.split()]
    assert len(newest) == 4
    after = server.cli("audit", "--quiet", "--after", str(newest[1])).stdout.split()
    assert [int(seq) for seq in after][:2] == newest[2:]
    assert server.cli("audit", "--since", "1h", "--limit", "2", "--quiet").stdout.split()
    assert server.cli("audit", "--who", "user:no-such-user-here").stdout.strip() == "nothing of that kind"
    wrong = server.cli("audit", "--since", "soon")
    assert (wrong.returncode, "expected a duration" in wrong.stderr) == (64, True)
