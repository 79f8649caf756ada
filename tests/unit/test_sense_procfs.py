"""Linux's files, as they really look, and as they look where something is missing (SENSE-2)."""

from __future__ import annotations

import os

import pytest

from leasehold.adapters.hosts import cgroups, processes, procfs, usage
from leasehold.adapters.hosts.linux import LinuxHost
from leasehold.model.snapshot import HostCounters
from leasehold.ports.host import HostUnreadable

STAT = """cpu  100 20 30 1000 50 5 6 7 8 9
cpu0 50 10 15 500 25 2 3 3 4 4
cpu1 50 10 15 500 25 3 3 4 4 5
ctxt 170937
btime 1795200762
processes 4593
procs_running 3
procs_blocked 0
"""
MEMINFO = """MemTotal:  16000000 kB
MemFree:  1000000 kB
MemAvailable:  8000000 kB
SwapTotal: 2048 kB
SwapFree: 1024 kB
"""
DISKS = """ 254 0 vda 10 0 2000 5 20 0 4000 9 0 1 2
 254 1 vda1 10 0 1500 5 20 0 3000 9 0 1 2
 259 0 nvme0n1 1 0 100 5 2 0 200 9 0 1 2
 259 1 nvme0n1p1 1 0 90 5 2 0 190 9 0 1 2
   7 0 loop0 1 0 999 5 2 0 999 9 0 1 2
 253 0 dm-0 1 0 999 5 2 0 999 9 0 1 2
"""
NET = """Inter-|   Receive                                                |  Transmit
 face |bytes packets errs drop fifo frame compressed multicast|bytes packets
    lo:    3193  29 0 0 0 0 0 0     3193  29 0 0 0 0 0 0
  eth0: 9159605 295 0 0 0 0 0 0    23671 244 0 0 0 0 0 0
docker0: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0
"""
STALL = (
    "some avg10=1.50 avg60=2.50 avg300=0.17 total=2563263\nfull avg10=0.50 avg60=0.25 avg300=0.00 total=42\n"
)
ARC = "13 1 0x01 2 3 4 5\nname type data\nc_min 4 1000000\nsize 4 5000000\n"


def counters(**other: str | None) -> HostCounters:
    """A reading of a machine with these files; others replace or, as None, take away."""
    files = {
        "/proc/stat": STAT,
        "/proc/meminfo": MEMINFO,
        "/proc/diskstats": DISKS,
        "/proc/net/dev": NET,
        "/proc/vmstat": "pswpin 3\npswpout 5\n",
        "/proc/loadavg": "0.10 0.20 0.30 2/85 3772\n",
        "/proc/uptime": "12.34 20.00\n",
        "/proc/pressure/io": STALL,
    }
    changed = {path.replace("__", "/"): text for path, text in other.items()}
    known = files | {f"/proc/{path}": text for path, text in changed.items() if text is not None}
    for path, text in changed.items():
        if text is None:
            known.pop(f"/proc/{path}")
    return procfs.counters(known.get, 7_000, clock_ticks=100, page_bytes=4096)


@pytest.mark.requirement("SENSE-2")
def test_cpu_time_counts_everything_but_idle_and_iowait() -> None:
    """Busy is user, nice, system, irq, softirq and steal; guest time stands in user already."""
    found = counters()
    assert (found.cpu_busy_ms, found.cpu_total_ms) == (1_680, 12_180)
    assert found.cores == ((830, 6_080), (850, 6_100))
    assert found.runnable == 2  # three, and one of them is the reader
    assert found.boot_wall_ms == 1_795_200_762_000
    assert found.uptime_ms == 12_340


@pytest.mark.requirement("SENSE-2")
def test_disk_bytes_are_those_of_whole_disks() -> None:
    """Partitions, loops and stacked devices would count the same bytes twice."""
    found = counters()
    assert found.disk_read_bytes == (2000 + 100) * 512
    assert found.disk_written_bytes == (4000 + 200) * 512


@pytest.mark.requirement("SENSE-2")
def test_interfaces_without_a_wire_are_left_out() -> None:
    """Loopback and bridges carry what never leaves."""
    assert [(link.name, link.rx_bytes, link.tx_bytes) for link in counters().links] == [
        ("eth0", 9159605, 23671)
    ]


@pytest.mark.requirement("SENSE-2")
def test_what_a_kernel_lacks_is_null_and_not_zero() -> None:
    """No pressure figures, no vmstat, no disks: None for each, and the rest is there."""
    found = counters(pressure__io=None, vmstat=None, diskstats=None, loadavg=None)
    assert found.pressure.io is None
    assert found.pressure.cpu is None
    assert found.swapped_in_bytes is None
    assert found.disk_read_bytes is None
    assert found.load is None
    assert found.memory_total_bytes == 16_000_000 * 1024


