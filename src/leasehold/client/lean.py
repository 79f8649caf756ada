"""A blocking HTTP/1.1 client in one file, for what must start within a few milliseconds.

`http.client` alone takes longer to import than a whole `leasehold run -- true` may add. This one speaks to
Leasehold servers only: bodies with a length or in chunks, one call at a time, no redirects. Every call has a
timeout.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping

from leasehold.client.endpoint import Endpoint
from leasehold.runtime.lean import elapsed_s

TYPE_CHECKING = False  # importing `typing` takes longer than all of this file
if TYPE_CHECKING:
    import ssl
    from typing import Any

HEAD_BYTES_MAX = 65_536
BODY_BYTES_MAX = 64 << 20
"""No answer of the API is larger: a listing is paged at 1,000 records of a few kilobytes."""
REUSE_S_MAX = 3.0
"""A connection idle for longer may have been closed by the server (it keeps idle ones for 5 s): a fresh one
is made."""
CONNECT_S_MAX = 5.0


class Unreachable(Exception):
    """No answer came: nobody listens, the time was up, or the connection broke.

    `hangs` tells a server that took the call and did not answer in time from one that is not there.
    """

    def __init__(self, message: str, *, hangs: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.hangs = hangs


class Answer:
    """Status, headers with lower-case names, and body of an answer."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    def document(self) -> dict[str, Any]:
        """The body as a JSON object; empty where it is none."""
        try:
            found = json.loads(self.body) if self.body else {}
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


