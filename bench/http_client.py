"""A lean client for lease cycles over HTTP/1.1, in a process of its own.

Usage: python -m bench.http_client --tcp PORT | --unix PATH --clients N --warm S --measure S [OPTION …]

Each client is one keep-alive connection that repeats: request (1 unit, `start=now`), heartbeat, release.
Answers are parsed by hand, just as far as a status and a `Content-Length` body, and requests are bytes made
once, so that the client costs little of the two cores that it shares with the server. One line of JSON comes
out. A denial is counted, and tried again after 50 ms; any other answer than expected ends the process with 1.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec

DENIAL_PAUSE_S = 0.05
LAST_CYCLE_S_MAX = 30.0
"""How long after the window the last cycles may take; a server that answers nobody must not hang this."""

REQUEST_BODY = b'{"job_type":"bench","cost_units":1,"start":"now","wait_sec":%d%b}'
REQUEST_PATH = b"/api/scheduler/lease/request"


class Granted(msgspec.Struct):
    """What a cycle needs of the answer to a request."""

    approved: bool
    lease_id: str | None = None
    fencing_token: int | None = None
    reason: str = ""
    ticket: str | None = None


class Result(msgspec.Struct):
    """What this process prints. Latencies are of cycles (and of their steps) that ended inside the window."""

    seconds: float
    cycles_us: list[int]
    steps_us: dict[str, list[int]]
    denials: int = 0
    denied_because: str = ""


class UnexpectedAnswer(Exception):
    """The server said something that no cycle can go on from."""


def post(path: bytes, body: bytes, head: bytes) -> bytes:
    """The bytes of one POST; `head` holds the lines that are the same in each."""
    return b"POST %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n%b" % (path, head, len(body), body)


def split_answer(buffer: bytes) -> tuple[int, bytes] | None:
    """(status, body) once `buffer` holds one whole answer, else None.

    UnexpectedAnswer when it has no Content-Length, or when bytes follow it (nothing is pipelined here).
    """
    head_end = buffer.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    head = buffer[:head_end].lower()
    at = head.find(b"\r\ncontent-length:")
    if at < 0:
        raise UnexpectedAnswer(f"an answer without Content-Length: {head[:200]!r}")
    line_end = head.find(b"\r\n", at + 2)
    length = int(head[at + 17 : line_end if line_end >= 0 else None])
    body = buffer[head_end + 4 :]
    if len(body) > length:
        raise UnexpectedAnswer(f"bytes after the answer: {body[length : length + 100]!r}")
    return (int(head[9:12]), body) if len(body) == length else None


class Driver:
    """The window, the tallies, and the end of all clients."""

    def __init__(self, head: bytes, clients: int, warm_s: float, measure_s: float, wait_s: int) -> None:
        self.head = head
        self._wait_s = wait_s
        self.request = self.request_with(None)
        self.opens_at = time.perf_counter() + warm_s
        self.closes_at = self.opens_at + measure_s
        self.result = Result(measure_s, [], {"request": [], "heartbeat": [], "release": []})
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._remaining = clients

    def request_with(self, ticket: str | None) -> bytes:
        """The bytes of a request; whoever was denied comes back with its ticket, and keeps its place."""
        member = b',"ticket":"%b"' % ticket.encode() if ticket else b""
        return post(REQUEST_PATH, REQUEST_BODY % (self._wait_s, member), self.head)

    def fail(self, error: Exception) -> None:
        if not self.finished.done():
            self.finished.set_exception(error)

    def client_done(self) -> None:
        self._remaining -= 1
        if self._remaining == 0 and not self.finished.done():
            self.finished.set_result(None)

    def counts(self, ended_at: float) -> bool:
        return self.opens_at <= ended_at < self.closes_at


class Client(asyncio.Protocol):
    """One connection; the next step of the cycle is chosen by the answer to the last."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._buffer = b""
        self._is_done = False
        self._request = driver.request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass of it
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._is_done:
            self._driver.fail(UnexpectedAnswer(f"the server closed a connection ({exc})"))

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        try:
            answer = split_answer(self._buffer)
            if answer is not None:
                self._buffer = b""
                self._on_answer(*answer)
        except (UnexpectedAnswer, msgspec.DecodeError, ValueError) as error:
            self._driver.fail(error)

    def _begin(self) -> None:
        self._began_at = time.perf_counter()
        if self._began_at >= self._driver.closes_at:
            self._is_done = True
            self._transport.close()
            self._driver.client_done()
            return
        self._send(self._request, "request", self._granted)

    def _send(self, request: bytes, step: str, then: Callable[[int, bytes], None]) -> None:
        self._step, self._then, self._sent_at = step, then, time.perf_counter()
        self._transport.write(request)

    def _on_answer(self, status: int, body: bytes) -> None:
        now = time.perf_counter()
        if status != 200:
            raise UnexpectedAnswer(f"{self._step} was answered {status}: {body[:300]!r}")
        if self._driver.counts(now):
            self._driver.result.steps_us[self._step].append(round((now - self._sent_at) * 1e6))
        self._then(status, body)

    def _granted(self, status: int, body: bytes) -> None:
        granted = msgspec.json.decode(body, type=Granted)
        if not granted.approved or granted.lease_id is None:
            self._driver.result.denials += 1
            self._driver.result.denied_because = granted.reason
            self._request = self._driver.request_with(granted.ticket)
            asyncio.get_running_loop().call_later(DENIAL_PAUSE_S, self._begin)
            return
        self._request = self._driver.request
        path = b"/api/scheduler/lease/%b/" % granted.lease_id.encode()
        token = b'{"fencing_token":%d}' % (granted.fencing_token or 0)
        self._release = post(path + b"release", token, self._driver.head)
        self._send(post(path + b"heartbeat", token, self._driver.head), "heartbeat", self._renewed)

    def _renewed(self, status: int, body: bytes) -> None:
        self._send(self._release, "release", self._released)

    def _released(self, status: int, body: bytes) -> None:
        now = time.perf_counter()
        if self._driver.counts(now):
            self._driver.result.cycles_us.append(round((now - self._began_at) * 1e6))
        self._begin()


