"""`leasehold top` on a real terminal, with a real server behind it (OPS-19)."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest

from tests.e2e.machine import Machine
from tests.e2e.terminal import CTRL_C, Terminal, terminal

pytestmark = [pytest.mark.slow, pytest.mark.requirement("OPS-19")]

COLOR = re.compile(r"\x1b\[[0-9;]*\b(?:3[0-7]|4[0-7]|9[0-7]|10[0-7]|38;[25]|48;[25])[;m]")
"""A sequence that sets a colour other than the terminal's own."""


def open_top(shell: Terminal, options: str = "") -> None:
    """Type it, and wait for the first whole frame."""
    shell.line(f"leasehold top {options}")
    shell.expect("✔ Yes", 60)
    shell.expect("Pause/go on", 60)


def close(shell: Terminal, key: str = "q") -> None:
    """Leave it: the shell is back, on its own screen."""
    shell.send(key)
    shell.expect(re.escape("\x1b[?1049l"), 60)
    shell.prompt()


def test_it_follows_what_happens_and_cancels(here: Machine) -> None:
    """A job that is submitted beside it comes up with why it waits, and `c` with `y` cancels it."""
    here.cli("block", "--for", "1h", "--note", "recording")
    try:
        with terminal(here.env, here.folder, columns=100) as shell:
            shell.line("leasehold top")
            shell.expect("✘ No", 60)
            done = here.cli("submit", "--json", "--title", "nightly", "--", "true")
            job_id = json.loads(done.stdout)["job_id"]
            shell.expect("nightly", 60)
            shell.expect("recording", 60)
            shell.send("\tc")
            shell.expect(job_id, 60)
            shell.send("y")
            shell.expect("CANCELED", 60)
            close(shell)
        found = json.loads(here.cli("describe", job_id, "--json").stdout)
        assert found["state"] == "CANCELED"
    finally:
        here.cli("allow")


def test_it_survives_a_restart_of_the_server(here: Machine) -> None:
    """Kill -9 of the server: the screen says so, keeps its figures, and goes on when it is back."""
    with terminal(here.env, here.folder) as shell:
        open_top(shell)
        os.kill(here.pid(), signal.SIGKILL)
        shell.expect("✗ no connection since", 60)
        here.up()
        here.cli("block", "--for", "1h", "--note", "after-restart")
        shell.expect("after-restart", 60)
        here.cli("allow")
        close(shell)


def test_it_fits_a_new_size(here: Machine) -> None:
    """The window is made larger and smaller: what did not fit before comes up, without a traceback."""
    env = here.env | {"COLUMNS": "80", "LINES": "24"}  # As an exporting shell profile has it.
    with terminal(env, here.folder, rows=24, columns=80) as shell:
        open_top(shell)
        shell.resize(50, 180)
        shell.expect("preset always", 60)
        shell.resize(24, 80)
        shell.expect("Pause/go on", 60)
        close(shell)
        assert "Traceback" not in shell.seen


@pytest.mark.parametrize("way", ["--no-color", "NO_COLOR=1"])
def test_no_color_means_none(here: Machine, way: str) -> None:
    """With `--no-color` or NO_COLOR no sequence sets a colour; without either some do."""
    env = here.env | ({"NO_COLOR": "1"} if "=" in way else {})
    with terminal(env, here.folder) as shell:
        open_top(shell, way if way.startswith("-") else "")
        close(shell)
        assert COLOR.search(shell.seen) is None
    with terminal(
        {name: value for name, value in here.env.items() if name != "NO_COLOR"}, here.folder
    ) as shell:
        open_top(shell)
        close(shell)
        assert COLOR.search(shell.seen) is not None


def test_ctrl_c_ends_it_too(here: Machine) -> None:
    """Whoever does not know `q` gets out all the same."""
    with terminal(here.env, here.folder) as shell:
        open_top(shell)
        close(shell, CTRL_C)


def test_one_frame_without_a_terminal(here: Machine) -> None:
    """`--once` prints plain text, `--json` one document; without them, and without a terminal, it says so."""
    with_lease = here.run("--label", "reindex", "--cost", "30", "--", "sleep", "60")
    try:
        here.until_active("sleep")
        frame = here.cli("top", "--once")
        assert frame.returncode == 0, frame.stderr
        assert "reindex" in frame.stdout
        assert "\x1b" not in frame.stdout
        assert json.loads(here.cli("top", "--json").stdout)["state"]["leases"][0]["label"] == "reindex"
    finally:
        with_lease.terminate()
        with_lease.communicate(timeout=30)
    refused = here.cli("top")
    assert refused.returncode == 64
    assert "--once prints one frame" in refused.stderr


def test_who_may_see_less_is_shown_less(here: Machine) -> None:
    """A viewer's token shows the state; what its role may not see is left out, and nothing fails."""
    token = here.cli("token", "create", "--role", "viewer", "--name", "top").stdout.split()[-1]
    address = json.loads((here.data / "server.json").read_text())["url"]
    seen = here.cli("top", "--once", env={"LEASEHOLD_URL": address, "LEASEHOLD_TOKEN": token})
    assert seen.returncode == 0, seen.stderr
    assert "✔ Yes" in seen.stdout


def test_without_a_server_it_says_what_to_do(here: Machine) -> None:
    """Nobody is there: one sentence, and the screen is never taken."""
    nowhere = {name: str(here.folder / "none") for name in ("LEASEHOLD_DATA", "LEASEHOLD_RUN_DIR")}
    with terminal(here.env | nowhere, here.folder) as shell:
        said = shell.run("leasehold top")
        assert "leasehold up" in said
        assert "rc=69=" in said
        assert "\x1b[?1049h" not in said
