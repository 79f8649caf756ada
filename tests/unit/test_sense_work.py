"""Leased work on the real machine, told apart and measured; processes by identity (SENSE-6, LEASE-22)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from leasehold.adapters.hosts import cgroups, outside, sensors
from leasehold.adapters.hosts.cgroups import CPU_SHARES, CPU_WEIGHT
from leasehold.adapters.hosts.processes import LinuxProcesses, stat
from leasehold.adapters.hosts.sums import Sums
from leasehold.adapters.hosts.work import LinuxWork
from leasehold.model.lease import Process
from leasehold.model.work import OursCounters, WorkQuery

HOME = f"leasehold-test-{os.getpid()}"
BURN = "import sys\nsys.stdout.write('up\\n'); sys.stdout.flush()\nwhile True: pass"
BURN_BELOW = (
    "import subprocess, sys\n"
    "child = subprocess.Popen([sys.executable, '-c', 'x = 0\\nfor i in range(8_000_000): x += i'])\n"
    "child.wait()\n"
    "sys.stdout.write('done\\n'); sys.stdout.flush()\n"
    "sys.stdin.read()"
)


def program(source: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", source, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def line_of(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def ended(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.communicate()


@pytest.fixture
def work() -> Iterator[LinuxWork]:
    found = LinuxWork(HOME)
    yield found
    for lease in found.places():
        found.remove(lease)
    found.close()


def needs_cgroup(work: LinuxWork) -> None:
    if work.containment().kind == "tree":
        pytest.skip("no cgroup can be made by this user on this machine")


@pytest.mark.requirement("SENSE-6")
def test_leased_work_has_a_place_at_low_weight_and_takes_its_children_along(work: LinuxWork) -> None:
    """The folder has its weight, and the moved process is in it with what it starts from then on."""
    needs_cgroup(work)
    child = program("import subprocess, sys\nsys.stdin.readline()\nsubprocess.run(['sleep', '30'])")
    try:
        assert work.make("lease-a") == "lease-a"
        assert work.make("lease-a") == "lease-a"
        assert list(work.admit("lease-a", [child.pid])) == []
        assert child.pid in work.processes("lease-a")
        assert work.places() == ("lease-a",)
        assert weight_of("lease-a") == weight_of("") == (205 if kind(work) == "cgroup1" else 20)
        assert not work.remove("lease-a")
    finally:
        ended(child)
    assert work.remove("lease-a")
    assert work.remove("lease-a")
    assert work.places() == ()


@pytest.mark.requirement("SENSE-6")
def test_closing_leaves_only_places_that_somebody_lives_in() -> None:
    """Empty places and their home are gone; one with a process in it waits for the next start."""
    work = LinuxWork(HOME)
    needs_cgroup(work)
    child = program("import sys\nsys.stdin.read()")
    try:
        work.make("lease-empty")
        work.make("lease-lived-in")
        work.admit("lease-lived-in", [child.pid])
        work.close()
        assert LinuxWork(HOME).places() == ("lease-lived-in",)
    finally:
        ended(child)
    work.close()
    after = LinuxWork(HOME)
    assert after.places() == ()
    after.close()


def kind(work: LinuxWork) -> str:
    return work.containment().kind


def weight_of(lease: str) -> int:
    """The weight that the kernel has for a folder of this test's home."""
    groups = cgroups.find(HOME)
    assert groups is not None
    name = "cpu.weight" if groups.kind == "cgroup2" else "cpu.shares"
    with open(f"{groups.homes['cpu']}/{lease}/{name}", encoding="ascii") as file:
        return int(file.read())


@pytest.mark.requirement("SENSE-6")
def test_the_weights_are_those_of_the_specification() -> None:
    """v2 cpu.weight 20, v1 cpu.shares 205: a fifth of everybody else's."""
    assert (CPU_WEIGHT, CPU_SHARES) == (20, 205)


@pytest.mark.requirement("SENSE-6")
def test_the_use_of_a_place_is_measured_and_outlives_its_processes(work: LinuxWork) -> None:
    """CPU of a lease grows while it runs; what it used stays ours when its processes have ended."""
    needs_cgroup(work)
    child = program(BURN)
    try:
        assert line_of(child) == "up"
        query = WorkQuery("lease-b", cgroup=work.make("lease-b"))
        work.admit("lease-b", [child.pid])
        before = work.measure([query], 1, io=False)
        grown = burnt(work, query, before.uses[0].cpu_ms + 200)
        assert grown.uses[0].alive == 1
        assert grown.uses[0].runnable == 1
        assert grown.uses[0].memory_bytes > 1 << 20
        assert child.pid in grown.pids
    finally:
        ended(child)
    assert work.remove("lease-b")
    after = work.measure([], 3, io=False)
    assert after.cpu_ms >= grown.cpu_ms
    assert after.uses == ()


