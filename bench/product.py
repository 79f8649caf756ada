"""Our own server as the benchmarks start it: in the foreground, with a data folder and port of its own."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bench.cycles import Cycles
from bench.http_client import Result
from bench.machine import Meter
from bench.process import Program, wait_for
from bench.setup import Setup

START_TIMEOUT_S = 30.0
LEASEHOLD = Path(sys.executable).with_name("leasehold")
PROJECT = Path(__file__).resolve().parent.parent


class NothingGranted(Exception):
    """The server denied every request of a round; the message carries its last reason."""


class Product:
    """A running server and what is needed to talk to it."""

    def __init__(self, program: Program, data: Path, port: int, setup: Setup, env: dict[str, str]) -> None:
        self.program = program
        self.data = data
        self.port = port
        self.env = env
        self._setup = setup

    @property
    def socket_path(self) -> Path:
        return self.data / "leasehold.sock"

    @property
    def token_file(self) -> Path:
        return self.data / "admin.token"

    def drive(
        self, clients: int, *, by_socket: bool = False, wait_s: int = 0, wrapper: tuple[str, ...] = ()
    ) -> Cycles:
        """One round of request + heartbeat + release at `clients` connections from another process.

        Over TCP the credential is the admin token; over the Unix socket it is the peer, the owner of the
        data. `wait_s` is how long a request may stand in line. `wrapper` goes before the client's command
        line (`leasehold run … --`). NothingGranted when no cycle ended inside the window.
        """
        setup = self._setup
        where = ["--unix", str(self.socket_path)] if by_socket else ["--tcp", str(self.port)]
        credential = [] if by_socket else ["--token-file", str(self.token_file)]
        spans = ["--clients", str(clients), "--warm", str(setup.warm_s), "--measure", str(setup.measure_s)]
        spans += ["--wait", str(wait_s)]
        self.program.check_alive()
        with Meter(self.program) as meter:
            done = subprocess.run(
                [*wrapper, sys.executable, "-m", "bench.http_client", *where, *credential, *spans],
                capture_output=True,
                text=True,
                cwd=PROJECT,
                env=self.env,
                timeout=setup.measure_s + 120,
            )
        if done.returncode:
            raise RuntimeError(f"client:\n{done.stderr[-2_000:]}\nserver:\n{self.program.log_tail()}")
        result = msgspec.json.decode(done.stdout, type=Result)
        if not result.cycles_us:
            raise NothingGranted(f"{result.denials} denials, the last one: {result.denied_because}")
        return Cycles.of(
            result.cycles_us,
            result.seconds,
            server_cpu_s=meter.server_s,
            client_cpu_s=meter.client_s,
            others_share=meter.others_share,
            denials=result.denials,
        )


def environment(setup: Setup, data: Path, preset: str | None) -> dict[str, str]:
    """What server, wrapper and client are all started with; without a preset, the default one."""
    env = setup.environment(
        LEASEHOLD_DATA=str(data),
        LEASEHOLD_PORT=str(setup.port_base),
        LEASEHOLD_RUN_DIR=str(setup.scratch / "run"),
    )
    return env if preset is None else {**env, "LEASEHOLD_PRESET": preset}


def answers(port: int, path: str) -> bool:
    """Whether `path` (`/health`, `/ready`) says 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@contextmanager
def running(
    setup: Setup,
    *,
    preset: str | None,
    data: Path | None = None,
    launcher: tuple[str, ...] = (),
    until: str = "/ready",
    within_s: float = START_TIMEOUT_S,
) -> Iterator[Product]:
    """Start the server and wait until `until` says 200; `launcher` replaces the `leasehold` command.

    RuntimeError after `within_s`.
    """
    data = data or setup.folder("data")
    env = environment(setup, data, preset)
    argv = [*(launcher or (str(LEASEHOLD),)), "up", "--foreground"]
    with Program(argv, setup.scratch / "leasehold.log", env, cwd=PROJECT) as program:
        wait_for(until, lambda: answers(setup.port_base, until), program, within_s)
        yield Product(program, data, setup.port_base, setup, env)
