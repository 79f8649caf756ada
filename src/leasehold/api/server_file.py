"""`<data>/server.json`: where the running server is to be found."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import msgspec
from msgspec.structs import replace

from leasehold import __version__
from leasehold.api.server import Listener

SERVER_FILE = "server.json"
CA_FOLDER = "ca"
CA_FILE = f"{CA_FOLDER}/ca.pem"
"""What other machines check the server's certificate with."""


class ServerFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the file holds; `started` is Unix time in seconds.

    `tls_port` is where other machines reach it, `names` how, `ca` the file that they check it with; 0 and
    empty where none can.
    """

    pid: int
    port: int
    url: str
    started: int
    version: str
    tls_port: int = 0
    names: tuple[str, ...] = ()
    ca: str = ""


def write_server_file(data: Path, tcp: socket.socket, wall_ms: int, tls: Listener | None = None) -> None:
    """Say where the server is, in one step: a reader sees all of it or the one before. Raises OSError."""
    host, port = tcp.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    found = ServerFile(os.getpid(), port, f"http://{shown}:{port}", wall_ms // 1000, __version__)
    if tls is not None and tls.tls is not None:
        names = tls.tls.issued.names
        found = replace(found, tls_port=tls.sock.getsockname()[1], names=names, ca=str(data / CA_FILE))
    draft = data / f"{SERVER_FILE}.new"
    draft.write_bytes(msgspec.json.encode(found))
    draft.rename(data / SERVER_FILE)


def remove_server_file(data: Path) -> None:
    """The server is gone. The file of one that has been started since stays."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        path = data / SERVER_FILE
        if msgspec.json.decode(path.read_bytes(), type=ServerFile).pid == os.getpid():
            path.unlink()
