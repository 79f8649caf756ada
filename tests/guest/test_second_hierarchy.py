"""What holds work on a true cgroup v2 with its controllers, in a guest machine on this one (PROVE-8)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from leasehold.testing import guest

ROOT = Path(__file__).resolve().parents[2]

PLAIN = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""Importing all that is installed takes an emulated machine half a minute."""

pytestmark = [pytest.mark.slow, pytest.mark.serial, pytest.mark.timeout(200)]


def in_guest(*words: str) -> str:
    """Run pytest with these words in a guest with cgroup v2 alone; what it printed, once all has passed."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "pytest_timeout", *words]
    shown = [ROOT, Path(sys.prefix), Path(sys.base_prefix)]
    try:
        done = guest.run(command, memory_mib=768, timeout_s=170, env=PLAIN, cwd=ROOT, shown=shown)
    except guest.NoGuest as why:
        pytest.skip(f"no guest machine here, so no cgroup v2 with controllers: {why}")
    told = f"{done.output[-4000:]}\n{done.kernel[-1500:]}"
    assert done.code == 0, told
    if done.way == "qemu":  # Debian's User Mode Linux has no pressure figures.
        assert " skipped" not in done.output, told
    return done.output


@pytest.mark.requirement("LEASE-14", "PROVE-8")
def test_the_contract_of_brakes_holds_on_cgroup_2() -> None:
    """The same suite that runs on this machine, in a guest whose only cgroups are v2."""
    assert "passed" in in_guest("tests/contract/test_brakes.py")


@pytest.mark.requirement("LEASE-26", "SENSE-6", "PROVE-8")
def test_foreign_cgroups_are_held_and_leased_work_is_measured_on_cgroup_2() -> None:
    """A cgroup of somebody else is frozen, slowed and put back; ours has its weight, and its use is told."""
    files = ("tests/contract/test_standing.py", "tests/unit/test_sense_work.py")
    assert "passed" in in_guest(*files, "-k", "not storage_bytes")  # There is no disk in a guest.


@pytest.mark.requirement("LEASE-23", "PROVE-8")
def test_limits_hold_on_cgroup_2() -> None:
    """Cores and memory, below a throttle too, and what is left of them at the end."""
    assert "passed" in in_guest("tests/contract/test_limits.py")


@pytest.mark.requirement("QUEUE-15", "PROVE-8")
def test_the_contract_of_the_runner_holds_on_cgroup_2() -> None:
    """The same suite that runs on this machine."""
    assert "passed" in in_guest("tests/contract/test_runner.py::TestInPlaces")


@pytest.mark.requirement("QUEUE-15", "QUEUE-21", "PROVE-8")
def test_commands_are_held_and_measured_on_cgroup_2() -> None:
    """Memory, processes, what forks away, what is frozen, another user: in the one hierarchy."""
    which = "memory_is_limited_and or number_of or forks_away or apart or frozen or usage or another_user"
    assert "passed" in in_guest("tests/e2e/test_runs.py", "-k", f"places and ({which})")
