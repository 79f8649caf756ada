"""What `leasehold run` does when the server does not say yes: denials, losses, revocations, faults."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli_scripted_server import Reply, Scripted, beat, granted, problem, serving

pytestmark = pytest.mark.requirement("LEASE-18")

QUICK = {"ttl_sec": 30.0, "refresh_after_sec": 0.2}
LEASEHOLD = str(Path(sys.executable).parent / "leasehold")


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder with a path short enough for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="lh-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def server(data: Path) -> Iterator[Scripted]:
    """A scripted server on that folder."""
    with serving(data) as found:
        yield found


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(data: Path) -> Iterator[Start]:
    """Start `leasehold run` with some words against that server; none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def run(*words: str, **more: Any) -> subprocess.Popen[str]:
        env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("LEASEHOLD") and name != "CI"
        }
        env |= {"LEASEHOLD_DATA": str(data), "LEASEHOLD_RUN_DIR": str(data / "r"), "HOME": str(data)}
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | more
        started.append(subprocess.Popen([LEASEHOLD, "run", *words], env=env, text=True, cwd=data, **pipes))
        return started[-1]

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def in_turn(*replies: Reply) -> Callable[[dict[str, Any]], Reply]:
    """Answer with one after the other; the last one stays."""
    left = list(replies)
    return lambda body: left.pop(0) if len(left) > 1 else left[0]


def denied(ticket: str = "tkt-1", **more: Any) -> dict[str, Any]:
    """A denial that names who holds the room."""
    reason = {"code": "CAPACITY", "sentence": "Capacity exceeded: used=80, requested=40, capacity=90"}
    figures = {"dimension": "units", "used": 80, "requested": 40, "capacity": 90}
    line = {
        "position": 2,
        "waiting": 2,
        "held_by": [{"holder": "user:me", "job_type": "pytest", "cost_units": 80}],
    }
    return {
        "approved": False, "reason": reason["sentence"], "reasons": [reason | {"figures": figures}],
        "ticket": ticket, "retry_after_sec": 1, "line": line,
    } | more  # fmt: skip


ENDED = problem(410, "LEASE_ENDED", "lease-1 has ended (EXPIRED)", details={"state": "EXPIRED"})


# -- asking ------------------------------------------------------------------------------------------------


def test_it_asks_binds_and_releases(server: Scripted, start: Start) -> None:
    """Three calls for a short command: to ask, to bind the child before it starts, to give back."""
    assert finished(start("--cost", "7", "--", "sh", "-c", "exit 3"))[0] == 3
    assert [path.rpartition("/")[2] for _, path, _ in server.calls] == ["request", "heartbeat", "release"]
    ask, bind, release = (body for _, _, body in server.calls)
    assert ask["cost_units"] == 7
    assert "wait_sec" not in ask
    assert len(bind["bind"]["pids"]) == 1
    assert release["outcome"] == "exit 3"
    assert release["metrics"]["peak_memory_bytes"] > 0


def test_it_comes_back_with_its_ticket_in_held_calls(server: Scripted, start: Start) -> None:
    """The first call is not held, so that the waiting line can be told; from then on its place is kept."""
    server.on["POST", "/request"] = in_turn((200, denied()), (200, denied()), (200, granted()))
    code, _, err = finished(start("--", "true"))
    asks = server.wait_for("/request", 3)
    assert code == 0
    assert [ask.get("ticket") for ask in asks] == [None, "tkt-1", "tkt-1"]
    assert all(ask["wait_sec"] > 0 for ask in asks[1:])
    assert err.startswith(
        'leasehold: waiting, 2nd: 80 of 90 units used by "pytest" (you)\nleasehold: running (waited '
    )
    assert err.count("\n") == 2


@pytest.mark.slow
def test_a_change_is_told_and_a_repetition_is_not(server: Scripted, start: Start) -> None:
    """Two denials that say the same are one line, a new place is another."""
    first = denied()
    first["line"] = {"position": 1, "waiting": 1, "held_by": []}
    server.on["POST", "/request"] = in_turn((200, denied()), (200, denied()), (200, first), (200, granted()))
    _, _, err = finished(start("--", "true"))
    told = [line.partition(":")[2].split(":")[0].split(" (")[0] for line in err.splitlines()]
    assert told == [" waiting, 2nd", " waiting, 1st", " running"]


