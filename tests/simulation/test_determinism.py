"""The same seed gives the same run (INV-7)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def run_of(seed: int, hash_seed: str) -> str:
    """What the program says of a seed, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "leasehold.testing.simulation", "--seed", str(seed)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.requirement("INV-7")
@pytest.mark.parametrize("seed", [3, 4])
def test_a_seed_gives_the_same_run_whatever_the_hash_seed(seed: int) -> None:
    """Every byte written and every answer given, in order and time, is the same in two processes."""
    first, second = run_of(seed, "1"), run_of(seed, "4711")
    assert "trace" in first
    assert first == second


def test_another_seed_gives_another_run() -> None:
    """The trace tells runs apart: it is no constant."""
    assert run_of(3, "1").splitlines()[0] != run_of(5, "1").splitlines()[0]
