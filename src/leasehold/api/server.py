"""The listening side: TCP on loopback and Unix sockets in one event loop, one protocol, one application.

uvicorn's own server is made for one listener, polls ten times a second, and stops on its own terms; this one
keeps its protocol and leaves the rest.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import stat
from collections import deque
from collections.abc import Callable, Iterable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from leasehold.api.connection import Connection
from leasehold.api.express import Express
from leasehold.model.errors import Invalid

BACKLOG = 512
"""Connections that wait to be accepted: as many as 500 callers that start at once."""

CONNECTIONS_MAX = 4_096
"""Per kind of socket, so that a flood on TCP does not lock out the users of the machine."""

SWEEP_S = 1.0

LAG_WINDOW_S = 60.0


class Listener:
    """One listening socket with the connections that came over it.

    `asks_kernel`: whether the peer's credentials say who the caller is; else a token has to.
    """

    def __init__(self, sock: socket.socket, *, asks_kernel: bool = True) -> None:
        self.sock = sock
        self.asks_kernel = asks_kernel
        self.state = ServerState()
        self.server: asyncio.AbstractServer | None = None


class Server:
    """Serves `app` on sockets that are bound already, at most `connections_max` on each."""

    def __init__(
        self,
        app: Any,
        listeners: Iterable[Listener],
        *,
        new_request_id: Callable[[], str],
        express: Express | None = None,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        self._config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            loop="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # No proxy stands before loopback: such headers would be made up.
            server_header=False,
        )
        self._config.load()
        self._listeners = list(listeners)
        self._new_request_id = new_request_id
        self._express = express
        self._connections_max = connections_max
        self._sweeper: asyncio.Task[None] | None = None
        self._late_s: deque[float] = deque(maxlen=round(LAG_WINDOW_S / SWEEP_S))

    @property
    def loop_lag_s(self) -> float:
        """By how much the event loop was late at worst, over the last minute."""
        return max(self._late_s, default=0.0)

    def connections(self) -> dict[str, int]:
        """Open connections by kind of socket."""
        counts = {"tcp": 0, "unix": 0}
        for listener in self._listeners:
            counts["unix" if listener.sock.family == socket.AF_UNIX else "tcp"] += len(
                listener.state.connections
            )
        return counts

    async def start(self) -> None:
        """Accept connections from now on."""
        loop = asyncio.get_running_loop()
        self._tick()
        for listener in self._listeners:
            if listener.sock.family == socket.AF_UNIX:
                listener.server = await loop.create_unix_server(
                    self._protocol(listener), sock=listener.sock, backlog=BACKLOG
                )
            else:
                listener.server = await loop.create_server(
                    self._protocol(listener), sock=listener.sock, backlog=BACKLOG
                )
        self._sweeper = loop.create_task(self._sweep())

    async def stop_accepting(self) -> None:
        """Close the listening sockets; open connections finish what they are at, then close."""
        for listener in self._listeners:
            if listener.server is not None:
                listener.server.close()
            for connection in list(listener.state.connections):
                connection.shutdown()

    async def drain(self, timeout_s: float) -> int:
        """Wait until all calls are answered; cancel those that are not in time, and say how many."""
        tasks = [task for listener in self._listeners for task in listener.state.tasks]
        late: set[asyncio.Task[None]] = set()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=timeout_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return len(late)

    async def close(self) -> None:
        """Close what is still open."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            await asyncio.gather(self._sweeper, return_exceptions=True)
        for listener in self._listeners:
            for connection in list(listener.state.connections):
                connection.transport.close()

    def _protocol(self, listener: Listener) -> Callable[[], Connection]:
        def make() -> Connection:
            return Connection(
                config=self._config,
                server_state=listener.state,
                app_state={},
                limit=self._connections_max,
                asks_kernel=listener.asks_kernel,
                new_request_id=self._new_request_id,
                express=self._express,
            )

        return make

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + SWEEP_S
            await asyncio.sleep(SWEEP_S)
            self._late_s.append(max(0.0, loop.time() - due))
            self._tick()

    def _tick(self) -> None:
        now = asyncio.get_running_loop().time()
        headers = [(b"date", formatdate(usegmt=True).encode())]
        for listener in self._listeners:
            listener.state.default_headers = headers
            for connection in list(listener.state.connections):
                assert isinstance(connection, Connection)
                connection.sweep(now)


def tcp_socket(host: str, port: int) -> socket.socket:
    """Bind loopback. Raises Invalid for any other address, OSError where the port is taken."""
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        address = None
    if address is None or not address.is_loopback:
        raise Invalid(
            f"refusing to listen on {host}: any address but loopback needs TLS and credentials, "
            "which this version does not have; use 127.0.0.1, and reach it from elsewhere through ssh -L",
            field="host",
            expected="a loopback address",
        )
    sock = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((str(address), port))
    return sock


def unix_socket(path: Path, mode: int) -> socket.socket:
    """Bind a Unix socket with this mode from its first moment. A file that nobody listens on is replaced.

    Raises OSError where somebody listens there already, or the folder can't be written.
    """
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise OSError(f"{path} is in the way, and no socket; remove it")
        if _somebody_listens(path):
            raise OSError(f"another server listens on {path}; stop it first")
        path.unlink()
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o777 & ~mode)
    try:
        sock.bind(str(path))
    except OSError as error:
        sock.close()
        raise OSError(f"no socket can be made at {path}: {error}") from error
    finally:
        os.umask(before)
    return sock


def _somebody_listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        return True
