"""One Redis on a Unix socket; each answer waits for a flush of its append-only file (appendfsync always)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.peers.environment import PeerUnavailable
from bench.process import Program, wait_for
from bench.setup import Setup

START_TIMEOUT_S = 15.0
SETTINGS = {"port": "0", "appendonly": "yes", "appendfsync": "always", "save": "", "daemonize": "no"}


@contextmanager
def running(setup: Setup) -> Iterator[tuple[Program, str]]:
    """The program and its socket. PeerUnavailable without Redis."""
    server = shutil.which("redis-server")
    if server is None:
        raise PeerUnavailable("redis-server is not here; install Debian's package `redis-server`")
    folder = setup.folder("redis")
    socket = folder / "redis.sock"
    argv = [server, "--dir", str(folder), "--unixsocket", str(socket)]
    argv += [part for name, value in SETTINGS.items() for part in (f"--{name}", value)]
    with Program(argv, folder / "log", setup.environment(), cwd=folder) as program:
        wait_for("Redis", lambda: _answers(socket), program, START_TIMEOUT_S)
        yield program, str(socket)


def _answers(socket: Path) -> bool:
    client = Path(shutil.which("redis-cli") or "redis-cli")
    done = subprocess.run([str(client), "-s", str(socket), "ping"], capture_output=True, text=True)
    return done.stdout.strip() == "PONG"
