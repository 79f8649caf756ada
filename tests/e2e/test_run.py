"""`leasehold run` against a real server, without a terminal: codes, signals, waiting, nesting, absence."""

from __future__ import annotations

import json
import signal
import statistics
import subprocess
import sys
import time

import pytest

from tests.contention import slowdown
from tests.e2e.machine import LEASEHOLD, Machine

pytestmark = [pytest.mark.slow, pytest.mark.requirement("LEASE-18")]


# -- what comes back ---------------------------------------------------------------------------------------


@pytest.mark.requirement("OPS-30")
@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 75", 75),
        ("kill -TERM $$", 128 + 15),
        ("kill -KILL $$", 128 + 9),
        ("kill -SEGV $$", 128 + 11),
    ],
)
def test_the_exit_code_is_the_commands(here: Machine, script: str, code: int) -> None:
    """Whatever it is, also where it looks like one of ours; 128 + n for a signal."""
    assert here.cli("run", "--", "sh", "-c", script).returncode == code


@pytest.mark.requirement("OPS-30")
def test_a_death_by_sigint_is_passed_on_as_one(here: Machine) -> None:
    """A shell says 130 for it, and a script around it stops."""
    assert here.cli("run", "--", "sh", "-c", "kill -INT $$").returncode == -signal.SIGINT


@pytest.mark.requirement("OPS-30")
def test_what_cannot_be_executed_is_told_as_a_shell_does(here: Machine) -> None:
    """127 for what is not there, 126 for what may not be executed; a script without `#!` is run by sh."""
    missing = here.cli("run", "--", "no-such-command-here")
    assert (missing.returncode, missing.stderr) == (127, "leasehold: no-such-command-here: no such command\n")
    plain = here.folder / "plain"
    plain.write_text("echo from-sh $1\nexit 9\n")
    refused = here.cli("run", "--", "./plain")
    assert (refused.returncode, refused.stderr) == (126, "leasehold: ./plain: Permission denied\n")
    plain.chmod(0o755)
    done = here.cli("run", "--", "./plain", "arg")
    assert (done.returncode, done.stdout) == (9, "from-sh arg\n")


@pytest.mark.requirement("OPS-30")
def test_the_status_file_tells_the_commands_code_from_ours(here: Machine) -> None:
    """75 from the command, and 75 because waiting was given up."""
    path = here.folder / "status.json"
    here.cli("run", "--status-file", str(path), "--", "sh", "-c", "exit 75")
    told = json.loads(path.read_text())
    assert (told["outcome"], told["exit_code"], told["command_exit_code"]) == ("exited", 75, 75)
    holder = here.run("--cost", "90", "--job-type", "all", "--", "sleep", "100")
    here.until_active("all")
    here.cli("run", "--wait", "0", "--cost", "10", "--status-file", str(path), "--", "true")
    told = json.loads(path.read_text())
    assert (told["outcome"], told["exit_code"], told["command_exit_code"]) == ("gave_up", 75, None)
    holder.terminate()
    holder.communicate()


def test_nothing_is_written_but_what_the_command_writes(here: Machine) -> None:
    """Standard input, output and error are the command's own."""
    process = here.run("--", "sh", "-c", "cat; echo err >&2", stdin=subprocess.PIPE)
    assert process.communicate("in\n", timeout=30) == ("in\n", "err\n")


def test_the_environment_and_folder_are_the_callers(here: Machine) -> None:
    """And `LEASEHOLD_LEASE` is added."""
    told = here.cli(
        "run", "--", "sh", "-c", "echo $X; pwd; echo $LEASEHOLD_LEASE", env={"X": "y"}
    ).stdout.split()
    assert told[:2] == ["y", str(here.folder)]
    assert told[2].startswith("lease-")


