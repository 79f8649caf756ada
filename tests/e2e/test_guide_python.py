"""The examples of the guide to Python programs work as they stand."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from tests.e2e.machine import Machine

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "python.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.requirement("LEASE-19")
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: str(BLOCKS.index(block)))
def test_an_example_works_as_typed(here: Machine, block: str) -> None:
    """Put into a file and run, it ends without an error or a warning, and holds nothing afterwards."""
    file = here.folder / "example.py"
    file.write_text(block)
    process = here.start([sys.executable, "-W", "error", str(file)])
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, f"{block}\n---\n{out}\n{err}"
    assert here.leases() == []


def test_the_examples_are_found() -> None:
    """The rule above reads the page: it has an example for each library and way to hold a lease."""
    page = "".join(BLOCKS)
    assert len(BLOCKS) >= 8
    for word in ("with lease(", "async with", "@lease(", "celery", "dramatiq", "rq", "apscheduler"):
        assert word in page
