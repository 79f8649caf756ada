"""`leasehold schedule` as people type it, with commands that really run (QUEUE-17)."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from tests.e2e.machine import Machine

pytestmark = [pytest.mark.slow, pytest.mark.requirement("QUEUE-17")]


def last_run(here: Machine, name: str) -> dict[str, Any]:
    """What came of its last run."""
    shown = here.cli("schedule", "show", name, "--json")
    assert shown.returncode == 0, shown.stderr
    runs: list[dict[str, Any]] = json.loads(shown.stdout).get("last_runs", [])
    return runs[0] if runs else {}


@pytest.mark.requirement("QUEUE-15", "QUEUE-21")
def test_a_command_runs_where_and_as_whom_it_was_scheduled(server: Machine) -> None:
    """In the folder and with the variables of whoever typed it; its end is told by the schedule."""
    folder = server.folder / "work"
    folder.mkdir()
    script = "echo $SECRET > out; pwd >> out; exit 3"
    added = server.cli(
        "schedule", "add", "report", "--cron", "30 2 * * *", "--cost", "1", "--env", "SECRET",
        "--", "sh", "-c", script,
        cwd=folder, env={"SECRET": "hunter2"},
    )  # fmt: skip
    assert added.returncode == 0, added.stderr
    assert "At 02:30 every day" in added.stdout
    assert len(added.stdout.splitlines()) == 6
    assert server.cli("schedule", "run", "report").returncode == 0
    server.until(lambda: last_run(server, "report").get("state") == "FAILED", "the run's end")
    assert last_run(server, "report")["exit_code"] == 3
    assert (folder / "out").read_text() == f"hunter2\n{folder}\n"
    for verb in ("list", "show"):
        shown = server.cli("schedule", verb, *(["report"] if verb == "show" else []), "--json")
        assert "hunter2" not in shown.stdout
    assert server.cli("schedule", "remove", "report").returncode == 0
    assert server.cli("schedule", "show", "report").returncode == 66


def test_it_survives_a_crash(server: Machine) -> None:
    """Schedules, what they have run and what is paused stand in the store."""
    for name in ("nightly", "paused"):
        added = server.cli("schedule", "add", name, "--nightly", "--by", "05:00", "--", "true")
        assert added.returncode == 0, added.stderr
    assert server.cli("schedule", "pause", "paused").returncode == 0
    before = json.loads(server.cli("schedule", "list", "--json").stdout)
    os.kill(server.pid(), signal.SIGKILL)
    server.up()
    after = json.loads(server.cli("schedule", "list", "--json").stdout)
    assert after == before
    assert [one["enabled"] for one in after] == [True, False]
    assert server.cli("schedule", "resume", "paused").returncode == 0
    for name in ("nightly", "paused"):
        assert server.cli("schedule", "remove", name).returncode == 0


def test_what_never_comes_is_refused(server: Machine) -> None:
    """With the reason and an example, once; and a dry run keeps nothing."""
    refused = server.cli("schedule", "add", "never", "--cron", "0 0 31 2 *", "--", "true")
    assert refused.returncode == 64
    assert refused.stderr.count("no month of this expression") == 1
    tried = server.cli("schedule", "add", "tried", "--cron", "@hourly", "--dry-run", "--", "true")
    assert (tried.returncode, "would be added" in tried.stdout) == (0, True)
    assert server.cli("schedule", "list", "-q").stdout == ""
