"""Work that only `run` itself can reach stands still and goes on by signals (LEASE-14)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from leasehold.cli.run import thaw, tree
from leasehold.testing.brakes_contract import growing, grows, stands


@pytest.mark.requirement("LEASE-14")
def test_a_tree_that_forks_is_held_and_goes_on(tmp_path: Path) -> None:
    """All of it, also what is forked while it is being stopped."""
    with growing(tmp_path) as (child, path):
        grows(path)
        assert tree.hold(child.pid, "lease-x")
        assert stands(path)
        tree.go_on(child.pid, "lease-x")
        grows(path)


def test_what_stands_in_no_place_of_the_lease_is_not_thawed() -> None:
    """Somebody else's cgroup is left alone, and a process that is gone is nobody's."""
    child = subprocess.Popen(["true"])
    assert not thaw.thaw(child.pid, "lease-x")
    child.wait()
    assert not thaw.thaw(child.pid, "lease-x")
