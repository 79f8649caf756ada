"""What signs certificates: our own CA today, an outside one through the same port (CLUSTER-28)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec


class SignerError(Exception):
    """A certificate could not be had. The sentence says why, and what to do."""


class Issued(msgspec.Struct, frozen=True):
    """A certificate to serve: a PEM file with its private key, itself and its chain, in one.

    `names` are the host names and addresses that it is for; `serial` tells it from every other of its CA. Its
    times are wall-clock milliseconds.
    """

    path: str
    names: tuple[str, ...]
    serial: int
    from_wall_ms: int
    until_wall_ms: int


class Signer(Protocol):
    """Signs requests for certificates of servers. It may block on files or a network: use a thread."""

    def authority(self) -> bytes:
        """The certificate of the CA, PEM, that clients check with. Raises SignerError."""
        ...

    def sign(self, request: bytes, names: Sequence[str], life_ms: int) -> bytes:
        """A certificate, PEM, with what stands between it and the CA behind it.

        `request` is a signed PKCS #10 request (RFC 2986), PEM; `names` are the host names and addresses that
        it shall be for, whatever the request says; `life_ms` is how long it shall last, at most. Raises
        SignerError.
        """
        ...
