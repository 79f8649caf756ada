"""The one scale of priority, used by every record (spec: README, Words)."""

from __future__ import annotations

from enum import IntEnum


class Priority(IntEnum):
    """Smaller is more urgent. It orders; HIGH and above also pass the quiet gate."""

    URGENT = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3
    BACKGROUND = 4

    @classmethod
    def parse(cls, text: str) -> Priority:
        """Read a priority in any case; `interactive` means HIGH and `batch` LOW. Raises ValueError."""
        name = text.strip().upper()
        try:
            return cls[{"INTERACTIVE": "HIGH", "BATCH": "LOW"}.get(name, name)]
        except KeyError:
            allowed = ", ".join(member.name for member in cls)
            raise ValueError(f"expected one of {allowed}") from None
