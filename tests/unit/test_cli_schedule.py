"""`leasehold schedule`: what is typed becomes a schedule, and times are told in its zone."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from leasehold.cli import exits
from leasehold.cli.app import main
from tests.unit.cli_scripted_server import Scripted, serving

BACKUP: dict[str, Any] = {
    "schedule_id": "schedule-7f3k2m9q4x0",
    "name": "backup",
    "holder": "ann",
    "by": "user:1000",
    "zone": "Europe/Berlin",
    "explained": "At 02:30 every day",
    "cron": "30 2 * * *",
    "enabled": True,
    "missed": "last",
    "overlap": "skip",
    "next_runs": ["2026-03-28T01:30:00.000Z", "2026-03-29T01:00:00.000Z"],
    "job": {"exec": {"argv": ["restic", "backup"], "cwd": "/home/ann"}},
    "created_at": "2026-03-01T12:00:00.000Z",
    "last_runs": [
        {
            "nominal_at": "2026-03-27T01:30:00.000Z",
            "at": "2026-03-27T01:30:00.200Z",
            "outcome": "submitted",
            "job_id": "job-00000000001",
            "state": "FAILED",
            "exit_code": 3,
            "error": "exit status 3",
        }
    ],
    "submitted": 1,
}


class Typed:
    """The command line against a scripted server."""

    def __init__(self, server: Scripted, socket: Path) -> None:
        self.server, self.socket = server, socket
        server.on[("GET", "/api/whoami")] = lambda body: (
            200,
            {"name": "user:1000", "role": "admin", "verbs": []},
        )
        server.on[("GET", "/api/schedules")] = lambda body: (200, {"schedules": [BACKUP]})
        server.on[("GET", "/schedule-7f3k2m9q4x0")] = lambda body: (200, BACKUP)
        server.on[("POST", "/api/schedules")] = lambda body: (200, BACKUP)
        server.on[("PUT", "/schedule-7f3k2m9q4x0")] = lambda body: (200, BACKUP)
        for verb in ("pause", "resume", "run"):
            server.on[("POST", f"/{verb}")] = lambda body: (200, BACKUP)
        server.on[("DELETE", "/schedule-7f3k2m9q4x0")] = lambda body: (200, {})

    def __call__(self, *arguments: str) -> int:
        verb, *rest = arguments
        return main(["schedule", verb, "--server", f"unix:{self.socket}", *rest])

    @property
    def sent(self) -> dict[str, Any]:
        """The body of the last call that has one."""
        return next(body for _, _, body in reversed(self.server.calls) if body)


@pytest.fixture
def typed(tmp_path: Path) -> Any:
    with serving(tmp_path) as server:
        yield Typed(server, tmp_path / "leasehold.sock")


@pytest.mark.requirement("QUEUE-17", "QUEUE-21")
def test_a_command_by_a_cron_expression(typed: Typed, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """With folder and environment of whoever types it, and what --env names; the next runs are told."""
    monkeypatch.setenv("PASSWORD_FILE", "/run/secret")
    monkeypatch.setenv("UNRELATED", "x")
    code = typed(
        "add", "backup", "--cron", "30 2 * * *", "--zone", "Europe/Berlin", "--missed", "all",
        "--overlap", "queue", "--within", "2h", "--env", "PASSWORD_FILE", "--max-runtime", "3h",
        "--", "restic", "backup", "--verbose",
    )  # fmt: skip
    assert code == exits.DONE
    sent = typed.sent
    assert (sent["name"], sent["cron"], sent["zone"]) == ("backup", "30 2 * * *", "Europe/Berlin")
    assert (sent["missed"], sent["overlap"], sent["start_within_sec"]) == ("all", "queue", 7_200)
    assert "nightly" not in sent
    command = sent["job"]["exec"]
    assert command["argv"] == ["restic", "backup", "--verbose"]
    assert command["cwd"] == os.getcwd()
    assert command["env"]["PASSWORD_FILE"] == "/run/secret"
    assert command["env"]["PATH"] == os.environ["PATH"]
    assert "UNRELATED" not in command["env"]
    assert sent["job"]["max_runtime_sec"] == 10_800
    out = capsys.readouterr().out
    assert "backup is added: At 02:30 every day (Europe/Berlin)" in out
    assert "next runs: Sat 2026-03-28 02:30 CET\n           Sun 2026-03-29 03:00 CEST" in out


@pytest.mark.requirement("QUEUE-17")
def test_once_a_night(typed: Typed) -> None:
    """By six where nothing else is said."""
    assert typed("add", "backup", "--nightly", "--days", "mon-fri", "--", "true") == exits.DONE
    assert typed.sent["nightly"] == {
        "by": "06:00",
        "from": "22:00",
        "days": ["mon", "tue", "wed", "thu", "fri"],
    }
    assert typed("add", "b", "--nightly", "--by", "05:00", "--from", "23:30", "--", "true") == exits.DONE
    assert (typed.sent["nightly"]["by"], typed.sent["nightly"]["from"]) == ("05:00", "23:30")


@pytest.mark.requirement("QUEUE-17", "OPS-18")
def test_a_dry_run_asks_and_makes_nothing(typed: Typed, capsys: Any) -> None:
    """The server tells when it would run."""
    assert typed("add", "backup", "--cron", "@daily", "--dry-run", "--", "true") == exits.DONE
    assert typed.sent["dry_run"] is True
    assert "would be added" in capsys.readouterr().out
    for verb in ("pause", "resume", "run", "remove"):
        assert typed(verb, "backup", "--dry-run") == exits.DONE
        assert f"would {verb} backup" in capsys.readouterr().out
    assert {method for method, _, _ in typed.server.calls} == {"GET", "POST"}


@pytest.mark.requirement("QUEUE-17", "OPS-30")
@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["add", "backup", "--", "true"], "--nightly --by 06:00"),
        (["add", "backup", "--cron", "@daily", "--nightly", "--", "true"], "say when"),
        (["add", "backup", "--cron", "@daily", "--by", "06:00", "--", "true"], "go with --nightly"),
        (["add", "backup", "--cron", "@daily"], "behind --"),
        (["add", "backup", "--nightly", "--by", "6 am", "--", "true"], "--by"),
        (["add", "a b", "--cron", "@daily", "--", "true"], "NAME"),
        (["add", "backup", "--cron", "@daily", "--missed", "often", "--", "true"], "--missed"),
        (["add", "backup", "--cron", "@daily", "--within", "soon", "--", "true"], "--within"),
        (["add", "backup", "--cron", "@daily", "--env", "NOT_SET_ANYWHERE", "--", "true"], "is not set"),
        (["add", "backup", "--nightly", "--days", "xyz", "--", "true"], "mon-fri"),
        (["pause", "reports"], "leasehold schedule list"),
    ],
)
def test_what_is_wrong_is_said(typed: Typed, arguments: list[str], hint: str, capsys: Any) -> None:
    """In one line with what to type instead; nothing is changed."""
    assert typed(*arguments) in (exits.USAGE, exits.NOT_FOUND)
    assert hint in capsys.readouterr().err
    assert {method for method, _, _ in typed.server.calls} <= {"GET"}


@pytest.mark.requirement("QUEUE-17")
def test_list_and_show(typed: Typed, capsys: Any) -> None:
    """When it runs next on the clocks of its zone, and what came of the last run."""
    assert typed("list") == exits.DONE
    out = capsys.readouterr().out
    assert "Sat 2026-03-28 02:30 CET" in out
    assert "FAILED" in out
    assert typed("show", "schedule-7f3") == exits.DONE
    out = capsys.readouterr().out
    for told in (
        "restic backup",
        "At 02:30 every day",
        "Sun 2026-03-29 03:00 CEST",
        "FAILED (3)",
        "exit status 3",
    ):
        assert told in out
    assert typed("list", "--json") == exits.DONE
    assert json.loads(capsys.readouterr().out)[0]["name"] == "backup"


@pytest.mark.requirement("QUEUE-17")
def test_pause_resume_run_replace_remove(typed: Typed, capsys: Any) -> None:
    """By name; of a run its job is told; --replace changes what has the name."""
    for verb, told in (
        ("pause", "is paused"),
        ("resume", "is resumed"),
        ("run", "job-00000000001 is submitted"),
    ):
        assert typed(verb, "backup") == exits.DONE
        assert told in capsys.readouterr().out
    assert typed("add", "backup", "--replace", "--cron", "@daily", "--", "true") == exits.DONE
    assert typed.server.calls[-1][0] == "PUT"
    assert typed("remove", "backup") == exits.DONE
    assert typed.server.calls[-1][:2] == ("DELETE", "/api/schedules/schedule-7f3k2m9q4x0")


@pytest.mark.requirement("QUEUE-17")
def test_a_job_from_a_file(typed: Typed, tmp_path: Path, capsys: Any) -> None:
    """For workers instead of a command; a file that is none is refused before anything is sent."""
    path = tmp_path / "job.json"
    path.write_text('{"job_type": "transcode", "payload": {"file": "a.mkv"}, "start": "now"}')
    assert typed("add", "backup", "--cron", "@daily", "--job", str(path)) == exits.DONE
    assert typed.sent["job"] == {"job_type": "transcode", "payload": {"file": "a.mkv"}, "start": "now"}
    path.write_text('{"job_typ": 1}')
    assert typed("add", "backup", "--cron", "@daily", "--job", str(path)) == exits.BAD_FILE
    assert typed("add", "backup", "--cron", "@daily", "--job", str(tmp_path / "none")) == exits.BAD_FILE
    assert "can't be read" in capsys.readouterr().err
