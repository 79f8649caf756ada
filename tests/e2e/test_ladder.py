"""Leased work gives way to a busy machine and comes back, on a real server with real trees (LEASE-14)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from leasehold.testing.brakes_contract import GROWING, grows, stands
from tests.e2e.machine import LEASEHOLD, Machine, machine

pytestmark = [pytest.mark.slow, pytest.mark.requirement("LEASE-14")]


@contextmanager
def compiling(
    here: Machine, *words: str, on_busy: str = "pause", env: dict[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], str, Path]]:
    """A tree that forks for ever under a lease; its wrapper, its lease's id, and the file that grows."""
    path = here.folder / f"grows-{time.monotonic_ns()}"
    source = (
        f"import os; os.dup2(os.open({str(path)!r}, os.O_CREAT | os.O_WRONLY | os.O_APPEND), 3)\n{GROWING}"
    )
    process = here.run(
        "--cost",
        "40",
        "--job-type",
        "tree",
        "--on-busy",
        on_busy,
        *words,
        "--",
        "python3",
        "-c",
        source,
        env=env or {},
    )
    try:
        lease_id = here.until_active("tree")["lease_id"]
        here.until(path.exists, "the tree has begun")
        grows(path)
        yield process, lease_id, path
    finally:
        here.cli("pretend", "off")
        here.cli("resume", lease_id)
        process.terminate()
        process.communicate(timeout=30)


def flags(here: Machine, lease_id: str) -> list[str]:
    return next((one.get("flags", []) for one in here.leases() if one["lease_id"] == lease_id), [])


def frozen_in_s(here: Machine, path: Path) -> float:
    """Seconds from when the word `busy` was obeyed to the last thing that the tree did; below 0: before."""
    assert here.cli("pretend", "busy", "--for", "10m").returncode == 0
    began = time.time()
    here.until(lambda: stands(path), "it stands still")
    return path.stat().st_mtime - began


@contextmanager
def without_cgroups() -> Iterator[Machine]:
    """A machine whose server sees no cgroups, so that signals are all it has."""
    folder = Path(tempfile.mkdtemp(prefix="lh-"))
    here = Machine(folder)
    hide = f"mount -t tmpfs none /sys/fs/cgroup && exec {LEASEHOLD} up --foreground"
    server = here.start(["unshare", "--mount", "sh", "-c", hide], stdout=subprocess.DEVNULL)
    try:
        try:
            here.until(lambda: here.cli("status", "--check").returncode == 0, "a server")
        except (AssertionError, json.JSONDecodeError):
            pytest.skip("no mount namespace can be made by this user, so cgroups can't be hidden")
        yield here
    finally:
        here.down()
        server.kill()
        server.communicate()
        shutil.rmtree(folder, ignore_errors=True)


def test_busy_freezes_a_compile_and_resume_thaws_it(here: Machine) -> None:
    """All of a forking tree stands within a second, is shown with its reason, and goes on when told to."""
    with compiling(here) as (process, lease_id, path):
        assert frozen_in_s(here, path) < 1.0
        assert flags(here, lease_id) == ["frozen"]
        shown = here.cli("status").stdout
        assert "frozen: System is BUSY" in shown
        assert "stands still" in here.cli("why", lease_id).stdout
        assert stands(path, 6.0), "its wrapper renews, and nothing of it runs"
        assert here.cli("resume", lease_id).returncode == 0
        grows(path)
        assert flags(here, lease_id) == ["resumed"]
        assert process.poll() is None


def test_signals_do_the_same_where_there_is_no_cgroup() -> None:
    """Frozen within a second, and thawed, by SIGSTOP and SIGCONT to the whole tree."""
    with without_cgroups() as here, compiling(here) as (_, lease_id, path):
        assert "cgroup" not in here.leases()[0]
        assert frozen_in_s(here, path) < 1.0
        assert here.cli("resume", lease_id).returncode == 0
        grows(path)


def over_tcp(here: Machine) -> dict[str, str]:
    """What makes `run` use the port, so that the server can't see its processes."""
    server = json.loads((here.data / "server.json").read_text())
    return {
        "LEASEHOLD_URL": server["url"],
        "LEASEHOLD_TOKEN": (here.data / "admin.token").read_text().strip(),
    }


def test_work_that_the_server_cannot_see_is_stopped_by_its_wrapper(here: Machine) -> None:
    """Over TCP: told by a heartbeat, all of it stands still, and goes on when told to."""
    with compiling(here, env=over_tcp(here)) as (_, lease_id, path):
        here.cli("pretend", "busy", "--for", "10m")
        here.until(lambda: stands(path), "it stands still")
        assert stands(path, 3.0)
        here.cli("resume", lease_id)
        grows(path)


