"""A browser without a window: the cookie, the key and the headers that a real one would send."""

from __future__ import annotations

import json
from typing import Any

from tests.api.real_server import RealServer, Reply, Wire, request


class BrowserSession:
    """Signed in by a link of the server. `key` and `cookie` are open to tampering."""

    def __init__(self, server: RealServer, role: str | None = None) -> None:
        self.server = server
        self.code = new_code(server, role)
        reply = self.sign_in(self.code)
        assert reply.status == 200, reply
        self.cookie = reply.headers["set-cookie"].partition(";")[0]
        self.set_cookie = reply.headers["set-cookie"]
        self.key = reply.json["key"]
        self.me = reply.json

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def headers(self, **more: str) -> dict[str, str]:
        """What the page's own call has."""
        return {
            "cookie": self.cookie,
            "x-leasehold-session": self.key,
            "origin": self.origin,
            "sec-fetch-site": "same-origin",
            **{name.replace("_", "-"): value for name, value in more.items()},
        }

    def sign_in(self, code: str, **headers: str) -> Reply:
        """Trade a code, as the page does."""
        given = {"origin": self.origin, "sec-fetch-site": "same-origin", "content-type": "application/json"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        return send(self.server, "POST", "/api/session", given, {"code": code})

    def call(
        self, method: str, path: str, body: Any = None, without: tuple[str, ...] = (), **more: str
    ) -> Reply:
        """One call of the page; `without` names headers that are left out, `more` replaces some."""
        headers = {name: value for name, value in self.headers(**more).items() if name not in without}
        if body is not None:
            headers["content-type"] = "application/json"
        return send(self.server, method, path, headers, body)

    def stream(self) -> Wire:
        """An open stream; its head has been read."""
        wire = self.server.tcp()
        wire.send(self._asked("/api/dashboard/stream"))
        return wire

    def _asked(self, path: str) -> bytes:
        return request("GET", path, self.headers(), host=f"127.0.0.1:{self.server.port}")


def new_code(server: RealServer, role: str | None = None) -> str:
    """The code of a fresh link, asked for on the Unix socket."""
    with server.unix() as wire:
        body = json.dumps({"role": role} if role else {}).encode()
        wire.send(request("POST", "/api/session/link", {"content-type": "application/json"}, body))
        reply = wire.reply()
    assert reply.status == 200, reply
    path: str = reply.json["path"]
    return path.partition("#")[2]


def send(server: RealServer, method: str, path: str, headers: dict[str, str], body: Any = None) -> Reply:
    """One call over TCP with these headers and no others."""
    raw = b"" if body is None else json.dumps(body).encode()
    with server.tcp() as wire:
        wire.send(request(method, path, headers, raw, host=f"127.0.0.1:{server.port}"))
        return wire.reply()