@pytest.mark.requirement("SENSE-2")
def test_pressure_has_some_and_full_with_their_totals() -> None:
    """The means for people, the totals for means over any span."""
    stall = counters().pressure.io
    assert stall is not None
    assert (stall.some_10s, stall.some_60s, stall.full_10s, stall.full_60s) == (1.5, 2.5, 0.5, 0.25)
    assert (stall.some_us, stall.full_us) == (2_563_263, 42)


@pytest.mark.requirement("SENSE-2")
def test_a_zfs_cache_counts_as_available() -> None:
    """What ZFS holds above its minimum is given back on demand."""
    with_arc = counters(spl__kstat__zfs__arcstats=ARC)
    assert with_arc.memory_available_bytes - counters().memory_available_bytes == 4_000_000


@pytest.mark.requirement("SENSE-11")
@pytest.mark.parametrize("missing", ["stat", "meminfo"])
def test_without_cpu_or_memory_there_is_no_reading(missing: str) -> None:
    """What is essential is an error that names its file, never a zero."""
    with pytest.raises(HostUnreadable, match=f"/proc/{missing}"):
        counters(**{missing: None})


@pytest.mark.requirement("SENSE-2")
def test_this_machine_is_read_as_it_is() -> None:
    """The real adapter agrees with the operating system about what does not change."""
    host = LinuxHost("/")
    one, two = host.counters(1), host.counters(2)
    assert len(one.cores) == os.cpu_count()
    assert one.memory_total_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < one.memory_available_bytes <= one.memory_total_bytes
    assert two.cpu_total_ms >= one.cpu_total_ms > 0
    assert host.process().rss_bytes > 1 << 20
    root = host.surroundings().mounts[0]
    assert root.path == "/"
    assert root.total_bytes >= root.used_bytes + root.free_bytes > 0


MOUNTS_BOTH = """cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,name=systemd 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
/dev/vda / ext4 rw 0 0
"""


@pytest.mark.requirement("SENSE-6")
def test_cgroup_mounts_are_told_apart() -> None:
    """Controllers of v1 by name, also where two share a mount; the v2 mount beside them."""
    ones, two = cgroups.mounts(MOUNTS_BOTH)
    assert two == "/sys/fs/cgroup/unified"
    assert ones == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
        "memory": "/sys/fs/cgroup/memory",
    }
    assert cgroups.mounts("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n") == ({}, "/sys/fs/cgroup")
    assert cgroups.own_path("9:name=systemd:/\n0::/user.slice/a.scope\n") == "/user.slice/a.scope"


@pytest.mark.requirement("SENSE-6")
def test_memory_of_a_group_is_without_the_page_cache() -> None:
    """Both versions: what can be given back is not use."""
    v1 = "cache 99999\nrss 10\nshmem 1\ntotal_cache 99999\ntotal_rss 4096\ntotal_shmem 1024\n"
    assert cgroups.resident_bytes(v1) == 5120
    assert cgroups.resident_bytes("anon 4096\nfile 99999\nshmem 1024\n") == 5120
    assert cgroups.resident_bytes(None) is None
    assert cgroups.usage_ms("usage_usec 1234567\nuser_usec 1\n") == 1234


@pytest.mark.requirement("SENSE-6")
@pytest.mark.parametrize(("flags", "expected"), [(0x00208040, 1), (0x00400100, 0)])
def test_kernel_threads_that_want_a_cpu_are_counted(
    monkeypatch: pytest.MonkeyPatch, flags: int, expected: int
) -> None:
    """Those below thread 2, where that is the kernel's; in a container it is somebody's program."""

    def line(pid: int, name: str, state: str, flags: int) -> str:
        return f"{pid} ({name}) {state} 0 0 0 0 -1 {flags} " + "0 " * 12 + "7 0 0"

    files = {
        "/proc/2/stat": line(2, "kthreadd", "S", flags),
        "/proc/2/task/2/children": "3 4 5 ",
        "/proc/3/stat": line(3, "kworker/0:1H-k) R", "R", flags),
        "/proc/4/stat": line(4, "kworker/1:1", "I", flags),
    }
    monkeypatch.setattr(usage, "read", files.get)
    monkeypatch.setattr(processes, "read", files.get)
    assert usage.kernel_runnable() == expected
