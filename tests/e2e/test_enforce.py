"""`leasehold run --enforce` on a real server: held to its charge, and told where it is not (LEASE-23)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from leasehold.adapters.hosts import cgroups, limits
from leasehold.bootstrap.machine import cgroup_home
from tests.e2e.machine import Machine, machine
from tests.e2e.test_ladder import over_tcp, without_cgroups

pytestmark = [pytest.mark.slow, pytest.mark.requirement("LEASE-23")]

TAKE_400_MIB = "held = b'x' * (400 << 20); print('had it')"
TAKE_IN_A_CHILD = (
    f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', {TAKE_400_MIB!r}]) != 0)"
)
BURN_TWICE = """
import os
os.fork()
while True: pass
"""
SECONDS = 4.0


def needs_limits(here: Machine) -> None:
    """Skip where this machine can't limit work; `doctor` says so."""
    found = {one["name"]: one for one in json.loads(here.cli("doctor", "--json").stdout)}
    if found.get("limits", {}).get("state") != "ok":
        pytest.skip(f"nothing can be limited here: {found.get('limits', {}).get('what', 'no cgroups')}")


def cpu_ticks(pids: list[int]) -> int:
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total


def tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(below for child in children for below in tree(int(child)))]


def cores_used(pid: int, seconds: float = SECONDS) -> float:
    """Cores that a process and all below it use, over so long a time."""
    pids = tree(pid)
    before, began = cpu_ticks(pids), time.monotonic()
    time.sleep(seconds)
    return (cpu_ticks(pids) - before) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - began)


def quota(here: Machine, lease_id: str) -> int | None:
    """CPU microseconds in each tenth of a second that the kernel gives the place of a lease."""
    groups = cgroups.find(cgroup_home(here.data))
    assert groups is not None
    return limits.quota_of(groups, lease_id)


@contextmanager
def burning(here: Machine, *words: str) -> Iterator[tuple[dict[str, Any], int]]:
    """Two processes that want a core each, under one limited lease: the lease, and the first one's pid."""
    process = here.run("--enforce", "--job-type", "burn", *words, "--", "python3", "-c", BURN_TWICE)
    try:
        lease = here.until_active("burn")
        pid = next(one["pid"] for one in lease["bound"] if one["role"] == "work")
        here.until(lambda: len(tree(pid)) == 2, "both burn")
        yield lease, pid
    finally:
        for each in tree(process.pid)[1:]:  # What was forked hears nothing of a SIGTERM to its parent.
            os.kill(each, signal.SIGKILL)
        process.communicate(timeout=30)


def test_memory_over_the_limit_is_ended_and_said(here: Machine) -> None:
    """Killed by the kernel: 137, a sentence on standard error, and in the reason why the lease ended."""
    needs_limits(here)
    status = here.folder / "status.json"
    words = ["--enforce", "--mem", "200M", "--job-type", "greedy", "--status-file", str(status)]
    done = here.cli("run", *words, "--", "python3", "-c", TAKE_400_MIB)
    assert (done.returncode, done.stdout) == (128 + signal.SIGKILL, "")
    assert "the kernel ended a process of it for going over its memory limit of 200 MiB" in done.stderr
    assert "--mem" in done.stderr
    assert json.loads(status.read_text())["memory_kills"] == 1
    ended = next(one for one in here.status()["ended"] if one["job_type"] == "greedy")
    assert "over its memory limit of 200 MiB" in ended["end_reason"]
    assert ended["usage"]["memory_kills"] == 1


def test_a_child_that_is_ended_is_said_too(here: Machine) -> None:
    """The command itself lives, and fails in its own way: nobody else would say why."""
    needs_limits(here)
    done = here.cli("run", "--enforce", "--mem", "200M", "--", "python3", "-c", TAKE_IN_A_CHILD)
    assert done.returncode == 1
    assert "over its memory limit of 200 MiB" in done.stderr


def test_what_stays_below_its_limit_is_left_alone(here: Machine) -> None:
    """Twice the memory is enough, and nothing is said."""
    needs_limits(here)
    done = here.cli("run", "--enforce", "--mem", "800M", "--", "python3", "-c", TAKE_400_MIB)
    assert (done.returncode, done.stdout, done.stderr) == (0, "had it\n", "")


def test_two_burners_are_held_to_one_core(here: Machine) -> None:
    """Measured over seconds; shown by `status`, `why`, `get` and `describe`; frozen, and held again after."""
    needs_limits(here)
    with burning(here, "--cpu", "1") as (lease, pid):
        assert lease["enforced"] == {"cpu_millicores": 1_000}
        assert cores_used(pid) <= 1.15
        for verb in (
            ["status"],
            ["get", "leases"],
            ["why", lease["lease_id"]],
            ["describe", lease["lease_id"]],
        ):
            assert "limited to 1 cores" in here.cli(*verb).stdout
        assert here.cli("pause", lease["lease_id"]).returncode == 0
        assert cores_used(pid, 0.5) == 0
        assert here.cli("resume", lease["lease_id"]).returncode == 0
        assert 0 < cores_used(pid, 2.0) <= 1.2


def test_two_burners_are_held_to_less_than_a_core(here: Machine) -> None:
    """A third of a core for both together: less than they would get on a machine that others load too."""
    needs_limits(here)
    with burning(here, "--cpu", "300m") as (lease, pid):
        assert lease["enforced"] == {"cpu_millicores": 300}
        assert 0 < cores_used(pid) <= 0.36


