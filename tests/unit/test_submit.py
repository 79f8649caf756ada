"""Programs submit jobs: what is sent, what is refused before, and what follows a lost answer (QUEUE-3)."""

from __future__ import annotations

import datetime as dt
import pickle
from collections.abc import Callable
from typing import Any

import pytest

import leasehold
from leasehold import Job, JobFailed, JobRefused, NoServer, SomeRefused
from leasehold.client import job_ask
from leasehold.client.job_call import Caller
from tests.unit.cli_scripted_server import Reply, Scripted, problem

pytestmark = pytest.mark.requirement("LEASE-19")

ZONE = dt.timezone(dt.timedelta(hours=2))
SUBMIT = ("POST", "/jobs/submit")


def taken(body: dict[str, Any]) -> Reply:
    rows = body.get("jobs") or [body]
    jobs = [{"job_id": f"job-{number}", "state": "QUEUED"} for number, _ in enumerate(rows)]
    return 200, {"taken": len(jobs), "refused": 0, "jobs": jobs}


def lost_first(reply: Callable[[dict[str, Any]], Reply], times: int = 1) -> Callable[[dict[str, Any]], Reply]:
    """The call arrives, and its answer never does."""
    left = [None] * times

    def answer(body: dict[str, Any]) -> Reply:
        if left:
            left.pop()
            raise ConnectionError("the answer is lost")
        return reply(body)

    return answer


def test_all_that_a_job_can_say_is_said() -> None:
    """Each option goes over the wire in the form that the API takes; what is not said is left out."""
    by = dt.datetime(2026, 12, 1, 6, tzinfo=ZONE)
    found = job_ask.body(
        "scan",
        {
            "cpu": 1.5, "mem": "2G", "gpu": 1, "locks": ["a"], "slots": {"s": 3}, "needs": ["ffmpeg"],
            "gang": 2, "by": by, "at": "2026-11-30T22:00:00+00:00", "anyway": "never", "after": ["job-1"],
            "retries": 3,
            "backoff": ("10s", 60), "max_runtime": "1h", "expect": 90.2, "unique": "u", "labels": {"a": "b"},
            "priority": "LOW", "hold": True, "after_any": True, "start": "window", "title": "t", "index": 7,
        },
    )  # fmt: skip
    assert found == {
        "job_type": "scan",
        "resources": {"cpu_millicores": 1500, "memory_bytes": 2 << 30, "devices": {"gpu": 1}},
        "locks": ["a"], "slots": [{"name": "s", "size": 3}], "needs": ["ffmpeg"], "gang": 2,
        "deadline_at": "2026-12-01T06:00:00+02:00", "earliest_start_at": "2026-11-30T22:00:00+00:00",
        "start_anyway_by": "never", "after": ["job-1"], "max_attempts": 4, "max_runtime_sec": 3600,
        "retry": {"base_sec": 10.0, "cap_sec": 60.0}, "expected_duration_sec": 91, "unique_key": "u",
        "labels": {"a": "b"}, "priority": "LOW", "hold": True, "after_any": True, "start": "window",
        "title": "t", "index": 7,
    }  # fmt: skip
    assert job_ask.body("scan", {}) == {"job_type": "scan"}
    naive = job_ask.moment("by", dt.datetime(2026, 12, 1, 6))  # noqa: DTZ001 - local time
    assert naive is not None
    assert dt.datetime.fromisoformat(naive).tzinfo is not None


