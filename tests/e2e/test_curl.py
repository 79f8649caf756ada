"""The example with nothing but curl does what it says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.machine import Machine

SCRIPT = Path(__file__).parents[2] / "docs" / "guide" / "lease.sh"

SHOWN = [
    r"granted: lease-\w+, token \d+",
    r"renewed: continue",
    r"the next one has to wait: .*used=90.*; ticket tkt-\w+, place 1",
    r"given back: RELEASED",
    r"with its ticket: lease-\w+ is granted",
    r"taken back: the next heartbeat is answered 410 LEASE_ENDED",
]


@pytest.mark.slow
@pytest.mark.requirement("LEASE-20", "OPS-24")
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_example_holds_renews_waits_releases_and_loses(here: Machine) -> None:
    """Each step prints what it saw; nothing is held at its end."""
    token = (here.data / "admin.token").read_text().strip()
    env = here.env | {"LEASEHOLD_URL": f"http://127.0.0.1:{_port(here)}", "LEASEHOLD_TOKEN": token}
    done = subprocess.run(
        ["sh", str(SCRIPT)], env=env, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout
    lines = done.stdout.splitlines()
    assert len(lines) == len(SHOWN), done.stdout
    for shown, line in zip(SHOWN, lines, strict=True):
        assert re.fullmatch(shown, line), line
    assert here.leases() == []


def _port(here: Machine) -> int:
    return int(json.loads((here.data / "server.json").read_text())["port"])
