"""Calls of verbs that watch for hours: a server that is started anew meanwhile does not end them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from leasehold.cli.session import Session
from leasehold.runtime.lean import elapsed_s, pause

if TYPE_CHECKING:
    from leasehold.client.calls import A, B, Call

GONE_S = 60.0
"""A server that is away for longer is not just being started anew."""

PAUSE_S = 0.5
BROKEN_OFF = 500
"""From here on it is the server's own trouble: it may have been stopped amid the answer."""

PASSING = ("NOT_READY", "OVERLOADED", "UNAVAILABLE", "RATE_LIMITED", "NOT_LEADER")


def send(session: Session, call: Call[B, A], body: B | None = None, **more: Any) -> A:
    """Make one call, again for a while where no answer comes. Raises what the last try raised."""
    from leasehold.client.lean import Unreachable
    from leasehold.model.errors import LeaseholdError

    end_s: float | None = None
    while True:
        try:
            return session.client.send(call, body, **more)
        except Unreachable as error:
            problem: Exception = error
        except LeaseholdError as error:
            if error.code not in PASSING and int(error.details.get("status", 0)) < BROKEN_OFF:
                raise
            problem = error
        if end_s is None:
            end_s = elapsed_s() + GONE_S
            session.say(f"{problem}; trying again for {GONE_S:g} s")
        elif elapsed_s() > end_s:
            raise problem
        pause(PAUSE_S)
