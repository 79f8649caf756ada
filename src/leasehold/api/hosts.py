"""Which names this server answers to, so that no page reaches it under another (DNS rebinding)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from leasehold.api.auth import PEER
from leasehold.api.errors import Misdirected

LOOPBACK = re.compile(rb"^(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?$", re.IGNORECASE)


def check_host(extensions: Mapping[str, object] | None, headers: Mapping[bytes, bytes]) -> None:
    """Raise Misdirected unless the Host header names loopback. A Unix socket can't be reached from a page."""
    if LOOPBACK.match(headers.get(b"host", b"")) or (extensions is not None and PEER in extensions):
        return
    raise Misdirected("this server answers on loopback only; use http://127.0.0.1 or http://localhost")
