"""A program on loopback that plays an add-on, healthy or not, for the tests of a real server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Addon:
    """A program that answers GETs as a test says: path -> (status, body), or a wait in seconds before it."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.hangs = threading.Event()
        self.let_go = threading.Event()
        subject = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if subject.hangs.is_set():
                    subject.let_go.wait(30)
                status, body = subject.answers.get(self.path, (404, b""))
                try:
                    self.send_response(status)
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def says(self, path: str, document: Any, status: int = 200) -> None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.answers[path] = (status, body)


@contextmanager
def addon() -> Iterator[Addon]:
    """A running one that is healthy."""
    found = Addon()
    found.says("/health", {"status": "ok"})
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.let_go.set()
        found.server.shutdown()
        found.server.server_close()


def until(holds: Callable[[], Any], why: str, timeout_s: float = 40.0) -> Any:
    """Wait for it, and return what it gave."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        found = holds()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {timeout_s} s: {why}")
