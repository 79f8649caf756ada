"""Leases of real programs on a real server: room, deaths, restarts, freezing, and work inside of work."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.e2e.machine import LEASEHOLD, Machine

pytestmark = [pytest.mark.requirement("LEASE-19"), pytest.mark.slow]

HOLD = """
import sys, time
from leasehold import current_lease, lease
with lease({options}) as l:
    print(l.id, l.token, flush=True)
    while sys.stdin.readline().strip() != "end":
        print(l.id, l.should_stop, l.paused, l.is_shared, flush=True)
"""


class Holder:
    """A program that holds a lease until it is told to end, and says on demand how it stands."""

    def __init__(self, machine: Machine, options: str, *before: str) -> None:
        self.machine = machine
        command = [*before, sys.executable, "-c", HOLD.format(options=options)]
        self.process = machine.start(command, stdin=subprocess.PIPE)

    def line(self) -> list[str]:
        assert self.process.stdout is not None
        return self.process.stdout.readline().split()

    def ask(self) -> list[str]:
        """Its lease's id, and whether it should stop, is paused, is shared."""
        self._say("\n")
        return self.line()

    def _say(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def end(self) -> tuple[int, str]:
        """Have it leave its block: exit code and what it wrote to standard error."""
        self._say("end\n")
        _, err = self.process.communicate(timeout=60)
        return self.process.returncode, err

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def python(machine: Machine, program: str, *before: str, **more: Any) -> str:
    """Run a program to its end; what it printed."""
    process = machine.start([*before, sys.executable, "-c", program], **more)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


def test_two_programs_share_the_machine(here: Machine) -> None:
    """The second one waits while both do not fit, and starts when the first has ended."""
    first = Holder(here, "60, job_type='first'")
    lease_id, _ = first.line()
    assert here.until_active("first")["lease_id"] == lease_id
    second = Holder(here, "60, job_type='second'")
    here.until(lambda: here.status()["waiting"], "the second one waits")
    assert first.end()[0] == 0
    assert second.line()[0] != lease_id
    assert second.end()[0] == 0
    ended = {one["job_type"]: one for one in here.status()["ended"]}
    assert (ended["first"]["state"], ended["first"]["end_reason"]) == ("RELEASED", "done")


@pytest.mark.requirement("LEASE-7")
def test_a_killed_program_frees_its_room_at_once(here: Machine) -> None:
    """Kill -9 of who holds and renews a lease ends it long before it could expire."""
    holder = Holder(here, "90, job_type='victim'")
    lease_id = holder.line()[0]
    holder.kill()
    here.until(lambda: not here.leases(), "its room is free", 15)
    (ended,) = [one for one in here.status()["ended"] if one["lease_id"] == lease_id]
    assert (ended["state"], ended["end_reason"]) == ("EXPIRED", "the process that held it ended")


@pytest.mark.requirement("LEASE-28")
def test_a_server_that_is_killed_and_comes_back_changes_nothing(here: Machine) -> None:
    """The lease goes on under its id, with on_lost=stop too; what comes after is as before."""
    holder = Holder(here, "30, on_lost='stop', job_type='steady'")
    lease_id = holder.line()[0]
    os.kill(here.pid(), signal.SIGKILL)
    assert holder.ask() == [lease_id, "False", "False", "False"]
    here.up()
    renewed = here.leases()[0]["last_heartbeat_at"]
    here.until(lambda: here.leases()[0]["last_heartbeat_at"] != renewed, "it is renewed", 30)
    assert holder.ask() == [lease_id, "False", "False", "False"]
    assert holder.end() == (0, "")


@pytest.mark.requirement("LEASE-13")
def test_a_program_hears_that_its_lease_is_taken_back(here: Machine) -> None:
    """`leasehold revoke` is seen by the program within its grace; ending then is no error."""
    holder = Holder(here, "30")
    lease_id = holder.line()[0]
    assert here.cli("revoke", lease_id).returncode == 0
    here.until(lambda: holder.ask()[1] == "True", "it hears of it")
    assert holder.end()[0] == 0


@pytest.mark.requirement("LEASE-14")
def test_a_program_that_is_not_bound_is_told_to_stand_still(here: Machine) -> None:
    """`leasehold pause` can freeze nothing of it, so the program is told, and told when it may go on."""
    holder = Holder(here, "30")
    lease_id = holder.line()[0]
    assert here.cli("pause", lease_id).returncode == 0
    here.until(lambda: holder.ask()[2] == "True", "it hears of it")
    assert here.cli("resume", lease_id).returncode == 0
    here.until(lambda: holder.ask()[2] == "False", "it hears of that too")
    assert holder.end()[0] == 0


@pytest.mark.requirement("LEASE-22")
def test_a_program_that_is_bound_is_the_work(here: Machine) -> None:
    """With bind=True the process is listed as work, stands still when paused; its death ends its lease."""
    holder = Holder(here, "30, bind=True, job_type='bound'")
    holder.line()
    one = here.until_active("bound")
    assert {"pid": holder.process.pid, "role": "work"} in one["bound"]
    assert here.cli("pause", one["lease_id"]).returncode == 0
    here.until(lambda: here.leases()[0]["held_back"], "it is held back")
    assert here.cli("resume", one["lease_id"]).returncode == 0
    assert holder.ask()[0] == one["lease_id"]
    holder.kill()
    here.until(lambda: not here.leases(), "its room is free", 15)


@pytest.mark.requirement("LEASE-18")
def test_work_inside_of_work_shares_the_lease(here: Machine) -> None:
    """`run` in a program, a program in `run`, children, a thread: none waits for its own."""
    command = [LEASEHOLD, "run", "--cost", "60", "--quiet", "--", "echo", "run"]
    program = f"""
import subprocess, sys, threading, multiprocessing
from leasehold import lease
def shares():
    with lease(60) as l: print(l.id, l.is_shared, flush=True)
if __name__ == "__main__":
    with lease(60) as l:
        print(l.id, l.is_shared, flush=True)
        subprocess.run({command!r}, check=True)
        thread = threading.Thread(target=shares); thread.start(); thread.join()
        for way in ("fork", "spawn"):
            child = multiprocessing.get_context(way).Process(target=shares); child.start(); child.join()
"""
    file = here.folder / "inside.py"
    file.write_text(program)
    process = here.start([sys.executable, str(file)])
    out, err = process.communicate(timeout=60)
    lines = out.splitlines()
    own = lines[0].split()[0]
    assert lines == [f"{own} False", "run", *[f"{own} True"] * 3], err
    shared = python(here, "from leasehold import lease\nwith lease(60) as l: print(l.is_shared)",
                    LEASEHOLD, "run", "--cost", "60", "--")  # fmt: skip
    assert shared == "True\n"


@pytest.mark.requirement("LEASE-18")
def test_a_shared_lease_that_is_taken_back_is_seen_inside(here: Machine) -> None:
    """A program under another program's lease sees by itself that it should stop."""
    outer = Holder(here, "60")
    lease_id, token = outer.line()
    inner = here.start(
        [sys.executable, "-c", HOLD.format(options="60")],
        stdin=subprocess.PIPE,
        env={"LEASEHOLD_LEASE": f"{lease_id}:{token}"},
    )
    assert inner.stdin is not None
    assert inner.stdout is not None
    assert inner.stdout.readline().split() == [lease_id, token]
    assert here.cli("revoke", lease_id).returncode == 0

    def told() -> bool:
        inner.stdin.write("\n")
        inner.stdin.flush()
        return inner.stdout.readline().split()[1] == "True"

    here.until(told, "it hears of it")
    inner.communicate("end\n", timeout=60)
    outer.end()
