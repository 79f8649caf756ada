"""The description of etcd's messages is what its source says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.requirement("PROVE-20", "CLUSTER-21")
def test_the_protocol_compiles_to_what_is_committed() -> None:
    """Nobody has changed one of the two alone."""
    check = subprocess.run(
        [sys.executable, "tools/protocols.py", "check"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert check.returncode == 0, check.stdout + check.stderr