@pytest.mark.parametrize(
    ("payload", "options", "words"),
    [
        ({"when": dt.date(2026, 1, 1)}, {}, r"payload\['when'\] is a datetime.date, which is no JSON"),
        ([1, {2: 3}], {}, r"payload\[1\] has the key 2"),
        ([float("nan")], {}, r"payload\[0\] is nan"),
        ("\ud800", {}, "lone surrogate"),
        ("x" * 200_000, {}, "200,002 bytes of JSON; at most 196,608"),
        ({}, {"cots": 3}, "no option 'cots' .did you mean cost"),
        ({}, {"cost": 0}, "from 1 to 100"),
        ({}, {"retries": -1}, "retries=-1"),
        ({}, {"by": "tomorrow"}, "with its zone"),
        ({}, {"by": "2026-12-01T06:00:00"}, "with its zone"),
        ({}, {"after": "job-1"}, "expected a list"),
        ({}, {"needs": "gpu"}, "expected a list"),
        ({}, {"start": "soon"}, "one of quiet, now, window"),
        ({}, {"mem": "much"}, "mem='much'"),
    ],
)
def test_what_can_not_be_meant_is_not_sent(
    scripted: Scripted, payload: Any, options: dict[str, Any], words: str
) -> None:
    """It raises TypeError or ValueError that says which part and what to do; the server hears nothing."""
    with pytest.raises((TypeError, ValueError), match=words):
        leasehold.submit("scan", payload, **options)
    with pytest.raises((TypeError, ValueError), match=words.replace("payload", "payload of job 1")):
        leasehold.submit_many([{"job_type": "scan"}, {"job_type": "scan", "payload": payload}], **options)
    assert scripted.calls == []


