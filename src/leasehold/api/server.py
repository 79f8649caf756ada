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
from collections.abc import Callable, Collection, Iterable
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from leasehold.api.connection import Connection
from leasehold.api.express import Express
from leasehold.api.hosts import any_host, is_loopback
from leasehold.api.tls import Tls
from leasehold.model.errors import Invalid

BACKLOG = 512
"""Connections that wait to be accepted: as many as 500 callers that start at once."""

CONNECTIONS_MAX = 4_096
"""Per kind of socket, so that a flood on TCP does not lock out the users of the machine."""

HANDSHAKES_MAX = 256
"""TLS connections that are not yet secured, beside CONNECTIONS_MAX; one more is closed at once."""

HANDSHAKE_S = 5.0
ACCEPT_PAUSE_S = 0.1
"""How long no connection is taken after one could not be: no file was left."""

GOODBYE_S = 0.25
"""How long the answer to a caller who revoked their own token has, before its connections are cut."""

SWEEP_S = 1.0

LAG_WINDOW_S = 60.0


class Listener:
    """One listening socket with the connections that came over it.

    `name` is what the audit calls it; by default `tcp`, `tls`, or the file of a Unix socket. `asks_kernel`:
    whether the peer's credentials say who the caller is; else a token has to. With `tls` every
    connection is secured before a byte of a request is read.
    """

    def __init__(
        self, sock: socket.socket, *, asks_kernel: bool = True, tls: Tls | None = None, name: str = ""
    ) -> None:
        self.sock = sock
        self.asks_kernel = asks_kernel
        self.tls = tls
        self.path = Path(sock.getsockname()) if sock.family == socket.AF_UNIX else None
        self.inode = self.path.stat().st_ino if self.path is not None else 0
        self.state = ServerState()
        self.server: asyncio.AbstractServer | None = None
        self.name = name or (self.kind if self.path is None else self.path.name)
        self.handshakes: set[asyncio.Task[None]] = set()

    @property
    def kind(self) -> str:
        if self.sock.family == socket.AF_UNIX:
            return "unix"
        return "tcp" if self.tls is None else "tls"

    @property
    def hosts(self) -> Callable[[bytes], bool] | None:
        """Which names it has beside those of loopback; see `hosts.check_host`."""
        if self.sock.family == socket.AF_UNIX:
            return any_host
        return None if self.tls is None else self.tls.is_named

    def close(self) -> None:
        """Take no more connections."""
        if self.server is not None:
            self.server.close()
        if self.tls is not None:
            asyncio.get_running_loop().remove_reader(self.sock)
            self.sock.close()
        for handshake in self.handshakes:
            handshake.cancel()


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
            counts[listener.kind] = counts.get(listener.kind, 0) + len(listener.state.connections)
        return counts

    async def start(self) -> None:
        """Accept connections from now on."""
        loop = asyncio.get_running_loop()
        self._tick()
        for listener in self._listeners:
            if listener.tls is not None:
                listener.sock.setblocking(False)
                listener.sock.listen(BACKLOG)
                loop.add_reader(listener.sock, self._accept, listener, listener.tls)
            elif listener.sock.family == socket.AF_UNIX:
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
            listener.close()
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
        await asyncio.sleep(0)  # What was accepted in this turn has no transport yet that could be closed.
        for listener in self._listeners:
            for connection in list(listener.state.connections):
                connection.transport.close()

    def cut(self, tokens: Collection[str], *, now: bool = True) -> None:
        """Break off every connection that has used one of these tokens, with the calls that it holds (OPS-5).

        Not `now`: once an answer that is on its way has had time to leave.
        """
        if not now:
            asyncio.get_running_loop().call_later(GOODBYE_S, self.cut, tokens)
            return
        for listener in self._listeners:
            for connection in list(listener.state.connections):
                assert isinstance(connection, Connection)
                if not connection.tokens.isdisjoint(tokens):
                    connection.cut()

    def _accept(self, listener: Listener, tls: Tls) -> None:
        """Take the connections that wait and secure them, a bounded number at once."""
        loop = asyncio.get_running_loop()
        for _ in range(BACKLOG):
            try:
                sock, _ = listener.sock.accept()
            except BlockingIOError:
                return
            except OSError:  # No file was left, or the client went already.
                loop.remove_reader(listener.sock)
                loop.call_later(ACCEPT_PAUSE_S, self._accept_again, listener, tls)
                return
            if len(listener.handshakes) >= HANDSHAKES_MAX:
                sock.close()
                continue
            sock.setblocking(False)
            handshake = loop.create_task(self._secure(listener, tls, sock))
            listener.handshakes.add(handshake)
            handshake.add_done_callback(partial(_secured, listener, sock))

    def _accept_again(self, listener: Listener, tls: Tls) -> None:
        if listener.sock.fileno() >= 0:
            asyncio.get_running_loop().add_reader(listener.sock, self._accept, listener, tls)

    async def _secure(self, listener: Listener, tls: Tls, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().connect_accepted_socket(
            self._protocol(listener), sock, ssl=tls.context, ssl_handshake_timeout=HANDSHAKE_S
        )

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
                hosts=listener.hosts,
                listener=listener.name,
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


def _secured(listener: Listener, sock: socket.socket, handshake: asyncio.Task[None]) -> None:
    """Close what could not be secured: plain HTTP, an unknown CA there, silence, a stop before it began."""
    listener.handshakes.discard(handshake)
    if handshake.cancelled():
        sock.close()
    elif (error := handshake.exception()) is not None:
        sock.close()
        if not isinstance(error, OSError):  # An OSError is the client's to mend.
            raise error


def tcp_socket(host: str, port: int, *, secured: bool = False) -> socket.socket:
    """Bind an address. Raises Invalid for any but loopback unless `secured`, OSError for a taken one."""
    if not is_loopback(host) and not secured:
        raise Invalid(
            f"refusing to listen on {host} without TLS: whoever can see the network could read tokens there",
            field="host",
            expected="a loopback address, or TLS",
        )
    address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    sock = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if address.version == 6:  # `::` serves the older protocol too, whatever the system's default is.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not address.is_unspecified))
        sock.bind((str(address), port))
    except OSError:
        sock.close()
        raise
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
