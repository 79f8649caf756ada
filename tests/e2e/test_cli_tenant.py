"""`leasehold tenant` as people type it (OPS-7)."""

from __future__ import annotations

import json

import pytest

from tests.e2e.machine import Machine


def shown(server: Machine, name: str) -> dict[str, dict[str, int]]:
    done = server.cli("tenant", "show", name, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, int]] = json.loads(done.stdout)
    return found


@pytest.mark.requirement("OPS-7", "OPS-18")
def test_a_tenant_is_set_listed_changed_and_removed(server: Machine) -> None:
    """Amounts as people type them; what is not named stays; `none` lifts a quota."""
    made = server.cli(
        "tenant", "set", "lab", "--weight", "3", "--cpu", "2.5", "--memory", "8G", "--jobs", "10"
    )
    assert made.returncode == 0, made.stderr
    assert "0/2.5" in made.stdout
    found = shown(server, "lab")
    assert (found["weight"], found["cpu_millicores"]["quota"], found["memory_bytes"]["quota"]) == (
        3,
        2_500,
        8 << 30,
    )
    assert server.cli("tenant", "set", "lab", "--jobs", "none", "--units", "0").returncode == 0
    found = shown(server, "lab")
    assert (found["weight"], found["jobs"]["quota"], found["units"]["quota"]) == (3, None, 0)
    listed = server.cli("tenant", "list")
    assert "0/8.0 GiB" in listed.stdout or "0/8 GiB" in listed.stdout
    assert server.cli("tenant", "list", "--quiet").stdout.split() == ["default", "lab"]
    token = server.cli(
        "token",
        "create",
        "--role",
        "viewer",
        "--name",
        "of-lab",
        "--tenant",
        "lab",
        "--quiet",
        "--out",
        str(server.folder / "t"),
    )
    assert token.returncode == 0, token.stderr
    assert "lab" in server.cli("token", "list").stdout
    busy = server.cli("tenant", "remove", "lab")
    assert (busy.returncode, "1 token(s)" in busy.stderr) == (73, True)
    assert server.cli("token", "revoke", "of-lab").returncode == 0
    assert server.cli("tenant", "remove", "lab").returncode == 0
    assert server.cli("tenant", "show", "lab").returncode == 66


@pytest.mark.requirement("OPS-18")
def test_what_makes_no_sense_is_told_and_changes_nothing(server: Machine) -> None:
    """The option and what was expected; `--dry-run` says what would be."""
    for words, hint in (
        (("--units", "many"), "--units: expected a whole number, or none"),
        (("--memory", "8 elephants"), "--memory: "),
        (("--cpu", "-1"), "--cpu: "),
        (("--weight", "1001"), "less than or equal to 1000"),
        (("--jobs", "-5"), "--jobs: expected 0 or more"),
    ):
        done = server.cli("tenant", "set", "odd", *words)
        assert (done.returncode, hint in done.stderr) == (64, True), (words, done.stderr)
    would = server.cli("tenant", "set", "odd", "--leases", "4", "--jobs", "none", "--dry-run")
    assert would.stdout.strip() == "would set tenant odd: leases 4, jobs none"
    assert server.cli("tenant", "list", "--quiet").stdout.split() == ["default"]
