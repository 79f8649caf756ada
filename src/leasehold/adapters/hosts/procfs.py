"""Parsers of Linux's `/proc` files: text in, figures out.

Formats: proc(5), Documentation/accounting/psi.rst.
"""

from __future__ import annotations

from leasehold.adapters.hosts.files import Read
from leasehold.model.snapshot import HostCounters, Link, Pressure, Stall
from leasehold.ports.host import HostUnreadable

SECTOR_BYTES = 512  # /proc/diskstats counts these, whatever the disk's own are
LINKS_MAX = 32
NOT_DISKS = ("loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd")
"""Stacked or pretended block devices: what goes through them is counted at the disk below, or nowhere."""
NOT_LINKS = ("lo", "veth", "br-", "docker", "virbr", "cni", "flannel", "cali", "ifb", "dummy", "tunl", "sit")
"""Interfaces without a wire of their own.

Their traffic never leaves, or is counted at the one that it leaves by.
"""


def counters(read: Read, now_ms: int, *, clock_ticks: int, page_bytes: int) -> HostCounters:
    """One raw reading of the host. Raises HostUnreadable without CPU or memory figures."""
    memory, swapped, stalls = _keyed(read("/proc/meminfo")), _keyed(read("/proc/vmstat")), pressure(read)
    arc, devices, network = (
        read("/proc/spl/kstat/zfs/arcstats"),
        read("/proc/diskstats"),
        read("/proc/net/dev"),
    )
    loads, uptime = read("/proc/loadavg"), read("/proc/uptime")
    # Last, since what is ours is looked at right after it: between the two others start and end.
    stat = read("/proc/stat")
    if not stat or not stat.startswith("cpu "):
        raise HostUnreadable("/proc/stat can't be read: CPU use is unknown; is /proc mounted here?")
    if "MemTotal" not in memory:
        raise HostUnreadable("/proc/meminfo can't be read: memory use is unknown; is /proc mounted here?")
    lines = stat.splitlines()
    tick_ms = 1000 / clock_ticks
    cores = tuple(_cpu(line, tick_ms) for line in lines[1:] if line.startswith("cpu"))
    whole = _cpu(lines[0], tick_ms)
    disk_read, disk_written = disks(devices)
    return HostCounters(
        at_ms=now_ms,
        cpu_busy_ms=whole[0],
        cpu_total_ms=whole[1],
        cores=cores,
        runnable=_after(lines, "procs_running", less=1),
        load=load(loads),
        memory_total_bytes=memory["MemTotal"] * 1024,
        memory_available_bytes=available(memory, arc),
        memory_free_bytes=memory.get("MemFree", 0) * 1024,
        swap_total_bytes=memory.get("SwapTotal", 0) * 1024,
        swap_free_bytes=memory.get("SwapFree", 0) * 1024,
        swapped_in_bytes=_times(swapped.get("pswpin"), page_bytes),
        swapped_out_bytes=_times(swapped.get("pswpout"), page_bytes),
        pressure=stalls,
        disk_read_bytes=disk_read,
        disk_written_bytes=disk_written,
        links=links(network),
        boot_wall_ms=1000 * (_after(lines, "btime") or 0),
        uptime_ms=uptime_ms(uptime),
    )


def runnable(stat: str | None) -> int | None:
    """Tasks of the host that run or want to, without the reader."""
    return _after(stat.splitlines(), "procs_running", less=1) if stat else None


def _cpu(line: str, tick_ms: float) -> tuple[int, int]:
    """(busy, total) ms of a `cpu` line: user nice system idle iowait irq softirq steal.

    Guest time stands in user already.
    """
    user, nice, system, idle, iowait, irq, softirq, steal = (int(field) for field in line.split(None, 9)[1:9])
    busy = user + nice + system + irq + softirq + steal
    return int(busy * tick_ms), int((busy + idle + iowait) * tick_ms)


def _after(lines: list[str], name: str, less: int = 0) -> int | None:
    """The number behind `name`, `less` what the reader itself adds to it."""
    for line in reversed(lines):
        if line.startswith(name):
            return max(0, int(line.split()[1]) - less)
    return None


