"""What is generated comes out as it is committed (PROVE-20)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.requirement("PROVE-20", "OPS-1", "OPS-10", "OPS-12")
def test_the_reference_regenerates_without_difference() -> None:
    """The API, errors, settings, metrics and policy are documented as the program has them."""
    check = subprocess.run(
        [sys.executable, "tools/reference.py", "check"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert check.returncode == 0, check.stdout