def burnt(work: LinuxWork, query: WorkQuery, cpu_ms: int) -> OursCounters:
    """Measure until the lease has used so much: by CPU time, so that a busy machine only takes longer."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = work.measure([query], 2, io=False)
        if found.uses[0].cpu_ms >= cpu_ms:
            return found
    raise AssertionError(f"the work never used {cpu_ms} ms")


@pytest.mark.requirement("SENSE-6")
def test_a_tree_without_a_cgroup_keeps_the_time_of_children_that_ended(work: LinuxWork) -> None:
    """A child's seconds stay with the tree once it has been waited for (cutime + cstime)."""
    child = program(BURN_BELOW)
    try:
        process = LinuxProcesses().identify(child.pid)
        assert process is not None
        query = WorkQuery("lease-c", processes=(process,))
        work.measure([query], 1, io=False)
        assert line_of(child) == "done"
        use = work.measure([query], 2, io=False).uses[0]
        assert use.cpu_ms >= 50
        assert use.alive == 1
    finally:
        ended(child)


@pytest.mark.requirement("SENSE-6")
def test_work_without_a_place_is_lowered_by_nice() -> None:
    """Where no cgroup can be made, the process itself is lowered."""
    work = LinuxWork(HOME)
    work._groups = None
    child = program("import sys\nsys.stdin.read()")
    try:
        assert work.make("lease-d") == ""
        assert list(work.admit("lease-d", [child.pid])) == []
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == 10
        assert work.containment().kind == "tree"
        assert "process tree" in work.containment().notes[0]
    finally:
        ended(child)
    assert list(work.admit("lease-d", [child.pid])) == [child.pid]


@pytest.mark.requirement("SENSE-6")
def test_a_lease_bound_to_nothing_only_declares() -> None:
    """It is not measured, and its declared share is handed on to be set off against real load."""
    found = LinuxWork(HOME).measure([WorkQuery("lease-e", cpu_millicores=1500)], 1, io=False)
    assert (found.uses, found.unbound_millicores) == ((), 1500)


WRITER = """
import os, sys
sys.stdin.readline()
with open(sys.argv[1], "wb") as file:
    file.write(os.urandom(4 << 20))
    file.flush()
    os.fsync(file.fileno())
print("written", flush=True)
sys.stdin.read()
"""


@pytest.mark.requirement("SENSE-6")
def test_storage_bytes_are_told_apart_when_asked(work: LinuxWork, tmp_path: Path) -> None:
    """What a leased process writes is ours; without asking nothing is read."""
    if not sensors.disk_of(str(tmp_path)):
        pytest.skip("the temporary folder is on no disk, so nothing written there is counted")
    child = program(WRITER, str(tmp_path / "written"))
    try:
        process = LinuxProcesses().identify(child.pid)
        assert process is not None
        query = WorkQuery("lease-f", processes=(process,))
        before = work.measure([query], 1, io=True)
        assert work.measure([query], 1, io=False).io_ours_bytes is None
        assert child.stdin is not None
        child.stdin.write("\n")
        child.stdin.flush()
        assert line_of(child) == "written"
        after = work.measure([query], 2, io=True)
        assert (after.io_ours_bytes or 0) - (before.io_ours_bytes or 0) >= 4 << 20
    finally:
        ended(child)


def test_counters_that_come_and_go_only_ever_add() -> None:
    """A new counter starts from where it was found; one that shrinks or vanishes takes nothing back."""
    sums = Sums()
    assert sums.add({"a": 100}) == 0
    assert sums.add({"a": 130, "b": 1_000}) == 30
    assert sums.add({"a": 90, "b": 1_010}) == 40
    assert sums.add({"a": 95}) == 45
    assert sums.add({}) == 45
    assert sums.of("a") == 0


@pytest.mark.requirement("LEASE-22")
def test_a_process_is_known_by_more_than_its_pid() -> None:
    """Same pid with another start or boot is another process; the dead and zombies don't live."""
    processes = LinuxProcesses()
    me = processes.identify(os.getpid())
    assert me is not None
    assert processes.alive(me)
    assert not processes.alive(Process(me.pid, me.start_ticks + 1, me.boot_id))
    assert not processes.alive(Process(me.pid, me.start_ticks, "another boot"))
    assert processes.owner(os.getpid()) == os.getuid()
    child = program("pass")
    zombie = processes.identify(child.pid)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert stat(child.pid) is not None
    assert processes.identify(child.pid) is None
    assert zombie is None or not processes.alive(zombie)
    ended(child)
    assert processes.owner(child.pid) is None


@pytest.mark.requirement("LEASE-22")
def test_descent_is_followed_up_to_the_ancestor() -> None:
    """A grandchild is below its grandparent, and a sibling is not."""
    processes = LinuxProcesses()
    child = program("import sys\nsys.stdin.read()")
    try:
        assert processes.is_descendant(child.pid, os.getpid())
        assert processes.is_descendant(child.pid, os.getppid())
        assert not processes.is_descendant(os.getpid(), child.pid)
        me = processes.identify(os.getpid())
        assert me is not None
        assert child.pid in processes.tree(me)
    finally:
        ended(child)


