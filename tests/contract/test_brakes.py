"""The contract of brakes over every way to hold work on this machine: cgroup v1 and v2, and signals."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from leasehold.adapters.hosts import cgroups
from leasehold.adapters.hosts.brakes import LinuxBrakes
from leasehold.adapters.hosts.cgroups import Groups, made, mounts, removed
from leasehold.adapters.hosts.freezer import PERIOD_US, quota_us
from leasehold.model.lease import BrakeLevel, Process
from leasehold.model.work import WorkQuery
from leasehold.testing.brakes_contract import LEASE, BrakesContract, Subject, until

HOME = f"leasehold-brakes-{os.getpid()}"

pytestmark = pytest.mark.slow


class InPlaces:
    """Work in cgroups of this test's own."""

    has_places = True

    def __init__(self, groups: Groups, *, has_quota: bool) -> None:
        self.groups = groups
        self.has_quota = has_quota

    def brakes(self) -> LinuxBrakes:
        return LinuxBrakes(self.groups)

    def place(self, lease_id: str, process: Process) -> WorkQuery:
        """Only the root is moved: what it has forked before has to be found by the brakes."""
        assert self.groups.make(lease_id)
        self.groups.move(lease_id, process.pid)
        return WorkQuery(lease_id, 1_000, 0, (process,), (), lease_id)

    def close(self) -> None:
        for lease_id in self.groups.leases():
            until(lambda lease_id=lease_id: self.groups.remove(lease_id))  # type: ignore[misc]
        self.groups.close()


class BySignals:
    """Work that stands nowhere in particular."""

    has_places = has_quota = False

    def brakes(self) -> LinuxBrakes:
        return LinuxBrakes(None)

    def place(self, lease_id: str, process: Process) -> WorkQuery:
        return WorkQuery(lease_id, 1_000, 0, (process,))


class TestPlaces(BrakesContract):
    """In the kind of cgroup that a server on this machine would use."""

    @pytest.fixture
    def subject(self) -> Iterator[Subject]:
        groups = cgroups.find(HOME)
        if groups is None or not groups.freezer:
            pytest.skip("no cgroup that can freeze can be made by this user on this machine")
        found = InPlaces(groups, has_quota=True)
        yield found
        found.close()


class TestSecondHierarchy(BrakesContract):
    """In a cgroup v2 that can freeze, though it may have no cpu controller."""

    @pytest.fixture
    def subject(self) -> Iterator[Subject]:
        _, two = mounts()
        home = f"{two}/{HOME}-v2"
        if not two or not made(home):
            pytest.skip("no cgroup v2 can be made by this user on this machine")
        has_cpu = "cpu" in Path(home, "cgroup.controllers").read_text().split()
        if has_cpu:
            Path(home, "cgroup.subtree_control").write_text("+cpu")
        found = InPlaces(Groups("cgroup2", {"cpu": home}), has_quota=has_cpu)
        yield found
        found.close()
        assert removed(home)


class TestSignals(BrakesContract):
    """Where no cgroup can be made: SIGSTOP to the whole tree."""

    @pytest.fixture
    def subject(self) -> Subject:
        return BySignals()


@pytest.mark.requirement("LEASE-14")
@pytest.mark.parametrize(
    ("millicores", "quota"), [(1_000, 10_000), (4_000, 40_000), (500, 5_000), (50, 1_000), (0, 1_000)]
)
def test_the_quota_is_a_tenth_of_the_charge(millicores: int, quota: int) -> None:
    """In microseconds of each tenth of a second; never less than the kernel takes."""
    assert PERIOD_US == 100_000
    assert quota_us(millicores) == quota


@pytest.mark.requirement("LEASE-14")
@pytest.mark.parametrize(
    ("kind", "throttled", "loosened"),
    [
        (
            "cgroup2",
            {"cpu.max": "20000 100000", "cpu.weight": "1", "io.weight": "1"},
            {"cpu.max": "max 100000", "cpu.weight": "20", "io.weight": "20"},
        ),
        (
            "cgroup1",
            {"cpu.cfs_quota_us": "20000", "cpu.shares": "2", "blkio.bfq.weight": "1"},
            {"cpu.cfs_quota_us": "-1", "cpu.shares": "205", "blkio.bfq.weight": "20"},
        ),
    ],
)
def test_what_the_kernel_is_told(
    tmp_path: Path, kind: str, throttled: dict[str, str], loosened: dict[str, str]
) -> None:
    """For two cores, in the words of each hierarchy; also of one that this machine has not."""
    groups = Groups(kind, {"cpu": str(tmp_path), "blkio": str(tmp_path)})
    (tmp_path / LEASE).mkdir()
    query = WorkQuery(LEASE, 2_000, cgroup=LEASE)
    brakes = LinuxBrakes(groups)
    assert brakes.throttle([query]) == {LEASE}
    assert {name: (tmp_path / LEASE / name).read_text() for name in throttled} == throttled
    assert brakes.held() == {LEASE: BrakeLevel.THROTTLED}
    assert brakes.loosen([query]) == {LEASE}
    assert {name: (tmp_path / LEASE / name).read_text() for name in loosened} == loosened
    assert brakes.held() == {}
