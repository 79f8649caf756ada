"""Back-pressure at the door of the ledger (OPS-31):

bounded calls and bytes, a share per principal, a lane for what frees.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from leasehold.core.state import count
from leasehold.model.errors import Overloaded
from leasehold.model.principal import Principal
from leasehold.model.settings import PolicySettings

Lane = Literal["reserved", "normal"]

SHARE_OF_ONE = 4
"""One principal may have a quarter of what may wait."""

RESERVED_TIMES = 4
"""The reserved lane (renewals, releases) is refused only far beyond the normal one, where memory itself is at
stake.
"""


class Backpressure:
    """Counts calls from before their body is parsed until their answer has gone."""

    def __init__(self, settings: Callable[[], PolicySettings]) -> None:
        self._settings = settings
        self._calls: dict[str, int] = {}
        self._bytes: dict[str, int] = {}
        self.calls = 0
        self.bytes = 0

    def admit(self, principal: Principal, body_bytes: int, lane: Lane) -> Callable[[], None]:
        """Let a call in, or raise Overloaded. Returns what to call, once, when its answer has gone."""
        limits = self._settings().limits
        times = RESERVED_TIMES if lane == "reserved" else 1
        name = principal.name
        whole = (
            self.calls >= limits.commands_waiting * times
            or self.bytes + body_bytes > limits.bytes_waiting * times
        )
        own = (
            self._calls.get(name, 0) >= limits.commands_waiting * times // SHARE_OF_ONE
            or self._bytes.get(name, 0) + body_bytes > limits.bytes_waiting * times // SHARE_OF_ONE
        )
        if whole or own:
            who = name if own else "everybody together"
            raise Overloaded(
                f"{who} has too many calls waiting ({self.calls} in all); come back shortly", retry_after_s=1
            )
        self.calls += 1
        self.bytes += body_bytes
        count(self._calls, name, 1)
        count(self._bytes, name, body_bytes)

        def done() -> None:
            self.calls -= 1
            self.bytes -= body_bytes
            count(self._calls, name, -1)
            count(self._bytes, name, -body_bytes)

        return done