@pytest.mark.requirement("LEASE-22")
@pytest.mark.parametrize("polled", [False, True])
async def test_a_death_is_noticed_by_itself(polled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watcher is called once from the event loop, with a pidfd and also where there is none."""
    if polled:
        monkeypatch.delattr(os, "pidfd_open")
    processes = LinuxProcesses()
    child = program("import sys\nsys.stdin.read()")
    process = processes.identify(child.pid)
    assert process is not None
    gone: asyncio.Queue[Process] = asyncio.Queue()
    processes.watch(process, gone.put_nowait)
    child.kill()
    assert await asyncio.wait_for(gone.get(), 10) == process
    child.communicate()
    assert gone.empty()


@pytest.mark.requirement("LEASE-22")
async def test_a_process_that_is_already_gone_is_told_at_once() -> None:
    """Watching the dead, or a pid that is somebody else's now, is no error."""
    processes = LinuxProcesses()
    child = program("pass")
    child.communicate()
    me = processes.identify(os.getpid())
    assert me is not None
    gone: asyncio.Queue[Process] = asyncio.Queue()
    dead = Process(child.pid, 1, me.boot_id)
    reused = Process(me.pid, me.start_ticks - 1, me.boot_id)
    processes.watch(dead, gone.put_nowait)
    processes.watch(reused, gone.put_nowait)
    assert {await asyncio.wait_for(gone.get(), 10), await asyncio.wait_for(gone.get(), 10)} == {dead, reused}


@pytest.mark.requirement("LEASE-22")
async def test_a_stopped_watch_says_nothing_and_holds_no_descriptor() -> None:
    """Stopping gives the descriptor back, and may be done twice."""
    processes = LinuxProcesses()
    child = program("import sys\nsys.stdin.read()")
    process = processes.identify(child.pid)
    assert process is not None
    before = len(os.listdir("/proc/self/fd"))
    told: list[Process] = []
    stop = processes.watch(process, told.append)
    stop()
    stop()
    assert len(os.listdir("/proc/self/fd")) == before
    ended(child)
    await asyncio.sleep(0)
    assert told == []


@pytest.fixture
def pressure_root() -> Iterator[str]:
    """A cgroup without processes that counts stalls, with a folder of leases and two of others."""
    mount = cgroups.mounts()[1]
    root = f"{mount}/{HOME}-outside"
    folders = [root, f"{root}/leasehold", f"{root}/others", f"{root}/idle"]
    can_make = bool(mount) and all(cgroups.made(folder) for folder in folders)
    if not can_make or not os.path.exists(f"{root}/cpu.pressure"):
        pytest.skip("no v2 hierarchy with pressure figures may be written here")
    yield root
    for folder in reversed(folders):
        os.rmdir(folder)


@pytest.mark.requirement("SENSE-6")
def test_the_stalls_of_others_are_read_beside_the_leased_folder(pressure_root: str) -> None:
    """Two foreign programs on one CPU wait for each other: their group shows it, the idle one does not."""
    burners = [program(BURN), program(BURN)]
    try:
        cpu = min(os.sched_getaffinity(0))
        for burner in burners:
            os.sched_setaffinity(burner.pid, {cpu})
            assert cgroups.write(f"{pressure_root}/others/cgroup.procs", str(burner.pid))
        beside = outside.Outside(pressure_root, f"{pressure_root}/leasehold")
        before = stalls(beside)
        deadline = time.monotonic() + 60
        while stalls(beside)["others"] - before["others"] < 100_000 and time.monotonic() < deadline:
            pass  # reading the figures is all there is to wait with
        after = stalls(beside)
        assert after["others"] - before["others"] >= 100_000
        assert after["idle"] - before["idle"] < 1_000
        assert "leasehold" not in after
    finally:
        for burner in burners:
            ended(burner)


def stalls(beside: outside.Outside) -> dict[str, int]:
    """CPU stall in µs by the last part of the group's name."""
    found = beside.read(0)
    assert found is not None
    return {os.path.basename(group.name): group.cpu_us for group in found}


@pytest.mark.requirement("SENSE-6")
def test_groups_tell_nothing_where_programs_run_outside_of_them(pressure_root: str) -> None:
    """A program directly in the root would be in nobody's figures, so the host's share is used instead."""
    beside = outside.Outside(pressure_root, f"{pressure_root}/leasehold")
    assert beside.read(0) is not None
    child = program("import sys\nsys.stdin.read()")
    try:
        assert cgroups.write(f"{pressure_root}/cgroup.procs", str(child.pid))
        assert beside.read(outside.REFRESH_MS - 1) is not None
        assert beside.read(outside.REFRESH_MS) is None
    finally:
        ended(child)