def test_throttled_work_comes_back_to_its_limit_and_no_further(here: Machine) -> None:
    """A tenth while the machine is busy; the limit, not the whole machine, when it is let go on."""
    needs_limits(here)
    with burning(here, "--cpu", "1", "--on-busy", "throttle") as (lease, pid):
        try:
            assert here.cli("pretend", "busy", "--for", "10m").returncode == 0
            here.until(lambda: quota(here, lease["lease_id"]) == 10_000, "it is throttled")
            assert cores_used(pid, 2.0) <= 0.2
        finally:
            here.cli("pretend", "off")
        assert here.cli("resume", lease["lease_id"]).returncode == 0
        here.until(lambda: quota(here, lease["lease_id"]) == 100_000, "it is let go on, up to its limit")
        assert cores_used(pid) <= 1.15


def test_limits_hold_without_a_server_and_after_its_kill() -> None:
    """They are the kernel's: kill -9, and the next server shows them and holds on to them."""
    with machine() as here:
        needs_limits(here)
        with burning(here, "--cpu", "1") as (lease, pid):
            os.kill(here.pid(), signal.SIGKILL)
            assert cores_used(pid, 2.0) <= 1.2
            here.up()
            again = here.until_active("burn")
            assert (again["lease_id"], again["enforced"]) == (lease["lease_id"], {"cpu_millicores": 1_000})
            assert cores_used(pid, 2.0) <= 1.2


def test_what_outlives_its_lease_is_not_limited() -> None:
    """The command has ended and left somebody behind: the limit was for the lease's life."""
    with machine() as here:
        needs_limits(here)
        left = here.folder / "left"
        script = f"python3 -c 'while True: pass' >/dev/null 2>&1 & echo $! > {left}; sleep 1"
        done = here.cli("run", "--enforce", "--cpu", "200m", "--", "sh", "-c", script)
        assert done.returncode == 0, done.stderr
        pid = int(left.read_text())
        try:
            lease_id = next(one["lease_id"] for one in here.status()["ended"])
            here.until(lambda: quota(here, lease_id) is None, "it may take more than its fifth")
        finally:
            os.kill(pid, signal.SIGKILL)


def test_the_owner_may_turn_it_off_and_that_is_said() -> None:
    """Without a restart; the work runs, and whoever asked for a limit reads that there is none."""
    with machine() as here:
        needs_limits(here)
        config = here.folder / ".config" / "leasehold" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text('[lease]\nenforce = "off"\n')
        os.kill(here.pid(), signal.SIGHUP)
        said = "limits are turned off on this machine"
        here.until(lambda: said in here.cli("why", "--enforce", "--cpu", "1", "--", "x").stdout, "it is read")
        done = here.cli("run", "--enforce", "--mem", "200M", "--", "python3", "-c", TAKE_400_MIB)
        assert (done.returncode, done.stdout) == (0, "had it\n")
        assert done.stderr.count(said) == 1


def test_work_that_the_server_cannot_see_is_told_so(here: Machine) -> None:
    """Over TCP the command runs, with a sentence that nothing limits it."""
    done = here.cli("run", "--enforce", "--cpu", "1", "--", "echo", "ran", env=over_tcp(here))
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert done.stderr.count("can't see it over TCP") == 1


def test_without_cgroups_it_runs_and_says_so() -> None:
    """Where none can be made `run` says it once, and `doctor` before."""
    with without_cgroups() as here:
        done = here.cli("run", "--enforce", "--cpu", "1", "--", "echo", "ran")
        assert (done.returncode, done.stdout) == (0, "ran\n")
        assert done.stderr.count("no cgroup can be made for it here") == 1


def test_inside_a_run_the_outer_limit_holds(here: Machine) -> None:
    """An inner `--enforce` has the outer one's limit, and says so where that has none."""
    needs_limits(here)
    inner = ["leasehold", "run", "--enforce", "--cpu", "1", "--", "echo", "ran"]
    done = here.cli("run", "--cpu", "1", "--", *inner)
    assert done.stdout == "ran\n"
    assert "nothing limits it" in done.stderr
    done = here.cli("run", "--enforce", "--cpu", "1", "--", *inner)
    assert (done.stdout, done.stderr) == ("ran\n", "")


def test_a_running_tree_is_bound_with_all_that_it_has_started(here: Machine) -> None:
    """By the API: the limits hold for a child that was there before, and the answer says what holds."""
    needs_limits(here)
    child = subprocess.Popen([sys.executable, "-c", BURN_TWICE])
    try:
        here.until(lambda: len(tree(child.pid)) == 2, "both burn")
        server = json.loads((here.data / "server.json").read_text())
        body = {
            "job_type": "bound",
            "resources": {"cpu_millicores": 500},
            "start": "now",
            "enforce": True,
            "bind": {"pids": [child.pid]},
        }
        token = (here.data / "admin.token").read_text().strip()
        asked = subprocess.run(
            [
                *["curl", "-s", f"{server['url']}/api/scheduler/lease/request"],
                *["-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json"],
                *["-d", json.dumps(body)],
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(asked.stdout)["enforced"] == {"cpu_millicores": 500}
        assert cores_used(child.pid, 2.0) <= 0.7
    finally:
        for pid in tree(child.pid):
            os.kill(pid, signal.SIGKILL)
        child.wait()
