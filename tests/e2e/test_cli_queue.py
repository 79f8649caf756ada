"""Commands are submitted, followed, waited for, changed and cancelled on a real server, as people type it."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.machine import LEASEHOLD, Machine

pytestmark = pytest.mark.slow

COUNTS = ("sh", "-c", "echo i=$LEASEHOLD_ARRAY_INDEX; sleep 0.3; test $LEASEHOLD_ARRAY_INDEX -ne 3")
FOR_EVER = ("sleep", "600")


@pytest.fixture
def queue(here: Machine) -> Iterator[Machine]:
    """The machine, with no live job afterwards."""
    yield here
    here.cli("cancel", "--yes", "--grace", "0", "--state", "queued,held,dispatching,running,paused")


def submit(machine: Machine, *words: str, **more: Any) -> str:
    """Submit, and give the id alone."""
    done = machine.cli("submit", "--quiet", *words, **more)
    assert done.returncode == 0, done.stderr
    return str(done.stdout.strip())


def job(machine: Machine, job_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(machine.cli("describe", "--json", job_id).stdout)
    return found


def until_state(machine: Machine, job_id: str, *states: str) -> dict[str, Any]:
    """The job, as soon as it is in one of these states."""

    def there() -> dict[str, Any] | None:
        found = job(machine, job_id)
        return found if found["state"] in states else None

    found: dict[str, Any] = machine.until(there, f"{job_id} {states}", 60)
    return found


@pytest.mark.requirement("QUEUE-16", "OPS-18")
def test_submit_follow_and_wait(queue: Machine) -> None:
    """A sentence for people names the id, when it starts and how to follow; logs and wait do as they say."""
    done = queue.cli("submit", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert done.returncode == 0
    first, second = done.stdout.splitlines()
    assert re.fullmatch(r"job-\w{11} is submitted: it .*", first)
    shortened = re.match(r"follow it: leasehold logs -f (job-\w{8}) ", second)
    assert shortened
    logs = queue.cli("logs", "-f", shortened[1])
    assert (logs.returncode, logs.stdout, logs.stderr) == (0, "out\n", "err\n")
    wait = queue.cli("wait", shortened[1])
    assert wait.returncode == 3
    assert "FAILED: exit code 3" in wait.stderr
    why = queue.cli("why", shortened[1]).stdout
    assert "has ended FAILED: exit code 3" in why
    assert "leasehold retry" in why


@pytest.mark.requirement("QUEUE-16")
def test_wait_of_submit_is_the_commands_own(queue: Machine) -> None:
    """`submit --wait` shows the output and ends as the command does, by code or by signal."""
    done = queue.cli("submit", "--wait", "--", "sh", "-c", "echo hello; exit 7")
    assert (done.returncode, done.stdout) == (7, "hello\n")
    assert queue.cli("submit", "--wait", "--", "sh", "-c", "kill -9 $$").returncode == 128 + 9
    done = queue.cli("submit", "--wait", "--", "true")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.requirement("QUEUE-16", "QUEUE-15")
def test_output_comes_as_the_bytes_it_is(queue: Machine) -> None:
    """What is no text, and no whole line, is the same in the log; followed and afterwards."""
    script = r"printf '\000\377\n\303'; sleep 0.2; printf '\244 end'"
    command = [LEASEHOLD, "submit", "--wait", "--", "sh", "-c", script]
    done = subprocess.run(command, env=queue.env, cwd=queue.folder, capture_output=True, timeout=60)
    assert done.stdout == b"\x00\xff\n\xc3\xa4 end"


@pytest.mark.requirement("QUEUE-16")
def test_parts_of_a_log(queue: Machine) -> None:
    """The last lines, standard error alone, with times, as JSON; nothing before it has started."""
    ident = submit(queue, "--", "sh", "-c", "seq 1 20000; echo oops >&2")
    assert queue.cli("logs", "-f", "--tail", "0", ident).returncode == 0
    until_state(queue, ident, "DONE")
    assert queue.cli("logs", ident).stdout == "".join(f"{n}\n" for n in range(1, 20001))
    tail = queue.cli("logs", "--tail", "3", ident)
    assert (tail.stdout + tail.stderr).splitlines().count("20000") == 1
    assert len((tail.stdout + tail.stderr).splitlines()) == 3
    many = submit(queue, "--", "seq", "1", "20000")
    until_state(queue, many, "DONE")
    assert queue.cli("logs", "--tail", "2", many).stdout == "19999\n20000\n"
    only = queue.cli("logs", "--stderr", ident)
    assert (only.stdout, only.stderr) == ("", "oops\n")
    timed = queue.cli("logs", "-t", "--stderr", ident).stderr
    assert re.fullmatch(r"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z oops\n", timed)
    parts = [json.loads(line) for line in queue.cli("logs", "--json", "--stderr", ident).stdout.splitlines()]
    assert [part["text"] for part in parts] == ["oops\n"]
    held = submit(queue, "--hold", "--", "true")
    nothing = queue.cli("logs", held)
    assert (nothing.returncode, nothing.stdout) == (0, "")
    assert "is HELD: it has printed nothing yet" in nothing.stderr


@pytest.mark.requirement("QUEUE-16")
def test_an_array_with_a_limit_at_a_time(queue: Machine) -> None:
    """Five jobs, two at a time, each with its index; seen as one line, waited for and told as a group."""
    done = queue.cli("submit", "--json", "--cost", "1", "--array", "0-4", "--parallel", "2", "--", *COUNTS)
    answer = json.loads(done.stdout)
    ids = [one["job_id"] for one in answer["jobs"]]
    assert len(ids) == 5
    assert f"5 × {answer['group']}" in queue.cli("queue", "--group", answer["group"]).stdout
    wait = queue.cli("wait", "--group", answer["group"])
    assert wait.returncode == 1
    assert "4 of 5 are DONE" in wait.stderr
    assert [queue.cli("logs", ident).stdout for ident in ids] == [f"i={n}\n" for n in range(5)]
    spans = [job(queue, ident) for ident in ids]
    for span in spans:
        beside = [one for one in spans if one["started_at"] <= span["started_at"] < one["ended_at"]]
        assert len(beside) <= 2
    assert len(queue.cli("queue", "--all", "--quiet", "--group", answer["group"]).stdout.split()) == 5
    assert queue.cli("retry", "--group", answer["group"]).stdout.count("has one more attempt") == 1


@pytest.mark.requirement("QUEUE-16")
def test_a_large_array_goes_in_several_calls(queue: Machine) -> None:
    """2,500 held jobs in three calls, cancelled as a group; only the last one is typed by its index."""
    done = queue.cli("submit", "--quiet", "--hold", "--array", "1-2500", "--group", "big", "--", "true")
    assert len(set(done.stdout.split())) == 2500
    assert "2500 × big" in queue.cli("queue", "--limit", "5000").stdout
    assert "2500 HELD" in queue.cli("queue", "--limit", "5000").stdout
    dry = queue.cli("cancel", "--group", "big", "--dry-run")
    assert "2,500 in all" in dry.stdout
    asked = queue.cli("cancel", "--group", "big")
    assert asked.returncode == 64
    assert "--yes" in asked.stderr
    assert queue.cli("cancel", "--group", "big", "--yes").stdout == "cancel: 2,500 of 2,500 jobs\n"
    assert queue.cli("cancel", "--group", "big", "--yes").returncode == 66


@pytest.mark.requirement("QUEUE-16", "QUEUE-10")
def test_one_after_another(queue: Machine) -> None:
    """A job waits for those that it comes after; where one fails it is cancelled, unless --after-any."""
    first = submit(queue, "--hold", "--", "false")
    second = submit(queue, "--after", first, "--", "true")
    third = submit(queue, "--after", first[:12], "--after-any", "--", "true")
    assert "It comes after" in queue.cli("why", second).stdout
    assert queue.cli("resume", first).returncode == 0
    assert queue.cli("wait", second).returncode == 1
    assert job(queue, second)["state"] == "CANCELED"
    assert queue.cli("wait", third).returncode == 0


@pytest.mark.requirement("QUEUE-16", "OPS-18")
def test_pause_resume_and_cancel(queue: Machine) -> None:
    """One verb means one thing on any noun: what runs stands still, what waits is held, leases too."""
    running = submit(queue, "--", *FOR_EVER)
    until_state(queue, running, "RUNNING")
    waiting = submit(queue, "--hold", "--", *FOR_EVER)
    lease = job(queue, running)["lease_id"]
    assert "is PAUSED" in queue.cli("pause", running).stdout
    assert "paused by" in queue.cli("queue").stdout
    assert "goes on" in queue.cli("resume", lease).stdout
    until_state(queue, running, "RUNNING")
    assert queue.cli("prioritise", waiting, "--to", "low").stdout.startswith(f"{waiting} is LOW now")
    assert queue.cli("wait", running, "--timeout", "0.1s").returncode == 75
    assert queue.cli("cancel", running, waiting).returncode == 0
    assert queue.cli("wait", running).returncode == 128 + signal.SIGTERM
    assert job(queue, waiting)["state"] == "CANCELED"
    again = queue.cli("cancel", waiting)
    assert again.returncode == 73
    assert "has ended CANCELED" in again.stderr


@pytest.mark.requirement("QUEUE-16", "QUEUE-11")
def test_a_failing_command_is_tried_again(queue: Machine) -> None:
    """With --retries there are more attempts, told by `logs -f`; `retry` gives one more on request."""
    mark, go = queue.folder / "mark", queue.folder / "go"
    script = f"echo try; test -e {mark} && exit; until test -e {go}; do sleep 0.1; done; touch {mark}; exit 1"
    ident = submit(queue, "--retries", "1", "--retry-base", "0", "--", "sh", "-c", script)
    logs = queue.start([LEASEHOLD, "logs", "-f", ident])
    assert logs.stdout is not None
    assert logs.stdout.readline() == "try\n"
    go.touch()
    out, err = logs.communicate(timeout=60)
    assert (out, logs.returncode) == ("try\n", 0)
    assert "attempt 1 has ended (exit code 1); there is another attempt" in err
    assert queue.cli("logs", "--attempt", "1", ident).stdout == "try\n"
    assert queue.cli("logs", "--attempt", "3", ident).returncode == 66
    assert job(queue, ident)["attempts"] == 2
    failed = submit(queue, "--", "false")
    assert queue.cli("wait", failed).returncode == 1
    assert "has one more attempt" in queue.cli("retry", failed).stdout
    until_state(queue, failed, "FAILED")
    assert len(until_state(queue, failed, "FAILED")["history"]) >= 1


@pytest.mark.requirement("QUEUE-16", "OPS-30")
@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--by", "2020-01-01", "--", "true"], 64, "--by 2020-01-01: lies in the past"),
        (["--by", "soon", "--", "true"], 64, "--by soon: expected a time"),
        (["--", "no-such-command"], 127, "there is no such command on this PATH"),
        (["--", "/etc/passwd"], 126, "can't be executed here"),
        (["--cwd", "/no/such", "--", "true"], 64, "is no folder here"),
        ([], 64, "no command"),
        (["--bi", "06:00", "--", "true"], 64, "did you mean --by?"),
        (["--array", "5-1", "--", "true"], 64, "--array 5-1"),
        (["--parallel", "2", "--", "true"], 64, "goes with --array or --group"),
        (["--env", "NOT_SET_HERE", "--", "true"], 64, "NOT_SET_HERE is not set here"),
        (["--after", "job-zzzzzzzz", "--", "true"], 66, "no job job-zzzzzzzz is known"),
        (["--user", "no-such-user", "--", "true"], 66, "no user no-such-user"),
        (["--mem", "900T", "--", "true"], 1, "--allow-unfit keeps it"),
        (["--limit", "ram=1G", "--", "true"], 64, "expected cpu=CORES"),
    ],
)
def test_what_can_not_be_submitted(queue: Machine, words: list[str], code: int, sentence: str) -> None:
    """Each says what to do, with an exit code of the table, and nothing is submitted."""
    done = queue.cli("submit", *words)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert sentence in done.stderr
    assert queue.cli("queue", "--quiet").stdout == ""


@pytest.mark.requirement("QUEUE-21")
def test_what_a_command_gets_of_the_environment(queue: Machine) -> None:
    """PATH, HOME, LANG and what is named; never the rest; values are in no listing."""
    env = {"SECRET_ONE": "s3cret", "TOLD": "yes"}
    words = ("--env", "TOLD", "--env", "SET=a=b", "--", "sh", "-c", "env; pwd")
    ident = submit(queue, *words, env=env)
    out = queue.cli("logs", "-f", ident).stdout.splitlines()
    assert {"TOLD=yes", "SET=a=b", f"HOME={queue.folder}", str(queue.folder)} <= set(out)
    assert not any(line.startswith("SECRET_ONE") for line in out)
    dry = queue.cli("submit", "--dry-run", "--json", *words, env=env).stdout
    for shown in (queue.cli("describe", "--json", ident).stdout, dry):
        assert "a=b" not in shown
        assert "TOLD=yes" not in shown


@pytest.mark.requirement("QUEUE-16", "OPS-18")
def test_ctrl_c_ends_the_watching_alone(queue: Machine) -> None:
    """`logs -f` and `wait` end with 130 and say how to go on; the job runs on."""
    ident = submit(queue, "--", "sh", "-c", "echo started; exec sleep 600")
    until_state(queue, ident, "RUNNING")
    for words, hint in ((("logs", "-f"), "logs -f"), (("wait",), "leasehold wait")):
        watching = queue.start([LEASEHOLD, *words, ident])
        if words[0] == "logs":
            assert watching.stdout is not None
            assert watching.stdout.readline() == "started\n"
        else:
            until_it_waits(queue, watching.pid)
        watching.send_signal(signal.SIGINT)
        _, err = watching.communicate(timeout=30)
        assert watching.returncode == 130
        assert hint in err
        assert job(queue, ident)["state"] == "RUNNING"


def until_it_waits(machine: Machine, pid: int) -> None:
    """A program is connected to the server, so its own signal handling stands."""

    def connected() -> bool:
        return any(link.readlink().name.startswith("socket:") for link in Path(f"/proc/{pid}/fd").iterdir())

    machine.until(connected, "it has asked the server")


@pytest.mark.requirement("OPS-18")
def test_a_reader_that_has_seen_enough(queue: Machine) -> None:
    """A closed standard output ends the verbs without a word."""
    ident = submit(queue, "--", "sh", "-c", "seq 1 200000")
    assert queue.cli("wait", ident).returncode == 0
    for words in (f"logs {ident}", f"logs -f {ident}", "queue --all --json"):
        command = ["bash", "-o", "pipefail", "-c", f"{LEASEHOLD} {words} | head -1"]
        done = subprocess.run(command, env=queue.env, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, ""), words
        assert done.stdout.count("\n") == 1


@pytest.mark.requirement("OPS-18", "OPS-30")
def test_ids_that_nobody_has(queue: Machine) -> None:
    """Unknown and ambiguous ids, and things that are no jobs, are told apart."""
    for verb in ("logs", "wait", "cancel", "retry", "why", "describe", "pause"):
        done = queue.cli(verb, "job-00000000000")
        assert (done.returncode, done.stdout) == (66, ""), (verb, done.stderr)
        assert "no job job-00000000000 is known" in done.stderr
    several = queue.cli("submit", "--quiet", "--hold", "--array", "1-40", "--", "true").stdout.split()
    assert len({ident[:5] for ident in several}) < len(several)
    shared = next(one[:5] for one in several if sum(other.startswith(one[:5]) for other in several) > 1)
    done = queue.cli("describe", shared)
    assert done.returncode == 64
    assert "type more of it" in done.stderr
    assert queue.cli("cancel").returncode == 64
    assert queue.cli("cancel", several[0], "--group", "x").returncode == 64
    assert queue.cli("queue", "--state", "asleep").returncode == 64
    assert queue.cli("wait", "--timeout", "soon", several[0]).returncode == 64


@pytest.mark.requirement("QUEUE-16")
def test_what_the_queue_shows(queue: Machine) -> None:
    """Filters, counts, figures, ids alone, `get jobs`, and the queue in the line of `status`."""
    held = submit(queue, "--hold", "--label", "project=thesis", "--title", "Wait for me", "--", "true")
    shown = queue.cli("queue").stdout
    assert re.search(rf"{held[:12]} +HELD +NORMAL +Wait for me", shown)
    assert shown.splitlines()[-1] == "1 HELD"
    assert queue.cli("queue", "-q", "--label", "project=thesis").stdout.split() == [held]
    assert queue.cli("queue", "-q", "--label", "project=other").stdout == ""
    assert queue.cli("queue", "-q", "--filter", "for me").stdout.split() == [held]
    assert json.loads(queue.cli("get", "jobs", "--json").stdout)[0]["title"] == "Wait for me"
    stats = queue.cli("queue", "--stats").stdout
    assert "1 HELD" in stats
    assert json.loads(queue.cli("queue", "--stats", "--json").stdout)["states"] == {"HELD": 1}
    assert "queue: 1 HELD" in queue.cli("status").stdout
    assert json.loads(queue.cli("cancel", held, "--json").stdout)["state"] == "CANCELED"
    assert held not in queue.cli("queue", "-q").stdout


@pytest.mark.requirement("QUEUE-16", "QUEUE-20")
def test_a_key_stands_for_its_job(queue: Machine) -> None:
    """While a job of a key lives, submitting it again gives that one."""
    ident = submit(queue, "--hold", "--unique", "nightly", "--", "true")
    again = queue.cli("submit", "--unique", "nightly", "--", "true")
    assert again.stdout.startswith(f"{ident} is already submitted")


@pytest.mark.requirement("QUEUE-16", "QUEUE-13")
def test_watching_outlives_a_restart_of_the_server(queue: Machine) -> None:
    """`wait` and `logs -f` go on when the server is back, and end with the job, as it ended."""
    end = queue.folder / "end"
    script = f"echo one; while ! test -e {end}; do sleep 0.1; done; echo two; exit 5"
    ident = submit(queue, "--", "sh", "-c", script)
    until_state(queue, ident, "RUNNING")
    logs = queue.start([LEASEHOLD, "logs", "-f", ident])
    wait = queue.start([LEASEHOLD, "wait", ident])
    assert logs.stdout is not None
    assert logs.stdout.readline() == "one\n"
    queue.down()
    gone = queue.cli("queue")
    assert gone.returncode == 69
    assert "leasehold up" in gone.stderr
    queue.up()
    end.touch()
    assert logs.communicate(timeout=60)[0] == "two\n"
    assert logs.returncode == 0
    wait.communicate(timeout=60)
    assert wait.returncode == 5


@pytest.mark.requirement("QUEUE-16")
def test_a_deadline_is_told_and_sent_with_its_zone(queue: Machine) -> None:
    """`--by 06:00` is the next six o'clock here, whatever the zone."""
    env = {"TZ": "Asia/Kolkata"}
    done = queue.cli("submit", "--hold", "--json", "--by", "06:00", "--", "true", env=env)
    found = job(queue, json.loads(done.stdout)["job_id"])
    assert "T00:30:00" in found["deadline_at"]
    assert "06:00" in queue.cli("describe", found["job_id"], env=env).stdout
