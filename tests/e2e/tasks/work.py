"""What every task does: it notes that it started, works until it is told to end, and notes how it ended."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from typing import Any

from leasehold import current_lease

GONE = "unix:/nowhere/leasehold.sock"
KINDS: dict[str, dict[str, Any]] = {
    "heavy": {"cost": 60},
    "deaf": {"cost": 60},
    "broken": {"cost": 60},
    "impatient": {"cost": 60, "wait": 1},
    "hopeless": {"mem": "4096T"},
    "unserved": {"cost": 60, "server": GONE, "when_down": "run"},
    "refused": {"cost": 60, "server": GONE, "when_down": "fail"},
}
"""The options of each kind of task. `light` ones have none."""


def note(what: str, name: str, *more: object) -> None:
    """Append a line to the log that the test reads."""
    line = " ".join(str(word) for word in (what, name, os.getpid(), *more))
    with open(Path(os.environ["TASKS"]) / "log", "a", encoding="utf-8") as file:
        file.write(line + "\n")


def work(kind: str, name: str) -> None:
    """One task."""
    held = current_lease()
    inner = subprocess.run(
        ["leasehold", "run", "--cost", "60", "--wait", "0", "--quiet", "--", "true"], check=False
    ) if kind == "heavy" and name.startswith("nested") else None  # fmt: skip
    note("start", name, held.id if held else "-", "-" if inner is None else inner.returncode)
    if kind == "broken":
        raise RuntimeError("as it has to")
    go = Path(os.environ["TASKS"]) / f"{name}.go"
    while not go.exists():
        if held is not None and kind != "deaf":
            if held.should_stop:
                note("stopped", name)
            held.report(0.5, "at work")
        time.sleep(0.05)
    note("end", name)


def whose() -> str:
    """The id of the lease that this runs under, "" without one."""
    held = current_lease()
    return held.id if held is not None else ""
