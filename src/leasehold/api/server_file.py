"""`<data>/server.json`: where the running server is to be found."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import msgspec

from leasehold import __version__

SERVER_FILE = "server.json"


class ServerFile(msgspec.Struct, frozen=True):
    """What the file holds; `started` is Unix time in seconds."""

    pid: int
    port: int
    url: str
    started: int
    version: str


def write_server_file(data: Path, tcp: socket.socket, wall_ms: int) -> None:
    """Say where the server is, in one step: a reader sees all of it or the one before. Raises OSError."""
    host, port = tcp.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    found = ServerFile(os.getpid(), port, f"http://{shown}:{port}", wall_ms // 1000, __version__)
    draft = data / f"{SERVER_FILE}.new"
    draft.write_bytes(msgspec.json.encode(found))
    draft.rename(data / SERVER_FILE)
