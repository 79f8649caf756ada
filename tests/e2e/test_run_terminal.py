"""`leasehold run` in a real terminal: whatever works without it works with it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.e2e.machine import Machine, machine
from tests.e2e.terminal import CTRL_C, CTRL_D, CTRL_Z, ESC, Terminal, terminal

pytestmark = [pytest.mark.slow, pytest.mark.requirement("LEASE-18")]


@pytest.fixture(scope="module")
def here() -> Iterator[Machine]:
    """One server for the file."""
    with machine() as found:
        yield found


@pytest.fixture
def shell(here: Machine) -> Iterator[Terminal]:
    """A fresh terminal; what a test leaves running in it is hung up."""
    with terminal(here.env, here.folder) as found:
        yield found
    here.until_idle()


def test_ctrl_c_ends_the_command_and_gives_the_lease_back(here: Machine, shell: Terminal) -> None:
    """The shell sees what it sees without `run`: 130, and a prompt that works."""
    shell.line("leasehold run --job-type c -- sleep 100")
    here.until_active("c")
    shell.send(CTRL_C)
    shell.prompt()
    assert "rc=130=" in shell.run("(exit $?)")
    here.until_idle()


def test_ctrl_c_ends_the_script_around_it(here: Machine, shell: Terminal) -> None:
    """A loop may not go on with its next round: its shell has to see a death by SIGINT."""
    shell.line(
        "bash -c 'for i in 1 2 3; do leasehold run --job-type l -- sleep 100; echo round-$i-over; done'"
    )
    here.until_active("l")
    shell.send(CTRL_C)
    shell.prompt()
    assert "round-1-over" not in shell.seen


def test_a_command_that_handles_ctrl_c_goes_on(here: Machine, shell: Terminal) -> None:
    """Neither `run` nor anything else dies in its place, and it gets the signal once."""
    script = "trap 'echo got-it' INT; echo armed; read line; echo read-$line; exit 5"
    shell.line(f'leasehold run -- bash -c "{script}"'.replace("$line", "\\$line") + "; echo rc=$?=")
    shell.expect("armed")
    shell.send(CTRL_C)
    shell.expect("got-it")
    shell.line("more")
    shell.expect("read-more")
    shell.expect("rc=5=")
    assert shell.seen.count("got-it") == 1


def test_ctrl_z_stops_the_job_and_fg_continues_it(here: Machine, shell: Terminal) -> None:
    """The shell sees one stopped job; continued, it has the terminal again; its lease is held throughout."""
    shell.line("leasehold run --job-type z -- cat")
    lease = here.until_active("z")
    shell.line("one")
    shell.expect("one\r\n")
    shell.send(CTRL_Z)
    shell.expect(r"\[1\]\+\s+Stopped.*leasehold run")
    shell.prompt()
    assert "rc=0=" in shell.run("jobs -s | grep -q leasehold")
    assert here.until_active("z")["lease_id"] == lease["lease_id"]
    shell.line("fg")
    shell.expect("leasehold run")
    shell.line("two")
    shell.expect("two\r\n")
    shell.send(CTRL_Z)
    shell.prompt()
    shell.line("fg; echo rc=$?=")
    shell.expect("leasehold run")
    shell.send(CTRL_D)
    shell.expect("rc=0=")


def test_a_stopped_job_goes_on_in_the_background(here: Machine, shell: Terminal) -> None:
    """`bg` after Ctrl-Z, and `wait` for its exit code."""
    shell.line(
        "leasehold run --job-type b -- bash -c 'echo begun; while [ ! -e go ]; do sleep 0.05; done; exit 3'"
    )
    shell.expect("begun")
    shell.send(CTRL_Z)
    shell.expect("Stopped")
    shell.prompt()
    shell.run("bg")
    shell.run("touch go")
    assert "rc=3=" in shell.run("wait %1")
    shell.run("rm go")


def test_reading_in_the_background_stops_the_job_until_fg(here: Machine, shell: Terminal) -> None:
    """A background command that wants the terminal waits for it, as it would without `run`."""
    shell.line("leasehold run --job-type t -- cat &")
    here.until_active("t")
    shell.line("")
    shell.expect("Stopped")
    shell.prompt()
    shell.line("fg")
    shell.expect("leasehold run")
    shell.line("hello")
    shell.expect("hello\r\n")
    shell.send(CTRL_D)
    shell.prompt()


def test_killing_the_job_from_the_shell_ends_the_command(here: Machine, shell: Terminal) -> None:
    """`kill %1` signals the job's process group; the work must not survive it."""
    shell.line("leasehold run --job-type k -- sleep 100 &")
    here.until_active("k")
    shell.run("kill %1")
    assert "rc=143=" in shell.run("wait %1")
    here.until_idle()


