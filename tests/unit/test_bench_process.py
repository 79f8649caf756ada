"""What a program is said to have used must be what it and its children used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.control import flushes_per_s
from bench.machine import Meter
from bench.process import Program, tree_usage, wait_for

BURN = "import time\nwhile time.process_time() < 0.3: pass\n"


def program(code: str, folder: Path) -> Program:
    """A child that runs `code`, with its log in `folder`."""
    return Program([sys.executable, "-c", code], folder / "log", os.environ)


def test_the_cpu_of_children_counts_living_or_ended(tmp_path: Path) -> None:
    """A parent that only waits is charged with what its ended child burned: no work hides in children."""
    parent = (
        "import subprocess, sys, pathlib, time\n"
        f"subprocess.run([sys.executable, '-c', {BURN!r}])\n"
        f"pathlib.Path({str(tmp_path / 'done')!r}).touch()\n"
        "time.sleep(60)\n"
    )
    with program(parent, tmp_path) as running:
        wait_for("the child's end", (tmp_path / "done").exists, running, 30)
        usage = running.usage()
    assert usage.processes == 1
    assert usage.cpu_s >= 0.25  # its clock ticks are 10 ms long


def test_memory_and_processes_are_summed_over_the_tree(tmp_path: Path) -> None:
    """A grandchild is found through its parent."""
    inner = (
        "import pathlib, time\nblock = b'x' * 40_000_000\n"
        f"pathlib.Path({str(tmp_path / 'up')!r}).touch()\ntime.sleep(60)\n"
    )
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    with program(outer, tmp_path) as running:
        wait_for("the grandchild", (tmp_path / "up").exists, running, 30)
        usage = running.usage()
        own_pid = running.pid
    assert usage.processes == 2
    assert usage.rss_bytes > 40_000_000
    with pytest.raises(ProcessLookupError):
        tree_usage(own_pid)


def test_a_program_that_ends_early_says_why(tmp_path: Path) -> None:
    """The error of a peer that can't start carries the end of its log."""
    running = program("print('no such disk', flush=True); raise SystemExit(3)", tmp_path)
    with running, pytest.raises(RuntimeError, match=r"ended with 3[\s\S]*no such disk"):
        wait_for("port", lambda: False, running, 30)


def test_the_control_leaves_nothing_behind(tmp_path: Path) -> None:
    """It flushes really (a rate comes out) and removes its file."""
    assert flushes_per_s(tmp_path, 0.05) > 0
    assert list(tmp_path.iterdir()) == []


def test_a_meter_tells_the_client_from_the_server_and_from_others(tmp_path: Path) -> None:
    """What a child burns inside a round is the client's, and not the idle server's."""
    with program("import time; time.sleep(60)", tmp_path) as server:
        with Meter(server) as meter:
            subprocess.run([sys.executable, "-c", BURN], check=True)
        assert meter.client_s >= 0.25
        assert meter.server_s < 0.25


def test_samples_name_the_function_that_burned(tmp_path: Path) -> None:
    """The function that burned since the reset stands first; the one that burned before it is gone."""
    output = tmp_path / "profile.txt"
    (tmp_path / "burning.py").write_text(
        "import os, signal, time\n"
        "def before():\n    while time.process_time() < 0.3: pass\n"
        "def hot():\n    while time.process_time() < 0.9: pass\n"
        "before()\nos.kill(os.getpid(), signal.SIGUSR2)\nhot()\n"
    )
    path = os.pathsep.join([str(Path(__file__).resolve().parents[2]), str(tmp_path)])
    argv = [sys.executable, "-m", "bench.sampled", str(output), "burning"]
    subprocess.run(argv, check=True, env={**os.environ, "PYTHONPATH": path})
    ranked = output.read_text().split("itself:")[1].strip().splitlines()
    assert "hot (" in ranked[0]
    assert not any("before (" in line for line in ranked)
