"""Real etcd members for tests: on free ports of loopback, with folders of their own, with or without TLS."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from leasehold.adapters.stores.etcd.settings import EtcdTls
from leasehold.runtime.lean import elapsed_s, pause

UP_S = 60.0
"""A member is up in a second; a busy machine may take long."""

STARTS = 5
"""Another program may take a port between our choice and the member's start."""


def missing() -> str:
    """What a machine lacks, as a sentence; "" where nothing is."""
    if shutil.which("etcd") is None:
        return "no etcd on the PATH (Debian: apt-get install etcd-server)"
    return ""


class Member:
    """One etcd of a cluster. It can be killed, and started again on what it had written."""

    def __init__(self, folder: Path, name: str, tls: EtcdTls | None) -> None:
        self.name = name
        self.endpoint = ""
        self.peer = ""
        self._folder = folder / name
        self._folder.mkdir(parents=True)
        self._tls = tls
        self._process: subprocess.Popen[bytes] | None = None

    def choose_ports(self) -> None:
        """Two free ones, not held."""
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
            self.endpoint = f"127.0.0.1:{one.getsockname()[1]}"
            self.peer = f"127.0.0.1:{two.getsockname()[1]}"

    def start(self, cluster: Sequence[Member], *options: str) -> None:
        """Run it; returns at once."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ETCD_")}
        if platform.machine() == "aarch64":
            environment["ETCD_UNSUPPORTED_ARCH"] = "arm64"
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command(cluster), *options], env=environment, stdout=log, stderr=log
            )

    def _command(self, cluster: Sequence[Member]) -> list[str]:
        scheme = "http" if self._tls is None else "https"
        client, peer = f"{scheme}://{self.endpoint}", f"{scheme}://{self.peer}"
        members = ",".join(f"{member.name}={scheme}://{member.peer}" for member in cluster)
        words = ["etcd", "--name", self.name, "--data-dir", str(self._folder / "data"), "--logger", "zap"]
        words += ["--listen-client-urls", client, "--advertise-client-urls", client]
        words += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        words += ["--initial-cluster", members]
        if self._tls is not None:
            for kind in ("", "peer-"):
                words += [f"--{kind}cert-file", str(self._tls.certificate)]
                words += [f"--{kind}key-file", str(self._tls.key)]
                words += [f"--{kind}trusted-ca-file", str(self._tls.ca), f"--{kind}client-cert-auth"]
        return words

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def listens(self) -> bool:
        """Whether its port takes connections: it serves only once the cluster has a leader."""
        host, _, port = self.endpoint.rpartition(":")
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((host, int(port))) == 0

    def log(self) -> str:
        """The end of what it said."""
        return (self._folder / "log").read_text(errors="replace")[-2_000:]

    def send(self, number: signal.Signals) -> None:
        """A signal, as SIGSTOP."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Cluster:
    """Members that know each other. A context manager: they run within it."""

    def __init__(
        self, folder: Path, size: int = 1, *, tls: EtcdTls | None = None, options: Sequence[str] = ()
    ) -> None:
        self.tls = tls
        self._folder = folder
        self._size = size
        self._options = tuple(options)
        self.members: list[Member] = []

    @property
    def endpoints(self) -> tuple[str, ...]:
        return tuple(member.endpoint for member in self.members)

    def __enter__(self) -> Self:
        for attempt in range(STARTS):
            folder = self._folder / f"etcd-{attempt}"
            self.members = [Member(folder, f"m{number}", self.tls) for number in range(1, self._size + 1)]
            for member in self.members:
                member.choose_ports()
            for member in self.members:
                member.start(self.members, *self._options)
            if self._came_up():
                return self
            self.__exit__()
        raise RuntimeError(f"etcd did not start: {self.members[0].log()}")

    def __exit__(self, *_: object) -> None:
        for member in self.members:
            member.kill()

    def restart(self, member: Member) -> None:
        """Start a killed member on what it had written, and wait until it serves."""
        member.start(self.members, *self._options)
        assert self._came_up(), member.log()

    def _came_up(self) -> bool:
        gives_up_at = elapsed_s() + UP_S
        while not all(member.listens for member in self.members if member.runs):
            if elapsed_s() > gives_up_at:
                return False
            pause(0.05)
        return all(member.runs for member in self.members)
