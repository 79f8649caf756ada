"""Two hosts on one cable, and a container, made of the kernel's namespaces: nothing leaves this machine.

Linux, root, and iproute2 with util-linux are needed; `why_not` says what is missing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

SERVER, OTHER = "10.213.7.1", "10.213.7.2"
"""Addresses of the two hosts: private, and of these namespaces alone."""

_CONTAINER = """
set -e
mkdir -p "$1/mnt"; : > "$1/mnt/client.sock"; mount --make-rprivate /
mount --bind "$2/client.sock" "$1/mnt/client.sock"
mount -t tmpfs -o size=64k none "$2"; if [ -d "$3" ]; then mount -t tmpfs -o size=64k none "$3"; fi
shift 3; exec "$@"
"""


def why_not() -> str:
    """Why this machine can't have them; empty where it can."""
    missing = [name for name in ("ip", "unshare", "nsenter") if shutil.which(name) is None]
    if missing:
        return f"{', '.join(missing)}: not installed (iproute2, util-linux)"
    if os.geteuid() != 0:
        return "network namespaces need root here"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "ip", "link", "add", "t0", "type", "veth", "peer", "name", "t1"],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if tried.returncode == 0 else f"no network namespace: {tried.stderr.strip()}"


class TwoHosts:
    """`server` and `other`: what is put before a command so that it runs on that host."""

    def __init__(self, server_pid: int, other_pid: int) -> None:
        self.server = ["nsenter", f"--net=/proc/{server_pid}/ns/net"]
        self.other = ["nsenter", f"--net=/proc/{other_pid}/ns/net"]


@contextlib.contextmanager
def two_hosts() -> Iterator[TwoHosts]:
    """Two hosts that see each other, and nobody else."""
    keepers = [
        subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "echo made; exec sleep 600"], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    try:
        for keeper in keepers:
            assert keeper.stdout is not None
            assert keeper.stdout.readline() == "made\n", "the namespace was not made"
        hosts = TwoHosts(keepers[0].pid, keepers[1].pid)
        _on(
            hosts.server,
            "link",
            "add",
            "cable",
            "type",
            "veth",
            "peer",
            "name",
            "cable",
            "netns",
            str(keepers[1].pid),
        )
        for host, address in ((hosts.server, SERVER), (hosts.other, OTHER)):
            _on(host, "link", "set", "lo", "up")
            _on(host, "addr", "add", f"{address}/24", "dev", "cable")
            _on(host, "link", "set", "cable", "up")
        yield hosts
    finally:
        for keeper in keepers:
            keeper.kill()
            keeper.wait()
            if keeper.stdout is not None:
                keeper.stdout.close()


def _on(host: Sequence[str], *words: str) -> None:
    subprocess.run([*host, "ip", *words], check=True, capture_output=True)


def in_container(folder: Path, data: Path, run_dir: Path, command: Sequence[str]) -> list[str]:
    """A command line that runs `command` where of a server only `client.sock` is to be seen.

    It has no network, and the server's folders are empty there; the socket is `<folder>/mnt/client.sock`.
    """
    unshare = ["unshare", "--net", "--mount", "sh", "-c", _CONTAINER, "container"]
    return [*unshare, str(folder), str(data), str(run_dir), *command]