async def drive(options: argparse.Namespace) -> Result:
    """Open all connections, run until the window has closed and each lease is released."""
    head = b"Host: localhost\r\nContent-Type: application/json\r\n"
    if options.token_file:
        head += b"Authorization: Bearer %b\r\n" % options.token_file.read_bytes().strip()
    driver = Driver(head, options.clients, options.warm, options.measure, options.wait)
    loop = asyncio.get_running_loop()
    transports: list[asyncio.Transport] = []
    try:
        for _ in range(options.clients):
            if options.unix:
                transport, _ = await loop.create_unix_connection(lambda: Client(driver), options.unix)
            else:
                transport, _ = await loop.create_connection(lambda: Client(driver), "127.0.0.1", options.tcp)
            transports.append(transport)
        async with asyncio.timeout(options.warm + options.measure + LAST_CYCLE_S_MAX):
            await driver.finished
    finally:
        for transport in transports:
            transport.close()
    return driver.result


def main() -> int:
    import uvloop

    parser = argparse.ArgumentParser(prog="python -m bench.http_client")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--tcp", type=int)
    where.add_argument("--unix")
    parser.add_argument("--token-file", type=Path)
    parser.add_argument("--wait", type=int, default=0, help="seconds that a request may stand in line")
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--warm", type=float, required=True)
    parser.add_argument("--measure", type=float, required=True)
    try:
        result = uvloop.run(drive(parser.parse_args()))
    except (UnexpectedAnswer, msgspec.DecodeError, OSError) as error:
        print(f"http_client: {error!r}", file=sys.stderr)
        return 1
    sys.stdout.write(msgspec.json.encode(result).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
