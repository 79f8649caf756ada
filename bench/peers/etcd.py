"""One etcd on loopback, unpacked from Debian's package, with its default settings and its own data folder."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.cycles import Cycles
from bench.machine import Meter
from bench.peers import environment
from bench.process import Program, wait_for
from bench.setup import Setup

START_TIMEOUT_S = 20.0
CLIENT = environment.HERE / "etcd_client.py"


class Etcd:
    """A running etcd and the way to drive cycles against it from another process."""

    def __init__(self, program: Program, port: int, setup: Setup) -> None:
        self.program = program
        self._port = port
        self._setup = setup
        self._argv = [str(environment.python(setup.cache)), str(CLIENT), f"ipv4:127.0.0.1:{port}"]
        self._stubs = str(environment.stubs(setup.cache))

    def drive(self, clients: int) -> Cycles:
        """One round of grant + put + revoke at `clients` concurrent clients."""
        setup = self._setup
        spans = [str(setup.warm_s), str(setup.measure_s)]
        self.program.check_alive()
        with Meter(self.program) as meter:
            done = subprocess.run(
                [*self._argv, str(clients), *spans, self._stubs],
                capture_output=True,
                text=True,
                env=setup.environment(),
                timeout=setup.measure_s + 60,
            )
        if done.returncode:
            raise RuntimeError(f"the client of etcd failed:\n{done.stderr[-2_000:]}")
        answer = json.loads(done.stdout)
        if answer["left_behind"]:
            raise RuntimeError(f"{answer['left_behind']} keys outlived their lease: no whole cycles")
        return Cycles.of(
            answer["latencies_us"],
            answer["seconds"],
            server_cpu_s=meter.server_s,
            client_cpu_s=meter.client_s,
            others_share=meter.others_share,
        )


@contextmanager
def running(setup: Setup) -> Iterator[Etcd]:
    """Start etcd on the setup's second and third port; PeerUnavailable where its package can't be had."""
    root = environment.unpacked(["etcd-server"], setup.cache)
    environment.stubs(setup.cache)
    client_port, peer_port = setup.port_base + 1, setup.port_base + 2
    folder = setup.folder("etcd")
    with Program(_argv(root, folder, client_port, peer_port), folder / "log", setup.environment()) as program:
        wait_for("etcd's port", lambda: _accepts(client_port), program, START_TIMEOUT_S)
        yield Etcd(program, client_port, setup)


def _argv(root: Path, folder: Path, client_port: int, peer_port: int) -> list[str]:
    client, peer = f"http://127.0.0.1:{client_port}", f"http://127.0.0.1:{peer_port}"
    return [
        str(root / "usr/bin/etcd"),
        "--data-dir",
        str(folder / "data"),
        "--logger",
        "zap",
        "--listen-client-urls",
        client,
        "--advertise-client-urls",
        client,
        "--listen-peer-urls",
        peer,
        "--initial-advertise-peer-urls",
        peer,
        "--initial-cluster",
        f"default={peer}",
    ]


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
