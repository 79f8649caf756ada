"""TLS of the listening side: the certificate of the moment, renewed without a restart (OPS-4, CLUSTER-28)."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable

from leasehold.api.hosts import without_port
from leasehold.ports.signer import Issued, SignerError
from leasehold.runtime.logging import get_logger

log = get_logger(__name__)

LOOK_S = 60.0
"""How often it is looked whether the certificate is due, and still names every address of this machine."""


class Tls:
    """What connections are secured with. `issue` returns the certificate to serve, renewed where that is due.

    A certificate, its key and the names that it is for change together, for connections made afterwards; open
    ones go on.
    """

    def __init__(self, issue: Callable[[], Issued]) -> None:
        self._issue = issue
        self.issued = issue()
        self.context = _context(self.issued)
        self._names = _names(self.issued)

    def renew(self) -> bool:
        """Serve another certificate where one was issued; True then. It blocks. Raises SignerError."""
        issued = self._issue()
        if issued == self.issued:
            return False
        context, names = _context(issued), _names(issued)
        self.issued, self.context, self._names = issued, context, names
        return True

    def is_named(self, host: bytes) -> bool:
        """Whether a Host header names this server as its certificate does."""
        return without_port(host) in self._names


async def keep(
    tls: Tls,
    in_thread: Callable[[Callable[[], bool]], Awaitable[bool]],
    look: asyncio.Event,
    renewed: Callable[[], None],
) -> None:
    """For ever: look every LOOK_S, and whenever `look` is set, whether another certificate is due."""
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(look.wait(), LOOK_S)
        look.clear()
        try:
            if await in_thread(tls.renew):
                log.info("certificate_renewed", names=tls.issued.names)
                renewed()
        except (SignerError, OSError) as error:  # The old one serves on; it is tried again.
            log.error("certificate_not_renewed", why=str(error))


def _context(issued: Issued) -> ssl.SSLContext:
    """TLS 1.2 and 1.3 with the ciphers of OpenSSL's own choice that keep past traffic closed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(issued.path)
    return context


def _names(issued: Issued) -> frozenset[bytes]:
    return frozenset(name.lower().encode() for name in issued.names)
