"""Control groups as this machine really has them: found by trying a write, not by version (SENSE-6).

Three outcomes: `cgroup2` (one hierarchy with cpu, memory and perhaps io), `cgroup1` (a mount per
controller, also beside a v2 hierarchy without controllers), or neither, where leased work is told apart by
its process tree.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice

from leasehold.adapters.hosts.files import number, read

HOME = "leasehold"
CPU_WEIGHT = 20  # cgroup v2; 100 is everybody else's
CPU_SHARES = 205  # v1: 1024 · 20 ÷ 100
IO_WEIGHT = 20
V1_CONTROLLERS = ("cpu", "cpuacct", "memory", "freezer", "blkio", "pids")
PROBE = "probe"
SHIMS = "-shims"
"""Beside the home: the parents of commands, which outlive the server and are no part of the work."""
FOLDERS_LOOKED_AT = 512  # below one cgroup of somebody else
WEIGHTS = {
    "cgroup2": (("cpu", "cpu.weight", str(CPU_WEIGHT)), ("blkio", "io.weight", str(IO_WEIGHT))),
    "cgroup1": (("cpu", "cpu.shares", str(CPU_SHARES)), ("blkio", "blkio.bfq.weight", str(IO_WEIGHT))),
}
"""By kind: controller, file, and the low weight that leased work has."""
LEAST = {"cgroup2": ("cpu.weight", "1"), "cgroup1": ("cpu.shares", "2")}
"""By kind: the file and the least weight, that of throttled work and of no other."""
QUOTAS = {"cgroup2": ("cpu.max",), "cgroup1": ("cpu.cfs_period_us", "cpu.cfs_quota_us")}


def mounts(text: str | None = None) -> tuple[dict[str, str], str]:
    """({v1 controller: mount point}, v2 mount point or "")."""
    ones: dict[str, str] = {}
    two = ""
    for row in ((text if text is not None else read("/proc/self/mounts")) or "").splitlines():
        fields = row.split(" ")
        if len(fields) < 4:
            continue
        if fields[2] == "cgroup2":
            two = two or fields[1]
        elif fields[2] == "cgroup":
            ones.update({name: fields[1] for name in fields[3].split(",") if name in V1_CONTROLLERS})
    return ones, two


def unit_roots(text: str | None = None) -> list[str]:
    """Mounts of the hierarchies that only tell units apart: v1's `name=systemd`, and v2 without controllers.

    Whoever moves itself to the root of these is no part of a unit any more, and outlives its stop.
    """
    found = []
    for row in ((text if text is not None else read("/proc/self/mounts")) or "").splitlines():
        fields = row.split(" ")
        is_named = len(fields) > 3 and fields[2] == "cgroup" and "name=systemd" in fields[3].split(",")
        if is_named or (len(fields) > 3 and fields[2] == "cgroup2" and not _has_cpu(fields[1])):
            found.append(fields[1])
    return found


def own_path(text: str | None = None) -> str:
    """This process's place in the v2 hierarchy (`/user.slice/…`)."""
    for line in ((text if text is not None else read("/proc/self/cgroup")) or "").splitlines():
        if line.startswith("0::"):
            return line[3:].rstrip("/")
    return ""


def write(path: str, text: str) -> bool:
    """Whether the kernel took it."""
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
    except OSError:
        return False
    return True


def made(path: str) -> bool:
    """Whether the folder is there now."""
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        return True
    except OSError:
        return False
    return True


def removed(path: str) -> bool:
    """Whether the folder is gone now. A cgroup with processes in it stays."""
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


