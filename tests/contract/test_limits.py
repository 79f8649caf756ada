"""Limits on the real machine's cgroups: cores, memory, and brakes beside them (LEASE-23, LEASE-14)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from leasehold.adapters.hosts import freezer, limits
from leasehold.adapters.hosts.brakes import LinuxBrakes
from leasehold.adapters.hosts.cgroups import Groups
from leasehold.adapters.hosts.work import LinuxWork
from leasehold.model.lease import UNLIMITED, BrakeLevel, Limits
from leasehold.model.work import WorkQuery
from leasehold.runtime.lean import elapsed_s, pause
from leasehold.testing.brakes_contract import LEASE, identified, until

HOME = f"leasehold-limits-{os.getpid()}"
MIB = 1 << 20
BURN = "while True: pass"
TAKE = """
import sys
sys.stdin.readline()
held = b"x" * (int(sys.argv[1]) << 20)
print(len(held), flush=True)
sys.stdin.readline()
"""
"""Takes so many MiB when told to, and says that it has them."""

pytestmark = [pytest.mark.slow, pytest.mark.requirement("LEASE-23")]


@pytest.fixture
def work() -> Iterator[LinuxWork]:
    found = LinuxWork(HOME)
    yield found
    for place in found.places():
        until(lambda place=place: found.remove(place))  # type: ignore[misc]
    found.close()


def groups_of(work: LinuxWork) -> Groups:
    """Where real places can be made, else the test is skipped."""
    if work._groups is None:
        pytest.skip("no cgroup can be made by this user on this machine")
    return work._groups


@contextmanager
def program(source: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, "-c", source, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


def used_ms(groups: Groups, seconds: float) -> float:
    """CPU time that everything in the place uses in so long a time, per second of it."""
    before, began = groups.cpu_ms(LEASE) or 0, elapsed_s()
    pause(seconds)
    return ((groups.cpu_ms(LEASE) or 0) - before) / (elapsed_s() - began)


def test_two_burners_share_the_core_that_they_are_held_to(work: LinuxWork) -> None:
    """One core for both together, whatever the machine has; a fifth of one when that is the limit."""
    groups = groups_of(work)
    with program(BURN) as one, program(BURN) as other:
        for millicores in (1_000, 200):
            assert work.make(LEASE) == LEASE
            work.limit(LEASE, UNLIMITED)
            assert work.limit(LEASE, Limits(millicores)) == Limits(millicores)
            assert list(work.admit(LEASE, [one.pid, other.pid])) == []
            used_ms(groups, 0.3)
            assert used_ms(groups, 2.0) <= millicores * 1.15


def test_what_takes_more_memory_than_its_limit_is_ended(work: LinuxWork) -> None:
    """The kernel kills it, and the place tells so; what stays below lives."""
    if not groups_of(work).memory:
        pytest.skip("the cgroups of this machine have no memory controller")
    work.make(LEASE)
    assert work.limit(LEASE, Limits(0, 200 * MIB)) == Limits(0, 200 * MIB)
    with program(TAKE, "60") as child:
        work.admit(LEASE, [child.pid])
        assert child.communicate("\n\n")[0] == f"{60 * MIB}\n"
        assert (child.returncode, work.memory_kills(LEASE)) == (0, 0)
    with program(TAKE, "400") as child:
        work.admit(LEASE, [child.pid])
        assert child.communicate("\n\n")[0] == ""
        assert (child.returncode, work.memory_kills(LEASE)) == (-signal.SIGKILL, 1)


def test_a_throttle_goes_below_the_limit_and_back_to_it(work: LinuxWork) -> None:
    """A tenth of the charge while it lasts, also where the limit is set again; then the limit."""
    groups = groups_of(work)
    with program(BURN) as child:
        work.make(LEASE)
        work.limit(LEASE, Limits(1_000))
        work.admit(LEASE, [child.pid])
        query = WorkQuery(LEASE, 1_000, 0, (identified(child.pid),), (), LEASE, limits=Limits(1_000))
        brakes = LinuxBrakes(groups)
        assert dict(brakes.held()) == {}
        assert brakes.throttle([query]) == {LEASE}
        assert limits.quota_of(groups, LEASE) == 10_000
        assert work.limit(LEASE, Limits(1_000)) == Limits(1_000)
        assert limits.quota_of(groups, LEASE) == 10_000
        assert dict(LinuxBrakes(groups).held()) == {LEASE: BrakeLevel.THROTTLED}
        assert brakes.loosen([query]) == {LEASE}
        assert limits.quota_of(groups, LEASE) == 100_000
        assert dict(LinuxBrakes(groups).held()) == {}
        assert brakes.freeze([query]) == {LEASE}
        assert limits.quota_of(groups, LEASE) == 100_000
        assert used_ms(groups, 0.3) < 10
        assert brakes.thaw([query]) == {LEASE}
        until(lambda: used_ms(groups, 0.1) > 10)
        assert limits.quota_of(groups, LEASE) == 100_000


def test_a_throttle_that_was_let_go_of_halfway_is_found(work: LinuxWork) -> None:
    """A server killed between quota and weight: the next one sees that the place is still held back."""
    groups = groups_of(work)
    work.make(LEASE)
    query = WorkQuery(LEASE, 1_000, cgroup=LEASE)
    assert freezer.throttle(groups, LEASE, 1_000)
    limits.limit_cpu(groups, LEASE, None)
    assert dict(LinuxBrakes(groups).held()) == {LEASE: BrakeLevel.THROTTLED}
    assert LinuxBrakes(groups).loosen([query]) == {LEASE}
    assert dict(LinuxBrakes(groups).held()) == {}


def test_more_of_a_throttled_lease_changes_nothing_of_that(work: LinuxWork) -> None:
    """Another process is bound while the machine is busy: quota and weight stay, and are found again."""
    groups = groups_of(work)
    work.make(LEASE)
    work.limit(LEASE, Limits(1_000))
    assert freezer.throttle(groups, LEASE, 1_000)
    assert work.make(LEASE) == LEASE
    assert work.limit(LEASE, Limits(1_000)) == Limits(1_000)
    assert limits.quota_of(groups, LEASE) == 10_000
    assert dict(LinuxBrakes(groups).held()) == {LEASE: BrakeLevel.THROTTLED}


def test_lifted_is_as_if_there_had_been_none(work: LinuxWork) -> None:
    """What outlives its lease may take what it wants; another server finds the limits of the one before."""
    groups = groups_of(work)
    wanted = Limits(500, 100 * MIB) if groups.memory else Limits(500)
    with program(TAKE, "150") as child:
        work.make(LEASE)
        assert work.limit(LEASE, wanted) == wanted
        work.admit(LEASE, [child.pid])
        after = LinuxWork(HOME)
        assert limits.quota_of(groups_of(after), LEASE) == 50_000
        assert not after.remove(LEASE)
        assert after.limit(LEASE, UNLIMITED) == UNLIMITED
        assert limits.quota_of(groups, LEASE) is None
        assert child.communicate("\n\n")[0] == f"{150 * MIB}\n"


def test_what_somebody_lifted_is_put_back(work: LinuxWork) -> None:
    """Setting the same limits again mends them, and changes nothing where they hold."""
    groups = groups_of(work)
    work.make(LEASE)
    work.limit(LEASE, Limits(500))
    limits.limit_cpu(groups, LEASE, None)
    assert work.limit(LEASE, Limits(500)) == Limits(500)
    assert limits.quota_of(groups, LEASE) == 50_000


def test_what_can_be_limited_is_found_by_trying(work: LinuxWork) -> None:
    """As `doctor` says it; nothing of the trial is left."""
    groups = groups_of(work)
    found = work.containment()
    assert (found.cpu_limit, found.memory_limit) == (True, groups.memory)
    assert work.places() == ()


def test_without_cgroups_nothing_is_limited(work: LinuxWork) -> None:
    """And that is the answer, not a pretence."""
    work._groups = None
    assert work.limit(LEASE, Limits(1_000, MIB)) == UNLIMITED
    assert work.memory_kills(LEASE) == 0
    assert (work.containment().cpu_limit, work.containment().memory_limit) == (False, False)


@pytest.mark.parametrize(
    ("kind", "held", "lifted", "events"),
    [
        (
            "cgroup2",
            {"cpu.max": "150000 100000", "memory.max": "1048576", "memory.swap.max": "0"},
            {"cpu.max": "max 100000", "memory.max": "max", "memory.swap.max": "max"},
            ("memory.events", "low 0\noom 1\noom_kill 3\n"),
        ),
        (
            "cgroup1",
            {
                "cpu.cfs_quota_us": "150000",
                "memory.limit_in_bytes": "1048576",
                "memory.memsw.limit_in_bytes": "1048576",
            },
            {
                "cpu.cfs_quota_us": "-1",
                "memory.limit_in_bytes": "-1",
                "memory.memsw.limit_in_bytes": "-1",
            },
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
        ),
    ],
)
def test_what_the_kernel_is_told(
    tmp_path: Path, kind: str, held: dict[str, str], lifted: dict[str, str], events: tuple[str, str]
) -> None:
    """For a core and a half and a MiB, in the words of each hierarchy, also of one that is not here."""
    groups = Groups(kind, {"cpu": str(tmp_path), "memory": str(tmp_path)})
    folder = tmp_path / LEASE
    folder.mkdir()
    wanted = Limits(1_500, MIB)
    assert limits.hold(groups, LEASE, wanted) == wanted
    assert {name: (folder / name).read_text() for name in held} == held
    limits.lift(groups, LEASE)
    assert {name: (folder / name).read_text() for name in lifted} == lifted
    (folder / events[0]).write_text(events[1])
    assert limits.memory_kills(groups, LEASE) == 3


def test_a_limit_that_the_kernel_does_not_take_is_missing_in_the_answer(tmp_path: Path) -> None:
    """No memory controller, and a file that can't be written."""
    groups = Groups("cgroup2", {"cpu": str(tmp_path)})
    (tmp_path / LEASE / "cpu.max").mkdir(parents=True)
    assert limits.hold(groups, LEASE, Limits(1_000, MIB)) == UNLIMITED