@pytest.mark.requirement("LEASE-28")
def test_work_that_lost_its_lease_goes_on_overtime(here: Machine) -> None:
    """Its wrapper stood for longer than the lease lived: it is charged again, and shown as overtime."""
    process = here.run("--cost", "60", "--job-type", "late", "--", "sleep", "100", env=over_tcp(here))
    lost = here.until_active("late")["lease_id"]
    process.send_signal(signal.SIGSTOP)
    here.until(lambda: not here.leases(), "the lease has expired", 60)
    other = here.run("--cost", "60", "--job-type", "other", "--", "sleep", "100")
    here.until_active("other")
    process.send_signal(signal.SIGCONT)
    again = here.until_active("late")
    assert (again["lease_id"] != lost, again["flags"], again["cost_units"]) == (True, ["overtime"], 60)
    assert any("run overtime after they were lost" in notice for notice in here.status()["notices"])
    for each in (process, other):
        each.terminate()
        each.communicate(timeout=30)
    assert other.returncode == 143


def test_calm_thaws_by_itself_after_a_minute(here: Machine) -> None:
    """Not before sixty seconds have passed since the freeze began, and then without anybody's word."""
    with compiling(here) as (_, lease_id, path):
        began = time.monotonic()
        frozen_in_s(here, path)
        here.cli("pretend", "off")
        assert stands(path, 50.0 - (time.monotonic() - began))
        here.until(lambda: not stands(path, 0.1), "it goes on by itself", 40)
        assert 58 <= time.monotonic() - began <= 75
        assert flags(here, lease_id) == []


@pytest.mark.requirement("LEASE-9")
def test_what_a_person_paused_stays_so_over_a_restart() -> None:
    """Also while no server runs, and after the next one has started; `resume` ends it."""
    with machine() as here, compiling(here, on_busy="keep") as (_, lease_id, path):
        assert "would pause" in here.cli("pause", lease_id, "--dry-run").stdout
        done = here.cli("pause", lease_id, "--note", "a call", "--json")
        assert (done.returncode, json.loads(done.stdout)["flags"]) == (0, ["frozen", "paused"])
        assert stands(path)
        here.down()
        assert stands(path)
        here.up()
        here.until(lambda: "paused" in flags(here, lease_id), "it is still paused")
        assert stands(path, 3.0)
        assert here.cli("resume", lease_id).returncode == 0
        grows(path)


def test_a_stop_of_the_server_leaves_nothing_frozen() -> None:
    """`leasehold down` lets go of what the ladder froze: nobody else would."""
    with machine() as here, compiling(here) as (_, _, path):
        frozen_in_s(here, path)
        here.down()
        grows(path)
        here.up()


def test_a_killed_server_leaves_work_that_the_next_one_thaws() -> None:
    """Kill -9 while frozen: the next server keeps it frozen while busy, and lets it go on."""
    with machine() as here, compiling(here) as (_, lease_id, path):
        frozen_in_s(here, path)
        os.kill(here.pid(), signal.SIGKILL)
        assert stands(path)
        here.up()
        assert stands(path, 2.0)
        here.cli("pretend", "off")
        assert here.cli("resume", lease_id).returncode == 0
        grows(path)


def test_ctrl_c_ends_frozen_work_without_a_server() -> None:
    """The server was killed while the work is frozen: `run` thaws it by itself, so that it can end."""
    with machine() as here, compiling(here) as (process, _, path):
        frozen_in_s(here, path)
        time.sleep(5.5)  # until the wrapper has heard of it by a heartbeat
        os.kill(here.pid(), signal.SIGKILL)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert process.returncode == 128 + signal.SIGTERM
        here.up()


def test_uninstalling_leaves_nothing_frozen() -> None:
    """Also what a person paused goes on: there will be nobody to resume it."""
    with machine() as here, compiling(here, on_busy="keep") as (_, lease_id, path):
        here.cli("pause", lease_id)
        assert stands(path)
        done = here.cli("down", "--uninstall", "--yes")
        assert done.returncode == 0, done.stderr
        grows(path)


def test_frozen_work_still_ends(here: Machine) -> None:
    """Ctrl-C and a revocation reach work that stands still."""
    with compiling(here) as (process, _, path):
        frozen_in_s(here, path)
        time.sleep(5.5)  # until the wrapper has heard of it by a heartbeat
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert process.returncode == 128 + signal.SIGTERM
    with compiling(here) as (process, lease_id, path):
        frozen_in_s(here, path)
        assert here.cli("revoke", lease_id).returncode == 0
        process.communicate(timeout=30)
        assert process.returncode == 76
