"""Amounts as people write them: cores, bytes, durations."""

from __future__ import annotations

SIZES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def millicores(text: str) -> int:
    """`4`, `0.5` or `500m` cores. Raises ValueError."""
    try:
        found = round(float(text[:-1])) if text.endswith("m") else round(float(text) * 1000)
    except (ValueError, OverflowError):
        found = 0
    if not 1 <= found <= 4_096_000:
        raise ValueError("expected a number of cores, like 4, 0.5 or 500m")
    return found


def size(text: str) -> int:
    """`8G`, `512M`, `1.5GiB`: powers of 1024. Raises ValueError."""
    stem = text.strip().upper().removesuffix("B").removesuffix("I")
    unit = stem[-1:] if stem[-1:] in SIZES else ""
    try:
        found = round(float(stem[: len(stem) - len(unit)]) * SIZES[unit])
    except (ValueError, OverflowError):
        found = 0
    if not 1 <= found < 2**53:
        raise ValueError("expected a size, like 8G or 512M")
    return found


def duration(text: str) -> float:
    """Seconds of `90`, `90s`, `30m`, `1h30m`, `2d`. Raises ValueError."""
    total, digits = 0.0, ""
    for letter in text.strip().lower():
        if letter.isdecimal() or letter == ".":
            digits += letter
            continue
        if letter not in SECONDS or not digits:
            raise ValueError("expected a duration, like 90s, 30m or 1h30m")
        total += _number(digits) * SECONDS[letter]
        digits = ""
    if digits:
        total += _number(digits)
    elif not text.strip():
        raise ValueError("expected a duration, like 90s, 30m or 1h30m")
    return total


def _number(digits: str) -> float:
    try:
        return float(digits)
    except ValueError:
        raise ValueError("expected a duration, like 90s, 30m or 1h30m") from None


def bytes_text(count: int) -> str:
    """A size for people, in powers of 1024: `512 B`, `1.5 GiB`."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
