"""The examples of the guide to the queue work as they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.machine import Machine

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "queue.md"
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
PROGRAMS = ("restic", "make", "render")


@pytest.fixture
def typist(here: Machine) -> Iterator[Machine]:
    """The machine of somebody who has the programs that the guide speaks of."""
    programs = here.folder / "bin"
    programs.mkdir(exist_ok=True)
    for name in PROGRAMS:
        (programs / name).write_text("#!/bin/sh\necho done: $0 $*\n")
        (programs / name).chmod(0o755)
    here.env["PATH"] = f"{programs}:{here.env['PATH']}"
    yield here
    here.cli("cancel", "--yes", "--grace", "0", "--state", "queued,held,dispatching,running,paused")


@pytest.mark.slow
@pytest.mark.requirement("QUEUE-16", "OPS-24")
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: str(BLOCKS.index(block)))
def test_an_example_works_as_typed(typist: Machine, block: str) -> None:
    """Typed into a shell, each line of it succeeds."""
    shell = typist.start(["bash", "-euc", block])
    out, err = shell.communicate(timeout=120)
    assert shell.returncode == 0, f"{block}\n---\n{out}\n{err}"
    assert "Traceback" not in err


def test_the_examples_are_found() -> None:
    """The rule above reads the page: it types each verb of the queue."""
    typed = "".join(BLOCKS)
    assert len(BLOCKS) >= 6
    for verb in ("submit", "queue", "logs", "wait", "why", "describe", "pause", "resume", "cancel", "retry"):
        assert f"leasehold {verb}" in typed