class Connection:
    """Calls to one server, one at a time, on a connection that is kept between calls.

    Not for use by two threads.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._socket: socket.socket | None = None
        self._used_at_s = 0.0

    def call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        timeout_s: float,
        headers: Mapping[str, str] = {},
        again: bool = True,
    ) -> Answer:
        """Send one call and return its answer, whatever its status. Raises Unreachable.

        A call on a kept connection that the server closed before a byte of answer came is sent once more,
        where `again` allows that.
        """
        end_s = elapsed_s() + timeout_s
        message = self._message(method, path, body, headers)
        if self._socket is not None and elapsed_s() - self._used_at_s < REUSE_S_MAX:
            try:
                return self._exchange(message, end_s)
            except _Closed:
                if not again:
                    raise self._no_answer() from None
        self.close()
        self._socket = self._connect(min(timeout_s, CONNECT_S_MAX))
        try:
            return self._exchange(message, end_s)
        except _Closed:
            raise self._no_answer() from None

    def _no_answer(self) -> Unreachable:
        return Unreachable(f"the server at {self.endpoint} closed the connection without an answer")

    def open(self, timeout_s: float) -> None:
        """Connect now, to learn whether anybody listens. Raises Unreachable."""
        if self._socket is None:
            self._socket = self._connect(min(timeout_s, CONNECT_S_MAX))
            self._used_at_s = elapsed_s()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _message(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]) -> bytes:
        endpoint = self.endpoint
        host = "leasehold" if endpoint.socket_path else f"{endpoint.host}:{endpoint.port}"
        lines = [f"{method} {endpoint.prefix}{path} HTTP/1.1", f"Host: {host}", "Accept: application/json"]
        if endpoint.token:
            lines.append(f"Authorization: Bearer {endpoint.token}")
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")

    def _connect(self, timeout_s: float) -> socket.socket:
        endpoint = self.endpoint
        try:
            return _connected(endpoint, timeout_s)
        except TimeoutError:
            raise Unreachable(f"the server at {endpoint} does not answer", hangs=True) from None
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else str(error)
            raise Unreachable(f"no server answers at {endpoint} ({why})") from error

    def _exchange(self, message: bytes, end_s: float) -> Answer:
        """Send and read on the open connection; closes it unless it may be used again."""
        kept = self._socket
        assert kept is not None
        keep = False
        try:
            kept.settimeout(_left(end_s))
            kept.sendall(message)
            answer, keep = _read_answer(kept, end_s)
            self._used_at_s = elapsed_s()
            return answer
        except TimeoutError:
            raise Unreachable(f"the server at {self.endpoint} does not answer", hangs=True) from None
        except (BrokenPipeError, ConnectionResetError):
            raise _Closed from None
        except OSError as error:
            raise Unreachable(f"the connection to {self.endpoint} broke: {error}") from error
        finally:
            if not keep:
                self.close()


class _Closed(Exception):
    """The server closed the connection before any byte of an answer."""


def _connected(endpoint: Endpoint, timeout_s: float) -> socket.socket:
    """A fresh connection. Raises OSError."""
    if not endpoint.socket_path:
        found = socket.create_connection((endpoint.host, endpoint.port), timeout=timeout_s)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return _secured(found, endpoint) if endpoint.tls else found
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        found.settimeout(timeout_s)
        _connect_unix(found, endpoint.socket_path)
    except OSError:
        found.close()
        raise
    return found


def _connect_unix(found: socket.socket, path: str) -> None:
    """Connect, through its open folder where the path is longer than the 107 bytes of a socket address."""
    if len(os.fsencode(path)) < 108:
        found.connect(path)
        return
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY)
    try:
        found.connect(f"/proc/self/fd/{folder}/{os.path.basename(path)}")
    finally:
        os.close(folder)


def tls_context(endpoint: Endpoint) -> ssl.SSLContext:
    """What the server's certificate is checked with. Raises Unreachable where LEASEHOLD_CA can't be used."""
    import ssl

    try:
        return ssl.create_default_context(cafile=endpoint.ca or None)
    except OSError as error:
        raise Unreachable(
            f"LEASEHOLD_CA: {endpoint.ca} is no file of certificates ({error.strerror or 'not PEM'}); it is "
            "ca/ca.pem of the server's data folder"
        ) from None


def _secured(plain: socket.socket, endpoint: Endpoint) -> socket.socket:
    """The connection with TLS on it, its server checked. Raises OSError, Unreachable."""
    import ssl

    try:
        return tls_context(endpoint).wrap_socket(plain, server_hostname=endpoint.host)
    except ssl.SSLCertVerificationError as error:
        plain.close()
        raise Unreachable(
            f"the certificate of {endpoint} can't be trusted: {error.verify_message}; LEASEHOLD_CA names the "
            "file to check it with (ca/ca.pem of the server's data folder)"
        ) from None
    except ssl.SSLError as error:
        plain.close()
        why = (error.reason or str(error)).lower().replace("_", " ")
        raise Unreachable(f"{endpoint} does not speak TLS as it should ({why})") from None
    except (OSError, Unreachable):
        plain.close()
        raise


def _left(end_s: float) -> float:
    left_s = end_s - elapsed_s()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _more(kept: socket.socket, end_s: float) -> bytes:
    kept.settimeout(_left(end_s))
    return kept.recv(65_536)


def _read_answer(kept: socket.socket, end_s: float) -> tuple[Answer, bool]:
    """Read one answer. Returns it and whether the connection may be used again."""
    buffer = b""
    while True:
        while b"\r\n\r\n" not in buffer:
            more = _more(kept, end_s)
            if not more:
                if not buffer:
                    raise _Closed
                raise Unreachable("the connection broke in the middle of an answer")
            buffer += more
            if len(buffer) > HEAD_BYTES_MAX and b"\r\n\r\n" not in buffer:
                raise Unreachable("what answers there does not speak HTTP")
        head, _, rest = buffer.partition(b"\r\n\r\n")
        status, headers = _read_head(head)
        if status >= 200:
            break
        buffer = rest
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = _read_chunks(kept, rest, end_s)
    else:
        length = headers.get("content-length", "0")
        body = _read_length(kept, rest, int(length) if length.isdecimal() else 0, end_s)
    return Answer(status, headers, body), headers.get("connection", "").lower() != "close"


def _read_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdecimal():
        raise Unreachable("what answers there does not speak HTTP")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return int(words[1]), headers


def _read_length(kept: socket.socket, buffer: bytes, length: int, end_s: float) -> bytes:
    if length > BODY_BYTES_MAX:
        raise Unreachable(f"an answer of {length} bytes is larger than any of ours")
    parts = [buffer]
    have = len(buffer)
    while have < length:
        more = _more(kept, end_s)
        if not more:
            raise Unreachable("the connection broke in the middle of an answer")
        parts.append(more)
        have += len(more)
    return b"".join(parts)[:length]


def _read_chunks(kept: socket.socket, buffer: bytes, end_s: float) -> bytes:
    body = b""
    while True:
        while b"\r\n" not in buffer:
            buffer += _need(kept, end_s)
        size_text, _, buffer = buffer.partition(b"\r\n")
        try:
            size = int(size_text.split(b";")[0], 16)
        except ValueError:
            raise Unreachable("an answer in chunks could not be read") from None
        if len(body) + size > BODY_BYTES_MAX:
            raise Unreachable("an answer is larger than any of ours")
        while len(buffer) < size + 2:
            buffer += _need(kept, end_s)
        body += buffer[:size]
        buffer = buffer[size + 2 :]
        if size == 0:
            return body


def _need(kept: socket.socket, end_s: float) -> bytes:
    more = _more(kept, end_s)
    if not more:
        raise Unreachable("the connection broke in the middle of an answer")
    return more
