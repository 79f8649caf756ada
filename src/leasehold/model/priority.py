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
        found = _NAMES.get(text, _NAMES.get(text.strip().upper()))
        if found is None:
            raise ValueError(f"expected one of {', '.join(member.name for member in cls)}")
        return found


_NAMES: dict[str, Priority] = {
    **Priority.__members__,
    "INTERACTIVE": Priority.HIGH,
    "BATCH": Priority.LOW,
}
