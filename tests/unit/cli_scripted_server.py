"""A server for tests of the command line: it answers as a test tells it to, on a Unix socket, over HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

Reply = tuple[int, dict[str, Any]]
LIMITS = {"ttl_sec": 30.0, "refresh_after_sec": 10.0}
QUICK = {"ttl_sec": 30.0, "refresh_after_sec": 0.2}
"""For tests that wait for renewals."""


class Scripted:
    """What arrived, and what to answer: `on[(method, ending of the path)]` is called with the body.

    Without a script it grants everything, keeps it alive, and takes it back.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.arrived = threading.Condition()
        self.on: dict[tuple[str, str], Callable[[dict[str, Any]], Reply]] = {}

    def answer(self, method: str, path: str, body: dict[str, Any], headers: dict[str, str]) -> Reply:
        with self.arrived:
            self.calls.append((method, path, body))
            self.headers.append(headers)
            self.arrived.notify_all()
        for (wanted, ending), reply in self.on.items():
            if wanted == method and path.endswith(ending):
                return reply(body)
        return self.default(method, path)

    def default(self, method: str, path: str) -> Reply:
        if path.endswith("/request"):
            return 200, granted()
        if path.endswith("/heartbeat"):
            return 200, beat()
        if path.endswith("/whoami"):
            return 200, {"name": "user:me", "role": "admin", "verbs": []}
        return 200, {}

    def wait_for(self, ending: str, count: int = 1, timeout_s: float = 10.0) -> list[dict[str, Any]]:
        """The bodies of the calls whose path ends so, as soon as there are `count`."""

        def found() -> list[dict[str, Any]]:
            return [body for _, path, body in self.calls if path.endswith(ending)]

        with self.arrived:
            assert self.arrived.wait_for(lambda: len(found()) >= count, timeout_s), f"{ending}: {self.calls}"
            return found()


def granted(lease_id: str = "lease-1", token: int = 7) -> dict[str, Any]:
    limits = {"ttl_sec": 5.0, "refresh_after_sec": 2.0}
    return {
        "approved": True,
        "reason": "granted",
        "lease_id": lease_id,
        "fencing_token": token,
        "limits": limits,
    }


def beat(**more: Any) -> dict[str, Any]:
    return {
        "action": "continue",
        "state": "ACTIVE",
        "expires_at": "2026-01-01T00:00:00Z",
        "limits": LIMITS,
        "cgroup": "x",
    } | more


def problem(status: int, code: str, detail: str, **more: Any) -> Reply:
    return status, {
        "title": "t",
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": "0" * 16,
    } | more


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        status, document = self.server.scripted.answer(self.command, self.path, body, dict(self.headers))
        data = json.dumps(document).encode()
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_DELETE = _serve

    def log_message(self, *_: object) -> None:
        """Silence."""

    def address_string(self) -> str:
        return "unix"


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False
    scripted: Scripted

    def handle_error(self, *_: object) -> None:
        """A client that went away is part of the tests."""


@contextlib.contextmanager
def serving(data: Path) -> Iterator[Scripted]:
    """Serve on the socket of this data folder."""
    path = data / "leasehold.sock"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    with _Server(str(path), _Handler) as server:
        server.scripted = Scripted()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server.scripted
        finally:
            server.shutdown()
            thread.join()


def until(what: Callable[[], Any], timeout_s: float = 10.0) -> None:
    """Wait for something to become true."""
    end_s = time.monotonic() + timeout_s
    while not what():
        assert time.monotonic() < end_s, "not in time"
        time.sleep(0.01)


def after_the_first(first: Reply, then: Reply) -> Callable[[dict[str, Any]], Reply]:
    """Answer the first call so, and all later ones so."""
    left = [first]
    return lambda body: left.pop() if left else then
