"""The top cgroups that hold no leased work: whoever stands still in them is somebody else (SENSE-6).

cgroup v2 only.
"""

from __future__ import annotations

import os

from leasehold.adapters.hosts.cgroups import SHIMS
from leasehold.adapters.hosts.files import KernelFiles, read
from leasehold.adapters.hosts.processes import stat
from leasehold.adapters.hosts.procfs import stalled_us
from leasehold.model.work import Stalls

GROUPS_MAX = 12  # a systemd machine has about six; two files each, every tick
REFRESH_MS = 30_000  # services come and go seldom
ROOT_PIDS_MAX = 400
KERNEL_THREAD = 0x0020_0000  # PF_KTHREAD of include/linux/sched.h


class Outside:
    """Stall totals beside the folder `home` and beside each folder above it."""

    def __init__(self, mount: str, home: str) -> None:
        self._mount = mount
        self._home = home
        self._files = KernelFiles()
        self._groups: list[str] = []
        self._looked_ms: int | None = None
        self._tells = False

    def read(self, now_ms: int) -> tuple[Stalls, ...] | None:
        """None where others also run outside of every group that could be read.

        So that it would tell too little.
        """
        if self._looked_ms is None or now_ms - self._looked_ms >= REFRESH_MS:
            self._looked_ms = now_ms
            self._groups = beside(self._mount, self._home)
            self._tells = bool(self._groups) and not has_programs(self._mount)
            self._files.close()
        if not self._tells:
            return None
        found = [self._stalls(group) for group in self._groups]
        return tuple(stalls for stalls in found if stalls is not None)

    def _stalls(self, group: str) -> Stalls | None:
        cpu = stalled_us(self._files.again(f"{group}/cpu.pressure"))
        io = stalled_us(self._files.again(f"{group}/io.pressure"))
        return None if cpu is None or io is None else Stalls(group, cpu, io)


def beside(mount: str, home: str) -> list[str]:
    """The folders that are not on the way from the mount to `home`, topmost only."""
    found: list[str] = []
    path = mount
    for part in os.path.relpath(home, mount).split("/"):
        try:
            with os.scandir(path) as entries:
                ours = (part, f"{part}{SHIMS}")
                names = sorted(
                    each.name
                    for each in entries
                    if each.is_dir(follow_symlinks=False) and each.name not in ours
                )
        except OSError:
            return []
        found.extend(f"{path}/{name}" for name in names)
        path = f"{path}/{part}"
    return found[:GROUPS_MAX] if len(found) <= GROUPS_MAX else sorted(found, key=_stalled_most)[:GROUPS_MAX]


def _stalled_most(group: str) -> tuple[int, str]:
    return -(stalled_us(read(f"{group}/cpu.pressure")) or 0), group


def has_programs(folder: str) -> bool:
    """Whether anything but kernel threads lives directly in `folder`."""
    pids = (read(f"{folder}/cgroup.procs") or "").split()
    seen = (stat(int(pid)) for pid in pids[:ROOT_PIDS_MAX])
    return any(each is not None and not each.flags & KERNEL_THREAD for each in seen)
