"""`leasehold submit`: what is typed becomes jobs on the wire; what can't be meant is refused."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from leasehold.cli import exits
from leasehold.cli.app import main
from leasehold.cli.run.options import Usage
from leasehold.cli.submit_options import ARRAY_MAX, array, help_text, label, limits, parse
from tests.unit.cli_scripted_server import Reply, Scripted, after_the_first, problem, serving

JOB: dict[str, Any] = {
    "job_id": "job-7f3k2m9q4x0",
    "state": "QUEUED",
    "job_type": "restic backup",
    "holder": "user:me",
    "tenant": "user:me",
    "priority": "NORMAL",
    "start": "quiet",
    "submitted_at": "2026-11-26T20:00:00.000Z",
    "title": "restic backup",
    "command": ["restic", "backup"],
    "start_anyway_by": "2099-11-27T05:45:00.000Z",
}


def taken(body: dict[str, Any]) -> Reply:
    """Everything is taken, each under an id of its own."""
    jobs = [
        {"job_id": f"job-{1000 + number:011}", "state": "QUEUED"}
        for number, _ in enumerate(body.get("jobs") or [0])
    ]
    return 200, {"taken": len(jobs), "refused": 0, "jobs": jobs}


class Typed:
    """The command line against a scripted server."""

    def __init__(self, server: Scripted, socket: Path) -> None:
        self.server, self.socket = server, socket
        server.on[("POST", "/jobs/submit")] = taken
        server.default = lambda method, path: (200, JOB)  # type: ignore[method-assign]

    def __call__(self, *words: str) -> int:
        return main(["submit", "--server", f"unix:{self.socket}", *words])

    @property
    def sent(self) -> list[dict[str, Any]]:
        return [body for _, path, body in self.server.calls if path.endswith("/submit")]


@pytest.fixture
def typed(tmp_path: Path) -> Any:
    with serving(tmp_path) as server:
        yield Typed(server, tmp_path / "leasehold.sock")


@pytest.mark.requirement("QUEUE-16", "QUEUE-19", "QUEUE-21")
def test_all_that_can_be_said_of_a_job(typed: Typed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each option has its field; of the environment goes what is named, and nothing else."""
    for name, value in {
        "PATH": os.environ["PATH"],
        "HOME": "/home/me",
        "LANG": "C.UTF-8",
        "TOLD": "1",
    }.items():
        monkeypatch.setenv(name, value)
    by = datetime.now(UTC) + timedelta(days=300)
    words = (
        f"--by {by:%Y-%m-%dT06:00+02:00} --at +1h --start window --anyway-by never "
        f"--after job-7f3k2m9q4x0 --after-any "
        f"--group g --parallel 3 --label a=b --label c --title T --retries 2 --retry-base 2h --priority low "
        f"--cost 40 --lock l --slots s=2 --constraint disk-write-heavy --limit cpu=2,mem=4G,pids=200,log=10M "
        f"--max-runtime 3h --expected 20m --grace 0 --terminal --env TOLD --env SET=x=y --unique k --hold "
        f"--needs big --gang 2 --cwd {tmp_path} --on-busy pause --job-type kind --allow-unfit "
        f"--quiet -- sh -c true"
    )
    assert typed(*words.split()) == exits.DONE
    (sent,) = typed.sent
    assert sent.pop("earliest_start_at").endswith("Z")
    command = sent.pop("exec")
    assert command.pop("env") == {
        "PATH": os.environ["PATH"], "HOME": "/home/me", "LANG": "C.UTF-8", "TOLD": "1", "SET": "x=y",
    }  # fmt: skip
    assert command == {
        "argv": ["sh", "-c", "true"],
        "cwd": str(tmp_path),
        "limits": {"cpu_millicores": 2000, "memory_bytes": 4 << 30, "pids": 200, "log_bytes": 10 << 20},
        "grace_sec": 0,
        "terminal": True,
    }
    assert sent == {
        "job_type": "kind",
        "payload": {},
        "title": "T",
        "cost_units": 40,
        "locks": ["l"],
        "slots": [{"name": "s", "size": 2}, {"name": "group/g", "size": 3}],
        "priority": "LOW",
        "constraints": ["disk_write_heavy"],
        "path": str(tmp_path),
        "needs": ["big"],
        "expected_duration_sec": 1200,
        "max_runtime_sec": 10800,
        "deadline_at": f"{by:%Y-%m-%dT04:00:00.000Z}",
        "start": "window",
        "start_anyway_by": "never",
        "on_busy": "pause",
        "max_attempts": 3,
        "retry": {"base_sec": 7200, "cap_sec": 7200},
        "after": ["job-7f3k2m9q4x0"],
        "after_any": True,
        "unique_key": "k",
        "labels": {"a": "b", "c": ""},
        "gang": 2,
        "group": "g",
        "hold": True,
        "allow_unfit": True,
    }


