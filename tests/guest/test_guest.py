"""The guest machine itself: what it is given, what it can't touch, how it ends (PROVE-8)."""

from __future__ import annotations

from pathlib import Path

import pytest

from leasehold.testing import guest

pytestmark = [pytest.mark.slow, pytest.mark.serial, pytest.mark.requirement("PROVE-8")]

LOOK = """
awk '/MemTotal/ { print "total", $2 }' /proc/meminfo
echo "controllers $(cat /sys/fs/cgroup/cgroup.controllers)"
echo "hierarchies $(grep -c cgroup /proc/mounts)"
mkdir /sys/fs/cgroup/each && ls /sys/fs/cgroup/each
echo lost > "$1/written" && echo "the root can be written"
echo kept > /tmp/written && cat /tmp/written "$1/there"
cat < /dev/null; echo "pressure $(head -n 1 /proc/pressure/memory)"
exit 7
"""


def booted(*command: str, timeout_s: int = 60, **more: object) -> guest.Done:
    try:
        return guest.run(command, memory_mib=256, timeout_s=timeout_s, **more)  # type: ignore[arg-type]
    except guest.NoGuest as why:
        pytest.skip(f"no guest machine here: {why}")


def test_a_guest_has_what_it_is_given_and_writes_nothing_here(tmp_path: Path) -> None:
    """So much memory, cgroup v2 alone with all controllers, this machine's files, and the command's code."""
    (tmp_path / "there").write_text("shown\n")
    done = booted("sh", "-c", LOOK, "sh", str(tmp_path), shown=[tmp_path], env={"LC_ALL": "C"})
    assert done.code == 7, done
    rows = done.output.splitlines()
    told = {row.partition(" ")[0]: row.partition(" ")[2] for row in rows}
    assert 180 << 10 <= int(told["total"]) <= 256 << 10
    assert {"cpu", "io", "memory", "pids"} <= set(told["controllers"].split())
    assert told["hierarchies"] == "1"
    assert {"cgroup.freeze", "cpu.max", "cpu.weight", "io.stat", "memory.max", "pids.max"} <= set(rows)
    assert {"kept", "shown"} <= set(rows)
    if done.way == "qemu":  # Debian's User Mode Linux has no pressure figures.
        assert "io.pressure" in rows
        assert told["pressure"].startswith("some avg10=")
    assert not (tmp_path / "written").exists()


def test_a_guest_that_does_not_end_is_ended() -> None:
    """After its time, by itself: nobody is left with a machine that runs."""
    done = booted("sh", "-c", "echo begun; sleep 600", timeout_s=15)
    assert (done.code, done.output) == (None, "begun\n")
    assert done.seconds < 15 + guest.ENDS_S + 5
