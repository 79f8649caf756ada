"""A machine of its own for a test: a real server in a scratch folder, and the command line to use it by."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BIN = Path(os.environ.get("LEASEHOLD_TEST_BIN", "") or Path(sys.executable).parent)
"""Where the tested program is: in this checkout's environment, or where `make accept` has installed it."""

LEASEHOLD = str(BIN / "leasehold")


class Machine:
    """`env` is what makes the command line use this server, and nothing of the real machine's."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.data = folder / "d"
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LEASEHOLD")}
        self.env = {name: value for name, value in clean.items() if name not in ("CI", "XDG_CONFIG_HOME")} | {
            "LEASEHOLD_DATA": str(self.data),
            "LEASEHOLD_RUN_DIR": str(folder / "r"),
            "LEASEHOLD_PORT": "0",
            "LEASEHOLD_PRESET": "always",
            "LEASEHOLD_BACKUP__ENABLED": "false",
            "HOME": str(folder),
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            **settings,
        }

    def start(self, command: list[str], **more: Any) -> subprocess.Popen[str]:
        """Start any command with this machine's environment."""
        given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL} | more
        env = self.env | given.pop("env", {})
        return subprocess.Popen(command, text=True, env=env, cwd=given.pop("cwd", self.folder), **given)

    def cli(self, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run one `leasehold` command to its end."""
        process = self.start([LEASEHOLD, *words], **more)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def run(self, *words: str, **more: Any) -> subprocess.Popen[str]:
        """Start `leasehold run` with these words."""
        return self.start([LEASEHOLD, "run", *words], **more)

    def up(self) -> None:
        done = self.cli("up")
        assert done.returncode == 0, done.stderr

    def down(self) -> None:
        self.cli("down")

    def pid(self) -> int:
        """The server's process."""
        return int(json.loads((self.data / "server.json").read_text())["pid"])

    def status(self) -> dict[str, Any]:
        done = self.cli("status", "--json")
        assert done.stdout, f"status ended with {done.returncode}: {done.stderr}\n{self.log()}"
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def log(self) -> str:
        """The end of what the server has logged."""
        return "".join(file.read_text()[-4000:] for file in (self.data / "log").glob("*.log*"))

    def leases(self) -> list[dict[str, Any]]:
        """The live leases."""
        active: list[dict[str, Any]] = self.status()["active"]
        return active

    def until(self, what: Callable[[], Any], why: str, timeout_s: float = 20.0) -> Any:
        """Wait for something of this machine to become true, and return it."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            found = what()
            if found:
                return found
            time.sleep(0.05)
        status = self.status()
        shown = {name: status[name] for name in ("headline", "active", "waiting")}
        raise AssertionError(f"{why}: not within {timeout_s} s; {shown}")

    def until_active(self, job_type: str) -> dict[str, Any]:
        """The one ACTIVE lease of this job type, as soon as there is one."""

        def active() -> dict[str, Any] | None:
            found = [one for one in self.leases() if one["job_type"] == job_type and one["state"] == "ACTIVE"]
            return found[0] if found else None

        found: dict[str, Any] = self.until(active, f"a lease for {job_type}")
        return found

    def until_idle(self) -> None:
        """No lease is live and nobody waits; a place in line may be kept for who comes back."""

        def idle() -> bool:
            status = self.status()
            return not status["active"] and not any(one["held"] for one in status["waiting"])

        self.until(idle, "all leases ended")


@contextmanager
def machine(**settings: str) -> Iterator[Machine]:
    """A machine whose server runs, and is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="lh-"))
    found = Machine(folder, **settings)
    found.up()
    # Before the first measurement even preset `always` grants nothing.
    found.until(lambda: found.cli("status", "--check").returncode == 0, "the first measurement")
    try:
        yield found
    finally:
        found.down()
        shutil.rmtree(folder, ignore_errors=True)