def test_nested_without_end_is_no_payload(scripted: Scripted) -> None:
    """A list that contains itself is refused, and not followed for ever."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(TypeError, match="nested deeper"):
        leasehold.submit("scan", endless)


@pytest.mark.requirement("QUEUE-3")
def test_a_lost_answer_is_asked_for_under_the_same_key(scripted: Scripted) -> None:
    """The same call goes out again with the same key, which the server knows; two calls have two keys."""
    scripted.on[SUBMIT] = lost_first(taken, 2)
    assert leasehold.submit("scan", {"n": 1}).id == "job-0"
    leasehold.submit("scan", {"n": 1}, once="mine")
    keys = [headers["Idempotency-Key"] for headers in scripted.headers]
    assert len(keys) == 4
    assert len(set(keys[:3])) == 1
    assert keys[3] == "mine"
    assert all(body == scripted.calls[0][2] for _, _, body in scripted.calls)


@pytest.mark.requirement("QUEUE-3")
def test_many_go_out_by_the_thousand(scripted: Scripted) -> None:
    """2,500 jobs are three calls, each with a key of its own; a job's own options come before the call's."""
    scripted.on[SUBMIT] = taken
    rows = [{"job_type": "scan", "payload": n, **({"cost": 7} if n == 2 else {})} for n in range(2_500)]
    jobs = leasehold.submit_many(rows, cost=3)
    assert len(jobs) == 2_500
    bodies = [body["jobs"] for _, _, body in scripted.calls]
    assert [len(body) for body in bodies] == [1_000, 1_000, 500]
    assert [row["payload"] for body in bodies for row in body] == list(range(2_500))
    assert [bodies[0][n]["cost_units"] for n in (1, 2, 3)] == [3, 7, 3]
    assert len({headers["Idempotency-Key"] for headers in scripted.headers}) == 3


def test_large_payloads_are_spread_over_calls(scripted: Scripted) -> None:
    """No call is longer than the server takes, however large the payloads are."""
    scripted.on[SUBMIT] = taken
    leasehold.submit_many([{"job_type": "scan", "payload": "x" * 190_000} for _ in range(100)])
    assert [len(body["jobs"]) for _, _, body in scripted.calls] == [44, 44, 12]


def test_some_refused_tells_which(scripted: Scripted) -> None:
    """What was taken is there, and why the rest was not, by place."""

    def one_refused(body: dict[str, Any]) -> Reply:
        _, document = taken(body)
        document["jobs"][1] = {"code": "NEVER_FITS", "detail": "no node has 900 GiB"}
        return 200, document

    scripted.on[SUBMIT] = one_refused
    with pytest.raises(
        SomeRefused, match="1 of 3 jobs were not taken; number 1: no node has 900 GiB"
    ) as raised:
        leasehold.submit_many([{"job_type": "scan"}] * 3)
    assert [job and job.id for job in raised.value.jobs] == ["job-0", None, "job-2"]
    assert raised.value.refusals[1].code == "NEVER_FITS"


def test_refusals_pass_or_are_told(scripted: Scripted) -> None:
    """429 is waited out; what is wrong is told with its field, without a second try."""
    left = [problem(429, "RATE_LIMITED", "too many", retry_after_sec=0)]
    scripted.on[SUBMIT] = lambda body: left.pop() if left else taken(body)
    assert leasehold.submit("scan").state == "QUEUED"
    assert len(scripted.calls) == 2
    fields = [{"field": "$.node", "expected": "a node"}]
    scripted.on[SUBMIT] = lambda body: problem(422, "INVALID", "there is no node x", fields=fields)
    with pytest.raises(JobRefused, match="there is no node x") as raised:
        leasehold.submit("scan", node="x")
    assert (raised.value.code, raised.value.status, raised.value.field) == ("INVALID", 422, "$.node")
    assert len(scripted.calls) == 3


def test_no_server_is_told_in_the_end(program_data: Any) -> None:
    """Where none answers it is tried for a bounded time, and the error says what stood against it."""
    with pytest.raises(NoServer, match="leasehold up"):
        Caller(patience_s=0.2).call(("GET", "/health"))


def test_commands_are_lists(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command goes out with its folder and the named environment; a shell string is refused."""
    scripted.on[SUBMIT] = taken
    monkeypatch.setenv("SECRET", "s")
    leasehold.submit_command(
        ["restic", "backup"], cwd="/srv", env=["SECRET"], grace="30s", limits={"mem": "1G"}
    )
    body = scripted.calls[0][2]
    assert body["job_type"] == "restic"
    assert body["exec"]["argv"] == ["restic", "backup"]
    assert (body["exec"]["cwd"], body["exec"]["grace_sec"]) == ("/srv", 30)
    assert body["exec"]["env"]["SECRET"] == "s"
    assert set(body["exec"]["env"]) <= {"SECRET", "PATH", "HOME", "LANG"}
    assert body["exec"]["limits"] == {"memory_bytes": 1 << 30}
    for argv, env, words in (
        ("ls -l", [], "no shell"),
        (["ls"], "PATH", "expected a list"),
        (["ls"], ["NO_X"], "not in the"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            leasehold.submit_command(argv, env=env)


def test_functions_check_their_arguments(scripted: Scripted) -> None:
    """What does not fit the function, or is no JSON, is an error before anything is sent; else it is sent."""
    scripted.on[SUBMIT] = taken

    @leasehold.job(cost=3, job_type="resize")
    def resize(name: str, size: int = 1) -> None: ...

    for call, words in (
        (lambda: resize.submit(), "resize: missing a required argument: 'name'"),  # type: ignore[call-arg]
        (lambda: resize.submit("a", 1, 2), "too many positional"),  # type: ignore[call-arg]
        (lambda: resize.submit("a", size=object()), "argument size is a object, which is no JSON"),  # type: ignore[arg-type]
        (lambda: resize.map([("a", {1: 2})]), "argument size has the key 1"),
    ):
        with pytest.raises(TypeError, match=words):
            call()
    assert scripted.calls == []
    resize.submit("a", size=2)
    resize.options_of(cost=9).submit_at(dt.datetime(2026, 12, 1, tzinfo=ZONE), "b")
    bodies = [body for _, _, body in scripted.calls]
    assert bodies[0] == {
        "job_type": "resize",
        "cost_units": 3,
        "payload": {"args": ["a"], "kwargs": {"size": 2}},
    }
    assert (bodies[1]["cost_units"], bodies[1]["earliest_start_at"]) == (9, "2026-12-01T00:00:00+02:00")
    with pytest.raises(TypeError, match="did you mean retries"):
        leasehold.job(retrys=3)


def test_a_failed_job_tells_its_end_and_survives_pickling(scripted: Scripted) -> None:
    """`result` raises JobFailed with state, error, exit code and history, in another process too."""
    over = {"job_id": "job-1", "job_type": "scan", "state": "FAILED", "error": "Traceback\nOSError: full",
            "exit_code": 3, "history": [{"generation": 1}]}  # fmt: skip
    scripted.on["GET", "/jobs/job-1"] = lambda body: (200, over)
    with pytest.raises(JobFailed, match=r"job-1 \(scan\) is FAILED: OSError: full") as raised:
        leasehold.job("job-1").result(1)
    again = pickle.loads(pickle.dumps(raised.value))
    assert (again.state, again.exit_code, again.history) == ("FAILED", 3, [{"generation": 1}])
    assert isinstance(again.job, Job)
    assert again.job == raised.value.job
