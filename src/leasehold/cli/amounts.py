"""Amounts as people type and read them: cores, bytes, durations."""

from __future__ import annotations

from leasehold.client.amounts import bytes_text, duration, millicores, size

__all__ = ["bytes_text", "duration", "millicores", "ordinal", "roughly", "size", "spell"]


def spell(seconds: float) -> str:
    """A duration for people: `42 s`, `5 min 40 s`, `2 h 5 min`, `3 d 4 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    for name, below, unit, small in (
        ("min", 3600, 60, "s"),
        ("h", 86_400, 3600, "min"),
        ("d", 0, 86_400, "h"),
    ):
        if not below or whole < below:
            large, rest = divmod(whole, unit)
            rest //= {"s": 1, "min": 60, "h": 3600}[small]
            return f"{large} {name} {rest} {small}" if rest else f"{large} {name}"
    return f"{whole} s"


def roughly(seconds: float) -> str:
    """A guess for people, without false precision: `~40 s`, `~6 min`, `~3 h`."""
    if seconds < 90:
        return f"~{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"~{round(seconds / 60)} min"
    return f"~{round(seconds / 3600)} h"


def ordinal(number: int) -> str:
    """`1st`, `2nd`, `11th`."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
