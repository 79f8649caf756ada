"""Durations as people write them: `90s`, `15m`, `24h`, `7d`, `2w`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}

PATTERN = r"^[1-9][0-9]{0,7}[smhdw]$"

Duration = Annotated[str, Meta(pattern=PATTERN, description="A number and a unit: 90s, 15m, 24h, 7d, 2w")]


def duration_s(text: str) -> int:
    """Seconds of a text that fits `PATTERN`; at most 99,999,999 weeks."""
    return int(text[:-1]) * SECONDS[text[-1]]
