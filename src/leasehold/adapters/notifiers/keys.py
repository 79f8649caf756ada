"""The key pair that browsers subscribe with (VAPID, RFC 8292): made once, kept in the data folder.

Another one would make all subscriptions worthless, so it is never replaced by itself.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

FILE = "push-key.pem"

Offload = Callable[..., Awaitable[Any]]


class PushKey:
    """The key in a data folder, mode 0600. `offload` runs what blocks in a thread."""

    def __init__(self, folder: Path, offload: Offload) -> None:
        self._path = folder / FILE
        self._offload = offload
        self._pem = ""

    async def private(self) -> str:
        """The private key as PEM. Raises OSError where it can be neither read nor made."""
        if not self._pem:
            self._pem = await self._offload(_kept, self._path)
        return self._pem

    async def public(self) -> str:
        """The uncompressed point of the public key, base64url without padding. Raises OSError."""
        pem = await self.private()
        found: str = await self._offload(_public, pem)
        return found


def _kept(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        pass
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, pem)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(draft, path)
    return pem.decode()


def _public(pem: str) -> str:
    from cryptography.hazmat.primitives import serialization

    try:
        key: Any = serialization.load_pem_private_key(pem.encode(), None)
    except ValueError as error:
        raise OSError(0, f"{FILE} in the data folder is no key: put it back from a backup") from error
    point = key.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    return base64.urlsafe_b64encode(point).rstrip(b"=").decode()
