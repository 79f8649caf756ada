"""Memory runs out under leased work in a guest of 512 MB: the least work is lost (LEASE-14)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from leasehold.testing import guest
from leasehold.testing.short_of_memory import faults

ROOT = Path(__file__).resolve().parents[2]
MEMORY_MIB = 512


@pytest.mark.slow
@pytest.mark.serial
@pytest.mark.timeout(240)
@pytest.mark.requirement("LEASE-14", "SENSE-9")
def test_the_least_work_is_lost_before_the_kernel_kills_anything() -> None:
    """One lease after the other, the youngest first, 5 s apart; the oldest and the small one live."""
    programs = Path(sys.prefix) / "bin"
    command = [str(programs / "python"), "-m", "leasehold.testing.short_of_memory", str(programs)]
    shown = [ROOT, Path(sys.prefix), Path(sys.base_prefix)]
    try:
        done = guest.run(command, memory_mib=MEMORY_MIB, timeout_s=200, cwd=ROOT, shown=shown)
    except guest.NoGuest as why:
        pytest.skip(f"no guest machine here, so no machine whose memory may run out: {why}")
    assert done.code == 0, f"{done.output[-3000:]}\n{done.kernel[-2000:]}"
    told = json.loads(done.output.splitlines()[-1])
    assert faults(told) == [], f"{told}\n{done.kernel[-2000:]}"
    assert "Out of memory" not in done.kernel
