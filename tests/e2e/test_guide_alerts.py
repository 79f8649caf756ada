"""The examples of the guide to alerts work as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from tests.e2e.machine import Machine

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "alerts.md"
TEXT = GUIDE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.requirement("OPS-13", "OPS-24")
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: str(BLOCKS.index(block)))
def test_an_example_works_as_typed(here: Machine, block: str) -> None:
    """Typed into a shell, each line of it succeeds."""
    shell = here.start(["bash", "-euc", block])
    out, err = shell.communicate(timeout=120)
    assert shell.returncode == 0, f"{block}\n---\n{out}\n{err}"
    assert "Traceback" not in err


def test_the_examples_are_found_and_the_configuration_is_yaml() -> None:
    """The rule above reads the page, and what is for Prometheus is well formed."""
    assert len(BLOCKS) == 2
    for word in ("list", "show", "thresholds set", "mute", "disable", "enable"):
        assert f"leasehold alert {word}" in BLOCKS[0]
    (config,) = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert yaml.safe_load(config)["scrape_configs"][0]["job_name"] == "leasehold"