def _keyed(text: str | None) -> dict[str, int]:
    """`Name:  123 kB` or `name 123`, per line."""
    found: dict[str, int] = {}
    for line in (text or "").splitlines():
        fields = line.split(None, 2)
        if len(fields) >= 2 and fields[1].isdigit():
            found[fields[0].rstrip(":")] = int(fields[1])
    return found


def _times(count: int | None, bytes_each: int) -> int | None:
    return None if count is None else count * bytes_each


def available(memory: dict[str, int], arcstats: str | None) -> int:
    """Memory that can be had without swapping. What ZFS caches above its minimum can be had too."""
    known = memory.get("MemAvailable")
    kib = (
        known if known is not None else sum(memory.get(name, 0) for name in ("MemFree", "Cached", "Buffers"))
    )
    given_back = 0
    if arcstats:
        arc = {
            line.split()[0]: int(line.split()[2])
            for line in arcstats.splitlines()[2:]
            if len(line.split()) == 3
        }
        given_back = max(0, arc.get("size", 0) - arc.get("c_min", 0))
    return min(memory["MemTotal"] * 1024, kib * 1024 + given_back)


def load(text: str | None) -> tuple[float, float, float] | None:
    """The three load averages."""
    if not text:
        return None
    one, five, fifteen = (float(field) for field in text.split()[:3])
    return one, five, fifteen


def uptime_ms(text: str | None) -> int:
    """Time since boot."""
    return int(float(text.split()[0]) * 1000) if text else 0


def pressure(read: Read) -> Pressure:
    """Stall figures of the whole host.

    None per resource where the kernel has none or was told not to count.
    """
    return Pressure(
        cpu=stall(read("/proc/pressure/cpu")),
        memory=stall(read("/proc/pressure/memory")),
        io=stall(read("/proc/pressure/io")),
    )


def stall(text: str | None) -> Stall | None:
    """A pressure file.

    `some avg10=0.20 avg60=0.10 avg300=0.02 total=700070`, and a `full` line where there is one.
    """
    if not text or not text.startswith("some"):
        return None
    rows = {
        line.split(None, 1)[0]: [field.partition("=")[2] for field in line.split()[1:]]
        for line in text.splitlines()
    }
    some, full = rows["some"], rows.get("full")
    return Stall(
        some_10s=float(some[0]),
        some_60s=float(some[1]),
        full_10s=float(full[0]) if full else None,
        full_60s=float(full[1]) if full else None,
        some_us=int(some[3]),
        full_us=int(full[3]) if full else 0,
    )


def stalled_us(text: str | None) -> int | None:
    """Only the `some` total of a pressure file: what the hot path needs of many cgroups."""
    if not text or not text.startswith("some"):
        return None
    return int(text[text.index("total=") + 6 :].split(None, 1)[0])


def disks(text: str | None) -> tuple[int | None, int | None]:
    """Bytes read and written by whole disks, None where no disk is seen."""
    if not text:
        return None, None
    names = [line.split(None, 10) for line in text.splitlines()]
    whole = [fields for fields in names if len(fields) > 9 and not fields[2].startswith(NOT_DISKS)]
    whole = [fields for fields in whole if not _is_partition(fields[2], {each[2] for each in whole})]
    if not whole:
        return None, None
    return sum(int(fields[5]) for fields in whole) * SECTOR_BYTES, sum(
        int(fields[9]) for fields in whole
    ) * SECTOR_BYTES


def _is_partition(name: str, names: set[str]) -> bool:
    """`sda1` beside `sda`, `nvme0n1p2` beside `nvme0n1`."""
    stem = name.rstrip("0123456789")
    return stem != name and (stem in names or (stem.endswith("p") and stem[:-1] in names))


def links(text: str | None) -> tuple[Link, ...]:
    """Interfaces with a wire, by name."""
    found: list[Link] = []
    for line in (text or "").splitlines()[2:]:
        name, _, rest = line.partition(":")
        fields = rest.split()
        if len(fields) >= 10 and not name.strip().startswith(NOT_LINKS):
            found.append(Link(name.strip(), int(fields[0]), int(fields[8]), int(fields[1]), int(fields[9])))
    return tuple(sorted(found, key=lambda link: link.name)[:LINKS_MAX])
