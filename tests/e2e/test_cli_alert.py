"""`leasehold alert` as people type it (OPS-13, OPS-18)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.machine import Machine, machine


@pytest.fixture(scope="module")
def server() -> Iterator[Machine]:
    """One server for the file; it looks at its rules twice a second, from the start on."""
    with machine(LEASEHOLD_ALERTS__CHECK_MS="500", LEASEHOLD_ALERTS__START_DELAY_MS="0") as found:
        yield found


def alerts(server: Machine, *words: str) -> dict[str, Any]:
    done = server.cli("alert", "list", "--json", *words)
    assert done.returncode == 0, done.stderr
    return {one["rule"]: one for one in json.loads(done.stdout)["alerts"]}


def plain(server: Machine, *words: str) -> str:
    done = server.cli("alert", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.requirement("OPS-13", "OPS-18")
def test_an_alert_is_seen_acknowledged_muted_and_set_right(server: Machine) -> None:
    """From the threshold that makes it fire to the one that clears it, by the words of the help."""
    listed = plain(server, "list")
    assert "store_trouble" in listed
    assert "the store takes writes" in listed
    assert plain(server, "list", "--active") == "nothing is wrong\n"
    warn = "100"
    assert f"would set disk: warning {float(warn)}" in plain(
        server, "thresholds", "set", "disk", "--warning", warn, "--dry-run"
    )
    said = plain(server, "thresholds", "set", "disk", "--warning", warn, "--cooldown", "0", "--for", "0")
    assert f"{warn} %" in said
    server.until(lambda: alerts(server)["disk"]["state"] == "active", "the next check fires it")
    status = server.cli("status")
    assert "! alerts: disk (warning)" in status.stdout
    seen = plain(server, "acknowledge", "disk", "--note", "a new one is ordered")
    assert "A disk is nearly full: warning, acknowledged" in seen
    assert "a new one is ordered" in seen
    assert "acknowledged, muted" in plain(server, "mute", "disk", "--for", "2h")
    assert "muted" not in plain(server, "mute", "disk", "--off")
    assert "would mute disk until tomorrow 08:00" in plain(
        server, "mute", "disk", "--until", "tomorrow 08:00", "--dry-run"
    )
    assert plain(server, "list", "--active", "--quiet").split() == ["disk"]
    back = plain(server, "thresholds", "set", "disk", "--warning", "0.2", "--critical", "0.1")
    assert "0.2 %" in back
    server.until(lambda: alerts(server)["disk"]["state"] == "cleared", "three better checks clear it")
    assert "! alerts" not in server.cli("status").stdout
    assert "disk: off" in plain(server, "disable", "disk")
    assert "disk: fine" in plain(server, "enable", "disk")


@pytest.mark.requirement("OPS-13", "OPS-30")
@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("acknowledge", "disk"), 73, "nothing to acknowledge"),
        (("acknowledge", "disc"), 66, "there is no rule disc; there are store_trouble"),
        (("show", "disc"), 66, "there is no rule disc"),
        (("mute", "disk", "--for", "soon"), 64, "--for"),
        (("mute", "disk", "--until", "12:00", "--off"), 64, "one of"),
        (("thresholds", "set", "disk"), 64, "thresholds set RULE"),
        (("thresholds", "set", "disk", "--warning", "much"), 64, "expected a number, or default"),
        (("thresholds", "set", "disk", "--warning", "101"), 64, "0.1 to 100 %"),
        (("thresholds", "set", "disk", "--warning", "0.1"), 64, "has to be below warning"),
    ],
)
def test_mistakes_are_told(server: Machine, words: tuple[str, ...], code: int, says: str) -> None:
    """Each with its exit code, and what is allowed."""
    done = server.cli("alert", *words)
    assert (done.returncode, says in done.stderr) == (code, True), done
