"""Guarded containers and processes on a real server, with real containers where there are any (LEASE-26)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from leasehold.adapters.hosts.processes import stat
from leasehold.cli import exits
from leasehold.testing import podman as engines
from tests.e2e.machine import Machine, machine

pytestmark = [pytest.mark.slow, pytest.mark.requirement("LEASE-26")]

BUSY = "while :; do :; done & while :; do :; done"
BURN = "import os\nos.fork()\nwhile True: pass"


def ticks(pid: int) -> int:
    found = stat(pid)
    return found.own_ticks if found is not None else 0


def works(here: Machine, pid: int) -> None:
    before = ticks(pid)
    here.until(lambda: ticks(pid) > before + 2, "it works")


def is_still(here: Machine, pid: int) -> None:
    """It uses no CPU time for a while."""
    seen = [ticks(pid)]

    def still() -> bool:
        seen.append(ticks(pid))
        return len(seen) > 6 and seen[-1] == seen[-6]

    here.until(still, "it stands still")


def guard(here: Machine, target: str) -> dict[str, Any]:
    found = json.loads(here.cli("guard", "--json").stdout)
    (one,) = [each for each in found if each["target"] == target]
    return dict(one)


@pytest.fixture(scope="module")
def podman() -> Iterator[engines.Podman]:
    why = engines.missing()
    if why:
        pytest.skip(why)
    try:
        with engines.podman() as found:
            yield found
    except engines.Unusable as error:
        pytest.skip(str(error))


@pytest.mark.requirement("LEASE-14")
def test_a_container_gives_way_over_restarts_of_either_side(podman: engines.Podman) -> None:
    """Frozen while the machine is busy, also once it was started again, and after the server was killed."""
    pid = podman.start("web", BUSY)
    with machine(DOCKER_HOST=f"unix://{podman.socket}") as here:
        done = here.cli("guard", "docker:web", "--on-busy", "pause", "--cost", "20", "--note", "a miner")
        assert (done.returncode, done.stdout) == (0, "docker:web is guarded (--on-busy pause): it runs\n")
        assert guard(here, "docker:web")["pids"] == [pid]
        here.cli("pretend", "busy", "--for", "10m")
        is_still(here, pid)
        os.kill(here.pid(), signal.SIGKILL)
        here.up()
        here.until(lambda: here.cli("status", "--check").returncode in (0, 1), "a server")
        is_still(here, pid)
        here.cli("pretend", "off")
        assert here.cli("resume", guard(here, "docker:web")["lease_id"]).returncode == 0
        works(here, pid)
        podman.run("restart", "--time", "0", "web")
        new = podman.pid("web")
        here.until(lambda: guard(here, "docker:web").get("pids") == [new], "the new process is held")
        here.cli("pretend", "busy", "--for", "10m")
        is_still(here, new)
        removed = here.cli("guard", "docker:web", "--remove")
        assert "goes on as it was before" in removed.stderr
        works(here, new)
        assert json.loads(here.cli("guard", "--json").stdout) == []


@pytest.mark.requirement("LEASE-14")
def test_a_container_is_stopped_and_started_again(podman: engines.Podman) -> None:
    """By its engine, so that whatever it needs at its start and end happens."""
    podman.start("db", "trap 'exit 0' TERM; while :; do sleep 0.1; done")
    with machine(DOCKER_HOST=f"unix://{podman.socket}") as here:
        here.cli("guard", "docker:db", "--on-busy", "stop")
        here.cli("pretend", "busy", "--for", "10m")
        here.until(lambda: podman.pid("db") == 0, "it is stopped", 30)
        here.until(lambda: not guard(here, "docker:db")["running"], "that is seen")
        here.cli("guard", "docker:db", "--remove")
        here.until(lambda: podman.pid("db") > 0, "it is started again", 30)


def test_a_process_that_uses_more_than_it_was_said_to_cost_is_complained_about() -> None:
    """`why` names it with both figures; its guard ends with it."""
    burner = subprocess.Popen([sys.executable, "-c", BURN], start_new_session=True)
    try:
        with machine() as here:
            done = here.cli("guard", f"pid:{burner.pid}", "--cost", "1")
            assert done.returncode == 0, done.stderr
            here.until(lambda: guard(here, f"pid:{burner.pid}").get("used_units", 0) > 1, "its use", 60)
            said = here.cli("why").stdout
            assert "more than the 1 that it was said to cost" in said, said
            os.killpg(burner.pid, signal.SIGKILL)
            burner.wait()
            here.until(lambda: json.loads(here.cli("guard", "--json").stdout) == [], "the guard has ended")
    finally:
        if burner.poll() is None:
            os.killpg(burner.pid, signal.SIGKILL)
            burner.wait()


def test_words_that_mean_nothing_are_answered_with_what_would() -> None:
    """One line each, and an exit code of usage or of no."""
    with machine() as here:
        for words, code, said in (
            (("guard", "nonsense"), exits.USAGE, "docker:NAME, unit:NAME, cgroup:/PATH or pid:N"),
            (("guard", "pid:1", "--on-busy", "sleep"), exits.USAGE, "keep, throttle, pause, stop"),
            (("guard", "--remove"), exits.USAGE, "needs a target"),
            (("guard", "docker:none", "--remove"), exits.NOT_FOUND, "is not guarded"),
            (("guard", "pid:4194303"), exits.NOT_FOUND, "there is no process"),
        ):
            done = here.cli(*words)
            assert (done.returncode, said in done.stderr) == (code, True), (words, done)
        assert "nothing is guarded" in here.cli("guard").stdout
