"""One PostgreSQL on a Unix socket, with a data folder of its own and its durability as it comes: all on.

Memory and log are set as one would for a queue under load. Its programs refuse to run as root; there they run
in a user namespace of their own, where the same user has another number.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.peers.environment import PeerUnavailable
from bench.process import Program, wait_for
from bench.setup import Setup

USER = "bench"
START_TIMEOUT_S = 30.0
NOT_ROOT = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
SETTINGS = {
    "listen_addresses": "",
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "15min",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
}


@contextmanager
def running(setup: Setup) -> Iterator[tuple[Program, str]]:
    """The program and its DSN. PeerUnavailable without its programs."""
    folder = setup.folder("pg")
    _initialise(setup, folder / "data")
    argv = [*_as_user(), *_argv("postgres", folder / "data"), "-k", str(folder)]
    argv += [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
    with Program(argv, folder / "log", setup.environment(), cwd=folder) as program:
        wait_for("PostgreSQL", lambda: _accepts(folder, setup), program, START_TIMEOUT_S)
        yield program, f"postgresql://{USER}@/postgres?host={folder}"


def _initialise(setup: Setup, data: Path) -> None:
    argv = [*_as_user(), *_argv("initdb", data), "-A", "trust", "-U", USER, "--no-instructions"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=data.parent, env=setup.environment())
    if done.returncode:
        raise PeerUnavailable(f"initdb failed ({done.returncode}): {done.stderr.strip()[-300:]}")


def _argv(name: str, data: Path) -> list[str]:
    return [_program(name), "-D", str(data)]


def _program(name: str) -> str:
    if path := shutil.which(name):
        return path
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    if not versions:
        raise PeerUnavailable(f"PostgreSQL's {name} is not here; install Debian's package `postgresql`")
    return str(versions[-1])


def _as_user() -> tuple[str, ...]:
    return NOT_ROOT if os.geteuid() == 0 else ()


def _accepts(folder: Path, setup: Setup) -> bool:
    argv = [_program("pg_isready"), "-q", "-h", str(folder), "-U", USER]
    return subprocess.run(argv, env=setup.environment()).returncode == 0
