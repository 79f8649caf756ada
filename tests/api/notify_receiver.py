"""A receiver of webhooks that tests tell how to answer, and that checks signatures as receivers do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.server
import json
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, Self


class Got(NamedTuple):
    """One call."""

    path: str
    headers: dict[str, str]
    body: bytes
    at_s: float

    @property
    def ident(self) -> str:
        return self.headers["webhook-id"]

    @property
    def messages(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.body)["data"]["messages"]
        return found

    @property
    def titles(self) -> list[str]:
        return [one["title"] for one in self.messages]

    def is_signed(self, secret: str) -> bool:
        """By the rules of Standard Webhooks, written down here a second time."""
        signed = f"{self.ident}.{self.headers['webhook-timestamp']}.".encode() + self.body
        key = base64.b64decode(secret.removeprefix("whsec_"))
        expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        return hmac.compare_digest(self.headers["webhook-signature"], f"v1,{expected}")


Answer = Callable[["Got"], tuple[int, dict[str, str]]]


class Receiver:
    """Listens on an address of loopback. `answer` says with what; `hold` makes it hang until it is set."""

    def __init__(self, port: int = 0, host: str = "127.0.0.1") -> None:
        self.got: list[Got] = []
        self.answer: Answer = lambda got: (200, {})
        self.hold: threading.Event | None = None
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                got = Got(self.path, headers, body, time.monotonic())
                receiver.got.append(got)
                if receiver.hold is not None:
                    receiver.hold.wait(60)
                status, more = receiver.answer(got)
                try:
                    self.send_response(status)
                    for name, value in {"content-length": "0", **more}.items():
                        self.send_header(name, value)
                    self.end_headers()
                except OSError:  # The other side has given up.
                    return

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Listening(http.server.ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True

        self._server = Listening((host, port), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def close(self) -> None:
        """Go away: nobody listens any more."""
        if self.hold is not None:
            self.hold.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def until(holds: Callable[[], Any], why: str, timeout_s: float = 60.0) -> Any:
    """Wait until something is true, and return it."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if found := holds():
            return found
        time.sleep(0.05)
    raise AssertionError(f"{why}: not within {timeout_s:g} s")