def test_a_server_that_holds_no_call_is_not_asked_in_a_tight_loop(server: Scripted, start: Start) -> None:
    """Where its line is full, the time that it names is waited."""
    server.on["POST", "/request"] = in_turn((200, denied()))
    process = start("--wait", "1.5", "--", "true")
    assert finished(process)[0] == 75
    assert len(server.wait_for("/request")) <= 4


def test_messages_can_be_read_by_programs(server: Scripted, start: Start) -> None:
    """With --json each is an object on a line of standard error."""
    server.on["POST", "/request"] = in_turn((200, denied()), (200, granted()))
    _, _, err = finished(start("--json", "--", "true"))
    told = [json.loads(line) for line in err.splitlines()]
    assert [one["kind"] for one in told] == ["waiting", "running"]
    assert told[0]["ticket"] == "tkt-1"
    assert told[0]["line"]["position"] == 2


def test_quiet_says_nothing_but_errors(server: Scripted, start: Start) -> None:
    """Neither that it waits nor that it runs."""
    server.on["POST", "/request"] = in_turn((200, denied(notice="judged as quiet")), (200, granted()))
    assert finished(start("--quiet", "--", "true"))[2] == ""


def test_a_notice_is_told_once(server: Scripted, start: Start) -> None:
    """Where the request was judged as something less than was asked."""
    notice = {"notice": "priority HIGH needs the right lease:now; judged as NORMAL"}
    server.on["POST", "/request"] = in_turn((200, denied() | notice), (200, granted() | notice))
    assert finished(start("--", "true"))[2].count("needs the right lease:now") == 1


def test_what_no_answer_came_to_is_sent_again_under_the_same_key(server: Scripted, start: Start) -> None:
    """So that a server which had granted it does not grant it twice (LEASE-8)."""
    answers = iter([None, (200, granted())])

    def reply(_body: dict[str, Any]) -> Reply:
        found = next(answers)
        if found is None:
            raise ConnectionAbortedError
        return found

    server.on["POST", "/request"] = reply
    assert finished(start("--", "true"))[0] == 0
    keys = [
        h["Idempotency-Key"]
        for h, (_, path, _) in zip(server.headers, server.calls, strict=True)
        if "request" in path
    ]
    assert len(keys) == 2
    assert keys[0] == keys[1]


def test_a_server_that_is_starting_is_waited_for(server: Scripted, start: Start) -> None:
    """503 is no refusal."""
    server.on["POST", "/request"] = in_turn(
        problem(503, "NOT_READY", "recovery is not done"), (200, granted())
    )
    code, _, err = finished(start("--", "true"))
    assert code == 0
    assert "recovery is not done; waiting for it" in err
    assert "the server answers again" in err


def test_a_full_bucket_is_waited_for_as_told(server: Scripted, start: Start) -> None:
    """429 names a time, and a place that is kept."""
    server.on["POST", "/request"] = in_turn(
        problem(429, "RATE_LIMITED", "too many", retry_after_sec=1, approved=False), (200, granted())
    )
    assert finished(start("--", "true"))[0] == 0


@pytest.mark.requirement("OPS-30")
@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (problem(401, "UNAUTHENTICATED", "unknown token"), 77),
        (problem(403, "NOT_PERMITTED", "needs the right lease:request"), 77),
        (problem(422, "INVALID", "no", fields=[{"field": "$.locks[0]", "expected": "a name"}]), 64),
        (problem(409, "CONFLICT", "lock db has size 2"), 73),
    ],
)
def test_a_refusal_is_final_and_said(server: Scripted, start: Start, reply: Reply, code: int) -> None:
    """Nothing is started, nothing is tried again."""
    server.on["POST", "/request"] = in_turn(reply)
    returned, out, err = finished(start("--", "echo", "no"))
    assert (returned, out) == (code, "")
    assert reply[1]["detail"] in err
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, -2), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_while_waiting_gives_the_place_up(
    server: Scripted, start: Start, number: signal.Signals, code: int
) -> None:
    """The line is left at once, and the command never starts."""
    server.on["POST", "/request"] = in_turn((200, denied()))
    process = start("--", "echo", "no")
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(number)
    assert finished(process)[:2] == (code, "")
    assert ("DELETE", "/api/scheduler/ticket/tkt-1", {}) in server.calls