@pytest.mark.parametrize("name", ["TERM", "HUP", "USR1", "USR2", "QUIT", "INT"])
def test_a_signal_to_run_reaches_the_command(here: Machine, name: str) -> None:
    """Once, and what the command makes of it is its own affair."""
    script = f"trap 'echo got; exit 7' {name}; echo armed; while :; do sleep 0.02; done"
    process = here.run("--", "bash", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == "armed\n"
    process.send_signal(signal.Signals[f"SIG{name}"])
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (7, "got\n")


def test_what_the_caller_ignores_the_command_ignores_too(here: Machine) -> None:
    """`nohup leasehold run …` outlives a hang-up."""
    script = "echo armed; while [ ! -e go-on ]; do sleep 0.02; done; echo survived"
    process = here.start(["nohup", LEASEHOLD, "run", "--", "bash", "-c", script])
    assert process.stdout is not None
    assert process.stdout.readline() == "armed\n"
    process.send_signal(signal.SIGHUP)
    (here.folder / "go-on").touch()
    out, _ = process.communicate(timeout=30)
    (here.folder / "go-on").unlink()
    assert (process.returncode, out) == (0, "survived\n")


@pytest.mark.requirement("SENSE-6")
def test_the_work_runs_at_low_weight_and_the_wrapper_does_not_slow_down(here: Machine) -> None:
    """In a cgroup of its own where one can be made, else nice: from before its first instruction."""
    out = here.cli("run", "--", "sh", "-c", "cat /proc/self/cgroup; nice").stdout
    assert "/lease-" in out or out.splitlines()[-1] == "10"


@pytest.mark.requirement("LEASE-15")
def test_the_usage_is_told_with_the_release(here: Machine) -> None:
    """CPU time and peak memory of the command and all it waited for."""
    burn = "import os; b = bytearray(50 << 20); t = os.times().user\nwhile os.times().user - t < .3: pass"
    assert here.cli("run", "--job-type", "burn", "--", sys.executable, "-c", burn).returncode == 0
    ended = next(one for one in here.status()["ended"] if one["job_type"] == "burn")
    assert ended["usage"]["cpu_seconds"] >= 0.3
    assert ended["usage"]["memory_peak_bytes"] >= 50 << 20
    assert ended["end_reason"] == "exit 0"


# -- waiting -----------------------------------------------------------------------------------------------


@pytest.mark.requirement("INV-1")
def test_six_at_once_never_run_more_than_fit_and_all_finish(here: Machine) -> None:
    """Forty units each: two together at most, seen from the work itself; the others say why they wait."""
    script = (
        "import os,sys,time\n"
        "me = f'run-{os.getpid()}'; open(me,'w').close()\n"
        "end = time.monotonic()+.5; most = 0\n"
        "while time.monotonic() < end:\n"
        "    most = max(most, sum(n.startswith('run-') for n in os.listdir('.')))\n"
        "os.unlink(me); print(most)\n"
    )
    runs = [
        here.run("--cost", "40", "--job-type", "six", "--", sys.executable, "-c", script) for _ in range(6)
    ]
    told = [process.communicate(timeout=60) for process in runs]
    assert [process.returncode for process in runs] == [0] * 6
    assert max(int(out) for out, _ in told) == 2
    waited = [err for _, err in told if "waiting" in err]
    assert len(waited) == 4
    assert all("units used by" in err and "leasehold: running (waited " in err for err in waited)


@pytest.mark.requirement("LEASE-7")
def test_it_starts_soon_after_there_is_room(here: Machine) -> None:
    """Within 100 ms of the end of what was in the way, in the median of five, for a free core."""
    delays = []
    for _ in range(5):
        first = here.run(
            "--cost",
            "90",
            "--job-type",
            "first",
            "--",
            "sh",
            "-c",
            "read x; date +%s%N",
            stdin=subprocess.PIPE,
        )
        here.until_active("first")
        second = here.run("--cost", "90", "--", "date", "+%s%N")
        here.until(lambda: any(one["held"] for one in here.status()["waiting"]), "a held waiter")
        ended, _ = first.communicate("go\n", timeout=30)
        started, _ = second.communicate(timeout=30)
        delays.append((int(started) - int(ended)) / 1e6 / slowdown())
    assert statistics.median(delays) < 100, delays


@pytest.mark.requirement("OPS-30")
def test_patience_ends_with_code_75_and_leaves_no_place_in_line(here: Machine) -> None:
    """It says after how long, and why."""
    holder = here.run("--cost", "90", "--job-type", "all", "--", "sleep", "100")
    here.until_active("all")
    began = time.monotonic()
    done = here.cli("run", "--cost", "50", "--wait", "1s", "--", "echo", "never")
    assert (done.returncode, done.stdout) == (75, "")
    assert 0.9 < time.monotonic() - began < 5
    assert 'leasehold: waiting, 1st: 90 of 90 units used by "all" (you)' in done.stderr
    assert "gave up after 1 s" in done.stderr
    assert here.status()["waiting"] == []
    holder.terminate()
    holder.communicate()


@pytest.mark.requirement("LEASE-5")
def test_what_can_never_fit_is_said_at_once(here: Machine) -> None:
    """No waiting would mend it: the answer is no."""
    done = here.cli("run", "--mem", "900T", "--", "true")
    assert done.returncode == 1
    assert "never" in done.stderr


@pytest.mark.requirement("LEASE-21")
def test_a_lock_is_held_by_one_at_a_time(here: Machine) -> None:
    """Named locks go through the same line; a semaphore's size is what the first one said."""
    script = "mkdir held || exit 1; sleep 0.2; rmdir held"
    runs = [here.run("--lock", "db", "--", "sh", "-c", script) for _ in range(3)]
    for process in runs:
        process.communicate(timeout=30)
    assert [process.returncode for process in runs] == [0, 0, 0]
    here.cli("run", "--slots", "scanner=2", "--", "true")
    other = here.cli("run", "--slots", "scanner=3", "--", "true")
    assert other.returncode == 73
    assert "scanner" in other.stderr


# -- nested ------------------------------------------------------------------------------------------------


def test_run_inside_run_shares_the_lease(here: Machine) -> None:
    """It never waits for its ancestor, however much that holds, and no second lease is made."""
    inner = "leasehold run --cost 80 -- leasehold run -- sh -c 'leasehold get leases -q | wc -l; exit 5'"
    done = here.cli("run", "--cost", "90", "--job-type", "outer", "--", "sh", "-c", inner)
    assert (done.returncode, done.stdout.strip()) == (5, "1")


def test_an_inner_run_that_wants_more_is_warned(here: Machine) -> None:
    """It runs all the same, within what the outer one has."""
    done = here.cli(
        "run", "--cost", "20", "--job-type", "outer", "--", LEASEHOLD, "run", "--cost", "60", "--", "true"
    )
    assert done.returncode == 0
    assert "leasehold: wants 60 units, shares 20 (of lease-" in done.stderr


def test_an_inner_run_asks_for_a_lock_that_the_outer_one_lacks(here: Machine) -> None:
    """Only for the lock: it is exclusive against others, and an ancestor's own lock is never waited for."""
    nested = "leasehold run --lock a --lock b -- sh -c 'leasehold lock list --json'"
    done = here.cli("run", "--cost", "90", "--lock", "a", "--", "sh", "-c", nested)
    assert done.returncode == 0, done.stderr
    held = {lock["name"]: lock["held"] for lock in json.loads(done.stdout)}
    assert (held["a"], held["b"]) == (1, 1)


def test_a_lease_that_has_ended_is_not_shared(here: Machine) -> None:
    """A daemon that outlives the run that started it asks for itself."""
    told = here.cli("run", "--", "sh", "-c", "echo $LEASEHOLD_LEASE").stdout.strip()
    later = here.cli(
        "run", "--", "sh", "-c", "echo $LEASEHOLD_LEASE", env={"LEASEHOLD_LEASE": told}
    ).stdout.strip()
    assert later.split(":")[0] != told.split(":")[0]
