"""Asking add-ons over HTTP/1.1: short, bounded, and only where the configuration allows (SENSE-21).

Written on httptools, which the server has loaded anyway. The address that has been checked is the one that is
connected to, so that a name which changes its mind in between leads nowhere else.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, Protocol

import httptools

from leasehold import __version__
from leasehold.core import addon
from leasehold.core.addon import Url
from leasehold.ports.addon import Answered, ProbeFailed

HEAD_BYTES_MAX = 16 << 10
CHUNK_BYTES = 16 << 10
LANES_MAX = 128
"""Names that are looked up, each on a thread of its own: one whose name service hangs holds up no other."""


class Lane(Protocol):
    """Where the look-ups of one name run."""

    @property
    def busy(self) -> bool:
        """Whether the one before has not come back."""
        ...

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Await `function(*arguments)` off the event loop."""
        ...

    def close(self) -> None:
        """Take no more calls."""
        ...


class HttpProbe:
    """The port `Probe`. `allowed` gives the networks of the setting `addons.allowed_hosts`, as of now."""

    def __init__(self, allowed: Callable[[], Sequence[str]], lane: Callable[[str], Lane]) -> None:
        self._allowed = allowed
        self._lane = lane
        self._lanes: dict[str, Lane] = {}

    async def check(self, url: Url) -> None:
        await self._addresses(url)

    async def get(self, url: Url, path: str, *, bytes_max: int) -> Answered:
        reader, writer = await self._connected(url)
        try:
            writer.write(_request(url, path))
            return await _answer(reader, bytes_max)
        except (OSError, ssl.SSLError) as error:
            raise ProbeFailed("UNREACHABLE", f"{url} broke the connection off ({error})") from error
        finally:
            writer.transport.abort()  # Nothing is owed to it any more, and waiting would be up to it.

    async def _connected(self, url: Url) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        secure = _tls() if url.scheme == "https" else None
        failure: Exception | None = None
        for address in await self._addresses(url):
            try:
                return await asyncio.open_connection(
                    address, url.port, ssl=secure, server_hostname=url.host if secure else None
                )
            except ssl.SSLError as error:
                raise ProbeFailed("TLS", f"{url} has no certificate to trust ({error.reason})") from error
            except OSError as error:
                failure = failure or error
        reason = getattr(failure, "strerror", None) or str(failure)
        raise ProbeFailed("UNREACHABLE", f"nobody answers at {url} ({reason})") from failure

    async def _addresses(self, url: Url) -> tuple[str, ...]:
        found = addon.literal_addresses(url.host) or await self._looked_up(url.host)
        try:
            return addon.admitted(url.host, found, addon.networks(self._allowed()))
        except ValueError as error:
            raise ProbeFailed("NOT_ALLOWED", str(error)) from None

    async def _looked_up(self, host: str) -> tuple[str, ...]:
        lane = self._lane_of(host)
        if lane.busy:
            raise ProbeFailed("UNRESOLVED", f"the look-up of {host} has not come back")
        try:
            rows = await lane.run(partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            raise ProbeFailed("UNRESOLVED", f"the address of {host} is not known ({error})") from error
        return tuple(dict.fromkeys(row[4][0] for row in rows))

    def _lane_of(self, host: str) -> Lane:
        """Its thread. Of too many names the oldest one's is given up."""
        lane = self._lanes.pop(host, None) or self._lane(f"resolve-{host}")
        self._lanes[host] = lane
        while len(self._lanes) > LANES_MAX:
            self._lanes.pop(next(iter(self._lanes))).close()
        return lane


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """Read once: it is some hundred certificates."""
    return ssl.create_default_context()


def _request(url: Url, path: str) -> bytes:
    host = str(url._replace(prefix="")).partition("://")[2]
    lines = (
        f"GET {url.prefix}{path} HTTP/1.1",
        f"host: {host}",
        f"user-agent: leasehold/{__version__}",
        "accept: application/json",
        "accept-encoding: identity",
        "connection: close",
        "\r\n",
    )
    return "\r\n".join(lines).encode("ascii")


class _Parsed:
    """What httptools calls while it reads an answer."""

    def __init__(self, bytes_max: int) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.body = bytearray()
        self.has_head = self.is_over = False
        self.has_length = False
        self._bytes_max = bytes_max

    def on_message_begin(self) -> None:
        self.has_head = self.is_over = self.has_length = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self.has_length |= name.lower() in (b"content-length", b"transfer-encoding")

    def on_headers_complete(self) -> None:
        self.has_head = True

    def on_body(self, part: bytes) -> None:
        if len(self.body) <= self._bytes_max:
            self.body += part

    def on_message_complete(self) -> None:
        self.is_over = self.parser.get_status_code() >= 200

    @property
    def is_too_large(self) -> bool:
        return len(self.body) > self._bytes_max


async def _answer(reader: asyncio.StreamReader, bytes_max: int) -> Answered:
    parsed = _Parsed(bytes_max)
    read = 0
    while not parsed.is_over:
        part = await reader.read(CHUNK_BYTES)
        if not part:
            break
        read += len(part)
        if read > 2 * (HEAD_BYTES_MAX + bytes_max):  # Twice, for the frames of many small chunks.
            raise ProbeFailed("TOO_LARGE", f"the answer is larger than {bytes_max} bytes")
        try:
            parsed.parser.feed_data(part)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise ProbeFailed("NOT_HTTP", f"the answer is no HTTP/1.1 ({type(error).__name__})") from error
        if parsed.has_head:
            _refuse_redirect(parsed)
        elif read > HEAD_BYTES_MAX:
            raise ProbeFailed("TOO_LARGE", f"the head of the answer is larger than {HEAD_BYTES_MAX} bytes")
        if parsed.is_too_large:
            raise ProbeFailed("TOO_LARGE", f"the answer is larger than {bytes_max} bytes")
    if not parsed.has_head or (parsed.has_length and not parsed.is_over):
        raise ProbeFailed("NOT_HTTP", "the connection ended in the middle of the answer")
    return Answered(parsed.parser.get_status_code(), bytes(parsed.body))


def _refuse_redirect(parsed: _Parsed) -> None:
    status = parsed.parser.get_status_code()
    if 300 <= status < 400:
        raise ProbeFailed("REDIRECT", f"the answer is a redirect ({status}), and none is followed")