@pytest.mark.requirement("QUEUE-16")
def test_an_array_goes_in_calls_of_a_thousand(typed: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    """Each job has its index and shares the group; keys stay apart."""
    assert (
        typed("--quiet", "--array", "10-4410:2", "--parallel", "5", "--unique", "k", "--", "true")
        == exits.DONE
    )
    assert [len(body["jobs"]) for body in typed.sent] == [1000, 1000, 201]
    jobs = [job for body in typed.sent for job in body["jobs"]]
    assert [job["index"] for job in jobs] == list(range(10, 4411, 2))
    (group,) = {job["group"] for job in jobs}
    assert group.startswith("true-")
    assert {(slot["name"], slot["size"]) for job in jobs for slot in job["slots"]} == {(f"group/{group}", 5)}
    assert len({job["unique_key"] for job in jobs}) == len(jobs)
    assert len(capsys.readouterr().out.split()) == len(jobs)


def test_the_index_0_is_told_to_its_command(typed: Typed) -> None:
    """On the wire no index is 0 too, so that one is told by the environment."""
    assert typed("--array", "0-1", "--quiet", "--", "true") == exits.DONE
    first, second = typed.sent[0]["jobs"]
    assert first["exec"]["env"]["LEASEHOLD_ARRAY_INDEX"] == "0"
    assert "LEASEHOLD_ARRAY_INDEX" not in second["exec"]["env"]
    assert second["index"] == 1


@pytest.mark.requirement("QUEUE-3", "QUEUE-16")
def test_what_got_no_answer_is_sent_again_under_its_key(typed: Typed) -> None:
    """A server that asks for a moment is asked again, and nothing is submitted twice."""
    full = problem(429, "QUEUE_FULL", "too many", retry_after_sec=1)
    typed.server.on[("POST", "/jobs/submit")] = after_the_first(full, taken({}))
    assert typed("--quiet", "--", "true") == exits.DONE
    keys = [headers["Idempotency-Key"] for headers in typed.server.headers if "Idempotency-Key" in headers]
    assert len(keys) == 2
    assert len(set(keys)) == 1


@pytest.mark.requirement("QUEUE-16", "OPS-30")
def test_what_is_refused_of_many_is_told(typed: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    """Those that were taken are told, each reason once, and the answer is no."""

    def some(body: dict[str, Any]) -> Reply:
        jobs = [
            {"code": "CONFLICT", "detail": "g has 2 slots"},
            {"code": "CONFLICT", "detail": "g has 2 slots"},
        ]
        return 200, {
            "taken": 1,
            "refused": 2,
            "jobs": [*jobs, {"job_id": "job-00000000001", "state": "QUEUED"}],
        }

    typed.server.on[("POST", "/jobs/submit")] = some
    assert typed("--quiet", "--array", "1-3", "--", "true") == exits.NO
    told = capsys.readouterr()
    assert told.out == "job-00000000001\n"
    assert told.err.count("g has 2 slots") == 1
    assert "2 of 3 jobs are not submitted" in told.err


@pytest.mark.requirement("QUEUE-16", "OPS-18")
def test_people_are_told_when_it_starts(typed: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    """The id, when it starts at the latest, and what to type next; programs get JSON."""
    assert typed("--", "true") == exits.DONE
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("job-00000001000 is submitted: it starts as soon as nobody needs the machine, ")
    assert first.endswith("at the latest")
    assert second.startswith("follow it: leasehold logs -f job-00000001")
    assert typed("--json", "--", "true") == exits.DONE
    answer = json.loads(capsys.readouterr().out)
    assert answer == {"job_id": "job-00000001000", "state": "QUEUED", "existing": False}


@pytest.mark.requirement("OPS-18", "QUEUE-21")
def test_a_dry_run_shows_no_values_and_asks_nobody(typed: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    """What would be submitted, with the names of variables alone."""
    assert (
        typed("--dry-run", "--env", "KEY=s3cret", "--array", "1-3", "--by", "+3h", "--", "true") == exits.DONE
    )
    out = capsys.readouterr().out
    assert "would submit 3 jobs" in out
    assert "KEY" in out
    assert "s3cret" not in out
    assert typed("--dry-run", "--json", "--env", "KEY=s3cret", "--", "true") == exits.DONE
    assert json.loads(capsys.readouterr().out)["exec"]["env"]["KEY"] == "…"
    assert typed.server.calls == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--label", "a" * 200 + "=b", "--", "true"], "--label"),
        (["--title", "T" * 300, "--", "true"], "--title"),
        (["--lock", "not a name", "--", "true"], "--lock"),
        (["--group", "a b", "--parallel", "2", "--", "true"], "--slots or --group"),
        (["--retry-base", "9999h", "--", "true"], "--retry-base"),
        (["--grace", "2h", "--", "true"], "--grace"),
        (["--limit", "log=1K", "--", "true"], "--limit"),
        (["--env", "=x", "--", "true"], "expected NAME"),
        (["--", "printf", "\udcff"], "is not UTF-8"),
        (["--cwd", "/no/such", "--", "true"], "is no folder here"),
    ],
)
def test_a_field_that_does_not_fit_is_named_as_it_was_typed(
    typed: Typed, words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is sent."""
    assert typed(*words) == exits.USAGE
    assert sentence in capsys.readouterr().err
    assert typed.sent == []


def test_what_stands_behind_the_dashes_is_the_commands(typed: Typed) -> None:
    """Also what looks like an option, or like the dashes."""
    assert typed("--quiet", "--", "echo", "--by", "--", "-q") == exits.DONE
    assert typed.sent[0]["exec"]["argv"] == ["echo", "--by", "--", "-q"]
    assert typed("--quiet", "echo", "--json") == exits.DONE
    assert typed.sent[1]["exec"]["argv"] == ["echo", "--json"]


@pytest.mark.parametrize(
    "text", ["", "5-1", "a-b", "1-", "-5", "1-5:0", "0-1000001", f"0-{ARRAY_MAX}", "1-2-3"]
)
def test_arrays_that_nobody_means(text: str) -> None:
    """An empty span, no numbers, and more jobs than one array may have."""
    with pytest.raises(ValueError, match=r"expected|at most"):
        array(text)


def test_amounts() -> None:
    """Arrays, limits and labels as they are typed."""
    assert (list(array("3-5")), list(array("0-10:5")), list(array("7"))) == ([3, 4, 5], [0, 5, 10], [7])
    assert limits("mem=1.5G") == {"memory_bytes": 3 << 29}
    assert (label("a=b=c"), label("a")) == (("a", "b=c"), ("a", ""))
    for text in ("ram=1", "cpu=", "pids=0", "log=x"):
        with pytest.raises(ValueError, match="expected"):
            limits(text)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--hold=yes", "true"], "takes no value"),
        (["--by"], "needs a value: TIME"),
        (["--parallel", "2", "true"], "goes with --array or --group"),
        (["--after-any", "true"], "goes with --after"),
        (["--cost", "5", "--class", "low", "true"], "twice"),
        (["--aray", "1-2", "true"], "did you mean --array?"),
    ],
)
def test_words_that_do_not_go_together(words: list[str], sentence: str) -> None:
    """Said with what was expected."""
    with pytest.raises(Usage, match=sentence.replace("?", r"\?")):
        parse(words)


def test_the_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    """And needs no server."""
    assert main(["submit", "--help"]) == exits.DONE
    out = capsys.readouterr().out
    assert out == help_text() + "\n"
    assert all(len(line) <= 110 for line in out.splitlines())
    for option in ("--by", "--array", "--unique", "--dry-run", "--cost"):
        assert f"  {option}" in out
