"""One HTTP connection: uvicorn's protocol, with the peer's credentials and with bounds.

uvicorn bounds neither the size of headers nor the time that they take, and answers its own errors as text.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from leasehold.api.audit import ORIGIN, Origin
from leasehold.api.auth import CREDENTIALS, PEER, Peer
from leasehold.api.body import ClientGone
from leasehold.api.errors import TITLES, HeadersTooLarge
from leasehold.api.express import BLOCKS_MAX, Block, Express, Request
from leasehold.api.hosts import HOSTS
from leasehold.api.pipeline import EXCHANGE, Answer, refusal
from leasehold.model.errors import LeaseholdError, Malformed, Overloaded

HEADER_BYTES_MAX = 64 << 10
"""Request line and headers together; browsers stay under 16 KiB."""

HEADER_S_MAX = 10.0
"""From the first byte of a request (or from connecting) to the end of its headers."""

IDLE_S_MAX = 75.0
"""A connection kept open between two requests; more than the 30 s between the heartbeats of one lease."""

UNREAD_BYTES_MAX = 16 << 20
"""What a client may still send after its answer (a 413): closing at once would lose it the answer."""

UNREAD_S_MAX = 10.0

_CREDENTIALS = struct.Struct("3i")
_PEERGROUPS = 59
"""SO_PEERGROUPS of Linux (asm-generic/socket.h), which the standard library does not name."""

_GROUPS_BYTES = (256, 4 << 16)
"""Room for 64 groups, and for as many as a process can have."""


def peer_of(transport: Any) -> Peer | None:
    """The credentials of the process at the other end of a Unix socket; None on TCP."""
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family != socket.AF_UNIX:
        return None
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    return Peer(pid=pid, uid=uid, gid=gid, groups=_groups(sock))


def _groups(sock: Any) -> tuple[int, ...]:
    """The groups that the process was in beside its own when it connected, as far as the kernel tells."""
    for room in _GROUPS_BYTES:
        try:
            raw = sock.getsockopt(socket.SOL_SOCKET, _PEERGROUPS, room)
        except OSError:
            continue
        return struct.unpack(f"{len(raw) // 4}I", raw)
    return ()


class Exchange:
    """One request at hand: a body that has arrived whole, and an answer in one piece.

    The same as ASGI's `receive` and `send` for the common case, at a third of their cost. Where it is another
    case both say so, and ASGI's way is taken.
    """

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    def body(self) -> bytes | None:
        """The body, where all of it is there."""
        cycle = self._cycle
        if cycle.more_body or cycle.disconnected or cycle.waiting_for_100_continue:
            return None
        body, cycle.body = bytes(cycle.body), bytearray()
        return body

    def answer(self, answer: Answer) -> bool:
        """Write the answer. False, and nothing written, where the client reads too slowly or is gone."""
        cycle = self._cycle
        if cycle.flow.write_paused or cycle.disconnected or cycle.response_started:
            return False
        lines = [STATUS_LINE[answer.status]]
        for name, value in cycle.default_headers:
            lines += (name, b": ", value, b"\r\n")
        for name, value in answer.headers:
            lines += (name, b": ", value, b"\r\n")
        lines.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        if cycle.scope["method"] != "HEAD":
            lines.append(answer.body)
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.message_event.set()
        cycle.transport.write(b"".join(lines))
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
        return True


class Connection(HttpToolsProtocol):
    """`since` and `phase` tell the sweep how long the client has been in which part of a request.

    `express`, where there is one, answers what has been parsed before on this connection. `hosts` tells which
    names the server has on it beside those of loopback. `tokens` are the ids of those that it has used.
    `listener` is the name of where it came in.
    """

    def __init__(
        self,
        *args: Any,
        limit: int,
        asks_kernel: bool,
        new_request_id: Callable[[], str],
        express: Express | None = None,
        hosts: Callable[[bytes], bool] | None = None,
        listener: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._listener = listener
        self.tokens: set[str] = set()
        self._express = express
        self._epoch = 0
        self._blocks: dict[bytes, Block] = {}
        self._waiting = bytearray()
        self._ends = False
        self._gone: asyncio.Future[None] | None = None
        self._asks_kernel = asks_kernel
        self._limit = limit
        self._new_request_id = new_request_id
        self._extensions: dict[str, Any] = {CREDENTIALS: self.tokens}
        if hosts is not None:
            self._extensions[HOSTS] = hosts
        self._header_bytes = 0
        self._unread_bytes = 0
        self.phase = "headers"
        self.since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.since = self.loop.time()
        peer = peer_of(transport)
        if peer is not None and self._asks_kernel:
            self._extensions[PEER] = peer
        self._extensions[ORIGIN] = _origin(self._listener, peer, self.client)
        if len(self.connections) > self._limit:
            self._refuse(Overloaded(f"more than {self._limit} connections are open; close some"))

    def data_received(self, data: bytes) -> None:
        if self.phase == "closed":
            return
        if self.phase == "express":  # Sent ahead of the answer before it: its turn comes after that.
            self._waiting += data
            self.transport.pause_reading()
            return
        whole = self.phase == "idle" or (self.phase == "headers" and not self._header_bytes)
        if whole and self._express is not None and self._blocks:
            if self._epoch != self._express.epoch:
                self._blocks.clear()
            request = self._express.request(data, self._blocks)
            if request is not None:
                self._start(request)
                return
        if self.phase == "idle":
            self._enter("headers")
            self._header_bytes = 0
        if self.phase == "headers":
            self._header_bytes += len(data)
        super().data_received(data)
        if self.phase == "headers" and self._header_bytes > HEADER_BYTES_MAX:
            self._refuse(HeadersTooLarge(f"the headers are larger than {HEADER_BYTES_MAX} bytes"))
        elif whole and self._express is not None and self.phase != "headers":
            self._remember(data)

    def _remember(self, data: bytes) -> None:
        """Keep the header block of a request that has just been parsed, where it is a plain one."""
        line_end = data.find(b"\r\n")
        head_end = data.find(b"\r\n\r\n", line_end)
        if head_end < 0 or len(self._blocks) >= BLOCKS_MAX or self.scope["http_version"] != "1.1":
            return
        assert self._express is not None
        self._epoch = self._express.epoch
        block = self._express.block(self.headers, self._extensions)
        if block is not None:
            self._blocks[data[line_end:head_end]] = block

    def _start(self, request: Request) -> None:
        self._enter("express")
        task = self.loop.create_task(self._by_express(request))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _by_express(self, request: Request) -> None:
        """Answer one request without ASGI, then take what was sent ahead."""
        assert self._express is not None
        stats, held = self._express.stats, False

        def hold() -> None:
            nonlocal held
            held = True
            stats.held += 1
            stats.in_flight -= 1

        stats.in_flight += 1
        began_ns, status = stats.elapsed_ns(), 499
        try:
            answer = await self._express.answer(request, self._extensions, self._until_gone, hold)
            if self.flow.write_paused:
                await self.flow.drain()
            if not self.transport.is_closing():
                status = answer.status
                self.transport.write(self._lines(answer))
        except ClientGone:
            self._ends = True
        except BaseException:
            self._ends = True  # Cut short by a stop: nobody may take silence for an answer.
            raise
        finally:
            if held:
                stats.held -= 1
            else:
                stats.in_flight -= 1
            route = f"POST {request.prepared.endpoint.path}"
            stats.ended(route, status, stats.elapsed_ns() - began_ns, held=held)
            self._after_express()

    async def _until_gone(self) -> dict[str, str]:
        if not self.transport.is_closing():
            self._gone = self.loop.create_future()
            await self._gone
        return {"type": "http.disconnect"}

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    def _lines(self, answer: Answer) -> bytes:
        lines = [STATUS_LINE[answer.status]]
        for name, value in self.server_state.default_headers:
            lines += (name, b": ", value, b"\r\n")
        for name, value in answer.headers:
            lines += (name, b": ", value, b"\r\n")
        lines += (b"connection: close\r\n\r\n" if self._ends else b"\r\n", answer.body)
        return b"".join(lines)

    def _after_express(self) -> None:
        self.server_state.total_requests += 1
        if self._ends:
            self._close()
        if self.transport.is_closing():
            return
        self._enter("idle")
        self._header_bytes = 0
        if self._waiting:
            data, self._waiting = bytes(self._waiting), bytearray()
            self.transport.resume_reading()
            self.data_received(data)

    def cut(self) -> None:
        """Break it off: a call that is held is given up, an answer on its way is not sent."""
        self._ends = True
        self.phase = "closed"
        self.transport.abort()

    def shutdown(self) -> None:
        """Close now, or after the answer that is under way."""
        if self.phase == "express":
            self._ends = True
        else:
            super().shutdown()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = self._extensions

    def on_headers_complete(self) -> None:
        self._enter("request")
        super().on_headers_complete()
        if self.cycle.scope is self.scope:
            cast(dict[str, Any], self.scope)[EXCHANGE] = Exchange(self.cycle)

    def on_body(self, body: bytes) -> None:
        if self.cycle.response_complete:
            self._unread_bytes += len(body)
            if self._unread_bytes > UNREAD_BYTES_MAX:
                self._close()
                return
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if self.cycle.response_complete:
            self._enter("idle")

    def on_response_complete(self) -> None:
        self._enter("unread" if self.cycle.more_body else "idle")
        self._unread_bytes = 0
        super().on_response_complete()
        self._unset_keepalive_if_required()  # the sweep watches instead: no timer per answer

    def send_400_response(self, msg: str) -> None:
        self._refuse(Malformed("this is not HTTP/1.1; see the documentation of your client"))

    def sweep(self, now: float) -> None:
        """Close what has been open too long without a request. `now` is the loop's time."""
        limit = {"headers": HEADER_S_MAX, "idle": IDLE_S_MAX, "unread": UNREAD_S_MAX}.get(self.phase)
        if limit is not None and now - self.since > limit:
            self._close()

    def _enter(self, phase: str) -> None:
        self.phase = phase
        self.since = self.loop.time()

    def _refuse(self, error: LeaseholdError) -> None:
        self.transport.write(_raw(refusal(error, self._new_request_id())))
        self._close()

    def _close(self) -> None:
        self.phase = "closed"
        self.transport.close()


def _origin(listener: str, peer: Peer | None, client: tuple[str, int] | None) -> Origin:
    """From where a connection is, for the audit; IPv4 is written as such where it came over IPv6."""
    if peer is not None:
        return Origin(listener, f"unix uid={peer.uid}", peer.pid)
    return Origin(listener, client[0].removeprefix("::ffff:") if client else "")


def _raw(answer: Answer) -> bytes:
    lines = [b"HTTP/1.1 %d %s" % (answer.status, TITLES[answer.status].encode())]
    lines += [name + b": " + value for name, value in answer.headers]
    lines += [b"content-length: %d" % len(answer.body), b"connection: close", b"", b""]
    return b"\r\n".join(lines) + answer.body
