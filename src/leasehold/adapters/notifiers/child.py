"""The process that talks to the outside for notifications: `python -m leasehold.adapters.notifiers.child`.

It keeps httpx, apprise and pywebpush (60 MB of memory), their blocking calls and whatever they hold out of
the server. It reads one JSON object per line, works on each in a thread of its own, and writes one back. It
ends with its input, so with the server that started it, and by itself when nobody asked for a while.

Every address is checked at the moment when it is connected to, by an audit hook of the interpreter (PEP 578):
so neither a name that changes its mind, nor a redirect, nor a library of its own ways gets past the rule.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

from leasehold.core.address import networks, why_not

IDLE_S = 60.0
LINE_BYTES_MAX = 1 << 20
CALL_S = 8.0
"""How long a receiver has for each step: to take the connection, to answer."""


class Failed(Exception):
    """What `ports.notifier.NotifyFailed` says, on its way to the server."""

    def __init__(self, code: str, sentence: str, **more: Any) -> None:
        super().__init__(sentence)
        self.told = {"code": code, "sentence": sentence, **more}


class Guard:
    """Lets connections be made to allowed addresses only. The rule is that of the thread's own call; threads
    that a library starts have that of the latest.
    """

    def __init__(self) -> None:
        self._own = threading.local()
        self._latest: tuple[list[Any], bool] = ([], True)

    def rule(self, allowed: list[str], *, encrypted: bool) -> None:
        """What this thread may connect to from now on."""
        self._own.rule = self._latest = (networks(allowed), encrypted)
        self._own.refused = ""

    @property
    def refused(self) -> str:
        """Why a connection of this thread's call was refused; "" where none was."""
        found: str = getattr(self._own, "refused", "")
        return found

    def judge(self, address: str) -> str:
        """Why nothing may be sent there; "" where it may."""
        allowed, encrypted = getattr(self._own, "rule", self._latest)
        return why_not(address, allowed, encrypted=encrypted)

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """The audit hook. Raises PermissionError for what is not allowed."""
        if event not in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            return
        sock, address = arguments[0], arguments[-1]
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            why = "only the network is used for notifications"
        elif not isinstance(address, tuple):
            return  # A message on a socket that is connected already.
        else:
            why = self.judge(str(address[0]))
        if why:
            self._own.refused = why
            raise PermissionError(why)


GUARD = Guard()


def resolved(host: str, port: int) -> list[str]:
    """The addresses of a host. Raises Failed."""
    try:
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Failed("UNRESOLVED", f"the address of {host} is not known ({error})") from error
    return [str(row[4][0]) for row in rows]


def check_host(host: str, port: int) -> None:
    """Whether at least one address of a host may be talked to. Raises Failed."""
    found = resolved(host, port)
    whys = [GUARD.judge(address) for address in found]
    if all(whys):
        raise Failed("NOT_ALLOWED", whys[0] if found[0] == host else f"{host}: {whys[0]}")


def work(asked: dict[str, Any]) -> None:
    """One call. Raises Failed."""
    from leasehold.adapters.notifiers import chat, push, webhook

    ways: dict[str, Callable[[dict[str, Any]], None]] = {
        "webhook.check": webhook.check,
        "webhook.send": webhook.send,
        "push.check": push.check,
        "push.send": push.send,
        "chat.check": chat.check,
        "chat.send": chat.send,
    }
    GUARD.rule(asked["allowed"], encrypted=not asked.get("plain", False))
    try:
        ways[asked["op"]](asked)
    except Failed:
        if GUARD.refused:
            raise Failed("NOT_ALLOWED", GUARD.refused) from None
        raise


def answer(asked: dict[str, Any], write: Callable[[dict[str, Any]], None]) -> None:
    """Work on one call and write its outcome, whatever happens."""
    told: dict[str, Any]
    try:
        work(asked)
        told = {"ok": True}
    except Failed as error:
        told = {"ok": False, **error.told}
    except Exception as error:  # noqa: BLE001 - libraries raise what they like; its text may hold secrets
        sentence = f"the call failed with {type(error).__name__}"
        told = {"ok": False, "code": "INTERNAL", "sentence": GUARD.refused or sentence}
    write({"id": asked["id"], **told})


def main() -> None:
    """Serve until the input ends or nobody asks."""
    sys.addaudithook(GUARD.hook)
    outside = os.dup(1)
    os.dup2(2, 1)  # Whatever a library prints is no answer.
    lock = threading.Lock()

    def write(told: dict[str, Any]) -> None:
        line = json.dumps(told).encode() + b"\n"
        with lock:
            while line:
                line = line[os.write(outside, line) :]

    buffer = b""
    while True:
        busy = threading.active_count() > 1
        if not select.select([0], [], [], IDLE_S)[0]:
            if busy:
                continue
            break
        part = os.read(0, 65536)
        buffer += part
        if not part or len(buffer) > LINE_BYTES_MAX:
            break
        *lines, buffer = buffer.split(b"\n")
        for line in lines:
            threading.Thread(target=answer, args=(json.loads(line), write), daemon=True).start()
    os._exit(0)  # Threads that hang are nobody's business any more.


if __name__ == "__main__":
    # Under its own name, so that what the ways import is this module and not a second one.
    from leasehold.adapters.notifiers import child

    child.main()