class Groups:
    """The folders of leased work: `homes` maps each controller to the folder that holds one folder per lease.

    With v2 all controllers share one folder. `cpu_weight`, `io_weight`, `memory`, `freezer` tell what was
    seen to work. A place is named by its lease, or by its absolute path below `roots` where somebody else
    made it.
    """

    def __init__(self, kind: str, homes: dict[str, str], roots: dict[str, str] | None = None) -> None:
        self.kind = kind
        self.homes = homes
        self.roots = roots or {}
        self.folders = tuple(sorted(set(homes.values())))
        self.cpu_weight = self._try_weight("cpu.weight" if kind == "cgroup2" else "cpu.shares", "cpu")
        has_file = self._try_weight("io.weight" if kind == "cgroup2" else "blkio.bfq.weight", "blkio")
        self.io_weight = has_file and weighs_io()
        self.memory = "memory" in homes
        self.freezer = kind == "cgroup2" or "freezer" in homes

    def _try_weight(self, name: str, controller: str) -> bool:
        folder = self.homes.get(controller)
        return folder is not None and os.access(f"{folder}/{name}", os.W_OK)

    def folder(self, controller: str, place: str = "") -> str:
        """A place in the hierarchy of a controller; without one, the folder of all leases."""
        if place.startswith("/"):
            return f"{self.roots[controller]}{place.rstrip('/')}" if controller in self.roots else ""
        home = self.homes.get(controller, "")
        return f"{home}/{place}" if place and home else home

    def make(self, lease: str) -> bool:
        """Make the lease's folders and give them their weight; a throttled place keeps the one it has."""
        if not all(made(f"{folder}/{lease}") for folder in self.folders):
            self.remove(lease)
            return False
        if not self.is_least(lease):
            self.weigh(lease)
        return True

    def is_least(self, place: str) -> bool:
        """Whether the place has the weight of throttled work."""
        name, least = LEAST[self.kind]
        return (read(f"{self.folder('cpu', place)}/{name}") or "").strip() == least

    def weigh(self, lease: str = "") -> None:
        """Low weight for one lease, or for the folder of all.

        The latter is what competes with everybody else.
        """
        for controller, name, weight in WEIGHTS[self.kind]:
            if self.folder(controller, lease):
                write(f"{self.folder(controller, lease)}/{name}", weight)

    def move(self, lease: str, pid: int) -> bool:
        """Whether the process is in the lease's folder of every hierarchy now."""
        moved = [write(f"{folder}/{lease}/cgroup.procs", str(pid)) for folder in self.folders]
        return all(moved)

    def pids(self, lease: str) -> list[int]:
        """The processes in a lease's folder; in somebody else's also those in the folders below it."""
        if not lease.startswith("/"):
            return sorted(_procs(f"{self._main()}/{lease}"))
        main = "freezer" if "freezer" in self.roots else "cpu"
        below = islice(os.walk(self.folder(main, lease)), FOLDERS_LOOKED_AT)
        return sorted({pid for folder, _, _ in below for pid in _procs(folder)})

    def is_there(self, place: str) -> bool:
        """Whether somebody else's cgroup exists, in the hierarchy that can freeze it or weigh it."""
        return any(
            os.path.isdir(self.folder(controller, place))
            for controller in ("freezer", "cpu")
            if controller in self.roots
        )

    def threads(self, lease: str) -> list[str]:
        """The threads in a lease's folder, as text."""
        name = "cgroup.threads" if self.kind == "cgroup2" else "tasks"
        return (read(f"{self._main()}/{lease}/{name}") or "").split()

    def remove(self, lease: str) -> bool:
        """Remove the lease's folders, those that are empty."""
        gone = [removed(f"{folder}/{lease}") for folder in self.folders]
        return all(gone)

    def close(self) -> None:
        """Remove the home itself, unless somebody is in it."""
        for folder in self.folders:
            removed(f"{folder}{SHIMS}")
            removed(folder)

    def shims(self) -> list[str]:
        """The `cgroup.procs` to which the parent of a command moves itself; made if need be."""
        places = [f"{folder}{SHIMS}" for folder in self.folders]
        made_ones = [place for place in places if made(place)]
        for controller, name, weight in WEIGHTS[self.kind]:
            if controller in self.homes:
                write(f"{self.homes[controller]}{SHIMS}/{name}", weight)
        return [f"{place}/cgroup.procs" for place in made_ones]

    def leases(self) -> tuple[str, ...]:
        """The names of all folders."""
        try:
            with os.scandir(self._main()) as entries:
                return tuple(sorted(each.name for each in entries if each.is_dir(follow_symlinks=False)))
        except OSError:
            return ()

    def _main(self) -> str:
        return self.homes.get("cpu") or self.folders[0]

    def cpu_ms(self, lease: str = "") -> int | None:
        """CPU time of one lease, or of all leases since the folder was made, with what has ended."""
        if self.kind == "cgroup2":
            return usage_ms(read(f"{self.folder('cpu', lease)}/cpu.stat"))
        nanoseconds = number(read(f"{self.folder('cpuacct', lease)}/cpuacct.usage"))
        return None if nanoseconds is None else nanoseconds // 1_000_000

    def memory_bytes(self, lease: str = "") -> int | None:
        """Memory of one lease or of all, without the page cache, which can be given back."""
        if not self.memory:
            return None
        return resident_bytes(read(f"{self.folder('memory', lease)}/memory.stat"))


