"""The command line apart from `run`, against a real server: what it shows, changes and refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.contention import slowdown
from tests.e2e.machine import LEASEHOLD, Machine

pytestmark = [pytest.mark.slow, pytest.mark.requirement("OPS-18")]


@pytest.fixture
def held(here: Machine) -> tuple[subprocess.Popen[str], str]:
    """A lease that is held until its process is told to end, by a line on its standard input."""
    command = ["--cost", "40", "--job-type", "held", "--", "sh", "-c", "read x"]
    process = here.run(*command, stdin=subprocess.PIPE)
    return process, str(here.until_active("held")["lease_id"])


def let_go(process: subprocess.Popen[str]) -> None:
    """End what `held` started."""
    process.communicate("\n", timeout=30)


# -- up and down -------------------------------------------------------------------------------------------


@pytest.mark.requirement("OPS-23", "OPS-5")
def test_up_is_idempotent_and_down_ends_it(tmp_path: Path) -> None:
    """The second `up` says the same address at once; after `down` nothing runs, twice over."""
    new = Machine(tmp_path)
    try:
        first = new.cli("up")
        assert first.returncode == 0
        assert first.stdout.startswith("http://127.0.0.1:")
        pid = new.pid()
        began = time.monotonic()
        second = new.cli("up")
        assert (time.monotonic() - began) / slowdown() < 1.0
        assert (second.returncode, second.stdout, new.pid()) == (0, first.stdout, pid)
        assert "running already" in second.stderr
        assert (new.data / "admin.token").stat().st_mode & 0o777 == 0o600
        assert new.data.stat().st_mode & 0o777 == 0o700
    finally:
        down = new.cli("down")
    assert (down.returncode, f"stopped (process {pid})" in down.stderr) == (0, True)
    assert not (new.data / "server.json").exists()
    again = new.cli("down")
    assert (again.returncode, again.stderr) == (0, "leasehold: no server is running\n")


def test_down_never_touches_a_process_that_only_looks_like_the_server(tmp_path: Path) -> None:
    """A pid in a file proves nothing: only who holds the leader lock is the server."""
    new = Machine(tmp_path)
    new.data.mkdir(mode=0o700)
    with subprocess.Popen(["sleep", "100"]) as stranger:
        (new.data / "leader.lock").write_text(f"{stranger.pid}\n")
        (new.data / "server.json").write_text(json.dumps({"pid": stranger.pid, "port": 1, "url": "http://x"}))
        assert new.cli("down").stderr == "leasehold: no server is running\n"
        with (new.data / "leader.lock").open("r+") as lock:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
            refused = new.cli("down")
        assert refused.returncode == 70
        assert "can't be told for certain" in refused.stderr
        assert stranger.poll() is None
        stranger.kill()


def test_uninstall_asks_first_and_removes_only_a_data_folder(tmp_path: Path) -> None:
    """Without a terminal it wants --yes; a folder that is none of ours is left alone."""
    new = Machine(tmp_path)
    new.up()
    assert new.cli("down", "--uninstall").returncode == 64
    assert new.cli("status").returncode == 0
    said = new.cli("down", "--uninstall", "--dry-run")
    assert f"would remove {new.data}" in said.stdout
    assert new.cli("down", "--uninstall", "--yes").returncode == 0
    assert not new.data.exists()
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("x")
    assert new.cli("down", "--uninstall", "--yes", env={"LEASEHOLD_DATA": str(other)}).returncode == 65
    assert (other / "thesis.txt").exists()


@pytest.mark.requirement("OPS-4", "OPS-30")
def test_a_start_that_cannot_be_says_why(tmp_path: Path, here: Machine) -> None:
    """A taken port, an address that is not loopback, a setting that does not exist."""
    new = Machine(tmp_path)
    port = json.loads((here.data / "server.json").read_text())["port"]
    taken = new.cli("up", env={"LEASEHOLD_PORT": str(port)})
    assert taken.returncode == 69
    assert taken.stderr.startswith(f"leasehold: port {port} on 127.0.0.1 can't be taken")
    unknown = new.cli("up", env={"LEASEHOLD_POTR": "1"})
    assert unknown.returncode == 78
    assert "did you mean port?" in unknown.stderr
    assert not (new.data / "server.json").exists()


@pytest.mark.requirement("SENSE-13")
def test_up_says_which_preset_it_chose_and_why(tmp_path: Path) -> None:
    """Where none is set, what was found on the machine decides."""
    new = Machine(tmp_path)
    new.env.pop("LEASEHOLD_PRESET")
    try:
        told = new.cli("up").stderr
        assert "leasehold: preset desktop: " in told or "leasehold: preset server: " in told
        chosen = new.status()["preset"]
        assert f"preset {chosen}: " in told
    finally:
        new.down()


# -- looking -----------------------------------------------------------------------------------------------


@pytest.mark.requirement("LEASE-9")
def test_status_shows_who_holds_what(here: Machine, held: tuple[subprocess.Popen[str], str]) -> None:
    """For people as a table, for programs as the API's own document, and ids alone."""
    process, lease_id = held
    shown = here.cli("status").stdout
    assert "40 units" in shown
    assert "held" in shown
    assert here.status()["active"][0]["lease_id"] == lease_id
    assert here.cli("status", "--quiet").stdout == f"{lease_id}\n"
    let_go(process)


