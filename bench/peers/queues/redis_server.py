"""The settings of Redis that durability stands on; both programs read them back."""

from __future__ import annotations

from typing import Any


def durability(client: Any) -> dict[str, str]:
    """From the running server, not from a file."""
    return {name: client.config_get(name)[name] for name in ("appendonly", "appendfsync")}
