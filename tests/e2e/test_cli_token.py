"""`leasehold token` as people type it (OPS-5)."""

from __future__ import annotations

import json
import stat

import pytest

from tests.e2e.machine import Machine


def ids(server: Machine) -> set[str]:
    return set(server.cli("token", "list", "--quiet").stdout.split())


@pytest.mark.requirement("OPS-5", "OPS-18")
def test_a_token_is_made_listed_used_and_revoked(server: Machine) -> None:
    """Its secret is the only line on standard output; the list never has it; revoked, it is refused."""
    done = server.cli(
        "token", "create", "--role", "submitter", "--name", "ci", "--ttl", "30d", "--holder", "bob"
    )
    assert done.returncode == 0, done.stderr
    secret = done.stdout.strip()
    assert secret.startswith("lsh_")
    assert secret not in done.stderr
    shown = server.cli("token", "list")
    assert "bob" in shown.stdout
    assert secret not in shown.stdout
    port = json.loads((server.data / "server.json").read_text())["port"]
    env = {"LEASEHOLD_URL": f"http://127.0.0.1:{port}", "LEASEHOLD_TOKEN": secret}
    assert server.cli("status", env=env).returncode == 0
    assert server.cli("token", "revoke", "ci").returncode == 0
    refused = server.cli("status", env=env)
    assert (refused.returncode, "revoked" in refused.stderr) == (77, True)


@pytest.mark.requirement("OPS-5", "OPS-18")
def test_a_token_can_go_into_a_file_that_only_its_owner_reads(server: Machine) -> None:
    """0600, replaced only when asked; where it can't be written no token is made."""
    file = server.folder / "secret"
    words = ("token", "create", "--role", "viewer", "--name", "file", "--out", str(file))
    done = server.cli(*words, "--json")
    assert done.returncode == 0, done.stderr
    token_id = json.loads(done.stdout)["about"]["token_id"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    secret = file.read_text().strip()
    assert secret.startswith("lsh_")
    assert secret not in done.stdout
    assert server.cli(*words).returncode == 64, "it is there already, and nobody can be asked"
    assert file.read_text().strip() == secret
    again = server.cli(*words, "--yes", "--quiet")
    assert again.returncode == 0, again.stderr
    assert file.read_text().strip() != secret
    before = ids(server)
    nowhere = server.cli(*words[:-1], str(server.folder / "none" / "secret"))
    assert (nowhere.returncode, "no token was made" in nowhere.stderr) == (65, True)
    assert ids(server) == before
    ambiguous = server.cli("token", "revoke", "file")
    assert (ambiguous.returncode, token_id in ambiguous.stderr) == (64, True)
    assert server.cli("token", "revoke", token_id[:12], again.stdout.strip(), "--json").returncode == 0
    assert not list(server.folder.glob("*.new"))


@pytest.mark.requirement("OPS-18", "OPS-30")
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["create", "--role", "wrker", "--name", "x"], 64, "did you mean worker"),
        (["create", "--role", "worker", "--name", "x", "--ttl", "soon"], 64, "expected a duration"),
        (["create", "--role", "worker", "--name", "x y"], 64, "name"),
        (["create", "--role", "worker", "--name", "x", "--quiet"], 64, "--out"),
        (["revoke", "tok-nothing"], 66, "token list"),
    ],
)
def test_what_can_not_be_done_is_said(server: Machine, words: list[str], code: int, said: str) -> None:
    """Each with its exit code and what to do; nothing is made."""
    before = ids(server)
    done = server.cli("token", *words)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    assert ids(server) == before


@pytest.mark.requirement("OPS-18")
def test_dry_run_does_nothing(server: Machine) -> None:
    """It says what it would do."""
    before = ids(server)
    done = server.cli("token", "create", "--role", "worker", "--name", "x", "--dry-run")
    assert (done.returncode, "would make" in done.stdout) == (0, True)
    assert ids(server) == before
