"""The installed product:

a wheel in an environment of its own, and servers started from it as a user would.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


class Product:
    """The wheel as installed. `bin` is its folder of programs."""

    def __init__(self, folder: Path, programs: Path, wheel_hash: str, report: str = "report.json") -> None:
        self.folder = folder
        self.wheel_hash = wheel_hash
        self.report = report
        self.bin = programs
        self.leasehold = str(self.bin / "leasehold")
        self.python = str(self.bin / "python")
        self._ports = iter(range(7800, 7900))
        self._lock = threading.Lock()

    @classmethod
    def install(cls, folder: Path) -> Product:
        """Build the wheel from this checkout and install it beside the locked requirements.

        Reused where nothing changed. `LEASEHOLD_ACCEPT_BIN` names a folder of programs to take instead, while
        a check is being written; what passes on them counts for no wheel.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if programs := os.environ.get("LEASEHOLD_ACCEPT_BIN"):
            return cls(folder, Path(programs).absolute(), f"none, {time.time_ns()}", "report-no-wheel.json")
        out = folder / "dist"
        shutil.rmtree(out, ignore_errors=True)
        env = {**os.environ, "SOURCE_DATE_EPOCH": "315532800"}
        build = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "-q",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            str(out),
            str(ROOT),
        ]
        subprocess.run(build, check=True, env=env)
        wheel = next(out.glob("*.whl"))
        product = cls(folder, folder / "venv" / "bin", hashlib.sha256(wheel.read_bytes()).hexdigest()[:16])
        stamp = folder / "installed"
        wanted = product.wheel_hash + hashlib.sha256((ROOT / "requirements.lock").read_bytes()).hexdigest()
        if not stamp.exists() or stamp.read_text() != wanted:
            shutil.rmtree(folder / "venv", ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
            pip = [product.python, "-m", "pip", "install", "-q"]
            subprocess.run([*pip, "--require-hashes", "-r", str(ROOT / "requirements.lock")], check=True)
            subprocess.run([*pip, "--no-deps", str(wheel)], check=True)
            stamp.write_text(wanted)
        return product

    def port(self) -> int:
        """A free port of loopback, each given out once."""
        with self._lock:
            for port in self._ports:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) != 0:
                        return port
        raise RuntimeError("no free port is left")

    @contextmanager
    def server(self, *, preload: str = "", data: Path | None = None, **env: str) -> Iterator[Server]:
        """A server with default settings in a data folder of its own; ended by its pid."""
        with tempfile.TemporaryDirectory(prefix="leasehold-accept-") as scratch:
            server = Server(
                self, data or Path(scratch) / "data", self.port(), Path(scratch) / "run", env, preload
            )
            server.start()
            try:
                yield server
            finally:
                server.stop()


