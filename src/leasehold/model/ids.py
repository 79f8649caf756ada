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


def from_number(noun: str, number: int) -> str:
    """Make an id from a number that is itself unique (a fencing token): a bijection that looks random.

    So ids need no chance and can't collide within one ledger. 55 bits are kept: tokens have 53 (INV-3). The
    multiplier is the odd 55-bit number nearest to 2^55 over the golden ratio (Knuth, TAOCP 3, 6.4); shifts
    fold the high bits down.
    """
    mixed = (number * 0x4F1BBCDCBFA53F) & _MASK
    mixed ^= mixed >> 28
    mixed = (mixed * 0x4F1BBCDCBFA53F) & _MASK
    return (
        f"{noun}-{_PAIRS[mixed >> 45]}{_PAIRS[mixed >> 35 & 1023]}{_PAIRS[mixed >> 25 & 1023]}"
        f"{_PAIRS[mixed >> 15 & 1023]}{_PAIRS[mixed >> 5 & 1023]}{ALPHABET[mixed & 31]}"
    )


def to_number(noun: str, text: str) -> int | None:
    """The number that `from_number` made this id of; None where it is no id of this noun."""
    if len(text) != len(noun) + 12 or not text.startswith(noun) or text[len(noun)] != "-":
        return None
    mixed = 0
    for letter in text[len(noun) + 1 :]:
        digit = _DIGIT_OF.get(letter)
        if digit is None:
            return None
        mixed = mixed << 5 | digit
    mixed = (mixed * _INVERSE) & _MASK
    mixed ^= mixed >> 28  # Its own inverse: 2 x 28 bits are more than there are.
    return (mixed * _INVERSE) & _MASK


def sortable(number: int) -> str:
    """A number as 11 digits that sort as it does: what a store files ids by that are made in order."""
    return (
        f"{ALPHABET[number >> 50 & 31]}{_PAIRS[number >> 40 & 1023]}{_PAIRS[number >> 30 & 1023]}"
        f"{_PAIRS[number >> 20 & 1023]}{_PAIRS[number >> 10 & 1023]}{_PAIRS[number & 1023]}"
    )


_MASK = (1 << 55) - 1
_INVERSE = pow(0x4F1BBCDCBFA53F, -1, 1 << 55)
_DIGIT_OF = {letter: digit for digit, letter in enumerate(ALPHABET)}
_PAIRS = tuple(high + low for high in ALPHABET for low in ALPHABET)
