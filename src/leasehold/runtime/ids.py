"""The real source of ids, seeds and tokens behind `ports.clock.Ids`."""

from __future__ import annotations

import hashlib
import random
import secrets
from base64 import urlsafe_b64encode

from leasehold.model.ids import typed

TOKEN_PREFIX = "lsh_"  # noqa: S105 - what every token starts with, so that redaction finds it in any encoding
"""See `runtime.redaction`."""

TOKEN_BYTES = 32


class RandomIds:
    """Ids from the operating system's generator, and seeds from one that was started by it.

    A seed only spreads jitter and settles ties, thousands of times a second; nobody gains by guessing one.
    """

    def __init__(self) -> None:
        self._seeds = random.Random(secrets.randbits(256))

    def new(self, noun: str) -> str:
        """A fresh typed id with 65 random bits, like `lease-7f3k2m9q4x0vb`."""
        return typed(noun, secrets.randbits(65))

    def seed(self) -> int:
        """63 random bits."""
        return self._seeds.getrandbits(63)


class RequestIds:
    """16 hex digits per request (OPS-11): they correlate and protect nothing, so a cheap generator does."""

    def __init__(self) -> None:
        self._bits = random.Random(secrets.randbits(128)).getrandbits

    def new(self) -> str:
        return f"{self._bits(64):016x}"


def new_code() -> str:
    """32 hex digits, 128 random bits: a secret of one use and a short life, safe in URLs and to copy."""
    return secrets.token_hex(16)


def new_token() -> str:
    """A credential of 256 random bits, safe in URLs and JSON, to be shown once."""
    return TOKEN_PREFIX + urlsafe_b64encode(secrets.token_bytes(TOKEN_BYTES)).rstrip(b"=").decode()


def new_key() -> bytes:
    """256 random bits to sign with."""
    return secrets.token_bytes(TOKEN_BYTES)


def digest(data: bytes) -> str:
    """80 bits of a hash, as 20 hex digits: a key for what is equal."""
    return hashlib.blake2b(data, digest_size=10).hexdigest()


def token_hash(token: str | bytes) -> bytes:
    """What is kept of a token. It is random, so one round of SHA-256 is enough."""
    return hashlib.sha256(token.encode() if isinstance(token, str) else token).digest()
