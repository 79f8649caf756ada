"""Reading a body within bounds of size, time and depth, and all of them within bounds of memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from leasehold.api.errors import TooSlow, UnsupportedMedia
from leasehold.model.errors import Malformed, Overloaded, TooLarge
from leasehold.wire.depth import is_deeper

BODY_BYTES_MAX = 1 << 20
"""OPS-2."""

BODY_S_MAX = 10.0
"""A megabyte at 0.1 MB/s; nobody on the same machine is slower by accident."""

ARRIVING_BYTES_MAX = 64 << 20
"""All bodies that are on their way together (OPS-31)."""

DEPTH_MAX = 32
"""No message of ours is deeper than six."""

Receive = Callable[[], Awaitable[Any]]


class ClientGone(Exception):
    """The caller closed the connection; there is nobody to answer."""


class BodyReader:
    """Reads bodies; counts what arrives over all connections."""

    def __init__(self) -> None:
        self.arriving_bytes = 0

    async def read(
        self, receive: Receive, declared: int | None, whole: bytes | None, limit: int = BODY_BYTES_MAX
    ) -> bytes:
        """The body, of at most `limit` bytes.

        `declared` is its Content-Length, `whole` what has arrived where that is all.

        Raises TooLarge, TooSlow, Overloaded, ClientGone.
        """
        if (declared is not None and declared > limit) or (whole and len(whole) > limit):
            raise too_large(limit)
        if whole is not None:
            return whole
        try:
            async with asyncio.timeout(BODY_S_MAX):
                message = await receive()
                if message["type"] == "http.request" and not message.get("more_body", False):
                    body: bytes = message.get("body", b"")
                    if len(body) > limit:
                        raise too_large(limit)
                    return body
                return await self._read_rest(receive, message, limit)
        except TimeoutError:
            raise TooSlow(f"the body did not arrive within {BODY_S_MAX:g} s; send it at once") from None

    async def _read_rest(self, receive: Receive, message: Any, limit: int) -> bytes:
        parts = bytearray()
        try:
            while True:
                if message["type"] != "http.request":
                    raise ClientGone
                part = message.get("body", b"")
                parts += part
                self.arriving_bytes += len(part)
                if len(parts) > limit:
                    raise too_large(limit)
                if self.arriving_bytes > ARRIVING_BYTES_MAX:
                    raise Overloaded("too many bodies arrive at once; try again")
                if not message.get("more_body", False):
                    return bytes(parts)
                message = await receive()
        finally:
            self.arriving_bytes -= len(parts)


def too_large(limit: int = BODY_BYTES_MAX) -> TooLarge:
    """The error for a body above its limit."""
    return TooLarge(f"the body is larger than {limit} bytes; send less at once")


def declared_length(headers: Mapping[bytes, bytes]) -> int | None:
    """Content-Length, where there is one. The HTTP parser has refused what is no number."""
    value = headers.get(b"content-length")
    return int(value) if value is not None else None


def require_json(headers: Mapping[bytes, bytes]) -> None:
    """Raise UnsupportedMedia unless the body is declared as JSON, not compressed."""
    declared = headers.get(b"content-type", b"")
    if declared != b"application/json":
        media, _, parameters = declared.partition(b";")
        charset = parameters.strip().lower().replace(b'"', b"")
        if media.strip().lower() != b"application/json" or charset not in (b"", b"charset=utf-8"):
            raise UnsupportedMedia("the body is not declared as JSON; send `Content-Type: application/json`")
    if b"content-encoding" in headers:
        raise UnsupportedMedia("the body is compressed; send it without Content-Encoding")


def check_json(body: bytes) -> None:
    """Raise Malformed unless this is well-formed JSON, nested at most `DEPTH_MAX` deep.

    Only for bodies that did not fit their schema, to tell 400 from 422: a schema bounds the depth of what
    fits it.
    """
    try:
        body.decode()
        msgspec.json.decode(body, type=msgspec.Raw)
    except RecursionError:
        raise _too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Malformed("the body is not JSON in UTF-8") from None
    if is_deeper(body, DEPTH_MAX):
        raise _too_deep()


def _too_deep() -> Malformed:
    return Malformed(f"the body is nested deeper than {DEPTH_MAX} levels")
