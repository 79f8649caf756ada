"""What an address that other machines reach is secured with (OPS-4)."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable

from leasehold.adapters.hosts.addresses import own_names
from leasehold.api.hosts import is_loopback
from leasehold.api.server import Listener
from leasehold.api.server_file import CA_FOLDER
from leasehold.api.tls import Tls
from leasehold.config.settings import Settings
from leasehold.model.errors import Invalid


def tls_of(settings: Settings, now: Callable[[], Settings], wall_ms: Callable[[], int]) -> Tls | None:
    """None for loopback. `now` gives the settings of the moment: names may be added while it serves.

    Raises Invalid where another address is to be listened on without TLS, SignerError.
    """
    if is_loopback(settings.host):
        return None
    if not settings.tls.enabled:
        raise Invalid(
            f"refusing to listen on {settings.host}: any address but loopback needs TLS, and "
            "tls.enabled is off; turn it on, or use 127.0.0.1 and reach it through ssh -L",
            field="tls.enabled",
            expected="true, or host 127.0.0.1",
        )
    # Only here: the library is nothing that a server on loopback has to carry.
    from leasehold.adapters.signers.identity import Identity
    from leasehold.adapters.signers.own import OwnSigner

    folder = settings.data_path / CA_FOLDER
    signer = OwnSigner(folder, socket.gethostname(), wall_ms)
    names = lambda: own_names(settings.host, now().tls.names)  # noqa: E731
    return Tls(Identity(folder, signer, names, wall_ms).issue)


def lives(listeners: Iterable[Listener]) -> list[tuple[int, int]]:
    """Begin and end (wall ms) of each certificate that is served."""
    issued = [listener.tls.issued for listener in listeners if listener.tls is not None]
    return [(one.from_wall_ms, one.until_wall_ms) for one in issued]
