"""What is to come, by the command line."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from tests.e2e.machine import Machine


def listed(here: Machine) -> dict[str, Any]:
    found = json.loads(here.cli("history", "--list", "--json").stdout)
    return {one["group"]: one for one in found["groups"]}


@pytest.mark.requirement("SENSE-15")
def test_history_lists_what_there_is(here: Machine) -> None:
    """Groups and figures with `--list`; each of them can be asked for."""
    deadline = time.monotonic() + 60
    while len(groups := listed(here)) < 4:  # The first sample is taken before the machine was measured.
        assert time.monotonic() < deadline, groups
        time.sleep(0.5)
    told = here.cli("history", "--list")
    assert "cpu_pct" in told.stdout
    assert "by hours for 730 d" in told.stderr
    assert {"host", "process", "api", "quiet"} <= groups.keys()
    assert groups["host"]["headline"] == "cpu_pct"
    assert "quiet" in groups["quiet"]["metrics"]
    assert here.cli("history", "host", "--metric", groups["host"]["metrics"][-1]).returncode == 0


@pytest.mark.requirement("SENSE-19")
def test_when_tells_the_best_times_and_how_sure_it_is(here: Machine) -> None:
    """A machine that was started just now is sure of nothing, and says so; a wrong time is refused."""
    found = json.loads(here.cli("when", "--for", "1h", "--within", "2d", "--json").stdout)
    assert (found["duration_sec"], found["within_sec"], found["confidence"]) == (3_600, 172_800, "unsure")
    assert found["windows"]
    told = here.cli("when")
    assert told.returncode == 0
    assert "CONFIDENCE" in told.stdout
    assert "unsure: " in told.stderr
    assert "not scored yet" in told.stderr
    wrong = here.cli("when", "--for", "3d")
    assert wrong.returncode == 64
    assert "15m to 24h" in wrong.stderr
