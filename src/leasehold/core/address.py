"""Which addresses of the network may be talked to: public ones, and those that a setting names."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK = ("127.0.0.0/8", "::1/128")

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: an IPv4 address in the last 32 bits."""


def networks(allowed: Iterable[str]) -> list[Network]:
    """The networks that a setting names; `localhost` is loopback. Raises ValueError with the entry."""
    found: list[Network] = []
    for entry in allowed:
        for one in LOOPBACK if entry == "localhost" else (entry,):
            try:
                found.append(ipaddress.ip_network(one))
            except ValueError:
                raise ValueError(f"{entry}: expected an address, a network, or localhost") from None
    return found


def parsed(text: str) -> Address:
    """An address, IPv4 within IPv6 (mapped, 6to4, Teredo, NAT64) as IPv4. Raises ValueError."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    return inner or address


def is_in(text: str, allowed: Sequence[Network]) -> bool:
    """Whether an address is within one of the networks; IPv4 mapped into IPv6 counts as IPv4."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in allowed)


def is_public(text: str) -> bool:
    """Whether an address is one of the public internet: neither private, loopback, link-local, shared,
    reserved nor multicast.
    """
    address = parsed(text)
    return address.is_global and not address.is_multicast and not address.is_reserved


def why_not(text: str, allowed: Sequence[Network], *, encrypted: bool) -> str:
    """Why nothing may be sent to an address, "" where it may: public ones take what is encrypted only."""
    if is_in(text, allowed):
        return ""
    if not is_public(text):
        return f"{text} is no public address; the setting notifications.allowed_hosts can allow it"
    if not encrypted:
        return f"{text} is a public address, where only https goes; http is for notifications.allowed_hosts"
    return ""
