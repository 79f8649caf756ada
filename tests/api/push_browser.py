"""A browser's side of web push: keys of its own, and how it opens what a push service hands it (RFC 8291)."""

from __future__ import annotations

import base64
import json
import os
from typing import Any

import http_ece
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from py_vapid import Vapid02

from tests.api.notify_receiver import Got


def b64(raw: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Browser:
    """One subscription."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._auth = os.urandom(16)

    def subscription(self, endpoint: str, name: str = "phone") -> dict[str, Any]:
        """What the page sends to the server."""
        point = self._key.public_key().public_bytes(
            serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
        )
        return {
            "endpoint": endpoint,
            "keys": {"p256dh": b64(point), "auth": b64(self._auth)},
            "name": name,
        }

    def opened(self, got: Got) -> Any:
        """The message of a call to the push service. Raises where it is not for this browser."""
        assert got.headers["content-encoding"] == "aes128gcm"
        return json.loads(
            http_ece.decrypt(got.body, private_key=self._key, auth_secret=self._auth, version="aes128gcm")
        )


def signed_by(got: Got, key: str) -> dict[str, Any]:
    """The claims of a call, once its signature has held against this key (RFC 8292)."""
    authorization = got.headers["authorization"]
    assert Vapid02.verify(authorization)
    token, shown = (part.split("=", 1)[1] for part in authorization.removeprefix("vapid ").split(","))
    assert shown == key
    claims = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    return found
