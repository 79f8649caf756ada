"""Containers, through the socket of Docker or Podman: where one runs, stop and start it.

Protocol: Docker Engine API, which Podman's service speaks too (`docs.docker.com/reference/api/engine`):
`GET /containers/{name}/json`, `POST /containers/{name}/stop`, `POST /containers/{name}/start`.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from leasehold.ports.host import TargetUnknown, TargetUnreachable

ANSWER_BYTES_MAX = 4 << 20
ASK_S = 5.0
STOP_S = 30.0
"""A stop answers when it is done: ten seconds of grace, and what the engine takes."""


class Container:
    """One container. `pid` is its first process on this machine, 0 while it does not run."""

    __slots__ = ("container_id", "pid")

    def __init__(self, container_id: str, pid: int) -> None:
        self.container_id = container_id
        self.pid = pid


class Containers:
    """The engines of this machine, by their sockets; the first one that knows a name is its engine."""

    def __init__(self, sockets: Sequence[str]) -> None:
        self._sockets = tuple(sockets)

    def find(self, name: str) -> Container:
        """Raises TargetUnknown, TargetUnreachable."""
        return self._at(name)[1]

    def stop(self, name: str) -> None:
        """Returns once it has stopped. Raises TargetUnknown, TargetUnreachable."""
        self._tell(name, "stop")

    def start(self, name: str) -> None:
        """Raises TargetUnknown, TargetUnreachable."""
        self._tell(name, "start")

    def _tell(self, name: str, what: str) -> None:
        path, _ = self._at(name)
        status, body = _call(path, "POST", f"/containers/{quote(name, safe='')}/{what}", STOP_S)
        if status not in (204, 304):
            raise TargetUnreachable(f"{path} answered {status} to {what} {name}: {_why(body)}")

    def _at(self, name: str) -> tuple[str, Container]:
        there = [path for path in self._sockets if os.path.exists(path)]
        if not there:
            raise TargetUnreachable(
                f"no socket of Docker or Podman, {' or '.join(self._sockets)}: start the engine (for Podman "
                "`systemctl start podman.socket`), or name its socket by guard.container_sockets"
            )
        for path in there:
            status, body = _call(path, "GET", f"/containers/{quote(name, safe='')}/json", ASK_S)
            if status == 200:
                return path, _container(path, body)
            if status != 404:
                raise TargetUnreachable(f"{path} answered {status} about {name}: {_why(body)}")
        raise TargetUnknown(f"no container {name} is known at {' or '.join(there)}")


def _container(path: str, body: bytes) -> Container:
    try:
        found: Any = json.loads(body)
        state = found["State"]
        return Container(str(found["Id"]), int(state["Pid"]) if state["Running"] else 0)
    except (ValueError, KeyError, TypeError) as error:
        raise TargetUnreachable(f"{path} gave an answer that can't be read: {error!r}") from error


def _why(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])[:200]
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace")


class _Unix(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _call(path: str, method: str, url: str, timeout_s: float) -> tuple[int, bytes]:
    connection = _Unix(path, timeout_s)
    try:
        connection.request(method, url)
        answer = connection.getresponse()
        body = answer.read(ANSWER_BYTES_MAX + 1)
    except (OSError, http.client.HTTPException) as error:
        raise TargetUnreachable(f"{path} does not answer: {error!r}") from error
    finally:
        connection.close()
    if len(body) > ANSWER_BYTES_MAX:
        raise TargetUnreachable(f"{path} answered with more than {ANSWER_BYTES_MAX} bytes")
    return answer.status, body


def sockets_of(env: Mapping[str, str]) -> tuple[str, ...]:
    """Where engines listen: what `DOCKER_HOST` names, else the usual places, a user's own engine last."""
    named = env.get("DOCKER_HOST", "").removeprefix("unix://")
    if named.startswith("/"):
        return (named,)
    own = env.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    return ("/run/docker.sock", "/run/podman/podman.sock", f"{own}/docker.sock", f"{own}/podman/podman.sock")