def test_status_check_answers_by_its_exit_code(here: Machine) -> None:
    """0 while ordinary heavy work may start, 1 while it may not."""
    assert here.cli("status", "--check").returncode == 0
    process = here.run("--cost", "90", "--job-type", "all", "--", "sh", "-c", "read x", stdin=subprocess.PIPE)
    here.until_active("all")
    checked = here.cli("status", "--check")
    assert (checked.returncode, checked.stdout, checked.stderr) == (1, "", "")
    let_go(process)


def test_ids_may_be_shortened(here: Machine, held: tuple[subprocess.Popen[str], str]) -> None:
    """As long as one object answers."""
    process, lease_id = held
    assert lease_id in here.cli("describe", lease_id[:10]).stdout
    assert json.loads(here.cli("describe", lease_id[:10], "--json").stdout)["lease_id"] == lease_id
    none = here.cli("describe", "lease-zzzzzzz")
    assert none.returncode == 66
    assert "leasehold get leases" in none.stderr
    ambiguous = here.cli("describe", "lease-")
    assert ambiguous.returncode in (0, 64)
    let_go(process)


@pytest.mark.requirement("LEASE-17")
def test_why_explains_a_lease_a_ticket_a_command_and_the_machine(
    here: Machine, held: tuple[subprocess.Popen[str], str]
) -> None:
    """The reason, and what would change it; nothing is run or charged by asking."""
    process, lease_id = held
    assert f"{lease_id} is ACTIVE; it holds 40 units" in here.cli("why", lease_id).stdout
    assert here.cli("why", "--", "true").stdout.startswith("yes: it would start now")
    no = here.cli("why", "--cost", "60", "--", "true").stdout
    assert no.startswith("no: Capacity exceeded: used=40, requested=60, capacity=90")
    assert "it would take: " in no
    waiter = here.run("--cost", "60", "--job-type", "w", "--", "true")
    ticket = here.until(lambda: here.status()["waiting"], "one in line")[0]["ticket"]
    assert f"{ticket} waits at place 1: " in here.cli("why", ticket).stdout
    assert [one["ticket"] for one in json.loads(here.cli("get", "waiting", "--json").stdout)] == [ticket]
    let_go(process)
    waiter.communicate(timeout=30)
    assert f"{lease_id} ended as RELEASED" in here.cli("why", lease_id).stdout


def test_get_lists_and_filters(here: Machine, held: tuple[subprocess.Popen[str], str]) -> None:
    """Each noun, in the singular too; text anywhere in a row selects it."""
    process, lease_id = held
    assert here.cli("get", "leases", "-q").stdout == f"{lease_id}\n"
    assert here.cli("get", "lease", "--filter", "held", "-q").stdout == f"{lease_id}\n"
    assert here.cli("get", "leases", "--filter", "nobody").stdout == "no leases\n"
    assert here.cli("get", "nodes", "-q").stdout.strip() == here.status()["node_id"]
    let_go(process)
    ended = json.loads(here.cli("get", "leases", "--all", "--json").stdout)
    assert lease_id in [one["lease_id"] for one in ended]


@pytest.mark.requirement("LEASE-16")
def test_events_tell_what_happened_in_order(here: Machine) -> None:
    """The life of one lease, and `--after` goes on from there."""
    here.cli("run", "--job-type", "ev", "--", "true")
    lease_id = next(one for one in here.status()["ended"] if one["job_type"] == "ev")["lease_id"]
    found = json.loads(here.cli("events", "--filter", lease_id, "--json").stdout)
    assert [one["kind"] for one in found] == ["LeaseGranted", "LeaseActivated", "LeaseReleased"]
    assert here.cli("events", "--after", str(found[-1]["seq"]), "--filter", lease_id, "-q").stdout == ""
    assert "LeaseReleased" in here.cli("get", "events", "--filter", lease_id).stdout


