"""Starts the server as people do, in a process of its own, and talks to it over its sockets."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

PROGRAM = shlex.split(os.environ.get("LEASEHOLD_TEST_PROGRAM", "")) or [sys.executable, "-m", "leasehold"]
"""What is tested: this checkout, or the installed program that is named (`make accept`)."""

START_S = 20.0
JSON_TYPE = {"content-type": "application/json"}
LEASE = "/api/scheduler/lease"


class Reply(NamedTuple):
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """One connection, with what is on it as bytes."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def send(self, raw: bytes) -> None:
        """Write bytes as they are."""
        self.sock.sendall(raw)

    def reply(self) -> Reply:
        """Read one answer. Raises ConnectionError where the connection ends before."""
        while b"\r\n\r\n" not in self._rest:
            self._more()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        length = int(headers.get("content-length", "0"))
        while len(self._rest) < length:
            self._more()
        body, self._rest = self._rest[:length], self._rest[length:]
        return Reply(int(first.split(" ")[1]), headers, body)

    def ended(self) -> bool:
        """Wait for the other side to close; True when it does."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def _more(self) -> None:
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError("closed by the server")
        self._rest += data


def request(
    method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b"", host: str = "localhost"
) -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body or method in ("POST", "PUT"):
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class RealServer:
    """`leasehold up --foreground` on a scratch folder; `env` adds to its environment."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LEASEHOLD")}
        self.env = {
            **kept,
            "LEASEHOLD_DATA": str(folder / "data"),
            "LEASEHOLD_RUN_DIR": str(folder / "run"),
            "LEASEHOLD_PORT": "0",
            "LEASEHOLD_PRESET": "always",
            "LEASEHOLD_BACKUP__ENABLED": "false",
            "XDG_CONFIG_HOME": str(folder / "config"),
            **env,
        }
        self.data = Path(self.env["LEASEHOLD_DATA"])
        program = shlex.split(os.environ.get("LEASEHOLD_TEST_PROGRAM", ""))
        self.command = [*(program or [sys.executable, "-m", "leasehold"]), "up", "--foreground"]
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def token(self) -> str:
        return (self.data / "admin.token").read_text().strip()

    @property
    def socket(self) -> Path:
        return self.data / "leasehold.sock"

    def start(self) -> None:
        """Start, and return when commands are accepted and the machine has been measured."""
        (self.data / "server.json").unlink(missing_ok=True)
        with (self.folder / "stderr").open("ab") as stderr:
            self.process = subprocess.Popen([*PROGRAM, "up", "--foreground"], env=self.env, stderr=stderr)
        try:
            self._await_ready(self.process)
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def _await_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            assert process.poll() is None, (self.folder / "stderr").read_text()
            try:
                self.read_port()
                if self.get("/ready").status == 200 and self._is_measured():
                    return
            except (OSError, ValueError):
                pass
            time.sleep(0.02)
        raise AssertionError(f"the server was not ready within {START_S} s")

    def read_port(self) -> None:
        """Where it listens now. Raises OSError, ValueError while it does not say so."""
        self.port = json.loads((self.data / "server.json").read_bytes())["port"]

    def _is_measured(self) -> bool:
        reply = self.get("/api/system-stats/health")
        return reply.status == 200 and reply.json["quiet_score"] is not None

    def stop(self) -> int:
        """SIGTERM, and the exit status. Idempotent."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)

    # -- talking

    def tcp(self, timeout_s: float = 15.0) -> Wire:
        """A connection to the port."""
        return Wire(socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s))

    def unix(self, path: Path | None = None, timeout_s: float = 15.0) -> Wire:
        """A connection to the socket of the data folder, or another."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(timeout_s)
        try:
            sock.connect(str(path or self.socket))
        except OSError:
            sock.close()
            raise
        return Wire(sock)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Reply:
        """One call over TCP with the administrator's token. `raw` is a body as it is."""
        given = {"authorization": f"Bearer {self.token}", **(headers or {})}
        payload = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        if payload and "content-type" not in given:
            given.update(JSON_TYPE)
        with self.tcp() as wire:
            wire.send(request(method, path, given, payload))
            return wire.reply()

    def get(self, path: str) -> Reply:
        """One GET."""
        return self.call("GET", path)

    def post(self, path: str, body: Any) -> Reply:
        """One POST."""
        return self.call("POST", path, body)

    def lease(self, **asked: Any) -> Any:
        """Ask for a lease, and return the answer, which must be a grant."""
        reply = self.post(f"{LEASE}/request", {"cost_units": 1, **asked})
        assert reply.status == 200, reply
        assert reply.json["approved"], reply
        return reply.json

    def release(self, lease: Any) -> Reply:
        """Give a lease back."""
        return self.post(f"{LEASE}/{lease['lease_id']}/release", {"fencing_token": lease["fencing_token"]})
