"""What is generated comes out as it is committed (PROVE-20)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.requirement("PROVE-20")
def test_the_policy_page_regenerates_without_difference() -> None:
    """The page of codes, inputs and limits says what the program's records say."""
    check = subprocess.run([sys.executable, "tools/policy_page.py", "check"], cwd=ROOT, check=False)
    assert check.returncode == 0, "`make reference` rewrites docs/reference/policy.md"


@pytest.mark.requirement("PROVE-20", "OPS-1", "OPS-10", "OPS-12")
def test_the_reference_regenerates_without_difference() -> None:
    """The API, errors, settings and metrics are documented as the program has them."""
    check = subprocess.run(
        [sys.executable, "tools/reference.py", "check"], cwd=ROOT, check=False, capture_output=True, text=True
    )
    assert check.returncode == 0, check.stdout