def test_events_are_followed_as_they_come(here: Machine) -> None:
    """With --watch, until Ctrl-C, which ends it like a shell expects."""
    watch = here.start([LEASEHOLD, "events", "--watch", "--filter", "LeaseGranted", "--limit", "1"])
    assert watch.stdout is not None
    here.cli("run", "--job-type", "wa", "--", "true")
    while "job_type=wa" not in watch.stdout.readline():
        pass
    watch.send_signal(signal.SIGINT)
    watch.communicate(timeout=10)
    assert watch.returncode == 130


@pytest.mark.requirement("SENSE-15", "SENSE-16")
def test_history_and_streaks_come_from_what_was_measured(here: Machine) -> None:
    """A wrong group is refused with those that there are."""
    assert json.loads(here.cli("history", "quiet", "--range", "15m", "--json").stdout)["group"] == "quiet"
    assert here.cli("history").returncode == 0
    assert here.cli("streaks").returncode == 0
    wrong = here.cli("history", "nonsense")
    assert wrong.returncode == 64
    assert "host" in wrong.stderr


# -- changing ----------------------------------------------------------------------------------------------


@pytest.mark.requirement("LEASE-13")
def test_revoke_takes_ids_or_a_filter(here: Machine, held: tuple[subprocess.Popen[str], str]) -> None:
    """Not both, and --dry-run only says what it would do."""
    process, lease_id = held
    assert here.cli("revoke").returncode == 64
    assert here.cli("revoke", lease_id, "--filter", "x").returncode == 64
    assert here.cli("revoke", "--filter", "no such text").returncode == 66
    assert here.cli("revoke", "--filter", "held", "--dry-run").stdout == f"would revoke {lease_id}\n"
    assert here.cli("get", "leases", "-q").stdout == f"{lease_id}\n"
    done = here.cli("revoke", lease_id[:12], "--grace", "1s", "--note", "tidying", "--json")
    assert json.loads(done.stdout)["state"] == "REVOKING"
    process.wait(timeout=30)
    process.communicate()
    assert process.returncode == 76


@pytest.mark.requirement("LEASE-21")
def test_locks_are_listed_set_and_deleted(here: Machine) -> None:
    """One that is held can't be deleted; one that is not there is not found."""
    assert here.cli("lock", "set", "scan/a", "3").stdout == "scan/a: 0 of 3 held\n"
    assert here.cli("lock", "list", "-q").stdout == "scan/a\n"
    assert json.loads(here.cli("describe", "scan/a", "--json").stdout)[0]["size"] == 3
    here.cli("lock", "set", "scan/b", "1")
    refused = here.cli("run", "--lock", "scan/b", "--", LEASEHOLD, "lock", "delete", "scan/b")
    assert refused.returncode == 73
    assert here.cli("lock", "delete", "scan/a").returncode == 0
    assert here.cli("lock", "delete", "scan/a").returncode == 66
    assert here.cli("lock", "set", "scan/a", "0").returncode == 64


@pytest.mark.requirement("OPS-11")
def test_the_log_level_is_changed_while_it_runs(here: Machine) -> None:
    """For one logger and those below it."""
    assert "debug" in here.cli("log-level", "debug").stdout
    assert here.cli("log-level", "loud").returncode == 64
    assert json.loads(here.cli("log-level", "info", "--json").stdout)["levels"]["leasehold"] == "info"


@pytest.mark.requirement("OPS-10")
def test_the_configuration_is_shown_checked_and_exemplified(here: Machine, tmp_path: Path) -> None:
    """The example can be used as it is, and each value says where it comes from."""
    example = tmp_path / "c.toml"
    example.write_text(here.cli("config", "example").stdout)
    assert here.cli("config", "check", str(example)).returncode == 0
    assert 'preset = "always"  # LEASEHOLD_PRESET' in here.cli("config", "show", "--origin").stdout
    assert json.loads(here.cli("config", "show", "--json").stdout)["preset"] == "always"
    assert json.loads(here.cli("config", "schema").stdout)["$schema"]
    example.write_text("prot = 1\n")
    wrong = here.cli("config", "check", str(example))
    assert wrong.returncode == 78
    assert "did you mean port?" in wrong.stderr
    assert here.cli("config", "check", str(tmp_path / "none")).returncode == 65


# -- doctor and the rest -----------------------------------------------------------------------------------


