"""Which names this server answers to, so that no page reaches it under another (DNS rebinding)."""

from __future__ import annotations

from collections.abc import Mapping

from leasehold.api.auth import PEER
from leasehold.api.errors import Misdirected

LOOPBACK = frozenset({b"localhost", b"127.0.0.1", b"[::1]"})


def check_host(extensions: Mapping[str, object] | None, headers: Mapping[bytes, bytes]) -> None:
    """Raise Misdirected unless the Host header names loopback. A Unix socket can't be reached from a page."""
    host = headers.get(b"host", b"")
    name = host.partition(b"]")[0] + b"]" if host.startswith(b"[") else host.partition(b":")[0]
    if name.lower() in LOOPBACK or (extensions is not None and PEER in extensions):
        return
    raise Misdirected("this server answers on loopback only; use http://127.0.0.1 or http://localhost")
