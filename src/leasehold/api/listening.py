"""Every socket that a server listens on: loopback, TLS, its owner's, everybody's, and that for containers."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from leasehold.api.server import Listener, tcp_socket, unix_socket
from leasehold.api.tls import Tls
from leasehold.model.errors import Conflict

SOCKET = "leasehold.sock"
CLIENT_SOCKET = "client.sock"
"""The one to mount into containers: whoever is in there has to show a token (OPS-5)."""


def listen(data: Path, run_dir: Path, host: str, port: int, tls: Tls | None, tls_port: int) -> list[Listener]:
    """Bind them all, the plain one of loopback first. With `tls`, `host` is an address for other machines.

    Raises Conflict where a port is taken, Invalid for an address that may not be listened on, OSError.
    """
    listeners = [Listener(_bind(host if tls is None else "127.0.0.1", port, "LEASEHOLD_PORT"))]
    if tls is not None:
        listeners.append(Listener(_bind(host, tls_port, "LEASEHOLD_TLS__PORT", secured=True), tls=tls))
    listeners.append(Listener(unix_socket(data / SOCKET, 0o600)))
    listeners.append(Listener(unix_socket(data / CLIENT_SOCKET, 0o666), asks_kernel=False))
    if os.geteuid() == 0:
        run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        listeners.append(Listener(unix_socket(run_dir / SOCKET, 0o666), name=f"{run_dir.name}/{SOCKET}"))
    return listeners


def _bind(host: str, port: int, variable: str, *, secured: bool = False) -> socket.socket:
    try:
        return tcp_socket(host, port, secured=secured)
    except OSError as error:
        raise Conflict(
            f"port {port} on {host} can't be taken ({error.strerror}): is another server running? "
            f"Set another by {variable}"
        ) from error


def remove_files(listeners: list[Listener]) -> None:
    """Take the sockets out of their folders, unless the next server has its own there by now."""
    for listener in listeners:
        if listener.path is None:
            continue
        with contextlib.suppress(FileNotFoundError):
            if listener.path.stat().st_ino == listener.inode:
                listener.path.unlink()