@pytest.mark.requirement("OPS-20")
def test_doctor_finds_nothing_that_keeps_a_good_machine_from_working(here: Machine) -> None:
    """And says how leased work is held back on it."""
    found = {one["name"]: one for one in json.loads(here.cli("doctor", "--json").stdout)}
    assert here.cli("doctor").returncode == 0
    assert {"versions", "data folder", "disk", "process", "server", "ready", "clock", "pressure"} <= set(
        found
    )
    assert found["low weight"]["what"]
    assert all(one["state"] != "bad" for one in found.values())
    assert all(one["cure"] for one in found.values() if one["state"] == "bad")


@pytest.mark.requirement("OPS-20")
def test_doctor_says_what_is_wrong_and_how_to_mend_it(tmp_path: Path, here: Machine) -> None:
    """A readable token, an open folder, a taken port, no server; a hung one too."""
    new = Machine(tmp_path)
    new.data.mkdir(mode=0o755)
    new.data.chmod(0o755)
    (new.data / "admin.token").write_text("x")
    (new.data / "admin.token").chmod(0o644)
    port = json.loads((here.data / "server.json").read_text())["port"]
    told = new.cli("doctor", "--json", env={"LEASEHOLD_PORT": str(port)})
    assert told.returncode == 1
    found = {one["name"]: one for one in json.loads(told.stdout)}
    assert found["token"]["cure"].startswith("chmod 600 ")
    assert found["data folder"]["cure"].startswith("chmod 700 ")
    assert found["port"]["state"] == "bad"
    assert "another server" in found["server"]["cure"]
    pid = here.pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        hung = {one["name"]: one for one in json.loads(here.cli("doctor", "--json").stdout)}
    finally:
        os.kill(pid, signal.SIGCONT)
    assert hung["server"]["state"] == "bad"
    assert "kill -CONT" in hung["server"]["cure"]


@pytest.mark.requirement("OPS-30")
@pytest.mark.parametrize(
    ("words", "env", "code"),
    [
        (["--help"], {}, 0),
        ([], {}, 64),
        (["nonsense"], {}, 64),
        (["status", "--nonsense"], {}, 64),
        (["get", "nonsense"], {}, 64),
        (["status", "--server", "nowhere"], {}, 64),
        (["status", "--server", "http://127.0.0.1:9"], {}, 69),
        (["status"], {"LEASEHOLD_URL": "unix:/nowhere/s"}, 69),
        (["revoke", "lease-00000000000"], {}, 66),
        (["config", "check"], {"LEASEHOLD_LOG__LEVEL": "loud"}, 78),
    ],
)
def test_exit_codes_mean_what_they_say(
    here: Machine, words: list[str], env: dict[str, str], code: int
) -> None:
    """Errors are one line on standard error with the prefix, and say what to do."""
    done = here.cli(*words, env=env)
    assert done.returncode == code, done.stderr
    if code and words:
        assert done.stderr.startswith("leasehold: ")
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""


@pytest.mark.requirement("OPS-5", "OPS-30")
def test_over_tcp_a_token_is_needed_and_enough(here: Machine) -> None:
    """Without one it is not permitted, with the admin's everything is, `run` too."""
    url = json.loads((here.data / "server.json").read_text())["url"]
    bare = {"LEASEHOLD_URL": url}
    assert here.cli("status", env=bare).returncode == 77
    assert here.cli("run", "--", "true", env=bare).returncode == 77
    full = bare | {"LEASEHOLD_TOKEN": (here.data / "admin.token").read_text().strip()}
    assert here.cli("status", env=full).returncode == 0
    assert here.cli("run", "--cost", "5", "--", "sh", "-c", "exit 4", env=full).returncode == 4


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(here: Machine, shell: str) -> None:
    """For three shells; bash's completes a verb."""
    done = here.cli("completion", shell)
    assert done.returncode == 0
    assert "_LEASEHOLD_COMPLETE" in done.stdout
    asked = {"_LEASEHOLD_COMPLETE": "complete_bash", "COMP_WORDS": "leasehold sta", "COMP_CWORD": "1"}
    assert "status" in here.cli(env=asked).stdout.split()


def test_a_reader_that_has_seen_enough_is_no_error(here: Machine) -> None:
    """`leasehold config show | head -1`."""
    done = subprocess.run(
        ["bash", "-c", "set -o pipefail; leasehold config show | head -1"],
        env=here.env, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert (done.returncode in (0, 141), done.stderr) == (True, "")


def test_the_module_is_the_program(here: Machine) -> None:
    """`python -m leasehold` is `leasehold`."""
    command = [sys.executable, "-m", "leasehold", "status", "--check"]
    assert subprocess.run(command, env=here.env, check=False, timeout=30).returncode == 0