def _procs(folder: str) -> list[int]:
    return [int(pid) for pid in (read(f"{folder}/cgroup.procs") or "").split()]


def usage_ms(cpu_stat: str | None) -> int | None:
    """`usage_usec` of a v2 `cpu.stat`."""
    if not cpu_stat or not cpu_stat.startswith("usage_usec"):
        return None
    return int(cpu_stat.split(None, 2)[1]) // 1000


def resident_bytes(memory_stat: str | None) -> int | None:
    """v1: total_rss + total_shmem (the `total_` rows count the groups below too).

    V2: anon + shmem, always hierarchical.
    """
    if not memory_stat:
        return None
    rows = dict(line.split(" ", 1) for line in memory_stat.splitlines() if " " in line)
    if "total_rss" in rows:
        return int(rows["total_rss"]) + int(rows.get("total_shmem", 0))
    return int(rows["anon"]) + int(rows.get("shmem", 0)) if "anon" in rows else None


def weighs_io(root: str = "/sys/block") -> bool:
    """Whether any disk's scheduler heeds weights: the files are there even where nobody reads them."""
    try:
        names = sorted(os.listdir(root))
    except OSError:
        return False
    return any("[bfq]" in (read(f"{root}/{name}/queue/scheduler") or "") for name in names)


def find(home: str = HOME) -> Groups | None:
    """The best kind of group that can really be made here, or None.

    Leaves the empty folder `home` where it can.

    Two servers on one machine need two homes: what is in a home counts as its server's own.
    """
    ones, two = mounts()
    return _second(two, home) if two and _has_cpu(two) else _ones(ones, home)


def _has_cpu(two: str) -> bool:
    return "cpu" in (read(f"{two}/cgroup.controllers") or "").split()


def _second(two: str, name: str) -> Groups | None:
    """A folder in the v2 hierarchy, as high up as may be written.

    What stands beside it is what it yields to.
    """
    for parent in _writable(two):
        home = f"{parent}/{name}"
        for controller in ("cpu", "memory", "io", "pids"):
            write(f"{parent}/cgroup.subtree_control", f"+{controller}")
        if not made(home):
            continue
        granted = [
            each
            for each in ("cpu", "memory", "io", "pids")
            if write(f"{home}/cgroup.subtree_control", f"+{each}")
        ]
        if "cpu" in granted and made(f"{home}/{PROBE}"):
            works = write(f"{home}/{PROBE}/cpu.weight", str(CPU_WEIGHT))
            removed(f"{home}/{PROBE}")
            if works:
                names = {"cpu": "cpu", "memory": "memory", "io": "blkio", "pids": "pids"}
                homes = {names[each]: home for each in granted}
                groups = Groups("cgroup2", homes, dict.fromkeys(homes, two))
                groups.weigh()
                return groups
        removed(home)
    return None


def _writable(two: str) -> Iterator[str]:
    """The root, then this process's ancestors from the top down, those whose folder may be written."""
    path = two
    for part in ["", *own_path().split("/")]:
        path = f"{path}/{part}" if part else path
        if os.access(path, os.W_OK) and os.access(f"{path}/cgroup.procs", os.W_OK):
            yield path


def _ones(ones: dict[str, str], name: str) -> Groups | None:
    """A folder at the top of each v1 hierarchy."""
    if "cpu" not in ones or "cpuacct" not in ones:
        return None
    homes: dict[str, str] = {}
    for controller, mount in sorted(ones.items()):
        home = f"{mount}/{name}"
        if made(home) and made(f"{home}/{PROBE}") and removed(f"{home}/{PROBE}"):
            homes[controller] = home
    if (
        "cpu" not in homes
        or "cpuacct" not in homes
        or not write(f"{homes['cpu']}/cpu.shares", str(CPU_SHARES))
    ):
        return None
    groups = Groups("cgroup1", homes, {controller: ones[controller] for controller in homes})
    groups.weigh()
    return groups
