"""What this machine is called, and where it is on its networks."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Iterator, Sequence

import psutil

DNS_NAME = re.compile(r"^(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*$")
NAMES_MAX = 64
"""Of one machine: one with more has virtual interfaces by the hundred, of which nobody types the address."""

ANY = ("0.0.0.0", "::")  # noqa: S104 - recognised here, not listened on


def own_names(listens_on: str, given: Sequence[str]) -> list[str]:
    """The names and addresses under which a server that listens on `listens_on` is reached, sorted by kind:
    those that were given, the machine's, loopback's, and every address that it listens on.
    """
    machine = socket.gethostname().rstrip(".")
    short = machine.partition(".")[0]
    names = [*given, machine, short, f"{short}.local", "localhost"]
    addresses = list(interface_addresses()) if listens_on in ANY else [listens_on]
    found = [name.lower() for name in names if _is_name(name) or _is_address(name)]
    return list(dict.fromkeys([*found, "127.0.0.1", "::1", *addresses]))[:NAMES_MAX]


def interface_addresses() -> Iterator[str]:
    """The addresses of the network interfaces, but for loopback's and those good on one cable only."""
    for _, found in sorted(psutil.net_if_addrs().items()):
        for one in found:
            if one.family not in (socket.AF_INET, socket.AF_INET6) or not _is_address(one.address):
                continue
            address = ipaddress.ip_address(one.address)
            if not (address.is_loopback or address.is_link_local or address.is_multicast):
                yield str(address)


def _is_name(text: str) -> bool:
    return len(text) <= 253 and DNS_NAME.match(text) is not None


def _is_address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False
