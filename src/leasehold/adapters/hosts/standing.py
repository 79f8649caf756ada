"""The port `Standing` on Linux: containers, units, cgroups, processes that run by themselves (LEASE-26)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import msgspec

from leasehold.adapters.hosts import freezer, units
from leasehold.adapters.hosts.cgroups import Groups, write
from leasehold.adapters.hosts.containers import Containers
from leasehold.adapters.hosts.files import read
from leasehold.adapters.hosts.processes import LinuxProcesses, tree
from leasehold.model.lease import Binding, Process
from leasehold.ports.host import TargetUnknown, TargetUnreachable

NAMESPACE = "pid"


class LinuxStanding:
    """By the cgroup that the software is in already, which stays its own; a bare process gets a place.

    A cgroup counts as somebody's own where nothing runs in it but what shares the pid namespace of its first
    process, or stands below it; else (rootless engines without cgroups) the process tree is held by signals.
    """

    def __init__(self, groups: Groups | None, containers: Containers) -> None:
        self._groups = groups
        self._containers = containers
        self._processes = LinuxProcesses()
        self._under_way: dict[str, threading.Thread] = {}
        self._failed: dict[str, str] = {}

    # -- looking

    def find(self, target: str) -> Binding | None:
        kind, _, name = target.partition(":")
        if kind == "docker":
            return self._of_pid(self._containers.find(name).pid)
        if kind == "unit":
            unit = units.find(name)
            return self._of_pid(unit.pid, unit.cgroup) or self._of_cgroup(unit.cgroup)
        if kind == "cgroup":
            if self._groups is None:
                raise TargetUnreachable(
                    "no cgroup can be held here (see `leasehold doctor`); guard a pid: instead"
                )
            if not self._groups.is_there(name):
                raise TargetUnknown(f"there is no cgroup {name}")
            return self._of_cgroup(name)
        process = self._processes.identify(int(name))
        if process is None:
            raise TargetUnknown(f"there is no process {name}")
        return Binding(work=(process,))

    def _of_pid(self, pid: int, cgroup: str = "") -> Binding | None:
        process = self._processes.identify(pid) if pid else None
        if process is None:
            return None
        return Binding(work=(process,), cgroup=self._own_cgroup(process, cgroup or self._cgroup_of(pid)))

    def _of_cgroup(self, cgroup: str) -> Binding | None:
        if self._groups is None or not cgroup.strip("/"):
            return None
        pids = self._groups.pids(cgroup)
        if os.getpid() in pids:
            raise TargetUnreachable(
                f"the server itself runs in the cgroup {cgroup}: frozen, it could thaw nothing"
            )
        return Binding(cgroup=cgroup) if pids else None

    def _cgroup_of(self, pid: int) -> str:
        """Its path in the hierarchy that can freeze it."""
        groups = self._groups
        if groups is None:
            return ""
        wanted = "" if groups.kind == "cgroup2" else "freezer"
        return paths_of(pid).get(wanted, "")

    def _own_cgroup(self, process: Process, cgroup: str) -> str:
        groups = self._groups
        if groups is None or not cgroup.strip("/") or not groups.is_there(cgroup):
            return ""
        below, namespace = set(tree(process.pid)), _namespace(process.pid)
        pids = groups.pids(cgroup)
        if os.getpid() in pids or process.pid not in pids:
            return ""
        is_own = namespace != _namespace(os.getpid())
        mine = all(pid in below or (is_own and _namespace(pid) in (namespace, "")) for pid in pids)
        return cgroup if mine else ""

    # -- weight

    def lower(self, lease_id: str, binding: Binding) -> Binding:
        groups = self._groups
        if groups is None:
            return binding  # What is nice can't be made as before by everybody.
        if binding.cgroup.startswith("/"):
            before = binding.before or freezer.looks(groups, binding.cgroup)
            groups.weigh(binding.cgroup)
            return msgspec.structs.replace(binding, before=before)
        if not binding.work or not groups.make(lease_id):
            return binding
        root = binding.work[0].pid
        before = binding.before or tuple(sorted(paths_of(root).items()))
        for pid in tree(root):
            groups.move(lease_id, pid)
        return msgspec.structs.replace(binding, cgroup=lease_id, before=before)

    def put_back(self, lease_id: str, binding: Binding) -> None:
        groups = self._groups
        if groups is None or not binding.cgroup:
            return
        if binding.cgroup.startswith("/"):
            freezer.put_back(groups, binding.cgroup, binding.before)
            return
        before = dict(binding.before)
        for pid in groups.pids(binding.cgroup):
            for controller, root in groups.roots.items():
                path = before.get("" if groups.kind == "cgroup2" else controller, "/")
                write(f"{root}{path}/cgroup.procs", str(pid)) or write(f"{root}/cgroup.procs", str(pid))
        groups.remove(binding.cgroup)

    # -- stopping, in a thread of its own: it takes as long as the software likes

    def stop(self, target: str) -> bool:
        if not self._runs(target):
            return True
        self._in_thread(target, self._containers.stop, units.stop)
        return False

    def start(self, target: str) -> bool:
        if self._runs(target):
            return True
        self._in_thread(target, self._containers.start, units.start)
        return False

    def _runs(self, target: str) -> bool:
        try:
            return self.find(target) is not None
        except TargetUnknown:
            return False

    def _in_thread(
        self, target: str, of_container: Callable[[str], None], of_unit: Callable[[str], None]
    ) -> None:
        busy = self._under_way.get(target)
        if busy is not None and busy.is_alive():
            return
        why = self._failed.pop(target, "")
        if why:
            raise TargetUnreachable(why)
        kind, _, name = target.partition(":")

        def work() -> None:
            try:
                (of_container if kind == "docker" else of_unit)(name)
            except (TargetUnknown, TargetUnreachable) as error:
                self._failed[target] = str(error)

        self._under_way[target] = threading.Thread(target=work, name=f"stop {target}", daemon=True)
        self._under_way[target].start()


def paths_of(pid: int) -> dict[str, str]:
    """Its place in each hierarchy: by controller in v1, by "" in v2."""
    found: dict[str, str] = {}
    for line in (read(f"/proc/{pid}/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        found.update(dict.fromkeys(controllers.split(","), path))
    return found


def _namespace(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/{NAMESPACE}")
    except OSError:
        return ""
