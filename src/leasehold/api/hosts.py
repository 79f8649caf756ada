"""Which names this server answers to, so that no page reaches it under another (DNS rebinding), and where it
may listen.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from leasehold.api.errors import Misdirected
from leasehold.model.errors import Invalid

LOOPBACK = re.compile(rb"^(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?$", re.IGNORECASE)


HOSTS = "leasehold.hosts"
"""Where the server leaves which other names it has on this connection: a function of the Host header."""

_PORT = re.compile(rb":[0-9]{1,5}$")


def any_host(host: bytes) -> bool:
    """What a Unix socket asks: it can't be reached from a page, so any name will do."""
    return True


def without_port(host: bytes) -> bytes:
    """The name or address in a Host header, in lower case and without brackets."""
    return _PORT.sub(b"", host).lower().removeprefix(b"[").removesuffix(b"]").removesuffix(b".")


def check_host(extensions: Mapping[str, Any] | None, headers: Mapping[bytes, bytes]) -> None:
    """Raise Misdirected unless the Host header names loopback, or what this connection's server is called."""
    host = headers.get(b"host", b"")
    if LOOPBACK.match(host):
        return
    known = extensions.get(HOSTS) if extensions is not None else None
    if known is None:
        raise Misdirected("this server answers on loopback only; use http://127.0.0.1 or http://localhost")
    if not known(host):
        raise Misdirected(
            "this server has another name; `leasehold up --lan --name HOST` (tls.names in its configuration) "
            "gives it one more"
        )


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is reached from this machine alone. Raises Invalid for a name."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise Invalid(
            f"host: {host} is no address; expected one of this machine's, 0.0.0.0 or :: for all, localhost",
            field="host",
            expected="an IP address, or localhost",
        ) from None