class Server:
    """One running server, and ways to talk to it."""

    def __init__(
        self, product: Product, data: Path, port: int, run_dir: Path, env: dict[str, str], preload: str
    ) -> None:
        self.product, self.data, self.port = product, data, port
        clean = {
            key: value for key, value in os.environ.items() if not key.startswith("LEASEHOLD") and key != "CI"
        }
        self.env = {
            **clean,
            "PATH": f"{product.bin}:{clean.get('PATH', '')}",
            "LEASEHOLD_DATA": str(data),
            "LEASEHOLD_PORT": str(port),
            "LEASEHOLD_RUN_DIR": str(run_dir),
            "LEASEHOLD_BACKUP__ENABLED": "false",  # Its own work would stand among what is counted.
            **env,
        }
        self.preload = preload
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, ready_s: float = 20) -> float:
        """Start it and wait until it grants; returns the seconds to its first answer."""
        env = {**self.env, "LD_PRELOAD": self.preload} if self.preload else self.env
        log = open(self.data.parent / f"server-{self.port}.out", "ab")  # noqa: SIM115 - the child's for life
        began = time.monotonic()
        self.process = subprocess.Popen(
            [self.product.leasehold, "up", "--foreground"],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        log.close()
        first = None
        while time.monotonic() - began < ready_s:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}: {self.tail()}")
            try:
                if self.get("/health", token=False)[0] == 200 and first is None:
                    first = time.monotonic() - began
                if self.get("/ready", token=False)[0] == 200 and self.status()["quiet_state"] != "UNKNOWN":
                    return first or time.monotonic() - began
            except OSError:
                pass
            time.sleep(0.02)
        raise RuntimeError(f"the server was not ready within {ready_s} s: {self.tail()}")

    def tail(self) -> str:
        """The end of what the server printed."""
        path = self.data.parent / f"server-{self.port}.out"
        return path.read_text(errors="replace")[-800:] if path.exists() else ""

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """Kill -9, as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it by its pid, kindly first."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(12)
        except subprocess.TimeoutExpired:
            self.kill()

    # -- talking

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: bool | str = True,
        headers: dict[str, str] | None = None,
        timeout_s: float = 30,
        unix: bool = False,
    ) -> tuple[int, Any]:
        """One request over TCP with the admin token (or on the Unix socket): status and decoded body."""
        connection = UnixConnection(str(self.data / "leasehold.sock"), timeout_s) if unix else None
        connection = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        sent = dict(headers or {})
        if token is True and not unix:
            sent["Authorization"] = f"Bearer {(self.data / 'admin.token').read_text().strip()}"
        elif isinstance(token, str):
            sent["Authorization"] = f"Bearer {token}"
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        if raw is not None:
            sent.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, raw, sent)
            answer = connection.getresponse()
            text = answer.read()
            kind = answer.headers.get("content-type", "")
            return answer.status, json.loads(text) if "json" in kind and text else text.decode()
        finally:
            connection.close()

    def get(self, path: str, **options: Any) -> tuple[int, Any]:
        return self.call("GET", path, **options)

    def post(self, path: str, body: Any, **options: Any) -> tuple[int, Any]:
        return self.call("POST", path, body, **options)

    def request(self, **body: Any) -> dict[str, Any]:
        """Ask for a lease; the answer, whichever it is."""
        options = {key: body.pop(key) for key in ("unix", "headers", "token") if key in body}
        status, answer = self.post("/api/scheduler/lease/request", body, timeout_s=330, **options)
        if status != 200:
            raise RuntimeError(f"lease/request answered {status}: {answer}")
        return dict(answer)

    def status(self) -> dict[str, Any]:
        status, answer = self.get("/api/scheduler/status")
        if status != 200:
            raise RuntimeError(f"status answered {status}: {answer}")
        return dict(answer)

    def until_quiet(self, held_s: float = 0, timeout_s: float = 150) -> float:
        """Wait until the machine has been QUIET for `held_s`: what ran before no longer counts.

        After how many seconds.
        """
        since: float | None = None

        def quiet() -> bool:
            nonlocal since
            if self.status()["quiet_state"] != "QUIET":
                since = None
                return False
            since = time.monotonic() if since is None else since
            return time.monotonic() - since >= held_s

        after = until(quiet, timeout_s + held_s, 0.25)
        if after is None:
            why = self.status()["reasons"][0]
            raise RuntimeError(f"this machine does not become QUIET within {timeout_s} s by itself: {why}")
        return after

    def run(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """The command line against this server, its output captured."""
        options.setdefault("timeout", 120)
        return subprocess.run(
            [self.product.leasehold, *arguments],
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            **options,
        )

    def spawn(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """The command line in the background."""
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        return subprocess.Popen([self.product.leasehold, *arguments], env=self.env, text=True, **options)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def until(holds: Any, timeout_s: float, every_s: float = 0.02) -> float | None:
    """Wait until `holds()` is true: after how many seconds, None where it never was."""
    began = time.monotonic()
    while time.monotonic() - began < timeout_s:
        if holds():
            return time.monotonic() - began
        time.sleep(every_s)
    return None
