"""`leasehold replay` of what a real server remembers, while it runs."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.e2e.machine import Machine

pytestmark = [pytest.mark.slow, pytest.mark.requirement("QUEUE-18")]


def test_yesterday_is_replayed_beside_the_running_server(here: Machine) -> None:
    """Two leases, of which one waited for the other, beside what they would be under another policy."""
    held = ["--cost", "60", "--job-type", "first", "--", "sh", "-c", "read x"]
    first = here.run(*held, stdin=subprocess.PIPE)
    here.until_active("first")
    second = here.run("--cost", "60", "--job-type", "second", "--", "true")
    here.until(lambda: any(one["held"] for one in here.status()["waiting"]), "the second waits")
    first.communicate("\n", timeout=60)
    second.communicate(timeout=60)
    assert (first.returncode, second.returncode) == (0, 0)
    here.until_idle()
    roomy = here.data.parent / "roomy.toml"
    roomy.write_text("[capacity]\nheadroom_pct = 0\nreserve_units = 0\ncurve = [[0, 10000], [100, 10000]]\n")
    done = here.cli("replay", "--json", "--policy", str(roomy))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["jobs"] == 2
    assert [each["name"] for each in told["variants"]] == ["recorded", "as set here", "roomy.toml"]
    waited = [each["figures"]["waiting_sec"]["max"] for each in told["variants"]]
    assert all(0 < each < 120 for each in waited), "in each of them the second waited for the first"
    assert here.cli("status").returncode == 0
