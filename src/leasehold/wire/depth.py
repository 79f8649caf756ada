"""How deep JSON is nested, told without taking it apart."""

from __future__ import annotations

_TO_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def is_deeper(body: bytes, levels: int) -> bool:
    """Whether well-formed JSON is nested deeper: each pass takes the innermost brackets away."""
    if body.count(b"[") + body.count(b"{") <= levels:
        return False
    brackets = _without_strings(body).translate(_TO_ONE_KIND, _NO_BRACKETS)
    for _ in range(levels):
        brackets = brackets.replace(b"[]", b"")
    return bool(brackets)


def _without_strings(body: bytes) -> bytes:
    unescaped = body.replace(rb"\\", b"").replace(rb"\"", b"")
    return b"".join(unescaped.split(b'"')[::2])
