"""What is to come, by the command line."""

from __future__ import annotations

import json

import pytest

from tests.e2e.machine import Machine


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
