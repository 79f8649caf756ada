"""Brakes and limits on a true cgroup v2, in a User Mode Linux guest on this machine (PROVE-8)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INIT = Path(__file__).with_name("init.sh")


@pytest.mark.slow
@pytest.mark.serial
@pytest.mark.requirement("LEASE-14", "LEASE-23", "PROVE-8")
def test_the_contract_of_brakes_and_limits_holds_on_cgroup_2() -> None:
    """The same suites that run on this machine, in a guest whose only cgroups are v2."""
    kernel = shutil.which("linux.uml")
    if kernel is None:
        pytest.skip(
            "no linux.uml here (Debian: user-mode-linux), so no cgroup v2 with controllers to test on"
        )
    words = [
        "quiet",
        "mem=768M",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        f"init={INIT}",
        "con=null",
        "con0=fd:0,fd:1",
        f"LEASEHOLD_ROOT={ROOT}",
        f"LEASEHOLD_PYTHON={sys.executable}",
    ]
    done = subprocess.run(
        [kernel, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False
    )
    if "ptrace set fp regs failed" in done.stdout:
        pytest.skip("this CPU has more registers (AMX) than the User Mode Linux kernel here can save")
    assert "RC=0" in done.stdout, done.stdout[-3000:]
    assert "failed" not in done.stdout
