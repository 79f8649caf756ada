"""`leasehold demo`: weeks of made-up history that say so everywhere, and leave nothing behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.machine import LEASEHOLD, Machine

pytestmark = pytest.mark.slow


class Demo:
    """A demo in a folder of temporary files of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.machine = Machine(folder, TMPDIR=str(folder))
        self.data = folder / f"leasehold-demo-{os.getuid()}"
        self.said: dict[str, Any] = {}

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Start it, and wait until it says where it is."""
        process = self.machine.start([LEASEHOLD, "demo", "--json", "--weeks", "1", *options])
        assert process.stdout is not None
        text = ""
        while True:
            text += (line := process.stdout.readline())
            if line == "}\n":
                break
            assert line, f"it ended: {process.communicate()[1]}"
        self.said = json.loads(text)
        return process

    def cli(self, *words: str) -> Any:
        """A verb against the demo's server."""
        done = self.machine.cli(*words, "--server", self.said["server"])
        assert done.returncode == 0, done.stderr
        return done.stdout

    def end(self, process: subprocess.Popen[str], how: signal.Signals = signal.SIGINT) -> str:
        """End it as people do; what it said."""
        process.send_signal(how)
        err = process.communicate(timeout=60)[1]
        assert process.returncode == 0, err
        return err


def lives(pid: int) -> bool:
    """Whether a process is there that has not ended; who adopted it may not have heard of that yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def demo() -> Iterator[Demo]:
    """A demo that is ended at the end."""
    folder = Path(tempfile.mkdtemp(prefix="lh-"))
    found = Demo(folder)
    yield found
    found.machine.cli("demo", "--stop")
    shutil.rmtree(folder, ignore_errors=True)


def test_it_shows_weeks_says_that_they_are_made_up_and_is_gone(demo: Demo) -> None:
    """Every view of it says so; its queue has each state; Ctrl-C ends its server and removes its folder."""
    process = demo.start()
    assert "MADE-UP" in demo.said["made_up"]
    assert json.loads(demo.cli("status", "--json"))["notices"][0] == demo.said["made_up"]
    top = json.loads(demo.cli("top", "--json"))
    assert top["state"]["head"]["made_up"] == demo.said["made_up"]
    assert "MADE-UP DATA" in demo.cli("top", "--once").splitlines()[0]
    series = json.loads(demo.cli("history", "--range", "7d", "--step", "1h", "--json"))
    assert sum(value is not None for value in series["values"]) >= 160
    assert len(json.loads(demo.cli("streaks", "--range", "7d", "--json"))["streaks"]) > 10

    def states() -> set[str]:
        return {job["state"] for job in json.loads(demo.cli("queue", "--all", "--json"))}

    end = time.monotonic() + 60
    while not states() >= {"RUNNING", "QUEUED", "HELD", "DONE", "FAILED"} and time.monotonic() < end:
        time.sleep(0.2)
    assert states() >= {"RUNNING", "QUEUED", "HELD", "DONE", "FAILED"}
    server = json.loads((demo.data / "server.json").read_text())["pid"]
    assert "is removed" in demo.end(process)
    assert not demo.data.exists()
    end = time.monotonic() + 30
    while lives(server) and time.monotonic() < end:
        time.sleep(0.1)
    assert not lives(server)


def test_a_second_one_is_refused_and_stop_ends_the_first(demo: Demo) -> None:
    """One scratch folder for each user: the second says how to end the first, and `--stop` does it."""
    process = demo.start()
    second = demo.machine.cli("demo")
    assert second.returncode == 73
    assert "demo --stop" in second.stderr
    stopped = demo.machine.cli("demo", "--stop")
    assert stopped.returncode == 0, stopped.stderr
    assert process.wait(60) == 0
    process.communicate()
    assert list(demo.folder.glob("leasehold-demo-*")) == [], "neither its folder nor its lock is left"
    assert "no demo is in" in demo.machine.cli("demo", "--stop").stderr


def test_two_at_once_never_share_a_folder(demo: Demo) -> None:
    """Started together, while the history is still made: one of them runs, the other is told so."""
    first, second = (demo.machine.start([LEASEHOLD, "demo", "--weeks", "1"]) for _ in range(2))
    pair = [first, second]
    end = time.monotonic() + 60
    while all(one.poll() is None for one in pair) and time.monotonic() < end:
        time.sleep(0.05)
    refused = next(one for one in pair if one.poll() is not None)
    runs = pair[1 - pair.index(refused)]
    assert refused.returncode == 73
    assert "runs already" in refused.communicate()[1]
    assert demo.machine.cli("demo", "--stop").returncode == 0
    assert runs.wait(60) == 0
    assert "is removed" in runs.communicate()[1]


def test_after_kill_9_the_next_one_begins_anew(demo: Demo) -> None:
    """Nobody could clean up: its server goes on until `--stop`, and what is left is known for a demo's."""
    process = demo.start()
    process.kill()
    process.communicate()
    assert demo.data.exists()
    os.kill(json.loads((demo.data / "server.json").read_text())["pid"], signal.SIGKILL)
    again = demo.start()
    demo.end(again)
    assert not demo.data.exists()


def test_a_named_folder_is_kept_and_stays_made_up(demo: Demo) -> None:
    """`--data` keeps the folder; a server started on it later by `up` still says what it shows."""
    named = demo.folder / "kept"
    process = demo.start("--data", str(named))
    demo.end(process)
    assert named.exists()
    later = Machine(demo.folder, LEASEHOLD_DATA=str(named))
    later.data = named
    later.up()
    try:
        assert "MADE-UP" in later.status()["notices"][0]
    finally:
        later.down()


def test_what_is_not_empty_or_not_ours_is_never_touched(demo: Demo) -> None:
    """A folder with something in it is refused, named or not, and nothing in it changes."""
    named = demo.folder / "mine"
    named.mkdir()
    (named / "thesis.txt").write_text("years")
    refused = demo.machine.cli("demo", "--data", str(named))
    assert refused.returncode == 65
    assert "is not empty" in refused.stderr
    demo.data.mkdir()
    (demo.data / "thesis.txt").write_text("years")
    for options in ((), ("--stop",)):
        demo.machine.cli("demo", *options)
        assert (demo.data / "thesis.txt").read_text() == "years"
    assert [path.name for path in named.iterdir()] == ["thesis.txt"]
    shutil.rmtree(demo.data)


def test_a_measured_server_never_says_made_up(demo: Demo) -> None:
    """Without the mark nothing speaks of made-up data: neither status nor the page's state."""
    demo.machine.up()
    try:
        assert not any("MADE-UP" in notice for notice in demo.machine.status().get("notices", []))
        assert json.loads(demo.machine.cli("top", "--json").stdout)["state"]["head"]["made_up"] == ""
    finally:
        demo.machine.down()
