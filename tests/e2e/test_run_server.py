"""`leasehold run` when its lease is taken back, its wrapper killed, or its server down; and what it costs."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import time
from pathlib import Path

import pytest

from tests.contention import slowdown
from tests.e2e.machine import LEASEHOLD, Machine, machine

pytestmark = [pytest.mark.slow, pytest.mark.requirement("LEASE-18")]


# -- taken back, and left alone ------------------------------------------------------------------------------


@pytest.mark.requirement("LEASE-13", "OPS-30")
def test_revoked_work_is_stopped_with_code_76(here: Machine) -> None:
    """It gets SIGTERM at once, and `run` says who took the lease back and why."""
    script = "trap 'echo term; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    process = here.run("--job-type", "r", "--", "bash", "-c", script)
    lease = here.until_active("r")
    assert here.cli("revoke", lease["lease_id"], "--note", "mine now").returncode == 0
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (76, "up\nterm\n")
    assert "mine now" in err
    here.until_idle()


@pytest.mark.requirement("LEASE-13")
def test_work_that_ignores_the_revocation_is_killed_with_all_that_it_started(here: Machine) -> None:
    """At the deadline, also what left its process group and session."""
    detached = "setsid sh -c 'trap \"\" TERM; echo $$ > detached; sleep 1000'"
    script = f"trap '' TERM; {detached} & echo up; wait; sleep 1000"
    process = here.run("--job-type", "s", "--", "bash", "-c", script)
    lease = here.until_active("s")
    pid = here.until(lambda: _number(here.folder / "detached"), "the detached process")
    here.cli("revoke", lease["lease_id"], "--grace", "1s")
    process.communicate(timeout=30)
    assert process.returncode == 76
    assert not lives(pid)


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not reaped yet does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


def _number(path: Path) -> int:
    return int(path.read_text() or 0) if path.exists() else 0


@pytest.mark.requirement("LEASE-22")
def test_work_whose_wrapper_was_killed_keeps_its_lease_and_is_listed(here: Machine) -> None:
    """A kill -9 of `run` leaves the command running, held and shown as unattended, until it ends."""
    process = here.run(
        "--job-type", "u", "--cost", "40", "--", "sh", "-c", "echo $$; exec sleep 100 >&- 2>&-"
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    here.until_active("u")
    process.kill()
    process.communicate(timeout=30)
    found = here.until(
        lambda: next((one for one in here.leases() if "unattended" in one.get("flags", [])), None),
        "unattended",
    )
    assert (found["job_type"], found["cost_units"]) == ("u", 40)
    assert lives(child)
    os.kill(child, signal.SIGTERM)
    here.until_idle()


@pytest.mark.requirement("LEASE-7")
def test_a_wrapper_killed_while_it_waits_leaves_nothing(here: Machine) -> None:
    """Its place in line goes, and no room is kept for it."""
    holder = here.run("--cost", "90", "--job-type", "all", "--", "sleep", "100")
    here.until_active("all")
    waiter = here.run("--cost", "50", "--", "true")
    here.until(lambda: here.status()["waiting"], "one in line")
    waiter.kill()
    waiter.communicate()
    holder.terminate()
    holder.communicate()
    assert here.cli("run", "--cost", "90", "--wait", "10s", "--", "true").returncode == 0
    here.until(lambda: not here.leases(), "nothing held")


# -- without a server ----------------------------------------------------------------------------------------


def test_off_means_off(here: Machine) -> None:
    """LEASEHOLD=off runs the command at once, under no lease."""
    done = here.cli(
        "run", "--cost", "100", "--", "sh", "-c", "echo x$LEASEHOLD_LEASE; exit 3", env={"LEASEHOLD": "off"}
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "x\n", "")


def test_without_any_server_the_command_runs_and_says_so(tmp_path: Path) -> None:
    """Where none was ever set up, a script with `leasehold run` in it works on."""
    bare = Machine(tmp_path)
    done = bare.cli("run", "--cost", "40", "--", "sh", "-c", "exit 3")
    assert done.returncode == 3
    assert (
        done.stderr
        == "leasehold: no server is set up here (`leasehold up` starts one); running without a lease\n"
    )


@pytest.mark.requirement("OPS-30")
@pytest.mark.parametrize(
    ("words", "extra", "code", "told"),
    [
        (["--when-down", "fail"], {}, 69, "no server answers"),
        (["--when-down", "run"], {}, 3, "running without a lease"),
        (["--wait", "0.3"], {}, 75, "waiting for it"),
        ([], {"CI": "true"}, 3, "running without a lease"),
    ],
)
def test_a_server_that_is_down_is_handled_as_told(
    tmp_path: Path, words: list[str], extra: dict[str, str], code: int, told: str
) -> None:
    """By `--when-down`; by default it is waited for, but in CI; each is said plainly."""
    bare = Machine(tmp_path)
    done = bare.cli(
        "run", *words, "--", "sh", "-c", "exit 3", env={"LEASEHOLD_URL": "http://127.0.0.1:9"} | extra
    )
    assert done.returncode == code
    assert told in done.stderr


def test_a_server_that_comes_back_is_found(here: Machine) -> None:
    """A `run` that waits for a stopped server starts when it is up again."""
    here.down()
    process = here.run("--", "echo", "hello")
    assert process.stderr is not None
    assert "waiting for it" in process.stderr.readline()
    here.up()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, "hello\n")
    assert "the server answers again" in err


@pytest.mark.requirement("LEASE-28")
def test_a_restart_of_the_server_does_not_touch_the_work(here: Machine) -> None:
    """The lease is found again, renewed, and released at the end."""
    process = here.run("--job-type", "w", "--", "sh", "-c", "read x; exit 4", stdin=subprocess.PIPE)
    lease = here.until_active("w")
    here.down()
    here.up()
    assert here.until_active("w")["lease_id"] == lease["lease_id"]
    process.communicate("\n", timeout=30)
    assert process.returncode == 4
    here.until_idle()


@pytest.mark.requirement("LEASE-28")
def test_a_server_that_hangs_neither_stops_the_work_nor_holds_up_its_end(here: Machine) -> None:
    """SIGSTOPped while the work runs: the work ends by itself, and `run` right after it."""
    process = here.run(
        "--job-type", "h", "--", "sh", "-c", "read x; date +%s%N; exit 4", stdin=subprocess.PIPE
    )
    here.until_active("h")
    pid = here.pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        out, _ = process.communicate("\n", timeout=30)
        late_s = time.time() - int(out) / 1e9
        assert process.returncode == 4
        assert late_s < 1.0
    finally:
        os.kill(pid, signal.SIGCONT)
    here.until_idle()


@pytest.mark.requirement("LEASE-8", "INV-1")
def test_a_server_that_hangs_while_it_is_asked_grants_once(here: Machine) -> None:
    """What no answer came to is asked again under the same key: awake again, the server grants one lease, not
    two.
    """
    pid = here.pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        process = here.run("--job-type", "again", "--", "echo", "hello")
        assert process.stderr is not None
        assert "does not answer; waiting for it" in process.stderr.readline()
    finally:
        os.kill(pid, signal.SIGCONT)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "hello\n")
    granted = here.cli("events", "--filter", "job_type': 'again'", "--limit", "1000", "-q").stdout.split()
    assert len(granted) == 1


@pytest.mark.requirement("LEASE-28")
@pytest.mark.parametrize("over_tcp", [True, False])
def test_unreachable_work_that_may_not_outlive_its_lease_ends_before_it(over_tcp: bool) -> None:
    """Where the server can't see the processes, on_lost=stop goes by the lease's own clock; where it can,
    nothing ends.
    """
    with machine(LEASEHOLD_LEASE__TTL_MS="3000") as own:
        url = json.loads((own.data / "server.json").read_text())["url"]
        token = (own.data / "admin.token").read_text().strip()
        env = {"LEASEHOLD_URL": url, "LEASEHOLD_TOKEN": token} if over_tcp else {}
        script = "trap 'echo term; exit 0' TERM; echo up; for i in $(seq 80); do sleep 0.05; done; echo whole"
        process = own.run("--job-type", "o", "--on-lost", "stop", "--", "bash", "-c", script, env=env)
        own.until_active("o")
        os.kill(own.pid(), signal.SIGSTOP)
        try:
            out, _ = process.communicate(timeout=30)
        finally:
            os.kill(own.pid(), signal.SIGCONT)
        expected = (76, "up\nterm\n") if over_tcp else (0, "up\nwhole\n")
        assert (process.returncode, out) == expected


# -- what it costs -------------------------------------------------------------------------------------------


@pytest.mark.serial
def test_it_costs_a_short_command_little(here: Machine) -> None:
    """At most 150 ms over the bare command, in the median of forty, for a free core."""
    took: dict[str, list[float]] = {"bare": [], "run": []}
    slower = []
    for _ in range(40):
        slower.append(slowdown())
        for name, command in (("bare", ["true"]), ("run", [LEASEHOLD, "run", "--", "true"])):
            began = time.perf_counter()
            subprocess.run(command, check=True, env=here.env)
            took[name].append(time.perf_counter() - began)
    added_s = statistics.median(took["run"]) - statistics.median(took["bare"])
    assert added_s / statistics.median(slower) < 0.150
