"""What changes slowly on Linux: file systems, link speeds, temperatures, battery, physical cores.

Read each half minute.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from leasehold.adapters.hosts.files import number, read
from leasehold.model.snapshot import Battery, Mount

MOUNTS_MAX = 16
SENSORS_MAX = 32
FILE_SYSTEMS = frozenset(
    [
        "ext2",
        "ext3",
        "ext4",
        "xfs",
        "btrfs",
        "f2fs",
        "zfs",
        "bcachefs",
        "jfs",
        "reiserfs",
        "vfat",
        "exfat",
        "ntfs",
        "ntfs3",
        "overlay",
    ]
)
"""Local file systems that can fill up. A network one may hang whoever asks it, so it is not asked."""


def mounts(data: str) -> tuple[Mount, ...]:
    """Local file systems, `/` and that of the data folder first; each disk area once."""
    text = read("/proc/self/mounts") or ""
    rows = [line.split(" ") for line in text.splitlines()]
    paths = [_unescaped(row[1]) for row in rows if len(row) > 2 and row[2] in FILE_SYSTEMS]
    found: dict[int, Mount] = {}
    for path in ["/", mount_of(data), *sorted(paths)]:
        mount = _mount(path, found)
        if mount is not None and len(found) < MOUNTS_MAX:
            found[os.stat(path).st_dev] = mount
    return tuple(found.values())


def _unescaped(path: str) -> str:
    """Mount points have blanks and the like written in octal."""
    return path.encode("latin-1", "replace").decode("unicode_escape") if "\\" in path else path


def mount_of(path: str) -> str:
    """The mount point that holds `path`, or what of it exists."""
    path = os.path.realpath(path)
    while not os.path.ismount(path) and path != "/":
        path = os.path.dirname(path)
    return path


def _mount(path: str, found: dict[int, Mount]) -> Mount | None:
    try:
        if os.stat(path).st_dev in found:
            return None
        space = os.statvfs(path)
    except OSError:
        return None
    total, used = space.f_blocks * space.f_frsize, (space.f_blocks - space.f_bfree) * space.f_frsize
    free = space.f_bavail * space.f_frsize
    if total == 0:
        return None
    return Mount(path, disk_of(path), total, used, free, round(100 * free / max(1, used + free), 2))


def disk_of(path: str) -> str:
    """The disk below the file system of `path` (`vda`, not `vda1`); "" where the kernel shows none."""
    try:
        device = os.stat(path).st_dev
        entry = os.path.realpath(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}")
    except OSError:
        return ""
    if not entry.startswith("/sys/devices/"):
        return ""
    return os.path.basename(os.path.dirname(entry) if os.path.exists(f"{entry}/partition") else entry)


def link_speeds(names: tuple[str, ...]) -> dict[str, int]:
    """Bits per second of the links whose speed the driver knows."""
    speeds = {name: number(read(f"/sys/class/net/{name}/speed")) for name in names}
    return {name: mbit * 1_000_000 for name, mbit in speeds.items() if mbit is not None and mbit > 0}


def _entries(folder: str) -> Iterator[str]:
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    yield from (f"{folder}/{name}" for name in names[:SENSORS_MAX])


def temperatures() -> dict[str, float]:
    """Degrees Celsius by sensor.

    What reads as nonsense (0 or below, 150 or above) is a sensor that is not there.
    """
    found: dict[str, float] = {}
    for zone in _entries("/sys/class/thermal"):
        milli = number(read(f"{zone}/temp"))
        if milli is not None and 0 < milli < 150_000:
            kind = (read(f"{zone}/type") or os.path.basename(zone)).strip()
            found[kind] = max(found.get(kind, 0.0), milli / 1000)
    if found:
        return found
    for chip in _entries("/sys/class/hwmon"):
        name = (read(f"{chip}/name") or os.path.basename(chip)).strip()
        degrees = [
            number(read(path)) for path in _entries(chip) if path.endswith("_input") and "/temp" in path
        ]
        sane = [milli / 1000 for milli in degrees if milli is not None and 0 < milli < 150_000]
        if sane:
            found[name] = max(sane)
    return found


def battery() -> Battery | None:
    """None on a machine without one. A device's own battery (a mouse) is not the machine's."""
    percent, discharging, mains = None, False, None
    for supply in _entries("/sys/class/power_supply"):
        kind = (read(f"{supply}/type") or "").strip()
        if kind == "Mains":
            mains = number(read(f"{supply}/online")) == 1 or bool(mains)
        elif kind == "Battery" and (read(f"{supply}/scope") or "").strip() != "Device":
            percent = number(read(f"{supply}/capacity"))
            discharging |= (read(f"{supply}/status") or "").strip() == "Discharging"
    if percent is None and not discharging:
        return None
    return Battery(on_battery=discharging and not mains, percent=percent)


def cores_physical() -> int | None:
    """Cores without their hyper-threads, None where the topology is not shown."""
    pairs = set()
    for folder in _cpus():
        core = number(read(f"{folder}/topology/core_id"))
        package = number(read(f"{folder}/topology/physical_package_id"))
        if core is None:
            return None
        pairs.add((package, core))
    return len(pairs) or None


def _cpus() -> list[str]:
    try:
        names = os.listdir("/sys/devices/system/cpu")
    except OSError:
        return []
    return [f"/sys/devices/system/cpu/{name}" for name in names if name[:3] == "cpu" and name[3:].isdigit()]


def graphical_session() -> str:
    """The socket of a running graphical session, or ""."""
    for path in _entries("/tmp/.X11-unix"):  # noqa: S108 - where X servers keep their sockets
        return path
    for runtime in _entries("/run/user"):
        for path in _entries(runtime):
            if os.path.basename(path).startswith("wayland-"):
                return path
    return ""
