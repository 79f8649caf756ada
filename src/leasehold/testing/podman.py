"""Real containers for tests and for `make accept`: Podman with stores of its own, and its Docker-compatible
socket.

Its image holds the machine's own shell, so nothing is downloaded. `missing()` tells what a machine lacks.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from leasehold.runtime.lean import elapsed_s, pause

IMAGE = "shell"
PROGRAMS = ("/bin/sh", "/bin/sleep")
LIMITS = ("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024")
UP_S = 30.0


class Unusable(Exception):
    """Containers do not run on this machine, though all that it takes is installed. The sentence says why."""


def missing() -> str:
    """What containers lack here, as a sentence; "" where nothing is."""
    for program in ("podman", "runc"):
        if shutil.which(program) is None:
            return f"no {program} on the PATH (Debian: apt-get install podman runc)"
    return "" if os.geteuid() == 0 else "containers of a test's own take root here"


class Podman:
    """Containers below one folder; `socket` is where their engine listens."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.socket = folder / "podman.sock"
        self._service: subprocess.Popen[bytes] | None = None

    def run(self, *words: str, timeout_s: float = 60) -> str:
        """One command of it; what it printed. Raises RuntimeError with its complaint."""
        command = [*self._command(), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
        if done.returncode:
            raise RuntimeError(f"podman {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def start(self, name: str, script: str, shared: Path | None = None) -> int:
        """A container of this name that runs a script of the shell; its first process on this machine.

        `shared` is a folder of this machine that it finds as `/shared`.
        """
        mounts = ["--volume", f"{shared}:/shared"] if shared is not None else []
        words = ["run", "-d", "--name", name, "--network", "none", *LIMITS, *mounts, IMAGE]
        self.run(*words, "/bin/sh", "-c", script)
        return self.pid(name)

    def pid(self, name: str) -> int:
        """Its first process on this machine, 0 while it does not run."""
        return int(self.run("inspect", name, "--format", "{{.State.Pid}}"))

    def _command(self) -> list[str]:
        store = [
            "--root",
            f"{self._folder}/store",
            "--runroot",
            f"{self._folder}/run",
            "--storage-driver",
            "vfs",
        ]
        return ["podman", *store, "--runtime", "runc", "--cgroup-manager", "cgroupfs"]

    def open(self) -> None:
        """Make the image and start the engine. Raises Unusable where a first container does not run."""
        archive = self._folder / "image.tar"
        with tarfile.open(archive, "w") as image:
            for path in (*PROGRAMS, *_libraries()):
                image.add(os.path.realpath(path), path)
            for name in ("dev", "proc", "tmp"):
                (self._folder / name).mkdir()
                image.add(self._folder / name, name)
        try:
            self.run("import", str(archive), IMAGE)
            self.run("run", "--rm", "--network", "none", *LIMITS, IMAGE, "/bin/sh", "-c", "exit 0")
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            raise Unusable(f"no container can be run here: {error}") from error
        self._service = subprocess.Popen(
            [*self._command(), "system", "service", "--time", "0", f"unix://{self.socket}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        end = elapsed_s() + UP_S
        while not self.socket.exists():
            if elapsed_s() > end or self._service.poll() is not None:
                raise RuntimeError("podman system service does not come up")
            pause(0.05)

    def close(self) -> None:
        """Remove every container, and end the engine."""
        with contextlib.suppress(RuntimeError, subprocess.TimeoutExpired):
            self.run("rm", "--all", "--force", "--time", "0")
        if self._service is not None:
            self._service.terminate()
            self._service.wait(30)


def _libraries() -> list[str]:
    """What the programs are linked with, by the paths at which they look for it."""
    told = subprocess.run(["ldd", *PROGRAMS], capture_output=True, text=True, check=True).stdout
    words = {word for line in told.splitlines() for word in line.split() if word.startswith("/")}
    return sorted(word for word in words if not word.endswith(":"))


@contextlib.contextmanager
def podman() -> Iterator[Podman]:
    """Containers that are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="lh-podman-"))
    found = Podman(folder)
    try:
        found.open()
        yield found
    finally:
        found.close()
        shutil.rmtree(folder, ignore_errors=True)