def test_a_debugger_works(here: Machine, shell: Terminal) -> None:
    """`python -m pdb` reads lines with its own editing and prompts."""
    (here.folder / "two.py").write_text("x = 40\ny = x + 2\nprint('sum', y)\n")
    shell.line("leasehold run -- python -m pdb two.py")
    shell.expect(r"\(Pdb\) ")
    shell.line("n")
    shell.expect(r"\(Pdb\) ")
    shell.line("p x")
    shell.expect("40")
    shell.line("c")
    shell.expect("sum 42")
    shell.expect(r"\(Pdb\) ")
    shell.line("q")
    shell.prompt()


@pytest.mark.skipif(shutil.which("vim") is None, reason="vim is not installed here")
def test_a_full_screen_editor_works_and_can_be_suspended(here: Machine, shell: Terminal) -> None:
    """Raw mode, Ctrl-Z from raw mode, and the terminal as it was afterwards."""
    shell.line("leasehold run -- vim -u NONE -N note.txt")
    shell.expect("note.txt")
    shell.send("ihello" + ESC)
    shell.send(CTRL_Z)
    shell.expect("Stopped")
    shell.prompt()
    shell.line("fg")
    shell.send(":wq\r")
    shell.prompt()
    assert "rc=0=" in shell.run("grep -q hello note.txt")


@pytest.mark.skipif(shutil.which("less") is None, reason="less is not installed here")
def test_a_pager_at_the_end_of_a_pipeline_has_the_keyboard(here: Machine, shell: Terminal) -> None:
    """`run` takes the terminal away from nobody in its pipeline."""
    shell.line("leasehold run -- seq 1 5000 | less")
    shell.expect("10\r\n")
    shell.send("G")
    shell.expect("5000")
    shell.send("q")
    shell.prompt()


def test_output_goes_through_a_pipe_unchanged(here: Machine, shell: Terminal) -> None:
    """`| tee`: only what the command wrote, and its exit code by pipefail."""
    told = shell.run(
        "set -o pipefail; leasehold run -- sh -c 'echo out; echo err >&2; exit 4' 2>err.txt | tee out.txt"
    )
    assert "rc=4=" in told
    assert (here.folder / "out.txt").read_text() == "out\n"
    assert (here.folder / "err.txt").read_text() == "err\n"


def test_the_window_size_is_seen_and_its_changes_too(here: Machine, shell: Terminal) -> None:
    """At the start, and as a signal while it runs."""
    shell.resize(33, 77)
    assert "33 77" in shell.run("leasehold run -- stty size")
    shell.line(
        "leasehold run -- bash -c 'trap \"stty size; exit\" WINCH; echo armed; while :; do sleep 0.05; done'"
    )
    shell.expect("armed")
    shell.resize(44, 88)
    shell.expect("44 88")
    shell.prompt()


def test_a_shell_inside_has_job_control_of_its_own(here: Machine, shell: Terminal) -> None:
    """An interactive shell takes the terminal for its own jobs and gives it back."""
    shell.line("PS1='INNER> ' leasehold run -- bash --norc --noprofile -i")
    shell.expect("INNER> ")
    # No command that forks: dash forks by vfork, and a Ctrl-Z between that and exec stops half of it.
    shell.line('sh -c \'echo be""gun; read line; echo li""ne-$line\'')
    shell.expect("begun")
    shell.send(CTRL_Z)
    shell.expect("Stopped")
    shell.expect("INNER> ")
    shell.line("fg")
    shell.expect("read line;")
    shell.line("x")
    shell.expect("line-x")
    shell.expect("INNER> ")
    shell.line("exit 6")
    shell.prompt()
    assert "rc=6=" in shell.run("(exit $?)")


def test_ctrl_c_while_waiting_gives_the_place_up(here: Machine, shell: Terminal) -> None:
    """Nobody is left in line, and the shell sees 130."""
    with_all = here.run("--cost", "90", "--job-type", "all", "--", "sleep", "100")
    here.until_active("all")
    shell.line("leasehold run --cost 50 -- true")
    shell.expect(r"leasehold: waiting, 1st: 90 of 90 units used by \"all\" \(you\)")
    here.until(lambda: here.status()["waiting"], "one in line")
    shell.send(CTRL_C)
    shell.prompt()
    assert "rc=130=" in shell.run("(exit $?)")
    here.until(lambda: not here.status()["waiting"], "nobody in line", timeout_s=2.0)
    with_all.terminate()
    with_all.communicate()


def test_waiting_can_be_suspended_too(here: Machine, shell: Terminal) -> None:
    """Ctrl-Z while it waits, `fg`, and it starts when there is room."""
    with_all = here.run("--cost", "90", "--job-type", "all", "--", "sleep", "100")
    here.until_active("all")
    shell.line("leasehold run --cost 50 -- echo it-runs")
    shell.expect("waiting")
    shell.send(CTRL_Z)
    shell.expect("Stopped")
    shell.prompt()
    shell.line("fg")
    with_all.terminate()
    with_all.communicate()
    shell.expect("leasehold: running \\(waited")
    shell.expect("it-runs")
    shell.prompt()