# -- between grant and start -------------------------------------------------------------------------------


def test_a_lease_lost_before_the_start_is_asked_for_anew(server: Scripted, start: Start) -> None:
    """The command starts once, under the second lease."""
    server.on["POST", "/request"] = in_turn((200, granted()), (200, granted("lease-2", 8)))
    server.on["POST", "lease-1/heartbeat"] = in_turn(ENDED)
    code, out, _ = finished(start("--", "sh", "-c", "echo $LEASEHOLD_LEASE"))
    assert (code, out) == (0, "lease-2:8\n")


def test_the_work_is_made_light_where_the_server_could_not(server: Scripted, start: Start) -> None:
    """Nice 10 from its first instruction, and the idle class for its disk."""
    server.on["POST", "/heartbeat"] = in_turn((200, beat(cgroup="")))
    _, out, _ = finished(start("--", "sh", "-c", "nice; ionice"))
    assert out.splitlines() == ["10", "idle"]


def test_the_work_is_left_as_it_is_where_the_server_has_seen_to_it(server: Scripted, start: Start) -> None:
    """A cgroup of its own, or a lower weight that the server gave."""
    server.on["POST", "/heartbeat"] = in_turn((200, beat(cgroup="", low_weight="nice")))
    assert finished(start("--", "nice"))[1] == f"{os.nice(0)}\n"


# -- while it runs -----------------------------------------------------------------------------------------


def until_asked_to(server: Scripted) -> Callable[[dict[str, Any]], Reply]:
    """Heartbeats that go well until a test sets `trouble` on the server."""
    server.trouble = None  # type: ignore[attr-defined]
    return lambda _body: server.trouble or (200, beat(limits=QUICK))  # type: ignore[attr-defined]


ARMED = "trap 'echo term; exit 9' TERM; echo up; while :; do sleep 0.02; done"


def up(process: subprocess.Popen[str]) -> None:
    """Wait until the command has said that it runs."""
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"


@pytest.mark.requirement("LEASE-28")
def test_work_that_lost_its_lease_goes_on_under_a_new_one(server: Scripted, start: Start) -> None:
    """With on_lost=continue: told once, a new lease is asked for with the same process, and is released."""
    server.on["POST", "/request"] = in_turn((200, granted()), (200, granted("lease-2", 8)))
    server.on["POST", "lease-1/heartbeat"] = until_asked_to(server)
    process = start(
        "--cost", "5", "--start", "quiet", "--", "sh", "-c", "echo up; read x; exit 4", stdin=subprocess.PIPE
    )
    up(process)
    server.trouble = ENDED  # type: ignore[attr-defined]
    bound = server.wait_for("lease-2/heartbeat")[0]["bind"]
    again = server.wait_for("/request", 2)[1]
    out, err = process.communicate("\n", timeout=30)
    assert (process.returncode, out) == (4, "")
    assert (again["cost_units"], again["start"], again["bind"]) == (5, "now", bound)
    assert err.count("the lease is lost (lease-1 has ended (EXPIRED)); the work goes on") == 1
    assert "the work has a new lease, lease-2" in err
    assert server.wait_for("lease-2/release")[0]["fencing_token"] == 8


@pytest.mark.requirement("LEASE-28")
def test_work_that_lost_its_lease_goes_on_overtime(server: Scripted, start: Start) -> None:
    """The server is told which lease was lost, with its token, and which process goes on."""
    server.on["POST", "lease-1/heartbeat"] = until_asked_to(server)
    server.on["POST", "lease-1/overtime"] = in_turn(
        problem(503, "STORE_UNAVAILABLE", "the disk is full"), (200, granted("lease-2", 8))
    )
    process = start("--", "sh", "-c", "echo up; read x; exit 4", stdin=subprocess.PIPE)
    up(process)
    server.trouble = ENDED  # type: ignore[attr-defined]
    asked = server.wait_for("lease-1/overtime", 2)
    assert (asked[1]["fencing_token"], len(asked[1]["bind"]["pids"])) == (7, 1)
    server.wait_for("lease-2/heartbeat")
    _, err = process.communicate("\n", timeout=30)
    assert process.returncode == 4
    assert "the work goes on overtime, under lease-2" in err
    assert len(server.wait_for("/request")) == 1


