"""Typed identifiers: `lease-7f3k2m9q4x`. They may be shortened as long as one object answers (OPS-18)."""

from __future__ import annotations

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32 without its check symbols: no letter that reads like a digit."""

DIGITS = 13
"""65 bits: a collision among a hundred million ids has odds below one in a thousand."""


def typed(noun: str, number: int) -> str:
    """Make an id of `noun` from a random number of at least 65 bits."""
    letters = []
    for _ in range(DIGITS):
        letters.append(ALPHABET[number & 31])
        number >>= 5
    return f"{noun}-{''.join(letters)}"
