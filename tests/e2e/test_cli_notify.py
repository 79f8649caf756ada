"""`leasehold notify` as people type it (OPS-14, OPS-18)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.notify_receiver import Receiver
from tests.e2e.machine import Machine, machine


@pytest.fixture(scope="module")
def telling() -> Iterator[Machine]:
    """A server that may tell receivers of this machine."""
    with machine(LEASEHOLD_NOTIFICATIONS__ALLOWED_HOSTS='["localhost"]') as found:
        yield found


def targets(server: Machine) -> list[dict[str, Any]]:
    done = server.cli("notify", "list", "--json")
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.requirement("OPS-14", "OPS-18")
def test_a_webhook_is_added_tried_changed_and_removed(telling: Machine) -> None:
    """Its key is printed once; its address is never shown whole."""
    with Receiver() as receiver:
        url = f"{receiver.url}/a-path-of-its-own"
        made = telling.cli("notify", "add", url, "--name", "ops", "--quiet-hours", "mon-fri@22:00-7:00")
        assert made.returncode == 0, made.stderr
        secret = made.stdout.strip().splitlines()[-1]
        assert secret.startswith("whsec_")
        listed = telling.cli("notify", "list")
        assert "mon-fri 22:00-07:00" in listed.stdout
        assert secret not in listed.stdout
        assert "a-path-of-its-own" not in listed.stdout + made.stdout
        tried = telling.cli("notify", "test", "ops")
        assert (tried.returncode, "ops has taken it" in tried.stderr) == (0, True), tried
        assert receiver.got[0].is_signed(secret)
        again = telling.cli("notify", "add", url)
        assert (again.returncode, "has this address already" in again.stderr) == (73, True)
        done = telling.cli(
            "notify", "set", "ops", "--severity", "critical", "--kind", "storage", "--quiet-hours", "none"
        )
        assert done.returncode == 0, done.stderr
        (one,) = targets(telling)
        assert (one["severity"], one["kinds"], one.get("quiet_hours")) == ("critical", ["storage"], None)
        receiver.answer = lambda got: (500, {})
        tried = telling.cli("notify", "test", one["target_id"][:12])
        assert (tried.returncode, "127.0.0.1 answered 500" in tried.stderr) == (1, True), tried
        dead = telling.cli("notify", "list", "--dead", "--quiet").stdout.split()
        assert len(dead) == 1
        receiver.answer = lambda got: (200, {})
        retried = telling.cli("notify", "retry", dead[0])
        assert (retried.returncode, "1 are sent again" in retried.stderr) == (0, True), retried
        telling.until(lambda: len(receiver.got) == 3, "the dead letter is sent again")
        assert receiver.got[2].ident == receiver.got[1].ident
    told = telling.cli("notify", "list", "--messages")
    assert "This is a test" in told.stdout
    removed = telling.cli("notify", "remove", "ops")
    assert removed.returncode == 0, removed.stderr
    assert targets(telling) == []


@pytest.mark.requirement("OPS-14", "OPS-8")
def test_an_address_can_be_typed_where_no_list_of_processes_shows_it(telling: Machine) -> None:
    """On standard input."""
    with Receiver() as receiver:
        added = telling.start(["leasehold", "notify", "add", "-", "--quiet"], stdin=-1)
        out, err = added.communicate(f"{receiver.url}\n", timeout=60)
        assert added.returncode == 0, err
        assert telling.cli("notify", "remove", out.strip()).returncode == 0


@pytest.mark.requirement("OPS-18")
def test_what_makes_no_sense_is_told_and_changes_nothing(telling: Machine) -> None:
    """The option and what was expected; `--dry-run` says what would be."""
    for words, code, hint in (
        (("add", "ops.example"), 64, "URL: expected https://"),
        (("add", "https://10.0.0.1/x"), 64, "notifications.allowed_hosts"),
        (("add", "nonsense://x"), 64, "apprise"),
        (("add", "https://ops.example", "--quiet-hours", "night"), 64, "--quiet-hours: expected 22:00-07:00"),
        (("add", "https://ops.example", "--severity", "bad"), 64, "--severity: expected one of"),
        (("add", "https://ops.example", "--kind", "jobs"), 64, "--kind: expected one of"),
        (("test", "nobody"), 66, "there is no target nobody"),
        (("set", "nobody"), 64, "nothing to change"),
        (("retry",), 64, "--all"),
        (("retry", "send-0"), 66, "send-0"),
    ):
        done = telling.cli("notify", *words)
        assert (done.returncode, hint in done.stderr) == (code, True), (words, done.stderr)
    would = telling.cli("notify", "add", "https://ops.example/x", "--dry-run")
    assert would.stdout.strip() == "would tell a webhook of what is warning or worse"
    assert targets(telling) == []
    assert "nobody is told" in telling.cli("notify", "list").stdout