PAUSED = (200, beat(limits=QUICK, action="pause", reason="System is BUSY"))


@pytest.mark.requirement("LEASE-14")
def test_that_the_work_stands_still_is_told_once(server: Scripted, start: Start) -> None:
    """And that it goes on; the server freezes what it can see, so the work itself is left alone."""
    runs = (200, beat(limits=QUICK))
    server.on["POST", "/heartbeat"] = in_turn(runs, PAUSED, PAUSED, runs)
    process = start("--", "sh", "-c", "echo up; read x; exit 4", stdin=subprocess.PIPE)
    up(process)
    server.wait_for("/heartbeat", 6)
    _, err = process.communicate("\n", timeout=30)
    assert err.count("the work stands still (System is BUSY)") == 1
    assert err.count("the work goes on") == 1


@pytest.mark.requirement("LEASE-14")
def test_ctrl_c_reaches_work_that_stands_still(server: Scripted, start: Start) -> None:
    """It is resumed first: nothing that stands still can take a signal."""
    server.on["POST", "/heartbeat"] = in_turn((200, beat(limits=QUICK)), PAUSED)
    process = start("--", "sh", "-c", ARMED)
    up(process)
    server.wait_for("/heartbeat", 4)
    process.send_signal(signal.SIGTERM)
    code, out, _ = finished(process)
    assert (code, out) == (9, "term\n")
    assert server.wait_for("lease-1/resume")


@pytest.mark.requirement("LEASE-28", "OPS-30")
@pytest.mark.parametrize("words", [["--on-lost", "stop"], ["--lock", "db"]])
def test_work_that_may_not_go_on_without_its_lease_is_stopped(
    server: Scripted, start: Start, words: list[str]
) -> None:
    """With on_lost=stop, which exclusive locks have by default: SIGTERM, and code 76."""
    server.on["POST", "/heartbeat"] = until_asked_to(server)
    process = start(*words, "--", "bash", "-c", ARMED)
    up(process)
    server.trouble = problem(409, "STALE_TOKEN", "lease-1 has another fencing token")  # type: ignore[attr-defined]
    code, out, err = finished(process)
    assert (code, out) == (76, "term\n")
    assert "another fencing token" in err
    assert len(server.wait_for("/request")) == 1


@pytest.mark.requirement("LEASE-13")
def test_work_that_ignores_sigterm_is_killed_at_the_deadline(server: Scripted, start: Start) -> None:
    """The grace that the server named, and not longer."""
    server.on["POST", "/heartbeat"] = until_asked_to(server)
    process = start("--", "bash", "-c", "trap '' TERM; echo up; while :; do sleep 0.02; done")
    up(process)
    server.trouble = 200, beat(action="stop", reason="revoked by user:root: mine", deadline_sec=0.3)  # type: ignore[attr-defined]
    code, _, err = finished(process)
    assert code == 76
    assert "revoked by user:root: mine" in err
    assert server.wait_for("/release")[0]["outcome"] == "stopped, the lease was lost"


@pytest.mark.slow
@pytest.mark.requirement("LEASE-28")
@pytest.mark.parametrize(
    "trouble", [problem(503, "STORE_UNAVAILABLE", "the disk is full"), problem(401, "X", "who?")]
)
def test_no_answer_and_no_definite_answer_are_no_loss(server: Scripted, start: Start, trouble: Reply) -> None:
    """The work goes on, also with on_lost=stop; that is said once, and when it is over."""
    server.on["POST", "/heartbeat"] = until_asked_to(server)
    process = start("--on-lost", "stop", "--", "sh", "-c", "echo up; read x; exit 4", stdin=subprocess.PIPE)
    up(process)
    server.trouble = trouble  # type: ignore[attr-defined]
    told = len(server.wait_for("/heartbeat"))
    server.wait_for("/heartbeat", told + 3)
    server.trouble = None  # type: ignore[attr-defined]
    server.wait_for("/heartbeat", told + 5)
    _, err = process.communicate("\n", timeout=30)
    assert process.returncode == 4
    assert err.count("the work goes on") == 1
    assert err.count("the server answers again; the lease goes on") == 1
